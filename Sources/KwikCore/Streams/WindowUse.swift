/// What a gateway's window of its backend's bytes was good for. All in bytes.
struct WindowUse {
    /// Sent by lease.
    private(set) var leased: UInt64 = 0
    /// Of those, what the backend had given before the lease came: the read-ahead's hits.
    private(set) var ahead: UInt64 = 0
    /// Sent before on some channel, and once more without the backend being asked: the retained window's
    /// hits.
    private(set) var again: UInt64 = 0
    private var known = RangeSet()

    /// - Parameter produced: where the backend was when the lease came by which the range goes; nil: it goes
    /// by none.
    mutating func sent(_ range: ByteRange, leasedAt produced: UInt64?) {
        again += known.intersection(range).reduce(0) { $0 + $1.count }
        known.insert(range)
        guard let produced else { return }
        leased += range.count
        ahead += min(range.end, max(produced, range.start)) - range.start
    }

    /// The client has read up to there.
    mutating func forget(before offset: UInt64) {
        if let first = known.first, first.start < offset { known.remove(ByteRange(first.start, offset)) }
    }
}
