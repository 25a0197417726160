internal import KwikCore

/// How much of the time a loop has work to do.
struct WorkMeter {
    private var idle: Interval
    private var since: Instant

    /// Over so long it is measured, at least.
    private static let window = Interval.milliseconds(100)

    init(idle: Interval, now: Instant) {
        self.idle = idle
        since = now
    }

    /// The share of the time since the last answer in which the loop did not wait, 0 ... 1; nil: too early to
    /// tell.
    ///
    /// - Parameter idle: how long it has waited in all.
    mutating func share(idle: Interval, now: Instant) -> Double? {
        let elapsed = now - since
        guard elapsed >= Self.window else { return nil }
        let waited = idle - self.idle
        self.idle = idle
        since = now
        return min(max(1 - waited.seconds / elapsed.seconds, 0), 1)
    }
}
