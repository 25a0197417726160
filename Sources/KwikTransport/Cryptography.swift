internal import CGnuTLS

/// The few primitives that control plane and data plane need beside QUIC's own.
public enum Cryptography {
    /// RFC 2104 with SHA-256: 32 bytes.
    public static func hmacSHA256(_ key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        unsafe filled(32) { out in
            unsafe gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key.count, message, message.count, out)
        }
    }

    public static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        unsafe filled(32) { out in unsafe gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, bytes.count, out) }
    }

    /// RFC 5869 with SHA-256 and no salt. `length`: 1 ... 8,160 bytes.
    public static func hkdfSHA256(secret: [UInt8], info: [UInt8], length: Int) -> [UInt8] {
        precondition((1...255 * 32).contains(length), "HKDF gives 1 ... 8160 bytes")
        var extracted = unsafe filled(32) { out in
            unsafe withDatum(secret) { secret in
                var secret = unsafe secret
                var salt = unsafe gnutls_datum_t(data: nil, size: 0)
                return unsafe gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &secret, &salt, out)
            }
        }
        defer { erase(&extracted) }
        return unsafe filled(length) { out in
            unsafe withDatum(extracted) { key in
                unsafe withDatum(info) { info in
                    var key = unsafe key
                    var info = unsafe info
                    return unsafe gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &key, &info, out, length)
                }
            }
        }
    }

    /// Takes the same time wherever two arrays of equal length differ.
    public static func constantTimeEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        unsafe left.count == right.count && gnutls_memcmp(left, right, left.count) == 0
    }

    static func erase(_ secret: inout [UInt8]) {
        unsafe secret.withUnsafeMutableBytes { bytes in
            if let base = bytes.baseAddress { unsafe gnutls_memset(base, 0, bytes.count) }
        }
    }

    static func random(_ count: Int) -> [UInt8] {
        unsafe filled(count) { out in unsafe gnutls_rnd(GNUTLS_RND_RANDOM, out, count) }
    }

    /// The primitives fail only if the library is broken or refuses its own algorithm: no answer may go on
    /// then.
    private static func filled(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Int32) -> [UInt8] {
        var status: Int32 = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            if let base = buffer.baseAddress {
                unsafe base.initialize(repeating: 0, count: count)
                status = unsafe body(UnsafeMutableRawPointer(base))
            }
            initialized = count
        }
        precondition(status == 0, "a cryptographic primitive failed")
        return bytes
    }
}

/// `body` must not write through the datum: the C type has no const.
func withDatum<Result>(_ bytes: [UInt8], _ body: (gnutls_datum_t) -> Result) -> Result {
    unsafe bytes.withUnsafeBufferPointer { buffer in
        let data = unsafe UnsafeMutablePointer(mutating: buffer.baseAddress)
        return unsafe body(gnutls_datum_t(data: data, size: UInt32(buffer.count)))
    }
}
