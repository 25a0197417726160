/// What `kwikctl status` shows of one session. Made on request, never kept.
public struct SessionReport: Sendable {
    public var paths: [PathReport] = []
    public var streams: [StreamReport] = []
    public var servers: [ServerTrustReport] = []
    /// An active path that no stream uses and that is the first to take over; nil: none.
    public var spare: PathID?
    public init() {}
}

public struct PathReport: Sendable {
    public var path: PathID
    public var name: PathName
    /// nil: not known, as at a gateway.
    public var kind: PathKind?
    public var state: PathState
    public var srtt: Interval
    /// Bytes per second, at the receiver.
    public var rate: Double
    /// Payload bytes of DATA received and sent.
    public var received: UInt64
    public var sent: UInt64
    /// Streams that the path carries anything of.
    public var streams: Int
    /// Channels that no program sees: leases, contributions and what replicas are told.
    public var internalChannels: Int
    /// Both ends offered to compress.
    public var compresses: Bool
    /// `received` and `sent` as they stood on the wire: less where pieces were compressed.
    public var receivedWire: UInt64
    public var sentWire: UInt64

    /// The bytes on the wire are the payload's where they are not given.
    public init(
        path: PathID, name: PathName, kind: PathKind?, state: PathState, srtt: Interval, rate: Double,
        received: UInt64, sent: UInt64, streams: Int, internalChannels: Int = 0, compresses: Bool = false,
        receivedWire: UInt64? = nil, sentWire: UInt64? = nil
    ) {
        self.path = path
        self.name = name
        self.kind = kind
        self.state = state
        self.srtt = srtt
        self.rate = rate
        self.received = received
        self.sent = sent
        self.streams = streams
        self.internalChannels = internalChannels
        self.compresses = compresses
        self.receivedWire = receivedWire ?? received
        self.sentWire = sentWire ?? sent
    }

    public var server: ServerID { name.server }
}

public struct StreamReport: Sendable {
    public var stream: StreamID
    public var primary: ServerID
    /// In-order bytes that the local socket took, and bytes taken from it.
    public var delivered: UInt64
    public var sent: UInt64
    public var parts: [StreamPart]
    /// Channels of it that no program sees, on all paths.
    public var internalChannels: Int

    public init(
        stream: StreamID, primary: ServerID, delivered: UInt64, sent: UInt64, parts: [StreamPart],
        internalChannels: Int = 0
    ) {
        self.stream = stream
        self.primary = primary
        self.delivered = delivered
        self.sent = sent
        self.parts = parts
        self.internalChannels = internalChannels
    }
}

/// What one server gives to a stream.
public struct StreamPart: Sendable {
    public var server: ServerID
    public var role: PartRole
    /// Payload bytes received from it, duplicates included.
    public var received: UInt64
    /// Why it serves the stream no longer, if so.
    public var ended: ReplicaEnd?
    /// By how many bytes a replica's offsets are more than the primary's.
    public var shift: Int64

    public enum PartRole: String, Sendable {
        case primary
        case replica
        /// One of two whose agreement has taken the primary's place.
        case quorum
    }

    public init(server: ServerID, role: PartRole, received: UInt64, ended: ReplicaEnd?, shift: Int64 = 0) {
        self.server = server
        self.role = role
        self.received = received
        self.ended = ended
        self.shift = shift
    }
}

/// One stream's figures as a socket shows them (TCP_INFO).
public struct StreamFigures: Sendable {
    /// Of the path to its primary.
    public var path: PathSample?
    /// Bytes taken from the program; those of them that were sent, and that the primary has acknowledged.
    public var produced: UInt64
    public var sent: UInt64
    public var acknowledged: UInt64
    /// Bytes that came in order.
    public var received: UInt64

    public init(
        path: PathSample?, produced: UInt64, sent: UInt64, acknowledged: UInt64, received: UInt64
    ) {
        self.path = path
        self.produced = produced
        self.sent = sent
        self.acknowledged = acknowledged
        self.received = received
    }
}

public struct ServerTrustReport: Sendable {
    public var server: ServerID
    /// 0 ... 1.
    public var score: Double
    public var quarantinedUntil: Instant?

    public init(server: ServerID, score: Double, quarantinedUntil: Instant?) {
        self.server = server
        self.score = score
        self.quarantinedUntil = quarantinedUntil
    }
}
