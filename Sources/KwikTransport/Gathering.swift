/// Where the bytes that a batch of datagrams brings for one stream come together, so that the sink hears of
/// them once and not for each datagram: what it does with a call costs several times what the copy does.
///
/// One serves all connections of a loop: it is empty between two calls of `receive`.
@safe
public final class Gathering {
    private let memory: UnsafeMutableRawPointer
    private(set) var stream: Int64 = -1
    private(set) var count = 0

    /// What the kernel joins at most, so that a batch always fits.
    private static let capacity = 65_536

    public init() { unsafe memory = .allocate(byteCount: Self.capacity, alignment: 64) }

    deinit { unsafe memory.deallocate() }

    /// False, and nothing is taken: the bytes are another stream's than those there are, or too many.
    func append(_ stream: Int64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard count == 0 || stream == self.stream, bytes.count <= Self.capacity - count else { return false }
        self.stream = stream
        if let source = bytes.baseAddress {
            unsafe (memory + count).copyMemory(from: source, byteCount: bytes.count)
        }
        count += bytes.count
        return true
    }

    /// The bytes that were gathered, valid until more are.
    func takeAll() -> UnsafeRawBufferPointer {
        defer { count = 0 }
        return unsafe UnsafeRawBufferPointer(start: memory, count: count)
    }
}
