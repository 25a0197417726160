/// One program socket, as the client's session keeps it.
final class ClientStream {
    let id: StreamID
    /// As they are now; the primary was, or will be, told each.
    var options: SocketOptions
    private let restriction: PathRestriction
    let openedAt: Instant
    /// Nothing refers to it any more: it leaves the list at the end of the turn.
    var released = false

    enum Phase {
        /// No path to a server that may be the primary yet.
        case waiting
        /// OPEN sent.
        case connecting
        case open
        /// Only the channel's end is waited for.
        case lingering(until: Instant)
    }
    var phase = Phase.waiting

    /// The server whose bytes are the truth; fixed when the stream is opened, changed by promotion alone.
    var primary: ServerID?
    /// It took another's place.
    var isPromoted = false
    /// Those before the primary of now.
    var formerPrimaries: Set<ServerID> = []
    /// Where the primary's sum may begin at the earliest.
    var sumFrom: UInt64 = 0
    /// Carries the primary's own DATA, and what we tell the primary; nil while it can't be reached.
    var own: ChannelID?
    /// Further channels to the primary, one per path at most: upstream bytes on more than one path.
    var sides: [ChannelID] = []
    var epoch: UInt64 = 0
    /// How often the primary refused the own channel before it answered.
    var reopened = 0
    /// Since when all the primary's paths are silent or gone.
    var silentSince: Instant?

    // Upstream.

    var up: SendWindow
    /// Sent to the primary, on whichever path.
    var upSent: UInt64 = 0
    var flights = Flights()
    var compressibility = Compressibility()
    /// Bytes that went out once more because they were late.
    var upRepeated: UInt64 = 0
    /// The primary has this much in order.
    var upAcknowledged: UInt64 = 0
    var upMaximum = Tuning.initialWindow
    /// Where a program's SO_SNDBUF counts from: its backend has taken about this much.
    var upTaken: UInt64 = 0
    /// The driver found no room for the program's next bytes.
    var isPaused = false
    /// After an attach: nothing is sent until the primary said where it stands.
    var upAwaitsWindow = false
    /// From where on the last attach asked for the stream.
    var attachedFrom: UInt64 = 0
    var upEnd: UpstreamEnd?
    var finSent = false

    struct UpstreamEnd {
        var closed: Bool
    }

    /// The urgent byte that the primary was told of last.
    var urgentSent: UInt64?
    /// Bytes it may send in this turn (deficit round robin).
    var deficit = 0
    /// Whether it stands in the session's list of streams that may have something to send.
    var isSending = false
    /// Whether it stands in the session's list of streams that the next tick looks at.
    var isAwake = false

    // Downstream.

    var down: Reassembler
    var book = LeaseBook()
    /// The highest offset that the primary itself has sent on its own channel.
    var ownHighest: UInt64 = 0
    /// Where the primary's own sender was taken to be by the time that a CARVE reaches it: a link that slows
    /// down takes nothing of that back.
    var ownBegun: UInt64 = 0
    /// What the primary's backend has produced, by PROGRESS.
    var progress: UInt64 = 0
    var progressEnded = false
    /// When it had produced more than before.
    var progressedAt = Instant(nanoseconds: 0)
    var applicationLimited = false
    var granted = Tuning.initialWindow
    var demand = StreamDemand()
    /// The read offset last told.
    var toldRead: UInt64 = 0
    var fin: Fin?
    var resetAt: (offset: UInt64, errno: Int32)?
    /// The local socket was told the end, or takes nothing more.
    var downDone = false
    /// Every byte up to FIN is here and its sum matches.
    var downWhole = false
    /// Our half of the own channel is complete.
    var ownFinished = false
    /// The primary's half of the own channel is complete: it has all of ours, and FIN.
    var ownEnded = false
    /// The program closed while upstream bytes were still to be sent: they have until then.
    var closing: Instant?
    /// The program reads no more: what comes is discarded.
    var deaf = false
    /// Offsets that follow an upstream write: `Date:` and its like, which replicas have different.
    var reserved = RangeSet()
    var firstData: Instant?
    var urgent = UrgentMark()

