/// How fast a path delivers, measured at the receiver by its datagrams (algorithm.md: BBR's filter over
/// MSPlayer's measured rate): up at once, down slowly and only on samples that show what the path can do.
struct RateEstimator {
    /// Bytes per second; nil before the first sample.
    private(set) var estimate: Double?
    /// The highest rate over a whole window so far.
    private(set) var peak = 0.0
    /// Doubling still: the rate of the last round is no bound yet.
    private(set) var startingUp = true

    private var arrivals: [Arrival] = []
    private var head = 0
    /// Bytes of the arrivals from `head` on.
    private var total: UInt64 = 0
    private var roundEnd = Instant(nanoseconds: 0)
    private var roundBest = 0.0
    private var flatRounds = 0
    private var busySince: Instant?
    private var updatedAt = Instant(nanoseconds: 0)

    /// Bytes gathered over one bucket of time, so that the list stays short at any rate.
    private struct Arrival {
        var at: Instant
        var bytes: UInt64
    }

    /// A peer that answers late shall not have us keep, and count, arrivals without end.
    private static let longestWindow = Interval.seconds(2)
    private static let bucket = Interval.milliseconds(2)
    private static let decay = Interval.milliseconds(200)
    private static let shortestSpan = Interval.milliseconds(10)
    private static let growth = 1.25
    private static let roundsToFlat = 3

    func rate(srtt: Interval) -> Double {
        estimate ?? 2 * Tuning.initialCongestionWindow / max(srtt.seconds, 0.001)
    }

    /// - Parameters:
    ///   - outstanding: bytes asked of the path and not yet here.
    ///   - limited: whether application or window held the path back.
    mutating func received(_ count: UInt64, srtt: Interval, outstanding: UInt64, limited: Bool, now: Instant)
    {
        record(count, now: now)
        let window = Self.window(srtt)
        expire(before: now - window)
        let first = arrivals[head].at
        let span = min(window, max(now - first, Self.shortestSpan))
        // What came first took its time before it was here.
        let measured = Double(total - arrivals[head].bytes) / span.seconds
        let starved = Double(outstanding) < 0.9 * rate(srtt: srtt) * srtt.seconds || limited
        // While nothing came it was dark, and not slow.
        if now - updatedAt > window { busySince = nil }
        if starved { busySince = nil } else if busySince == nil { busySince = now }
        // The first bytes say less than what a new connection is known to send.
        let old = rate(srtt: srtt)
        if now - first >= window * 9 / 10 { peak = max(peak, measured) }
        if measured > old, now - first >= max(Self.shortestSpan, srtt) {
            estimate = measured
        } else if let since = busySince, now - since > window {
            let elapsed = min((now - updatedAt).seconds / Self.decay.seconds, 1)
            estimate = old + elapsed * (Double(total) / window.seconds - old)
        }
        updatedAt = now
        endRound(srtt: srtt, now: now)
    }

    /// The path gets work after it had none: its next bytes say nothing of the time before, and no more than
    /// others' first ones of what it can do.
    mutating func resumes() { busySince = nil }

    /// The rate of the last max(50 ms, 2·srtt), but never above the estimate.
    func recent(srtt: Interval, now: Instant) -> Double {
        let window = min(max(Interval.milliseconds(50), srtt * 2), Self.longestWindow)
        return min(rate(srtt: srtt), Double(sum(from: now - window)) / window.seconds)
    }

    /// What the path delivers just now, if it had work `since` then: the estimate, unless it had time enough
    /// to show otherwise.
    func current(srtt: Interval, since: Instant, now: Instant) -> Double {
        let window = min(max(Interval.milliseconds(50), srtt * 2), Self.longestWindow)
        guard now - since > window + srtt else { return rate(srtt: srtt) }
        return recent(srtt: srtt, now: now)
    }

    private static func window(_ srtt: Interval) -> Interval {
        min(max(.milliseconds(100), srtt * 2), longestWindow)
    }

    private mutating func record(_ count: UInt64, now: Instant) {
        total += count
        if let last = arrivals.indices.last, last >= head, now - arrivals[last].at < Self.bucket {
            arrivals[last].bytes += count
        } else {
            arrivals.append(Arrival(at: now, bytes: count))
        }
    }

    private mutating func expire(before instant: Instant) {
        while head < arrivals.count - 1, arrivals[head].at < instant {
            total -= arrivals[head].bytes
            head += 1
        }
        if head > 64 {
            arrivals.removeFirst(head)
            head = 0
        }
    }

    private func sum(from instant: Instant) -> UInt64 {
        var total: UInt64 = 0
        var index = arrivals.count
        while index > head, arrivals[index - 1].at >= instant {
            index -= 1
            total += arrivals[index].bytes
        }
        return total
    }

    private mutating func endRound(srtt: Interval, now: Instant) {
        guard startingUp, now >= roundEnd else { return }
        roundEnd = now + max(srtt, Self.shortestSpan)
        let current = estimate ?? 0
        if current >= roundBest * Self.growth {
            roundBest = current
            flatRounds = 0
        } else {
            flatRounds += 1
            startingUp = flatRounds < Self.roundsToFlat
        }
    }
}
