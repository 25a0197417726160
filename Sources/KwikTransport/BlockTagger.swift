internal import CGnuTLS
public import KwikCore

/// Makes the tags of one stream's downstream blocks (protocol.md §6): AES-128-GCM with the block as
/// associated data and no plaintext. The key is HKDF-SHA-256(join secret, "kwik/3 block tag" ‖ stream id as
/// a varint), the nonce the direction (4 bytes, 0: downstream) ‖ the block's index (8 bytes, big-endian): a
/// block must be tagged with its final bytes only.
@safe
public final class BlockTagger {
    private let cipher: gnutls_aead_cipher_hd_t

    public init(joinSecret: [UInt8], stream: StreamID) {
        precondition(stream.value < 1 << 62, "stream id beyond 62 bits")
        let info = Array("kwik/3 block tag".utf8) + Self.varint(stream.value)
        var key = Cryptography.hkdfSHA256(secret: joinSecret, info: info, length: 16)
        defer { Cryptography.erase(&key) }
        var made: gnutls_aead_cipher_hd_t?
        let status = unsafe withDatum(key) { datum in
            var datum = unsafe datum
            return unsafe gnutls_aead_cipher_init(&made, GNUTLS_CIPHER_AES_128_GCM, &datum)
        }
        guard status == 0, let made = unsafe made else { preconditionFailure("AES-128-GCM is missing") }
        unsafe cipher = unsafe made
    }

    deinit { unsafe gnutls_aead_cipher_deinit(cipher) }

    /// `bytes`: the whole block, or the short last one of a stream that ended.
    public func tag(block: UInt64, _ bytes: UnsafeRawBufferPointer) -> BlockTag {
        var nonce: (UInt32, UInt32, UInt32) = (
            0, UInt32(truncatingIfNeeded: block >> 32).bigEndian, UInt32(truncatingIfNeeded: block).bigEndian
        )
        var tag: (UInt64, UInt64) = (0, 0)
        var length = 16
        let status = unsafe gnutls_aead_cipher_encrypt(
            cipher, &nonce, 12, bytes.baseAddress, bytes.count, 16, nil, 0, &tag, &length)
        precondition(status == 0 && length == 16, "AES-128-GCM failed")
        return BlockTag(high: UInt64(bigEndian: tag.0), low: UInt64(bigEndian: tag.1))
    }

    /// RFC 9000 §16.
    private static func varint(_ value: UInt64) -> [UInt8] {
        let (length, prefix): (Int, UInt8) =
            value < 1 << 6 ? (1, 0) : value < 1 << 14 ? (2, 0x40) : value < 1 << 30 ? (4, 0x80) : (8, 0xc0)
        var bytes = (0..<length).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64(length - 1 - $0))) }
        bytes[0] |= prefix
        return bytes
    }
}
