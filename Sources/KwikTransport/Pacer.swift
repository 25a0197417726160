internal import KwikCore

/// Spreads what a path sends over its round trip (RFC 9002 §7.7): a bucket that fills with a multiple of a
/// congestion window in each. The library's own pacer lets go whatever is due within a millisecond, so that a
/// whole window of retransmissions left at once, and was lost again at the bottleneck.
struct Pacer {
    /// Bytes; below zero by what the last batch took too much.
    private var credit = 0.0
    private var filledAt = Instant(nanoseconds: 0)
    /// Bytes per second, and bytes that may leave back to back.
    private var rate = 0.0
    private var depth = 0.0

    /// The window doubles in a round trip of slow start; else a fifth more than it, to make use of it all.
    private static let slowStartGain = 2.0
    private static let gain = 1.25
    /// What leaves back to back: a millisecond's worth, and a few datagrams at least; in slow start as many
    /// as a connection may begin with (RFC 9002 §7.7). 20 KB over 50 Mbit/s and 20 ms: 50 ms and not 53.
    private static let burstTime = 0.001
    private static let leastBurst = 4.0
    private static let firstBurst = 10.0
    /// Over a shorter round trip acknowledgements come as often as a timer could fire: nothing is paced.
    static let leastRoundTrip = Interval.milliseconds(1)

    /// Takes the state of congestion control.
    mutating func fill(window: UInt64, srtt: Interval, isSlowStart: Bool, datagram: Int, now: Instant) {
        rate = Double(window) / max(srtt.seconds, 0.000_001) * (isSlowStart ? Self.slowStartGain : Self.gain)
        let least = isSlowStart ? Self.firstBurst : Self.leastBurst
        depth = max(rate * Self.burstTime, least * Double(datagram))
        credit = min(credit + rate * max((now - filledAt).seconds, 0), depth)
        filledAt = now
    }

    /// Bytes that may leave now; the last datagram may exceed them.
    var room: Int { Int(credit.rounded(.up)) }

    mutating func sent(_ bytes: Int) { credit -= Double(bytes) }

    /// When half a burst may leave: later than a byte may, so that batches stay batches.
    var ready: Instant {
        let missing = max(depth / 2 - credit, 0)
        return filledAt + Interval(nanoseconds: Int64((missing / max(rate, 1) * 1e9).rounded(.up)))
    }
}
