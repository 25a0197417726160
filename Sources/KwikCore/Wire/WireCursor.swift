/// Reads fields one after the other. `nil`: the bytes end before the field does.
///
/// Lives no longer than the buffer that it was made with.
@safe
struct WireCursor {
    private let bytes: UnsafeRawBufferPointer
    private(set) var position: Int

    init(_ bytes: UnsafeRawBufferPointer, from position: Int = 0) {
        precondition(position >= 0 && position <= bytes.count, "position outside the buffer")
        unsafe self.bytes = bytes
        self.position = position
    }

    var remaining: Int { unsafe bytes.count - position }

    mutating func varint() -> UInt64? { unsafe Varint.decode(bytes, at: &position) }

    mutating func byte() -> UInt8? { fixed(UInt8.self) }

    /// 4 bytes, big-endian.
    mutating func word32() -> UInt32? { fixed(UInt32.self).map(UInt32.init(bigEndian:)) }

    /// 8 bytes, big-endian.
    mutating func word64() -> UInt64? { fixed(UInt64.self).map(UInt64.init(bigEndian:)) }

    mutating func array(_ count: Int) -> [UInt8]? {
        guard count <= remaining else { return nil }
        defer { position += count }
        return unsafe Array(bytes[position..<(position + count)])
    }

    private mutating func fixed<Word: FixedWidthInteger & BitwiseCopyable>(_: Word.Type) -> Word? {
        guard MemoryLayout<Word>.size <= remaining else { return nil }
        defer { position += MemoryLayout<Word>.size }
        return unsafe bytes.loadUnaligned(fromByteOffset: position, as: Word.self)
    }
}

/// Writes fields one after the other, or only counts their bytes when it has no destination: so that one
/// function both measures and writes a frame.
@safe
struct WireOutput {
    private let destination: UnsafeMutableRawPointer?
    private(set) var count = 0

    /// Counts only.
    init() { unsafe destination = nil }

    /// Writes over the bytes of `slice`, which must have room for all that is written.
    init(over slice: ChunkSlice) { unsafe destination = slice.chunk.base + slice.offset }

    mutating func varint(_ value: UInt64) {
        if let destination = unsafe destination { unsafe Varint.encode(value, to: destination + count) }
        count += Varint.length(of: value)
    }

    mutating func byte(_ value: UInt8) { fixed(value) }

    /// 4 bytes, big-endian.
    mutating func word32(_ value: UInt32) { fixed(value.bigEndian) }

    /// 8 bytes, big-endian.
    mutating func word64(_ value: UInt64) { fixed(value.bigEndian) }

    mutating func array(_ values: [UInt8]) {
        if let destination = unsafe destination {
            let room = unsafe UnsafeMutableRawBufferPointer(start: destination + count, count: values.count)
            unsafe room.copyBytes(from: values)
        }
        count += values.count
    }

    private mutating func fixed<Word: FixedWidthInteger & BitwiseCopyable>(_ word: Word) {
        if let destination = unsafe destination {
            unsafe destination.storeBytes(of: word, toByteOffset: count, as: Word.self)
        }
        count += MemoryLayout<Word>.size
    }
}
