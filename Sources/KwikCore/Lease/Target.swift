// Streams that are slower than their paths: told, and what can be tried is tried.

/// Bytes of one direction, counted while the network is what limits it.
struct TargetWatch {
    private var since: (at: Instant, count: UInt64)?

    /// Bytes per second, at the end of each `Tuning.targetTime` without a break.
    /// - Parameter count: so far; nil: something else than the network limits it now.
    mutating func rate(_ count: UInt64?, now: Instant) -> Double? {
        guard let count else {
            since = nil
            return nil
        }
        guard let begun = since else {
            since = (now, count)
            return nil
        }
        guard now >= begun.at + Tuning.targetTime else { return nil }
        since = (now, count)
        return Double(count - begun.count) / (now - begun.at).seconds
    }
}

extension ClientSession {
    /// Compares the stream's rate over 5 s with its share of what its paths showed that they can. Only while
    /// there is more to be had: a backend or a program that is slow is nobody's fault here.
    func watchDownstream(_ stream: ClientStream, now: Instant) {
        let isWatched = isNetworkLimited(stream) && stream.trial?.resting == nil
        guard let rate = stream.downWatch.rate(isWatched ? stream.down.front : nil, now: now) else { return }
        var total = 0.0
        for path in paths where path.isActive && stream.allows(path) {
            guard path.server == stream.primary || stream.part(of: path.server) != nil else { continue }
            total += path.estimate
        }
        let target = total * share(of: stream, among: awake.filter(isNetworkLimited))
        guard rate < target * Tuning.targetShare else { return }
        let remedy: TargetRemedy = stream.parked.contains { $0.until != nil } ? .unparked : .none
        stream.unpark(now: .never)
        tellBelow(stream, isUpstream: false, rate, target, remedy)
    }

    /// The same of what the program writes, in bytes on the wire, as congestion windows count them.
    func watchUpstream(_ stream: ClientStream, now: Instant) {
        let count = isUpstreamLimited(stream) ? stream.upAcknowledged : nil
        guard let plain = stream.upWatch.rate(count, now: now) else { return }
        let rate = plain / stream.compressibility.ratio
        let total = upstreamPaths(stream).reduce(0) { $0 + $1.sendRate }
        let target = total * share(of: stream, among: sending.filter(isUpstreamLimited))
        if rate < target * Tuning.targetShare { tellBelow(stream, isUpstream: true, rate, target, .none) }
    }

    private func tellBelow(
        _ stream: ClientStream, isUpstream: Bool, _ rate: Double, _ target: Double, _ remedy: TargetRemedy
    ) {
        event(
            .belowTarget(
                stream.id, isUpstream: isUpstream, rate: UInt64(rate), target: UInt64(target), remedy))
    }

    /// There is something to send that the primary's backend would take.
    private func isUpstreamLimited(_ stream: ClientStream) -> Bool {
        stream.upstreamWaiting > 0 && stream.up.produced - stream.upAcknowledged >= Tuning.upstreamBulk
    }

    /// The backend is ahead, and the program takes what comes.
    func isNetworkLimited(_ stream: ClientStream) -> Bool {
        stream.progress > stream.down.front + Tuning.bulkBytes
            && stream.down.unread < (stream.granted - stream.down.read) / 2
    }

    /// The stream's part of what it shares with the others that are as busy, by their weights.
    private func share(of stream: ClientStream, among busy: [ClientStream]) -> Double {
        let others = busy.reduce(0) { $1 === stream ? $0 : $0 + $1.options.weight }
        return Double(stream.options.weight) / Double(stream.options.weight + others)
    }
}
