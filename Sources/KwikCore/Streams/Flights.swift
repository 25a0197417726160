/// Which bytes of one stream went out on which path and are not acknowledged yet, and which of them are to go
/// out once more (protocol.md §4). Acknowledged is what lies below the contiguous offset that the receiver
/// tells, so a piece beyond a hole counts as in flight although it may have arrived.
struct Flights {
    struct Piece {
        var range: ByteRange
        var path: PathID
        /// When its acknowledgement is expected.
        var due: Instant
        /// It was late and went out once more, or is about to.
        var repeated = false
    }

    /// In the order in which they were sent.
    private(set) var pieces: [Piece] = []
    /// Lost with their path, or late: to be sent on a path that has no copy of them in flight.
    private(set) var again = RangeSet()

    var isEmpty: Bool { pieces.isEmpty && again.isEmpty }

    /// Whether all that is not acknowledged is on its way on this path.
    func areOnly(on path: PathID) -> Bool { again.isEmpty && pieces.allSatisfy { $0.path == path } }

    mutating func sent(_ range: ByteRange, on path: PathID, due: Instant) {
        again.remove(range)
        if let last = pieces.indices.last, pieces[last].path == path, pieces[last].range.end == range.start,
            pieces[last].range.count + range.count <= Self.merged, !pieces[last].repeated
        {
            pieces[last].range.end = range.end
            pieces[last].due = due
        } else {
            pieces.append(Piece(range: range, path: path, due: due))
        }
    }

    /// Small writes don't make a long list.
    private static let merged = Block.size

    mutating func acknowledged(_ offset: UInt64) {
        pieces.removeAll { $0.range.end <= offset }
        if let first = again.first, first.start < offset { again.remove(ByteRange(0, offset)) }
    }

    /// The path is silent or gone: what only it had goes out again.
    mutating func withdraw(_ path: PathID) {
        for piece in pieces where piece.path == path { again.insert(piece.range) }
        pieces.removeAll { $0.path == path }
        for piece in pieces { again.remove(piece.range) }
    }

    /// What `path` is to send once more: the lowest range of which it has no copy in flight itself.
    func next(on path: PathID) -> ByteRange? {
        for range in again.ranges {
            var start = range.start
            for piece in pieces where piece.path == path && piece.range.start <= start {
                start = max(start, piece.range.end)
            }
            if start < range.end { return ByteRange(start, range.end) }
        }
        return nil
    }

    /// Pieces that hold up the acknowledgement from `offset` on and whose own is overdue by `patience` go out
    /// once more (XLINK's reinjection); so many at a time.
    mutating func repeatLate(from offset: UInt64, patience: Interval, limit: Int, now: Instant) -> UInt64 {
        guard let head = pieces.first(where: { $0.range.start <= offset && offset < $0.range.end }) else {
            return 0
        }
        var count = 0
        var bytes: UInt64 = 0
        for index in pieces.indices where count < limit {
            let piece = pieces[index]
            guard piece.path == head.path, !piece.repeated, now > piece.due + patience else { continue }
            pieces[index].repeated = true
            again.insert(ByteRange(max(piece.range.start, offset), piece.range.end))
            count += 1
            bytes += piece.range.count
        }
        return bytes
    }

    /// When the next piece is overdue.
    func deadline(patience: Interval) -> Instant? {
        pieces.first { !$0.repeated }.map { $0.due + patience }
    }
}
