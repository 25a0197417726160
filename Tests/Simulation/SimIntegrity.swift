public import KwikCore

/// The pure functions that the core is given, of the simulation's own: fast enough, deterministic, not for
/// use.
public enum SimIntegrity {
    /// CRC32C proper (its running form must not depend on how the bytes are cut), eight bytes a step.
    public static func make() -> Integrity {
        let tables = castagnoli()
        return unsafe Integrity(
            crc32c: { start, bytes in unsafe crc(tables, start, bytes) },
            blockSum: { seed, bytes in unsafe mix(seed, bytes) })
    }

    /// One that tells how many bytes are put through it.
    static func make(telling: @escaping (Int) -> Void) -> Integrity {
        let plain = make()
        return unsafe Integrity(
            crc32c: { start, bytes in
                telling(bytes.count)
                return unsafe plain.crc32c(start, bytes)
            },
            blockSum: { seed, bytes in
                telling(bytes.count)
                return unsafe plain.blockSum(seed, bytes)
            })
    }

    /// Of a gateway that says a wrong sum of the blocks whose own is among `falsehoods`.
    static func make(_ falsehoods: Falsehoods) -> Integrity {
        var integrity = make()
        unsafe integrity.blockSum = { seed, bytes in
            let sum = unsafe mix(seed, bytes)
            return falsehoods.sums.contains(sum) ? ~sum : sum
        }
        return integrity
    }

    /// Keyed by the session's secret: only those who know `key` can make it.
    public static func tagger(key: UInt64) -> Tagger {
        return { stream, block, bytes in
            let base = Chance.mix(key ^ Chance.mix(stream.value &+ 1)) ^ Chance.mix(block &+ 77)
            return unsafe BlockTag(high: mix(base, bytes), low: mix(~base, bytes))
        }
    }

    /// Word-wise multiply and rotate; a byte anywhere changes it.
    public static func mix(_ seed: UInt64, _ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var state = seed ^ (UInt64(bytes.count) &* 0x9e37_79b9_7f4a_7c15)
        var place = 0
        while place + 8 <= bytes.count {
            let word = unsafe bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            state = (state ^ word) &* 0x9fb2_1c65_1e98_df25
            state ^= state >> 29
            place += 8
        }
        while place < bytes.count {
            state = unsafe (state ^ UInt64(bytes[place])) &* 0x100_0000_01b3
            place += 1
        }
        return Chance.mix(state)
    }

    private static func castagnoli() -> [UInt32] {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for index in 0..<256 {
            var value = UInt32(index)
            for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0x82f6_3b78 : value >> 1 }
            tables[index] = value
        }
        for index in 0..<256 {
            for table in 1..<8 {
                let before = tables[(table - 1) * 256 + index]
                tables[table * 256 + index] = (before >> 8) ^ tables[Int(before & 0xff)]
            }
        }
        return tables
    }

    private static func crc(_ tables: [UInt32], _ start: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        unsafe tables.withUnsafeBufferPointer { table in
            var value = ~start
            var place = 0
            while place + 8 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self) ^ UInt64(value)
                value = unsafe table[1_792 + Int(word & 0xff)] ^ table[1_536 + Int((word >> 8) & 0xff)]
                value =
                    unsafe value ^ table[1_280 + Int((word >> 16) & 0xff)]
                    ^ table[1_024 + Int((word >> 24) & 0xff)]
                value =
                    unsafe value ^ table[768 + Int((word >> 32) & 0xff)]
                    ^ table[512 + Int((word >> 40) & 0xff)]
                value = unsafe value ^ table[256 + Int((word >> 48) & 0xff)] ^ table[Int(word >> 56)]
                place += 8
            }
            while place < bytes.count {
                value = unsafe (value >> 8) ^ table[Int((value ^ UInt32(bytes[place])) & 0xff)]
                place += 1
            }
            return ~value
        }
    }
}
