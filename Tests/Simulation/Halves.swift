internal import KwikCore

/// Our half of a channel: what is queued, what was sent, what the peer acknowledged.
struct SendHalf {
    private var queue = Fifo<ChunkSlice>()
    /// Bytes queued and not yet in any packet.
    private(set) var unsent = 0
    private(set) var nextOffset: UInt64 = 0
    private(set) var isFinishQueued = false
    private(set) var isFinishSent = false
    private(set) var isReset = false
    private var isFinishAcknowledged = false
    private var isResetAcknowledged = false
    private var acknowledged = RangeSet()
    /// The channel stands in the connection's round robin.
    var isScheduled = false
    var hasBytes = false

    var hasWork: Bool { !isReset && (unsent > 0 || (isFinishQueued && !isFinishSent)) }

    var isDone: Bool {
        isReset ? isResetAcknowledged : isFinishAcknowledged && acknowledged.prefixEnd(from: 0) >= nextOffset
    }

    mutating func append(_ slice: ChunkSlice) {
        guard !isReset else { return }
        hasBytes = true
        unsent += slice.count
        if slice.count > 0 { queue.append(slice) }
    }

    mutating func finish() {
        hasBytes = true
        isFinishQueued = true
    }

    mutating func reset() {
        isReset = true
        queue.removeAll()
        unsent = 0
    }

    /// The next bytes, at most `room`, or an empty slice with the end of the half.
    mutating func take(_ room: Int) -> (offset: UInt64, slice: ChunkSlice, finished: Bool)? {
        guard hasWork else { return nil }
        let offset = nextOffset
        guard var slice = queue.first else {
            isFinishSent = true
            return (offset, ChunkSlice(Chunk(capacity: 1), offset: 0, count: 0), true)
        }
        let part = slice.prefix(room)
        if part.count == slice.count {
            _ = queue.removeFirst()
        } else {
            slice.removeFirst(part.count)
            queue.replaceFirst(slice)
        }
        unsent -= part.count
        nextOffset += UInt64(part.count)
        let finished = isFinishQueued && unsent == 0
        if finished { isFinishSent = true }
        return (offset, part, finished)
    }

    mutating func acknowledge(offset: UInt64, count: Int, finished: Bool) {
        acknowledged.insert(ByteRange(offset, offset + UInt64(count)))
        if finished { isFinishAcknowledged = true }
    }

    mutating func acknowledgeReset() { isResetAcknowledged = true }
}

/// The peer's half: puts pieces in order.
struct ReceiveHalf {
    private(set) var next: UInt64 = 0
    private var waiting: [(offset: UInt64, slice: ChunkSlice)] = []
    private var final: UInt64?
    /// Everything was handed on, or nothing more is wanted.
    private(set) var isDone = false

    /// Bytes that wait for earlier ones.
    var held: Int { waiting.reduce(0) { $0 + $1.slice.count } }

    mutating func end() {
        isDone = true
        waiting = []
    }

    mutating func add(_ offset: UInt64, _ slice: ChunkSlice, finished: Bool) {
        guard !isDone else { return }
        if finished { final = offset + UInt64(slice.count) }
        guard offset + UInt64(slice.count) > next, slice.count > 0 else { return }
        var place = waiting.count
        while place > 0, waiting[place - 1].offset > offset { place -= 1 }
        waiting.insert((offset, slice), at: place)
    }

    /// The next bytes in order; nil when some are missing. At the end of the half an empty slice may come.
    mutating func take() -> (slice: ChunkSlice, finished: Bool)? {
        guard !isDone else { return nil }
        while let first = waiting.first {
            guard first.offset <= next else { return nil }
            waiting.removeFirst()
            let known = Int(next - first.offset)
            guard known < first.slice.count else { continue }
            var slice = first.slice
            slice.removeFirst(known)
            next += UInt64(slice.count)
            isDone = final == next
            return (slice, isDone)
        }
        guard final == next else { return nil }
        isDone = true
        return (ChunkSlice(Chunk(capacity: 1), offset: 0, count: 0), true)
    }
}
