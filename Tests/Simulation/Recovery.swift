internal import KwikCore

/// A packet that was sent and is neither acknowledged nor given up.
struct SentPacket {
    var number: UInt64
    var sentAt: Instant
    var size: Int
    var pieces: [Piece]
}

/// Round-trip time, loss detection and a NewReno congestion window (RFC 9002, with a decrease of 0.7).
struct Recovery {
    private(set) var srtt: Interval
    private(set) var variation: Interval
    private(set) var latest: Interval
    private(set) var window: Double
    private(set) var inFlight = 0
    private(set) var backoff = 0
    private var threshold = Double.infinity
    private var recoveryStart = Instant(nanoseconds: 0)
    private var sent: [SentPacket?] = []
    /// Packet number of `sent[0]`.
    private var base: UInt64 = 0
    private var largestAcknowledged: UInt64?
    private var lastSentAt = Instant(nanoseconds: 0)

    static let packet = Double(PacketLimit.payload)
    static let maximumAckDelay = Interval.milliseconds(10)

    init(roundTrip: Interval) {
        srtt = roundTrip
        variation = roundTrip / 2
        latest = roundTrip
        window = 10 * Recovery.packet
    }

    var room: Int { Int(window) - inFlight }
    var isSlowStart: Bool { window < threshold }

    var probeTimeout: Interval { srtt + max(variation * 4, .milliseconds(1)) + Recovery.maximumAckDelay }

    /// When a packet counts as lost, or a probe is due.
    var deadline: Instant? {
        guard inFlight > 0 else { return nil }
        var deadline = lastSentAt + probeTimeout * Int64(1 << min(backoff, 10))
        if let largestAcknowledged, let first = sent.first(where: { $0 != nil }) ?? nil,
            first.number < largestAcknowledged
        {
            deadline = min(deadline, first.sentAt + lossDelay)
        }
        return deadline
    }

    private var lossDelay: Interval { Interval(nanoseconds: max(srtt, latest).nanoseconds / 8 * 9) }

    mutating func onSent(_ packet: SentPacket) {
        if sent.isEmpty { base = packet.number }
        while base + UInt64(sent.count) < packet.number { sent.append(nil) }
        sent.append(packet)
        inFlight += packet.size
        lastSentAt = packet.sentAt
    }

    /// Returns what was newly acknowledged and, after it, what is lost.
    mutating func onAcknowledgement(
        _ ranges: [ByteRange], now: Instant
    ) -> (acknowledged: [SentPacket], lost: [SentPacket]) {
        var acknowledged: [SentPacket] = []
        guard let largest = ranges.last.map({ $0.end - 1 }) else { return ([], []) }
        for range in ranges where range.end > base {
            let end = min(range.end, base + UInt64(sent.count))
            var number = max(range.start, base)
            while number < end {
                if let packet = sent[Int(number - base)] {
                    acknowledged.append(packet)
                    sent[Int(number - base)] = nil
                }
                number += 1
            }
        }
        guard !acknowledged.isEmpty else { return ([], []) }
        if let newest = acknowledged.last, newest.number == largest { measure(now - newest.sentAt) }
        largestAcknowledged = max(largestAcknowledged ?? 0, largest)
        backoff = 0
        let wasLimited = Double(inFlight) > window * 0.7 || room < PacketLimit.payload
        for packet in acknowledged {
            inFlight -= packet.size
            if wasLimited, packet.sentAt > recoveryStart { grow(Double(packet.size)) }
        }
        let lost = takeLost(now: now)
        trim()
        return (acknowledged, lost)
    }

    /// Lost packets by time; empty when the deadline means a probe instead.
    mutating func onDeadline(now: Instant) -> [SentPacket] {
        let lost = takeLost(now: now)
        trim()
        if lost.isEmpty { backoff += 1 }
        return lost
    }

    /// What a probe repeats.
    var oldest: SentPacket? { sent.first(where: { $0 != nil }) ?? nil }

    private mutating func measure(_ roundTrip: Interval) {
        latest = max(roundTrip, .microseconds(1))
        let difference = Interval(nanoseconds: abs(srtt.nanoseconds - latest.nanoseconds))
        variation = (variation * 3 + difference) / 4
        srtt = (srtt * 7 + latest) / 8
    }

    private mutating func grow(_ bytes: Double) {
        window += isSlowStart ? bytes : Recovery.packet * bytes / window
        window = min(window, 32_000_000)
    }

    private mutating func takeLost(now: Instant) -> [SentPacket] {
        guard let largestAcknowledged else { return [] }
        var lost: [SentPacket] = []
        for index in sent.indices {
            guard let packet = sent[index] else { continue }
            guard packet.number < largestAcknowledged else { break }
            guard packet.number + 3 <= largestAcknowledged || packet.sentAt + lossDelay <= now else {
                continue
            }
            lost.append(packet)
            sent[index] = nil
            inFlight -= packet.size
        }
        guard let newest = lost.last else { return [] }
        if newest.sentAt > recoveryStart {
            recoveryStart = now
            window = max(window * 0.7, 2 * Recovery.packet)
            threshold = window
            // Persistent congestion (RFC 9002 §7.6), roughly.
            if newest.sentAt - lost[0].sentAt > probeTimeout * 3 { window = 2 * Recovery.packet }
        }
        return lost
    }

    private mutating func trim() {
        var empty = 0
        while empty < sent.count, sent[empty] == nil { empty += 1 }
        guard empty > 64 || empty == sent.count else { return }
        sent.removeFirst(empty)
        base += UInt64(empty)
    }
}
