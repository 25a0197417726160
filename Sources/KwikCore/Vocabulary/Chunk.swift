/// A piece of memory that is written once and then shared: what is handed to a transport stays in place until
/// the transport has had it acknowledged and drops its reference.
///
/// Not `Sendable`: a chunk lives on the event-loop thread that made it.
@safe
public final class Chunk {
    public let base: UnsafeMutableRawPointer
    public let capacity: Int

    public init(capacity: Int) {
        unsafe base = .allocate(byteCount: capacity, alignment: 64)
        self.capacity = capacity
    }

    deinit { unsafe base.deallocate() }
}

/// A range of a chunk. Holding it keeps the chunk alive.
public struct ChunkSlice {
    public let chunk: Chunk
    public private(set) var offset: Int
    public private(set) var count: Int

    public init(_ chunk: Chunk, offset: Int, count: Int) {
        precondition(offset >= 0 && count >= 0 && offset + count <= chunk.capacity, "slice outside its chunk")
        self.chunk = chunk
        self.offset = offset
        self.count = count
    }

    /// A chunk of its own with a copy of `bytes`.
    public init(copying bytes: UnsafeRawBufferPointer) {
        let chunk = Chunk(capacity: max(bytes.count, 1))
        if let source = bytes.baseAddress, bytes.count > 0 {
            unsafe chunk.base.copyMemory(from: source, byteCount: bytes.count)
        }
        self.init(chunk, offset: 0, count: bytes.count)
    }

    /// Valid while the chunk is alive.
    public var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: chunk.base + offset, count: count)
    }

    /// Takes the first `length` bytes off.
    public mutating func removeFirst(_ length: Int) {
        precondition(length >= 0 && length <= count, "more removed than there is")
        offset += length
        count -= length
    }

    public func prefix(_ length: Int) -> ChunkSlice {
        ChunkSlice(chunk, offset: offset, count: min(length, count))
    }
}
