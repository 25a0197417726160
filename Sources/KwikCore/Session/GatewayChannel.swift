/// One channel of a gateway's session, from its preface to the transport's word that it is closed.
final class GatewayChannel {
    /// What the channel is good for.
    enum Use {
        /// The preface has not come.
        case preface
        /// The preface names a stream that is not known (yet).
        case waiting(Preface, until: Instant)
        /// Role 0, 1 or 2.
        case stream(GatewayStream)
        /// Role 3.
        case lease(GatewayLease)
        /// Role 4.
        case contribution(GatewayContribution)
        /// What still comes is of no use; kept so that late bytes are not taken for a new channel.
        case ignored
    }

    /// The DATA frame whose bytes are coming.
    struct Piece {
        let header: DataHeader
        var at: UInt64
        var crc32c: UInt32 = 0
        /// Whether the bytes are of use, or only pass by.
        let wanted: Bool
    }

    let id: ChannelID
    var use = Use.preface
    var reader: ChannelReader
    /// Of the session's, while one is coming in.
    var unfinished: UnfinishedFrame?
    /// When a preface that has begun must be whole.
    var prefaceDue = Instant.never
    var piece: Piece?
    /// A compressed one, until it is whole.
    var compressed: CompressedPiece?
    /// Bytes that came while the channel waits for its stream.
    var held: [UInt8] = []
    /// OPEN comes first on roles 0 and 2.
    var awaitsOpen = false
    /// Our half is complete.
    var isFinished = false
    /// The client's half is complete.
    var isEnded = false
    /// The client has said that it attaches by another one.
    var isSucceeded = false

    /// - Parameter isOurs: whether we opened it.
    init(id: ChannelID, isOurs: Bool = false) {
        self.id = id
        reader = ChannelReader(expectsPreface: !isOurs)
    }
}

/// A range of a stream that the client asked for on a channel of its own.
final class GatewayLease {
    let channel: GatewayChannel
    let stream: GatewayStream
    /// What is to be sent next.
    var next: UInt64
    let end: UInt64
    /// What the backend had given when the lease came.
    let produced: UInt64

    init(channel: GatewayChannel, stream: GatewayStream, range: ByteRange) {
        self.channel = channel
        self.stream = stream
        next = range.start
        end = range.end
        produced = stream.window.produced
    }
}

/// What one path carries of one stream: its turn in that path's round.
final class GatewayPart {
    let stream: GatewayStream
    let path: GatewayPath
    /// By `next`.
    var leases: [GatewayLease] = []
    /// Whether the part stands in the path's round.
    var isActive = false
    /// Bytes it may send in this turn (deficit round robin).
    var deficit = 0

    init(stream: GatewayStream, path: GatewayPath) {
        self.stream = stream
        self.path = path
    }
}

/// One path of a gateway's session.
final class GatewayPath {
    let id: PathID
    let traits: PathTraits
    var sample: PathSample?
    /// When a packet came last, or it came up.
    var heardAt: Instant
    var channels: [Int64: GatewayChannel] = [:]
    /// Channels whose prefaces have begun and are not whole, oldest first.
    var nameless: [GatewayChannel] = []
    /// Channels that wait for their stream.
    var waiting = 0
    /// Parts that may have something to send; `turn` is the one whose turn it is.
    private(set) var round: [GatewayPart] = []
    /// What goes out when the round has nothing to send.
    var contributions: [GatewayContribution] = []
    private var nextChannel: Int64 = 1
    private var turn = 0
    /// Payload bytes of DATA.
    var received: UInt64 = 0
    var sent: UInt64 = 0
    /// The same as they stood on the wire.
    var receivedWire: UInt64 = 0
    var sentWire: UInt64 = 0
    var pressure = PathPressure()

    init(id: PathID, traits: PathTraits, now: Instant) {
        self.id = id
        self.traits = traits
        heardAt = now
    }

    func takeChannel() -> ChannelID {
        defer { nextChannel += 4 }
        return ChannelID(path: id, number: nextChannel)
    }

    var current: GatewayPart? { round.isEmpty ? nil : round[turn] }

    func activate(_ part: GatewayPart) {
        if part.isActive { return }
        part.isActive = true
        part.deficit = 0
        // Behind all others: just before the one whose turn it is.
        round.insert(part, at: turn)
        turn = (turn + 1) % round.count
    }

    func deactivate(_ part: GatewayPart) {
        guard part.isActive, let index = round.firstIndex(where: { $0 === part }) else { return }
        part.isActive = false
        round.remove(at: index)
        if index < turn { turn -= 1 }
        if turn >= round.count { turn = 0 }
    }

    func passTurn() { turn = round.isEmpty ? 0 : (turn + 1) % round.count }
}
