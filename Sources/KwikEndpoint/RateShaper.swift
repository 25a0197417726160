public import KwikCore

/// Keeps what a process sends, or forwards for one client, at or below a rate: a token bucket over datagram
/// payload bytes.
public struct RateShaper {
    /// Bytes per second.
    public let rate: UInt64
    private let depth: Double
    private var tokens: Double
    private var refilledAt: Instant

    /// So long may sending pause and be made up for: the loop's own jitter, no more.
    static let burst = Interval.milliseconds(8)
    /// A smaller bucket could not hold one batch of segments.
    static let smallestDepth = 24_000.0

    public init(rate: UInt64, now: Instant) {
        precondition(rate > 0, "a rate of nothing")
        self.rate = rate
        depth = max(Double(rate) * Self.burst.seconds, Self.smallestDepth)
        tokens = depth
        refilledAt = now
    }

    /// Bytes that may be sent now; negative right after the last datagram overshot.
    public mutating func available(now: Instant) -> Int {
        if now > refilledAt {
            tokens = min(depth, tokens + Double(rate) * (now - refilledAt).seconds)
            refilledAt = now
        }
        return Int(tokens)
    }

    public mutating func spend(_ bytes: Int) { tokens -= Double(bytes) }

    /// When `bytes` may be sent at once.
    public func instant(for bytes: Int) -> Instant {
        let missing = Double(bytes) - tokens
        return missing <= 0 ? refilledAt : refilledAt + Interval(seconds: missing / Double(rate))
    }
}
