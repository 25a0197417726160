/// The sending end of one direction of a stream: its bytes from where the receiver has read to where the
/// local socket is. In the words of the gateway, where that socket is the backend's:
///
/// Bytes enter once, from the socket straight into blocks of memory that line up with the stream's blocks,
/// and leave as slices of them. Invariants:
/// 1. Every byte in [`heldFrom`, `produced`) is held; `heldFrom` is a block's start, so every held block is
///    whole from its start.
/// 2. Bytes below `heldFrom` that the backend has yet to give are discarded unseen; none of them that the sum
///    covers are below it.
/// 3. A block's memory is freed once `read` passes its end and those of the few that share it; slices that a
///    transport still holds outlive it.
@safe
public struct SendWindow {
    /// Where the next backend bytes go.
    @safe
    public enum Room {
        /// Nowhere: the window is full, or the backend has ended.
        case none
        /// Into these bytes of the current block, and those behind it; valid until the window changes.
        case buffer(UnsafeMutableRawBufferPointer)
        /// They are of no use: so many at most are to be read and dropped.
        case discard(Int)
    }

    private struct Slot {
        /// `nil` once freed.
        var chunk: Chunk?
        /// Where the block begins in it.
        var offset: Int
        /// Not the own sender's any more (protocol.md §3, CARVED).
        var carved = false
    }

    /// What the client has read.
    public private(set) var read: UInt64 = 0
    /// How far the client lets us send.
    public private(set) var maximum: UInt64
    /// What the backend has given.
    public private(set) var produced: UInt64 = 0
    /// The first byte held, or to be held once the backend gives it; a block's start.
    public private(set) var heldFrom: UInt64 = 0
    /// Whether the backend gives no more.
    public private(set) var ended = false
    /// Bytes that were dropped unseen.
    public private(set) var discarded: UInt64 = 0

    /// From `head` on: the blocks from `heldFrom` on.
    private var slots: [Slot] = []
    private var head = 0
    private let blockSum: (UInt64, UnsafeRawBufferPointer) -> UInt64
    /// Where the sum of FIN begins; `nil` at a replica, which sends no FIN.
    public private(set) var sumBase: UInt64?
    /// Up to where the sum goes so far: a block's start, or the base.
    private var summed: UInt64 = 0
    private var sum: UInt64 = 0
    /// For each time that a stream has given so much it gets memory for one block more at once, up to so
    /// many, so that one read takes more: a sixteenth of what it gave at most.
    private static let bulk: UInt64 = 262_144
    private static let bulkBlocks: UInt64 = 16
    /// Bytes that one `Room.discard` asks for at most.
    private static let discardStep: UInt64 = 1_048_576

    /// - Parameters:
    ///   - maximum: what may be sent before the client's first WINDOW.
    ///   - sumsFromStart: whether FIN's sum is kept from offset 0 on.
    public init(integrity: Integrity, maximum: UInt64, sumsFromStart: Bool) {
        unsafe blockSum = integrity.blockSum
        self.maximum = maximum
        sumBase = sumsFromStart ? 0 : nil
    }

    /// Bytes of block memory held.
    public var memory: Int { (slots.count - head) * Int(Block.size) }

    // MARK: From the client

    /// The client's WINDOW. Offsets that went back are late copies and change nothing.
    public mutating func grant(read newRead: UInt64, maximum newMaximum: UInt64) {
        maximum = max(maximum, newMaximum)
        guard newRead > read else { return }
        read = newRead
        drop()
    }

    /// How many bytes have yet to be discarded to follow a client that has read up to `offset`.
    public func discardNeeded(toRead offset: UInt64) -> UInt64 {
        let target = max(heldFrom, Block.roundDown(min(offset, keptForSum)))
        return target > produced ? target - produced : 0
    }

    /// Bytes from here on are needed for the sum, read or not.
    private var keptForSum: UInt64 {
        guard let sumBase else { return .max }
        return max(produced, sumBase)
    }

    private mutating func drop() {
        let target = Block.roundDown(min(read, keptForSum))
        guard target > heldFrom else { return }
        let count = min(Int((target - heldFrom) / Block.size), slots.count - head)
        heldFrom = target
        head += count
        if head * 2 > slots.count {
            slots.removeFirst(head)
            head = 0
        } else {
            for index in (head - count)..<head { slots[index].chunk = nil }
        }
    }

    // MARK: From the backend

    /// Where the next backend bytes go, up to `limit`.
    public mutating func room(upTo limit: UInt64) -> Room {
        if ended { return .none }
        if produced < heldFrom {
            return .discard(Int(min(heldFrom - produced, SendWindow.discardStep)))
        }
        guard produced < limit else { return .none }
        if head + Int((produced - heldFrom) / Block.size) == slots.count { appendSlots() }
        let (chunk, offset) = current
        let count = min(UInt64(chunk.capacity - offset), limit - produced)
        return unsafe .buffer(
            UnsafeMutableRawBufferPointer(start: chunk.base + offset, count: Int(count)))
    }

    private mutating func appendSlots() {
        let count = Int(min(max(produced / Self.bulk, 1), Self.bulkBlocks))
        let chunk = Chunk(capacity: count * Int(Block.size))
        for index in 0..<count { slots.append(Slot(chunk: chunk, offset: index * Int(Block.size))) }
    }

    /// Where the next byte goes.
    private var current: (chunk: Chunk, offset: Int) {
        let slot = slots[head + Int((produced - heldFrom) / Block.size)]
        guard let chunk = slot.chunk else { preconditionFailure("block freed before it was filled") }
        return (chunk, slot.offset + Int(produced % Block.size))
    }

