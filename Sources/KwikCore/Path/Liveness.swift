/// Tells whether a path still answers (protocol.md §2). It times the last *packet*, never the last stream
/// byte: loss stalls in-order delivery, and a lossy path is not a dead one.
///
/// `active → suspect` when nothing was heard for longer than the round trip explains since the later of the
/// last packet and the probe; `suspect → active` on any packet; `suspect → failed` after max(5 s, 3·PTO).
struct Liveness {
    private(set) var state: PathState = .active
    /// When the path last became suspect.
    private(set) var suspectSince = Instant.never
    /// When the probe was sent whose answer did not come; not before its patience, should we have slept.
    private var unansweredSince = Instant.never

    private(set) var lastHeard: Instant
    /// The probe that waits for an answer.
    private var probeSent: Instant?

    init(now: Instant) { lastHeard = now }

    enum Step {
        case none
        case probe
        case suspect
        case failed
    }

    /// Returns whether the path was suspect and is active again.
    mutating func heard(now: Instant) -> Bool {
        lastHeard = now
        probeSent = nil
        guard state == .suspect else { return false }
        state = .active
        suspectSince = .never
        unansweredSince = .never
        return true
    }

    /// - Parameter every: how long a silence calls for a probe.
    mutating func check(every: Interval, sample: PathSample, now: Instant) -> Step {
        switch state {
        case .active:
            guard let probe = probeSent else {
                guard now >= lastHeard + every else { return .none }
                probeSent = now
                return .probe
            }
            guard now > probe + Self.patience(sample) else { return .none }
            state = .suspect
            suspectSince = now
            unansweredSince = now - Self.patience(sample)
            probeSent = now
            return .suspect
        case .suspect:
            if now > suspectSince + max(Tuning.failAtLeast, sample.probeTimeout * 3) {
                state = .failed
                return .failed
            }
            // More often than before: the first that gets through brings the link back.
            guard let probe = probeSent, now >= probe + min(every / 2, Self.patience(sample)) else {
                return .none
            }
            probeSent = now
            return .probe
        case .connecting, .failed, .closed:
            return .none
        }
    }

    func deadline(every: Interval, sample: PathSample) -> Instant {
        let patience = Self.patience(sample) + .microseconds(1)
        switch state {
        case .active:
            return probeSent.map { $0 + patience } ?? lastHeard + every
        case .suspect:
            let failure = suspectSince + max(Tuning.failAtLeast, sample.probeTimeout * 3) + .microseconds(1)
            return min(failure, (probeSent ?? suspectSince) + min(every / 2, patience))
        case .connecting, .failed, .closed:
            return .never
        }
    }

    /// Since when there should have been an answer on the way; `now` where none is awaited.
    func silentSince(now: Instant) -> Instant { min(unansweredSince, now) }

    /// max(50 ms, srtt + 4·rttvar + max_ack_delay).
    static func patience(_ sample: PathSample) -> Interval {
        max(Tuning.suspectAtLeast, sample.srtt + sample.rttVariation * 4 + Tuning.maximumAckDelay)
    }
}
