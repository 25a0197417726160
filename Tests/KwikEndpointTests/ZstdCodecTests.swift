import Foundation
import KwikCore
import KwikEndpoint
import Testing

/// As the golden file's piece has it.
private let text = Array(
    (0..<1_000).map { "\($0): the quick brown fox jumps over the lazy dog\n" }.joined().utf8.prefix(16_384))

extension Codec {
    fileprivate func pack(_ plain: [UInt8], room: Int = 16_384) -> [UInt8]? {
        unsafe work(plain, room, compress)
    }

    fileprivate func unpack(_ packed: [UInt8], room: Int = 16_384) -> [UInt8]? {
        unsafe work(packed, room, decompress)
    }

    private func work(
        _ input: [UInt8], _ room: Int,
        _ body: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Int?
    ) -> [UInt8]? {
        // Behind the room stands what nobody may touch.
        var output = [UInt8](repeating: 0xEE, count: room + 64)
        let count = unsafe output.withUnsafeMutableBytes { target in
            unsafe input.withUnsafeBytes {
                unsafe body($0, UnsafeMutableRawBufferPointer(rebasing: target[..<room]))
            }
        }
        #expect(output[room...].allSatisfy { $0 == 0xEE })
        return count.map { Array(output[..<$0]) }
    }
}

@Suite struct ZstdCodecTests {
    private let codec = Codec.zstd()

    @Test("What was compressed comes back, in every length of a piece")
    func roundTrip() throws {
        for count in [1, 2, 100, 1_023, 1_024, 5_000, 16_383, 16_384] {
            let plain = Array(text.prefix(count))
            let packed = try #require(codec.pack(plain, room: 17_000))
            #expect(codec.unpack(packed, room: count) == plain)
            #expect(codec.unpack(packed, room: count - 1) == nil)
        }
        #expect(try #require(codec.pack(text)).count < 4_000)
    }

    @Test("What does not fit is told, and the contexts are as good as before")
    func noRoom() throws {
        var random = SystemRandomNumberGenerator()
        let noise = (0..<16_384).map { _ in UInt8.random(in: 0...255, using: &random) }
        for _ in 0..<3 {
            #expect(codec.pack(noise, room: 14_746) == nil)
            let packed = try #require(codec.pack(text))
            #expect(codec.unpack(packed) == text)
        }
    }

    @Test("A bomb ends at the room it has")
    func bomb() throws {
        let packed = try #require(codec.pack([UInt8](repeating: 0, count: 16_384)))
        #expect(packed.count < 40)
        for room in [1, 100, 16_383] { #expect(codec.unpack(packed, room: room) == nil) }
        #expect(codec.unpack(packed)?.count == 16_384)
    }

    @Test("Exactly one whole frame that tells its size is a piece, of this format alone")
    func otherFrames() throws {
        let packed = try #require(codec.pack(text))
        #expect(codec.unpack([]) == nil && codec.unpack([1, 2, 3]) == nil)
        #expect(codec.unpack(packed + packed) == nil && codec.unpack(packed + [0]) == nil)
        for count in 0..<packed.count { #expect(codec.unpack(Array(packed.prefix(count))) == nil) }
        let skippable: [UInt8] = [0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 7]
        #expect(codec.unpack(skippable) == nil && codec.unpack(skippable + packed) == nil)
        // zstd 0.7, which the library reads if it is let.
        #expect(codec.unpack([0x27] + packed.dropFirst()) == nil)
        #expect(codec.unpack(try #require(codec.pack([]))) == nil)
    }

    @Test("No spoilt byte does more than spoil the piece")
    func spoilt() throws {
        let packed = try #require(codec.pack(text))
        for index in packed.indices {
            var other = packed
            other[index] ^= 0x55
            _ = codec.unpack(other)
        }
        #expect(codec.unpack(packed) == text)
    }

    @Test("The golden file's piece is read as its text, on the wire as in the codec")
    func golden() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../Golden/kdp/compressed.hex").standardizedFileURL
        let digits = Array(try String(contentsOf: file, encoding: .utf8).filter { !$0.isWhitespace })
        let bytes = stride(from: 0, to: digits.count, by: 2).compactMap {
            UInt8(String(digits[$0...($0 + 1)]), radix: 16)
        }
        var reader = ChannelReader(expectsPreface: false)
        var header: DataHeader?
        var packed: [UInt8] = []
        try unsafe bytes.withUnsafeBytes { input in
            var position = 0
            while let item = try unsafe reader.next(input, from: &position) {
                switch item {
                case .data(let found): header = found
                case .bytes(let range): packed += bytes[range]
                case .dataEnd, .frame, .preface: break
                }
            }
        }
        try reader.finish()
        let found = try #require(header)
        #expect(found.offset == 1 << 32 && found.isCompressed && found.length == packed.count)
        #expect(codec.unpack(packed) == text)
        let sum = unsafe text.withUnsafeBytes { unsafe Integrity.standard.crc32c(0, $0) }
        #expect(sum == found.crc32c)
    }
}
