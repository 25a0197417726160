/// A point on the monotonic clock, in nanoseconds since an arbitrary origin (the same unit as
/// `ngtcp2_tstamp`).
///
/// The core never reads a clock: whoever drives it passes the time in.
public struct Instant: Hashable, Comparable, Sendable {
    public var nanoseconds: UInt64

    @inlinable
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// Later than every instant that a run can reach.
    public static let never = Instant(nanoseconds: .max)

    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Saturates at `never` and at zero.
    @inlinable
    public static func + (left: Instant, right: Interval) -> Instant {
        if left.nanoseconds == .max { return .never }
        if right.nanoseconds >= 0 {
            let (sum, overflow) = left.nanoseconds.addingReportingOverflow(UInt64(right.nanoseconds))
            return overflow ? .never : Instant(nanoseconds: sum)
        }
        let back = right.nanoseconds.magnitude
        return Instant(nanoseconds: left.nanoseconds > back ? left.nanoseconds - back : 0)
    }

    @inlinable
    public static func - (left: Instant, right: Interval) -> Instant {
        left + Interval(nanoseconds: -right.nanoseconds)
    }

    /// The time from `right` to `left`; negative if `left` is earlier.
    @inlinable
    public static func - (left: Instant, right: Instant) -> Interval {
        Interval(nanoseconds: Int64(clamping: left.nanoseconds) - Int64(clamping: right.nanoseconds))
    }
}

/// A length of time in nanoseconds. May be negative.
public struct Interval: Hashable, Comparable, Sendable {
    public var nanoseconds: Int64

    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable
    public init(seconds: Double) { nanoseconds = Int64(max(-9.0e9, min(9.0e9, seconds)) * 1e9) }

    public static let zero = Interval(nanoseconds: 0)

    @inlinable
    public static func microseconds(_ count: Int64) -> Interval { Interval(nanoseconds: count * 1_000) }
    @inlinable
    public static func milliseconds(_ count: Int64) -> Interval { Interval(nanoseconds: count * 1_000_000) }
    @inlinable
    public static func seconds(_ count: Int64) -> Interval { Interval(nanoseconds: count * 1_000_000_000) }

    @inlinable
    public var seconds: Double { Double(nanoseconds) * 1e-9 }
    @inlinable
    public var milliseconds: Double { Double(nanoseconds) * 1e-6 }

    @inlinable
    public static func < (left: Interval, right: Interval) -> Bool { left.nanoseconds < right.nanoseconds }
    @inlinable
    public static func + (left: Interval, right: Interval) -> Interval {
        Interval(nanoseconds: left.nanoseconds + right.nanoseconds)
    }
    @inlinable
    public static func - (left: Interval, right: Interval) -> Interval {
        Interval(nanoseconds: left.nanoseconds - right.nanoseconds)
    }
    @inlinable
    public static func * (left: Interval, right: Int64) -> Interval {
        Interval(nanoseconds: left.nanoseconds * right)
    }
    @inlinable
    public static func / (left: Interval, right: Int64) -> Interval {
        Interval(nanoseconds: left.nanoseconds / right)
    }
}
