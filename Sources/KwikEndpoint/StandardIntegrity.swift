internal import CIsal
internal import CXXHash
public import KwikCore

extension Integrity {
    /// CRC32C by isa-l, XXH3-64 by xxhash: both faster than memory.
    public static var standard: Integrity {
        unsafe Integrity(
            crc32c: { sum, bytes in
                guard let base = bytes.baseAddress, bytes.count > 0 else { return sum }
                // isa-l's function neither inverts its start nor its end (RFC 3720 §B.4 does both).
                let mutable = unsafe UnsafeMutablePointer(mutating: base.assumingMemoryBound(to: UInt8.self))
                return ~(unsafe crc32_iscsi(mutable, Int32(bytes.count), ~sum))
            },
            blockSum: { seed, bytes in
                guard let base = bytes.baseAddress, bytes.count > 0 else { return 0 }
                return unsafe kwik_xxh3_64(base, bytes.count, seed)
            })
    }
}
