import KwikCore
import Testing

@Suite struct WireVarintTests {
    private func decode(_ bytes: [UInt8]) -> (value: UInt64?, position: Int) {
        var position = 0
        let value = unsafe bytes.withUnsafeBytes { unsafe Varint.decode($0, at: &position) }
        return (value, position)
    }

    private func encode(_ value: UInt64) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: 9)
        let count = try unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe Varint.encode(value, to: try #require(buffer.baseAddress))
        }
        #expect(bytes[count...].allSatisfy { $0 == 0xEE }, "wrote past its length")
        return Array(bytes[..<count])
    }

    @Test("The samples of RFC 9000 §A.1")
    func samples() throws {
        #expect(try encode(151_288_809_941_952_652) == [0xC2, 0x19, 0x7C, 0x5E, 0xFF, 0x14, 0xE8, 0x8C])
        #expect(try encode(494_878_333) == [0x9D, 0x7F, 0x3E, 0x7D])
        #expect(try encode(15_293) == [0x7B, 0xBD])
        #expect(try encode(37) == [0x25])
        #expect(decode([0x40, 0x25]) == (37, 2))
    }

    @Test(
        "Each side of every change of length",
        arguments: [
            (0, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), (1 << 30 - 1, 4), (1 << 30, 8),
            (1 << 62 - 1, 8),
        ] as [(UInt64, Int)])
    func borders(value: UInt64, length: Int) throws {
        let bytes = try encode(value)
        #expect(bytes == WireRaw.varint(value))
        #expect(bytes.count == length)
        #expect(Varint.length(of: value) == length)
        #expect(decode(bytes) == (value, length))
        for count in 0..<length { #expect(decode(Array(bytes[..<count])) == (nil, 0)) }
    }

    @Test("A value is read from any of its encodings")
    func longerEncodings() {
        for length in [1, 2, 4, 8] { #expect(decode(WireRaw.varint(5, length: length)) == (5, length)) }
    }
}
