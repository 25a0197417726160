import KwikCore
import Testing

@testable import KwikTransport

@Suite struct CryptographyTests {
    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func `SHA-256 of abc`() {
        #expect(
            hex(Cryptography.sha256(Array("abc".utf8)))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            hex(Cryptography.sha256([]))
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test func `HMAC as in RFC 4231, case 2`() {
        let tag = Cryptography.hmacSHA256(Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(hex(tag) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }

    @Test func `HKDF as in RFC 5869, case 3`() {
        let key = Cryptography.hkdfSHA256(secret: [UInt8](repeating: 0x0b, count: 22), info: [], length: 42)
        let expected =
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
            + "9d201395faa4b61a96c8"
        #expect(hex(key) == expected)
    }

    @Test func `equality in constant time is equality`() {
        #expect(Cryptography.constantTimeEqual([1, 2, 3], [1, 2, 3]))
        #expect(!Cryptography.constantTimeEqual([1, 2, 3], [1, 2, 4]))
        #expect(!Cryptography.constantTimeEqual([1, 2, 3], [1, 2]))
        #expect(Cryptography.constantTimeEqual([], []))
    }

    /// Made with Python's hmac for the key and OpenSSL's GMAC for the tag.
    @Test(arguments: [
        (UInt64(4), UInt64(7), 16384, "26b5129622fa0050fb47ecd57666e11e"),
        (UInt64(1000), UInt64(0), 16384, "05657d53dad988a154a221c15a003361"),
        (UInt64(1048576), UInt64(8589934592), 100, "c282f69b6ff9e03361cce6c7ccc755f8"),
        (UInt64(1099511627776), UInt64(3), 1, "ed9a05b67e203a3753ce1f8626a8f7e2"),
    ])
    func `block tags are those that OpenSSL makes`(
        golden: (stream: UInt64, block: UInt64, length: Int, tag: String)
    ) {
        let tagger = BlockTagger(joinSecret: Array(0..<32), stream: StreamID(golden.stream))
        let bytes = (0..<golden.length).map { UInt8($0 % 251) }
        let tag = unsafe bytes.withUnsafeBytes { unsafe tagger.tag(block: golden.block, $0) }
        let words = [tag.high, tag.low].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
        }
        #expect(hex(words) == golden.tag)
    }

    @Test func `a tag depends on secret, stream, block and every byte`() {
        func tag(_ secret: UInt8, _ stream: UInt64, _ block: UInt64, _ byte: UInt8) -> BlockTag {
            let tagger = BlockTagger(
                joinSecret: [UInt8](repeating: secret, count: 32), stream: StreamID(stream))
            var bytes = [UInt8](repeating: 0, count: 16_384)
            bytes[9_999] = byte
            return unsafe bytes.withUnsafeBytes { unsafe tagger.tag(block: block, $0) }
        }
        let tags = [tag(1, 0, 0, 0), tag(2, 0, 0, 0), tag(1, 2, 0, 0), tag(1, 0, 1, 0), tag(1, 0, 0, 1)]
        #expect(Set(tags).count == tags.count)
        #expect(tag(1, 0, 0, 0) == tags[0])
    }
}

@Suite struct AddressTests {
    @Test func `only whole IPv4 and IPv6 addresses are taken`() {
        let four: [UInt8] = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        let six = [10, 0] + [UInt8](repeating: 1, count: 26)
        #expect(SocketAddressBytes(four)?.bytes == four)
        #expect(SocketAddressBytes(six)?.bytes == six)
        #expect(SocketAddressBytes(four + [1, 2, 3])?.bytes == four)
        #expect(SocketAddressBytes(Array(four.dropLast())) == nil)
        #expect(SocketAddressBytes(Array(six.dropLast())) == nil)
        #expect(SocketAddressBytes([1, 0] + four.dropFirst(2)) == nil)
        #expect(SocketAddressBytes([]) == nil)
    }
}
