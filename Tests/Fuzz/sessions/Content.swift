/// The bytes of every stream, either way, and what is made of them: as simple as can be.
enum Content {
    static func byte(at offset: UInt64) -> UInt8 {
        UInt8(truncatingIfNeeded: (offset &* 2_654_435_761) >> 13)
    }

    static func bytes(_ range: ByteRange) -> [UInt8] {
        // Of where most streams are, ready.
        guard range.end > beginning.count else { return Array(beginning[Int(range.start)..<Int(range.end)]) }
        return (range.start..<range.end).map { byte(at: $0) }
    }

    static func isContent(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        let expected = Self.bytes(ByteRange(offset, offset + UInt64(bytes.count)))
        // Byte by byte would take most of the time.
        return unsafe expected.withUnsafeBytes { unsafe hash(0, $0) == hash(0, bytes) }
    }

    private static let beginning = (0..<80 * Block.size).map { byte(at: $0) }

    static var integrity: Integrity {
        unsafe Integrity(
            // Of pieces that come whole, as all here do.
            crc32c: { before, bytes in unsafe UInt32(truncatingIfNeeded: hash(UInt64(before), bytes)) },
            blockSum: { seed, bytes in unsafe hash(seed, bytes) })
    }

    static func crc(_ bytes: [UInt8]) -> UInt32 {
        unsafe UInt32(truncatingIfNeeded: bytes.withUnsafeBytes { unsafe hash(0, $0) })
    }

    /// FIN's, over the range.
    static func sum(_ range: ByteRange) -> UInt64 {
        var sum: UInt64 = 0
        var start = range.start
        while start < range.end {
            let end = min(Block.roundDown(start) + Block.size, range.end)
            unsafe bytes(ByteRange(start, end)).withUnsafeBytes { unsafe sum &+= hash(start, $0) }
            start = end
        }
        return sum
    }

    /// The same for all streams. The last block may be short.
    static func tag(_ block: UInt64, end: UInt64 = .max) -> BlockTag {
        let start = Block.start(of: block)
        let bytes = bytes(ByteRange(start, min(start + Block.size, end)))
        return unsafe bytes.withUnsafeBytes { unsafe tag(StreamID(0), block, $0) }
    }

    static func tag(_: StreamID, _ block: UInt64, _ bytes: UnsafeRawBufferPointer) -> BlockTag {
        unsafe BlockTag(high: block, low: hash(block, bytes))
    }

    /// A piece that says which bytes it stands for: eight bytes of offset, and two of a count.
    static var codec: Codec {
        unsafe Codec(
            compress: { _, _ in nil },
            decompress: { input, output in
                guard input.count == 10 else { return nil }
                let offset = unsafe input[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                let count = unsafe min(Int(input[8]) << 8 | Int(input[9]), output.count)
                for index in 0..<count { unsafe output[index] = byte(at: offset &+ UInt64(index)) }
                return count
            })
    }

    static func compressed(_ range: ByteRange) -> [UInt8] {
        let offset = (0..<8).map { UInt8(truncatingIfNeeded: range.start >> (56 - 8 * UInt64($0))) }
        return offset + [UInt8(range.count >> 8 & 255), UInt8(range.count & 255)]
    }

    /// FNV-1a's step.
    private static func step(_ hash: UInt64, _ part: UInt64) -> UInt64 {
        (hash ^ part) &* 0x100_0000_01B3 &+ 1
    }

    /// Eight bytes at a time.
    private static func hash(_ seed: UInt64, _ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = seed
        let whole = bytes.count & ~7
        for place in stride(from: 0, to: whole, by: 8) {
            hash = unsafe step(hash, bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            hash ^= hash >> 29
        }
        for place in whole..<bytes.count { hash = unsafe step(hash, UInt64(bytes[place])) }
        return hash
    }
}
