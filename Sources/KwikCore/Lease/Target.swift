// Streams that are slower than their paths: told, and what can be tried is tried.

extension ClientSession {
    /// Compares the stream's rate over 5 s with its share of what its paths showed that they can. Only while
    /// there is more to be had: a backend or a program that is slow is nobody's fault here.
    func watchTarget(_ stream: ClientStream, now: Instant) {
        guard isNetworkLimited(stream), stream.trial?.resting == nil else {
            stream.targetSince = nil
            return
        }
        guard let since = stream.targetSince else {
            stream.targetSince = (now, stream.down.front)
            return
        }
        guard now >= since.at + Tuning.targetTime else { return }
        stream.targetSince = (now, stream.down.front)
        let rate = Double(stream.down.front - since.front) / (now - since.at).seconds
        let target = targetRate(stream)
        guard rate < target * Tuning.targetShare else { return }
        let remedy: TargetRemedy = stream.parked.contains { $0.until != nil } ? .unparked : .none
        stream.unpark(now: .never)
        event(.belowTarget(stream.id, rate: UInt64(rate), target: UInt64(target), remedy))
    }

    /// The backend is ahead, and the program takes what comes.
    func isNetworkLimited(_ stream: ClientStream) -> Bool {
        stream.progress > stream.down.front + Tuning.bulkBytes
            && stream.down.unread < (stream.granted - stream.down.read) / 2
    }

    /// Bytes per second of all paths that the stream may use, shared with the other streams that are busy.
    private func targetRate(_ stream: ClientStream) -> Double {
        var total = 0.0
        for path in paths where path.isActive && stream.allows(path) {
            guard path.server == stream.primary || stream.part(of: path.server) != nil else { continue }
            total += path.estimate
        }
        let busy = awake.reduce(0) { $0 + ($1 === stream || isNetworkLimited($1) ? 1 : 0) }
        return total / Double(max(busy, 1))
    }
}