    struct Fin {
        var base: UInt64
        var final: UInt64
        var sum: UInt64
        var closed: Bool
    }

    // Replicas.

    /// What servers give of their own, and what of it the primary left to them.
    var contributions: [Contribution] = []
    var delegations: [Delegation] = []

    var parts: [Part] = []
    /// Who has taken the place of a primary that was lost, under that policy.
    var quorum: Quorum?
    /// Its two servers, also when nothing is left to compare.
    var quorumServers: [ServerID] = []
    /// Whether the primary's other paths carry leases.
    var isSpread = false
    var trial: Trial?
    /// Since when it is watched who gives next to nothing.
    var watched: (at: Instant, counts: Counts)?
    /// How often a path that rested was worth its work.
    var timesSettled = 0
    var parked: [ParkedPath] = []
    var downWatch = TargetWatch()
    var upWatch = TargetWatch()
    /// Payload bytes from the primary, duplicates included.
    var primaryReceived: UInt64 = 0
    /// Leases that the primary left unserved.
    var failedLeases = 0

    /// Which of the paths that carry leases are worth their work: what all bring, against what the others
    /// bring without one of them.
    enum Trial {
        /// Just engaged: what comes does not count yet.
        case ramp(until: Instant)
        /// All of them, since then.
        case together(since: Instant, Counts)
        /// One rests: it gets no new leases. Those that it has come in, for so long at most.
        case draining(Rest, until: Instant)
        /// The others, since then, when they had brought `received` bytes; a short look at first, and where
        /// that `confirms` a doubt, time enough for them to take what the one leaves.
        case without(Rest, since: Instant, received: UInt64, confirms: Bool)
        /// They were; asked again then.
        case settled(until: Instant)

        var resting: PathID? {
            switch self {
            case .draining(let rest, _), .without(let rest, _, _, _): rest.path
            case .ramp, .together, .settled: nil
            }
        }
    }

    /// A path that rests, and bytes per second before: of all, and its own.
    struct Rest {
        var path: PathID
        var together: Double
        var gave: Double
    }

    /// A path that carries no leases of this stream.
    struct ParkedPath {
        var path: PathID
        /// nil: no longer.
        var until: Instant?
        var times: Int
    }

    /// Bytes received, at one time.
    struct Counts {
        /// Each once.
        var all: UInt64
        /// On the own channel's path, whatever for.
        var own: UInt64
        var each: [(path: PathID, received: UInt64)]

        /// What came since then; 0 where more came twice than came.
        func since(_ before: Counts) -> UInt64 { all - min(before.all, all) }
    }

    /// What one replica gives to the stream.
    struct Part {
        var server: ServerID
        /// Role 2.
        var channel: ChannelID
        /// Its backend has answered.
        var isOpened = false
        /// What its backend has produced, by PROGRESS.
        var progress: UInt64 = 0
        /// What the primary's backend had produced when it was seen to be ahead, and by when this one is to
        /// have told of as much.
        var due: (progress: UInt64, by: Instant)?
        var upSent: UInt64 = 0
        var upAcknowledged: UInt64 = 0
        var upMaximum = Tuning.initialWindow
        var finSent = false
        var received: UInt64 = 0
        var matched = 0
        var mismatchesInRow = 0
        var mismatches = 0
        var anchor = Anchor()
        var ended: ReplicaEnd?
    }

    init(
        id: StreamID, options: SocketOptions, restriction: PathRestriction, integrity: Integrity, now: Instant
    ) {
        self.id = id
        self.options = options
        self.restriction = restriction
        openedAt = now
        up = SendWindow(integrity: integrity, maximum: .max, sumsFromStart: true)
        down = Reassembler(integrity: integrity)
        down.settleSum(below: 0)
    }