    /// The backend gave `count` bytes into what `room` showed last.
    public mutating func filled(_ count: Int) {
        precondition(count >= 0 && !ended, "bytes after the end")
        if count == 0 { return }
        if produced < heldFrom {
            precondition(UInt64(count) <= heldFrom - produced, "more discarded than asked")
            discarded += UInt64(count)
            produced += UInt64(count)
            return
        }
        let (chunk, offset) = current
        precondition(count <= chunk.capacity - offset, "more filled than shown")
        produced += UInt64(count)
        sumWholeBlocks()
        drop()
    }

    /// The backend gives no more.
    public mutating func end() { ended = true }

    // MARK: Sums

    /// Begins FIN's sum anew.
    ///
    /// - Precondition: `base` is not below `heldFrom`.
    public mutating func beginSum(at base: UInt64) {
        precondition(base >= heldFrom, "sum over bytes that are gone")
        sumBase = base
        summed = base
        sum = 0
        sumWholeBlocks()
    }

    private mutating func sumWholeBlocks() {
        guard sumBase != nil else { return }
        while Block.roundDown(summed) + Block.size <= produced {
            let end = Block.roundDown(summed) + Block.size
            sum &+= unsafe blockSum(summed, bytes(ByteRange(summed, end)))
            summed = end
        }
    }

    /// Σ XXH3-64(block, seed = offset) over [`sumBase`, `produced`) (protocol.md §6).
    ///
    /// - Precondition: there is a base, not past `produced`.
    public var sumToProduced: UInt64 {
        precondition(sumBase.map { $0 <= produced } ?? false, "no sum is kept")
        if summed >= produced { return sum }
        return unsafe sum &+ blockSum(summed, bytes(ByteRange(summed, produced)))
    }

    // MARK: Reading out

    /// A range of one held block; valid while it is held.
    public func bytes(_ range: ByteRange) -> UnsafeRawBufferPointer {
        unsafe slice(range).bytes
    }

    /// A range of one held block.
    public func slice(_ range: ByteRange) -> ChunkSlice {
        precondition(range.start >= heldFrom && range.end <= produced, "bytes that are not held")
        let slot = slots[head + Int((range.start - heldFrom) / Block.size)]
        guard let chunk = slot.chunk else { preconditionFailure("block freed while it is held") }
        let offset = slot.offset + Int(range.start % Block.size)
        return ChunkSlice(chunk, offset: offset, count: Int(range.count))
    }

    // MARK: Carving

    /// Carves out those blocks of `range` that are complete (or the short last one once the backend ended),
    /// start at or after `begun`, and are not carved yet. Appends them to `granted`, adjacent ones as one
    /// range, as long as there are no more than `WireLimit.ranges`.
    public mutating func carve(_ range: ByteRange, begun: UInt64, into granted: inout [ByteRange]) {
        var start = Block.roundUp(max(range.start, begun, heldFrom))
        let wanted = min(range.end, produced)
        while start < wanted {
            let end = min(start + Block.size, produced)
            guard end <= wanted, end == start + Block.size || ended else { return }
            let index = head + Int((start - heldFrom) / Block.size)
            if !slots[index].carved {
                if let last = granted.last, last.end == start {
                    granted[granted.count - 1].end = end
                } else {
                    guard granted.count < WireLimit.ranges else { return }
                    granted.append(ByteRange(start, end))
                }
                slots[index].carved = true
            }
            start += Block.size
        }
    }

    /// Carves out the longest run of blocks at the end of `range` that start at or after `begun` and are not
    /// carved yet. Empty: none, or `range` does not end where a block does or the stream.
    public mutating func carveEnd(of range: ByteRange, begun: UInt64) -> ByteRange {
        let isWhole = range.end % Block.size == 0 || (ended && range.end == produced)
        var start = range.end
        guard isWhole, range.end <= produced else { return ByteRange(start, start) }
        let lowest = max(range.start, Block.roundUp(max(begun, heldFrom)))
        while start > lowest {
            let block = Block.roundDown(start - 1)
            let index = head + Int((block - heldFrom) / Block.size)
            if block < lowest || slots[index].carved { break }
            slots[index].carved = true
            start = block
        }
        return ByteRange(start, range.end)
    }

    /// Carves out the whole blocks of `range` that can be, within what the client lets us send, and leaves
    /// them out of the sum.
    public mutating func delegate(_ range: ByteRange, begun: UInt64) -> [ByteRange] {
        let end = Block.roundDown(min(range.end, produced, maximum))
        var granted: [ByteRange] = []
        guard range.start < end else { return granted }
        carve(ByteRange(range.start, end), begun: begun, into: &granted)
        for range in granted {
            for block in Block.index(of: range.start)..<Block.index(of: range.end) {
                let start = Block.start(of: block)
                sum &-= unsafe blockSum(start, bytes(ByteRange(start, start + Block.size)))
            }
        }
        return granted
    }

    /// Where the own sender goes on from `offset`: past what the client has read, and past carved blocks.
    public func nextOwn(from offset: UInt64) -> UInt64 {
        var next = max(offset, read)
        while next >= heldFrom, next < produced,
            slots[head + Int((next - heldFrom) / Block.size)].carved
        {
            next = Block.roundDown(next) + Block.size
        }
        return next
    }

    /// All blocks are the own sender's again.
    public mutating func forgetCarved() {
        for index in head..<slots.count { slots[index].carved = false }
    }
}
