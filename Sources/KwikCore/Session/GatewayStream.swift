/// One stream at the gateway: a backend socket's two directions and the channels that carry them.
final class GatewayStream {
    enum Backend {
        /// OPEN has not come.
        case unopened
        /// Opened by this server (role 5): the client has not answered.
        case offered
        case connecting
        case connected(local: [UInt8], peer: [UInt8])
    }

    /// How far the client's direction has come.
    enum Upstream {
        case open
        /// FIN has come; its sum is checked when all bytes have.
        case ending(final: UInt64, sum: UInt64, closed: Bool)
        /// As `ending`, and the bytes are the right ones: the backend has yet to take them.
        case verified(final: UInt64, closed: Bool)
        /// RESET has come: the backend may still take what precedes the offset.
        case resetting(errno: Int32, offset: UInt64)
        /// The backend was told the end, or can't be told anything any more.
        case done(final: UInt64?, closed: Bool)
    }

    let id: StreamID
    /// Serves leases only: no DATA, no FIN of its own. Until it is promoted.
    var isReplica: Bool
    /// Where its bytes became the stream's; its backend may get there later.
    var promotedAt: UInt64 = 0
    var backend = Backend.unopened
    /// Of the channel that carries the own sender (or is the replica's).
    var epoch: UInt64 = 0
    var own: GatewayChannel?
    /// Further channels for every frame but DATA of ours.
    var sides: [GatewayChannel] = []
    /// While it is offered: the channels of role 5, and when another is due.
    var offers: [GatewayChannel] = []
    var offerDue = Instant.never
    /// One for each path that `own` or a lease is on.
    var parts: [GatewayPart] = []
    var leases = 0
    /// When the stream is given up unless something happens before.
    var giveUpAt: Instant?
    var isReleased = false
    /// Its share of a path (SO_PRIORITY).
    var weight = StreamWeight.standard
    /// The client's half of `own` is complete: it needs nothing more than what it has asked for.
    var clientIsDone = false

    // Downstream.
    var window: SendWindow
    /// What the own sender sends next.
    var next: UInt64 = 0
    /// Where what answers the client's last bytes begins.
    var answer: UInt64 = 0
    /// Blocks left to other servers, and their names.
    var delegated: [(ranges: [ByteRange], server: [UInt8])] = []
    /// The backend failed: RESET takes FIN's place.
    var backendErrno: Int32?
    /// FIN or RESET was sent on `own`.
    var endSent = false
    /// `produced` in the last PROGRESS, and whether that said application-limited.
    var progressAt: UInt64 = 0
    var saidLimited = true
    /// The driver found no room and waits for `accept`.
    var isPaused = false
    var compressibility = Compressibility()
    var use = WindowUse()
    var demand = StreamDemand()

    // Upstream.
    var reassembler: Reassembler
    var upstream = Upstream.open
    /// The highest maximum in any WINDOW, and the last one, which is less after SO_SNDBUF.
    var granted: UInt64
    var told: UInt64
    /// The program's SO_SNDBUF.
    var sendBuffer: UInt64?
    /// The end of the highest piece seen, and `front` in the last WINDOW.
    var highest: UInt64 = 0
    var announced: UInt64 = 0
    var windowDelayed = false
    /// What the backend does not take is dropped.
    var isDeaf = false
    var urgent = UrgentMark()
    /// The driver was told to fetch, and has not yet.
    var deliveryTold = false

    init(id: StreamID, isReplica: Bool, limits: GatewayLimits, integrity: Integrity) {
        self.id = id
        self.isReplica = isReplica
        window = SendWindow(integrity: integrity, maximum: limits.firstWindow, sumsFromStart: !isReplica)
        reassembler = Reassembler(integrity: integrity)
        granted = limits.firstWindow
        told = limits.firstWindow
    }

    var isConnected: Bool {
        if case .connected = backend { true } else { false }
    }

    /// The client wants nothing any more but the end.
    var isClosedByClient: Bool {
        if case .done(_, let closed) = upstream { closed } else { false }
    }

    /// No channel brings anything of the client's any more, and none that is left will end the stream: a side
    /// channel whose client's half is over stays open for what we send.
    var isOrphan: Bool { !isReleased && !isOffered && own == nil && sides.allSatisfy(\.isEnded) }

    /// What WINDOW goes on, and what answers go on when they have no place of their own.
    var main: GatewayChannel? {
        if let own, !own.isFinished { return own }
        return sides.last
    }

    /// What PROGRESS goes on: a side channel, where loss of DATA does not delay it.
    var control: GatewayChannel? { sides.last ?? main }

    /// Whether nothing is left for the own sender to do.
    var ownSenderIsDone: Bool { window.ended && endSent && window.nextOwn(from: next) >= window.produced }

    func part(on path: GatewayPath) -> GatewayPart {
        if let part = parts.first(where: { $0.path === path }) { return part }
        let part = GatewayPart(stream: self, path: path)
        parts.append(part)
        return part
    }

    /// Every part may have something to send now.
    func activateParts() {
        for part in parts { part.path.activate(part) }
    }
}
