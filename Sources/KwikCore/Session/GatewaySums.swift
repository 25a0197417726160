// SUMREQ: where a replica's bytes stand against ours is for the client to find (protocol.md §6).

/// How many sums a session may still have in this second.
struct SumAllowance {
    private var since = Instant(nanoseconds: 0)
    private var used: UInt64 = 0

    /// Up to `wanted` of `limit` in a second.
    mutating func take(_ wanted: UInt64, of limit: UInt64, now: Instant) -> UInt64 {
        if now >= since + .seconds(1) { (since, used) = (now, 0) }
        let taken = min(wanted, limit - min(used, limit))
        used += taken
        return taken
    }
}

extension GatewaySession {
    /// Answers with the sums from the first block on, as far as they are held and allowed: none if that one
    /// is not.
    func tellSums(
        of first: UInt64, _ count: UInt64, on channel: GatewayChannel, of stream: GatewayStream
    ) throws(ChannelFault) {
        guard !stream.isReplica else { throw .malformed(.notAllowedHere) }
        guard !channel.isFinished else { return }
        let wanted = min(count, limits.sumsPerRequest, stream.window.summable(from: first))
        let allowed = sums.take(wanted, of: limits.sumsPerSecond, now: now)
        var values: [UInt32] = []
        for block in first..<(first + allowed) {
            let start = Block.start(of: block)
            let bytes = unsafe stream.window.bytes(ByteRange(start, start + RollingSum.needed))
            values.append(unsafe RollingSum.sum(bytes))
        }
        send(.sums(firstBlock: first, values), on: channel)
    }
}

extension SendWindow {
    /// How many blocks from the given one on are held as far as a sum needs them.
    fileprivate func summable(from block: UInt64) -> UInt64 {
        guard Block.start(of: block) >= heldFrom, produced >= RollingSum.needed else { return 0 }
        let end = Block.index(of: produced - RollingSum.needed) + 1
        return end - min(block, end)
    }
}
