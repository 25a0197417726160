internal import KwikCore

/// How long acknowledgements wait for further datagrams: an eighth of what comes in a round trip. The other
/// end's congestion control lives on them: in each round of its slow start it sends nothing before the first
/// one, so what that waits for is lost once in each round, and the library's HyStart wants eight samples of
/// the round trip in each. More of them cost both ends a datagram (RFC 9000 §13.2.2).
///
/// The library acknowledges every second datagram, with whatever it writes: so `write` waits.
struct Acknowledging {
    /// Datagrams that wait for an acknowledgement at most.
    let most: Int
    /// The longest wait (RFC 9000 §13.2.1).
    let longest: Interval
    /// Datagrams since `write` could acknowledge, and when the first of them came.
    private var waiting = 0
    private var since = Instant(nanoseconds: 0)
    /// When this round trip began, what came in it, and in the one before.
    private var roundTrip = leastRoundTrip
    private var roundBegan = Instant(nanoseconds: 0)
    private var round = 0
    private var lastRound = 0
    /// When `write` must be called, if nothing else happens; nil: nothing waits.
    private(set) var due: Instant?

    /// The library's own threshold, the usual one (RFC 9000 §13.2.2).
    static let least = 2
    /// Acknowledgements in a round trip.
    private static let perRoundTrip = 8
    /// A shorter round trip counts as this: acknowledgements then come as often as the loop turns.
    private static let leastRoundTrip = Interval.milliseconds(1)

    init(most: Int, longest: Interval) {
        self.most = most
        self.longest = longest
    }

    /// Datagrams came, acknowledgements alone among them too.
    mutating func came(_ datagrams: Int, now: Instant) {
        nextRound(now)
        if waiting == 0 { since = now }
        waiting += datagrams
        round += datagrams
    }

    /// Whether acknowledgements wait; `due` then says until when.
    mutating func wait(srtt: Interval, now: Instant) -> Bool {
        roundTrip = max(srtt, Self.leastRoundTrip)
        due = nil
        let until = since + min(srtt / Int64(Self.perRoundTrip), longest)
        // A single one waits for the library's timer.
        guard waiting >= Self.least, waiting < threshold, now < until else { return false }
        due = until
        return true
    }

    /// `write` goes ahead, and with it what the library would have acknowledged by now.
    mutating func stopWaiting() {
        if waiting >= Self.least { waiting = 0 }
        due = nil
    }

    private var threshold: Int { min(max(lastRound, round) / Self.perRoundTrip, most) }

    private mutating func nextRound(_ now: Instant) {
        let elapsed = now - roundBegan
        guard elapsed >= roundTrip else { return }
        lastRound = elapsed < roundTrip * 2 ? round : 0
        round = 0
        roundBegan = now
    }
}
