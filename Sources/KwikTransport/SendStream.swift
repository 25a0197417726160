internal import CNgtcp2
internal import KwikCore

/// Our half of one stream: the slices from the first unacknowledged byte on.
///
/// Slices stay until acknowledged or until the stream closes, even after a reset: the library may still
/// send a lost frame again, from where its bytes lie.
final class SendStream {
    let id: Int64
    /// [0, first): released. [first, cursor): handed to the library. [cursor, end): not yet.
    private var slices: [ChunkSlice?] = []
    private var first = 0
    /// Stream offset of the first byte of `slices[first]`, and of the byte behind its last one: `max` if
    /// there is no such slice.
    private var firstOffset: UInt64 = 0
    private var firstEnd = UInt64.max
    private var cursor = 0
    /// Bytes of `slices[cursor]` that were handed over.
    private var cursorTaken = 0
    /// Bytes not yet handed over.
    private(set) var unsent = 0
    private var finishing = false
    /// No more is to be handed over: FIN is, or the half was reset.
    private(set) var isShut = false
    /// Out of the stream's own flow-control credit.
    var isBlocked = false
    /// Of the ready queue.
    var isQueued = false
    var next: SendStream?

    init(id: Int64) { self.id = id }

    var isReady: Bool { !isShut && !isBlocked && (unsent > 0 || finishing) }
    var takesBytes: Bool { !isShut && !finishing }

    func append(_ slice: ChunkSlice) {
        slices.append(slice)
        if firstEnd == .max { firstEnd = firstOffset + UInt64(slice.count) }
        unsent += slice.count
    }

    func finish() { finishing = true }

    /// Drops what was not handed over. Returns how many bytes that was.
    func shut() -> Int {
        isShut = true
        defer { unsent = 0 }
        return unsent
    }

    /// Points `vectors` at the next bytes, up to `limit` of them. `last`: they end the stream.
    func gather(
        _ vectors: UnsafeMutablePointer<ngtcp2_vec>, capacity: Int, limit: Int
    ) -> (count: Int, bytes: Int, last: Bool) {
        var count = 0
        var bytes = 0
        var skipped = cursorTaken
        var index = cursor
        while count < capacity, bytes < limit, index < slices.count {
            guard let slice = slices[index] else { preconditionFailure("an unsent slice was released") }
            let address = unsafe slice.chunk.base + (slice.offset + skipped)
            let length = min(slice.count - skipped, limit - bytes)
            unsafe vectors[count] = unsafe ngtcp2_vec(
                base: address.assumingMemoryBound(to: UInt8.self), len: length)
            bytes += length
            count += 1
            index += 1
            skipped = 0
        }
        return (count, bytes, finishing && bytes == unsent)
    }

    /// The library took the next `count` bytes, and FIN if `last`.
    func took(_ count: Int, last: Bool) {
        unsent -= count
        cursorTaken += count
        while cursor < slices.count, let length = slices[cursor]?.count, cursorTaken >= length {
            cursorTaken -= length
            cursor += 1
        }
        if last { isShut = true }
    }

    /// Every byte below `offset` is acknowledged.
    func acknowledged(below offset: UInt64) {
        if offset < firstEnd { return }
        while first < cursor, firstEnd <= offset {
            firstOffset = firstEnd
            slices[first] = nil
            first += 1
            let next = first < slices.count ? slices[first] : nil
            firstEnd = next.map { firstOffset + UInt64($0.count) } ?? .max
        }
        // Amortized: each slice is moved at most once for each one that left.
        if first >= 32, first * 2 >= slices.count {
            slices.removeFirst(first)
            cursor -= first
            first = 0
        }
    }
}

/// What a batch of datagrams takes from one stream: pointed at once, handed to the library datagram by
/// datagram, and told to the stream when the batch or its turn is over.
@safe
struct StreamSupply {
    private(set) var stream: SendStream?
    /// The vectors not taken yet, the first from its first byte not taken on.
    private(set) var next: UnsafeMutablePointer<ngtcp2_vec>
    private(set) var count = 0
    private var bytes = 0
    /// The stream's half ends with these bytes.
    private var isLast = false
    /// Other streams may have something for the next datagram.
    private(set) var isShared = false
    private(set) var taken = 0
    /// The library has taken all, and FIN.
    private(set) var isFinished = false

    /// None of any stream. `vectors`: room for what `take` points at.
    init(vectors: UnsafeMutablePointer<ngtcp2_vec>) { unsafe next = vectors }

    mutating func take(_ stream: SendStream, capacity: Int, limit: Int, isShared: Bool) {
        (count, bytes, isLast) = unsafe stream.gather(next, capacity: capacity, limit: limit)
        self.stream = stream
        self.isShared = isShared
    }

    /// Nothing is left to hand over, not even FIN.
    var isEmpty: Bool { bytes == 0 && (!isLast || isFinished) }

    var id: Int64 { stream?.id ?? -1 }

    var flags: UInt32 {
        if stream == nil { return 0 }
        return NGTCP2_WRITE_STREAM_FLAG_MORE | (isLast ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0)
    }

    mutating func took(_ length: Int) {
        taken += length
        bytes -= length
        isFinished = isLast && bytes == 0
        var rest = length
        while rest > 0 {
            let piece = min(rest, unsafe next.pointee.len)
            unsafe next.pointee.base += piece
            unsafe next.pointee.len -= piece
            rest -= piece
            if unsafe next.pointee.len == 0 {
                unsafe next += 1
                count -= 1
            }
        }
    }
}

/// First in, first out; a stream is in it at most once.
struct ReadyQueue {
    private(set) var head: SendStream?
    private var tail: SendStream?

    mutating func append(_ stream: SendStream) {
        guard !stream.isQueued else { return }
        stream.isQueued = true
        if let tail { tail.next = stream } else { head = stream }
        tail = stream
    }

    mutating func removeHead() {
        guard let stream = head else { return }
        head = stream.next
        if head == nil { tail = nil }
        stream.next = nil
        stream.isQueued = false
    }

    /// Breaks the chain, so that freeing a long one does not recurse.
    mutating func removeAll() {
        while head != nil { removeHead() }
    }
}