    /// Whether the stream may use the path: its program may have bound its socket.
    func allows(_ name: PathName) -> Bool { restriction.allows(name) }
    func allows(_ path: ClientPath) -> Bool { allows(path.traits.name) }

    /// The servers that may hold copies.
    var servers: [ServerID] { delegations.isEmpty ? parts.map(\.server) : contributors }

    func part(of server: ServerID) -> Int? { parts.firstIndex { $0.server == server } }

    /// The stream's last offset, once the primary's backend has ended.
    var final: UInt64? { fin?.final ?? (progressEnded ? progress : nil) }

    /// The bytes of a block, which is short at the stream's end.
    func range(ofBlock block: UInt64) -> ByteRange {
        let start = Block.start(of: block)
        return ByteRange(start, max(start, min(start + Block.size, final ?? .max)))
    }

    /// Nothing is left to be said in either direction: the primary may have forgotten the stream.
    var isSettled: Bool { ownEnded && finSent && (downWhole || upEnd?.closed == true) }

    func isParked(_ path: PathID) -> Bool { parked.contains { $0.path == path && $0.until != nil } }

    /// Whether it gets no new leases.
    func isLeftOut(_ path: PathID) -> Bool { isParked(path) || trial?.resting == path }

    func unpark(now: Instant) {
        for index in parked.indices {
            if let until = parked[index].until, until <= now { parked[index].until = nil }
        }
    }

    /// Whether more than the own path is at work.
    var isEngaged: Bool { isSpread || parts.contains { $0.ended == nil } }

    /// Upstream bytes that wait to be sent to the primary and may be.
    var upstreamWaiting: UInt64 {
        guard case .open = phase, !upAwaitsWindow, !released else { return 0 }
        let limit = min(up.produced, upMaximum)
        return flights.again.count + (limit > upSent ? limit - upSent : 0)
    }

    /// What they come to, as they have been compressed of late.
    var upstreamWaitingOnWire: UInt64 { UInt64(Double(upstreamWaiting) / compressibility.ratio) }

    /// Whether the end waits to be told to the primary: it goes on the own channel.
    var hasUpstreamEnd: Bool {
        guard case .open = phase, !upAwaitsWindow, !released else { return false }
        return upEnd != nil && !finSent && upSent == up.produced
    }

    /// Whether the path can carry something of what waits for the primary.
    func hasUpstream(on path: PathID) -> Bool {
        guard let channel = upstreamChannel(on: path) else { return false }
        return upstreamWaiting > 0 || (channel == own && hasUpstreamEnd)
    }

    /// What carries upstream bytes on the path.
    func upstreamChannel(on path: PathID) -> ChannelID? {
        if let own, own.path == path { return own }
        return sides.first { $0.path == path }
    }

    /// Whether anything of it may have to be sent, now or once it is late.
    var mayHaveToSend: Bool {
        if released { return false }
        if upstreamWaiting > 0 || hasUpstreamEnd { return true }
        return parts.contains { hasReplay($0) } || (!sides.isEmpty && !flights.isEmpty)
    }

    /// Whether a replica has yet to be told upstream bytes, or their end.
    func hasReplay(_ part: Part) -> Bool {
        guard part.ended == nil else { return false }
        return part.upSent < min(up.produced, part.upMaximum)
            || (upEnd != nil && !part.finSent && part.upSent == up.produced)
    }

    /// Whether time alone may call for something.
    var isTimed: Bool {
        if case .lingering = phase { return true }
        return closing != nil || silentSince != nil || isWaiting || isEngaged || isContested
            || !book.claims.isEmpty
    }

    /// Whether an answer is awaited, so that a silence means something.
    var isWaiting: Bool {
        switch phase {
        case .connecting: return true
        case .open:
            if upAwaitsWindow || quorum?.awaitsSecond == true { return true }
            let second = secondPart.map { parts[$0].upAcknowledged } ?? .max
            return min(upAcknowledged, second) < up.produced || !book.leases.isEmpty
        case .waiting, .lingering: return false
        }
    }
}
