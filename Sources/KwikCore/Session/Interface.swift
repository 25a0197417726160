// What passes between a session and its driver. The same words serve the client's session and the gateway's,
// the real driver (KwikEndpoint) and the simulated one (Tests/Simulation).

/// What the transport knows of a path, sampled by the driver at most once per loop turn.
///
/// Round trips look as long as a peer lets them, by when it acknowledges. Everything that waits for some of
/// them goes by a sample's times, and those have a limit.
public struct PathSample: Sendable {
    /// The most that a sample has of `srtt`, `rttVariation` and `probeTimeout`.
    public static let longestTime = Interval.seconds(10)

    /// Smoothed round-trip time (RFC 9002 §5.3).
    public var srtt: Interval
    /// Round-trip time variation (RFC 9002 §5.3).
    public var rttVariation: Interval
    /// The probe timeout (RFC 9002 §6.2.1), without back-off.
    public var probeTimeout: Interval
    /// Bytes.
    public var congestionWindow: UInt64
    /// Bytes sent and not yet acknowledged.
    public var inFlight: UInt64
    /// Payload bytes of all datagrams that have come.
    public var received: UInt64

    public init(
        srtt: Interval, rttVariation: Interval, probeTimeout: Interval, congestionWindow: UInt64,
        inFlight: UInt64, received: UInt64
    ) {
        self.srtt = min(srtt, Self.longestTime)
        self.rttVariation = min(rttVariation, Self.longestTime)
        self.probeTimeout = min(probeTimeout, Self.longestTime)
        self.congestionWindow = congestionWindow
        self.inFlight = inFlight
        self.received = received
    }
}

/// How a peer's byte stream or ours came to a stop, as a socket shows it.
public enum StreamEnd: Hashable, Sendable {
    /// End of file: the other side sends no more. `closed`: its whole socket is closed, not only this half.
    case finished(closed: Bool)
    /// Both directions aborted; `errno` is what the program sees (ECONNRESET for a plain reset).
    case aborted(errno: Int32)
}

/// What a driver asks of the session, in the order in which things happened.
///
/// Bytes handed in by pointer are copied (once) before the call returns.
@safe
public enum Input {
    // From paths; both sides.

    /// The hello on this path was accepted: it may carry streams.
    case pathUp(PathID, PathTraits)
    /// The path is gone. Channels on it are gone with it; they are not reported singly.
    case pathDown(PathID)
    /// At least one packet was received on the path since the last turn.
    case heard(PathID)
    case sample(PathID, PathSample)
    /// In-order bytes of a channel. `finished`: the peer's half is complete with these bytes.
    case received(ChannelID, UnsafeRawBufferPointer, finished: Bool)
    /// The peer reset its half or refused ours (RESET_STREAM, STOP_SENDING); the driver answers in kind.
    case channelReset(ChannelID, code: UInt64)
    /// Both halves are done and acknowledged.
    case channelClosed(ChannelID)
    /// The deadline has come, or the driver's turn is over: time-driven decisions are due.
    case tick
    /// The share of the time since it was told last in which the driver's loop had work to do, 0 ... 1.
    case worked(Double)

    // From the local socket: the program's at the client, the backend's at the gateway. What is read from it
    // goes straight into the stream's send window: see the sessions' `room` and `filled`.

    /// The local socket reached its end of file: `closed` when the whole socket is closed.
    case localEnded(StreamID, closed: Bool)
    /// The local socket failed, or was closed with unread data.
    case localAborted(StreamID, errno: Int32)
    /// The local socket took `count` bytes of what `readable(_:)` showed.
    case localWrote(StreamID, count: Int)
    /// The local socket takes no more bytes (SHUT_RD): what comes is discarded, and credit still granted.
    case localDeaf(StreamID)

    // The gateway's answer to `Action.connect`.
    case backendConnected(StreamID, local: [UInt8], peer: [UInt8])
    case backendRefused(StreamID, errno: Int32)
}

/// What a session knows of the far end of a path when it comes up.
public struct PathTraits: Sendable {
    public var name: PathName
    /// nil: not known, as at a server, which can't tell a relay from a client.
    public var kind: PathKind?
    public var roles: Roles
    /// At the client: whether this gateway process already knew the session. False after a gateway restarted.
    public var resumed: Bool
    /// Both ends offered compression in their hellos: pieces may be compressed, either way.
    public var compresses = false

    @inlinable
    public init(name: PathName, kind: PathKind?, roles: Roles, resumed: Bool) {
        self.name = name
        self.kind = kind
        self.roles = roles
        self.resumed = resumed
    }

    /// Of a path as its server sees it.
    @inlinable
    public init(server: ServerID, roles: Roles, resumed: Bool) {
        self.init(name: PathName(server: server), kind: nil, roles: roles, resumed: resumed)
    }

    @inlinable
    public var server: ServerID { name.server }
}

/// What a session asks of its driver, to be carried out in order.
public enum Action {
    /// Open this channel (the next QUIC bidirectional stream of ours on its path). Bytes follow at once.
    case open(ChannelID)
    /// Queue these bytes on the channel, in place, until acknowledged.
    case send(ChannelID, ChunkSlice)
    /// Our half is complete.
    case finish(ChannelID)
    /// RESET_STREAM and STOP_SENDING.
    case abandon(ChannelID, ErrorCode)
    /// STOP_SENDING only: the peer's half is of no more use.
    case stop(ChannelID, ErrorCode)
    /// Send a probe that the peer must acknowledge (HealthCheckRequest on the control stream).
    case probe(PathID)
    /// A security violation or a dead path: end the QUIC connection with this code.
    case endPath(PathID, ErrorCode)

    /// The stream has bytes for its local socket (`readable`).
    case deliver(StreamID)
    /// The stream can take bytes from its local socket again (`room`).
    case accept(StreamID)
    /// Whoever opened the stream: the far end answered. 0: connected; else the errno that connecting gave
    /// there.
    case opened(StreamID, errno: Int32, local: [UInt8], peer: [UInt8])
    /// Client: the primary opens a public stream. To be answered at once: `ClientSession.accept`, `refuse`.
    case offered(StreamID, ServerID)
    /// Gateway: connect to the backend of this session's service.
    case connect(StreamID, SocketOptions)
    /// Every byte was taken by the local socket, and this is how the far direction ends: `finished` → shut
    /// down our writing half of the local socket; `aborted` → reset it at once with that errno.
    case endLocal(StreamID, StreamEnd)
    /// The session has forgotten the stream: close the local socket if it is still open.
    case release(StreamID)
    /// One socket option changed by the program (gateway: apply to the backend's socket).
    case setOption(StreamID, SocketOption)

    case event(Event)
}

/// The pure functions over bytes that the core needs and that a well-kept library does better. Synchronous
/// and deterministic: the core stays a function of its inputs.
@safe
public struct Integrity {
    /// CRC32C (RFC 3720 §B.4) of the bytes; the first argument continues an earlier sum (0 to begin).
    public var crc32c: (UInt32, UnsafeRawBufferPointer) -> UInt32
    /// XXH3-64 with a seed.
    public var blockSum: (_ seed: UInt64, UnsafeRawBufferPointer) -> UInt64

    public init(
        crc32c: @escaping (UInt32, UnsafeRawBufferPointer) -> UInt32,
        blockSum: @escaping (_ seed: UInt64, UnsafeRawBufferPointer) -> UInt64
    ) {
        unsafe self.crc32c = crc32c
        unsafe self.blockSum = blockSum
    }
}

/// 16 bytes over one block that only the client and the primary can make (protocol.md §6).
public struct BlockTag: Hashable, Sendable {
    public var high: UInt64
    public var low: UInt64
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// Makes the tag of a block: keyed per (server's join secret, stream); downstream direction.
public typealias Tagger = (StreamID, _ block: UInt64, UnsafeRawBufferPointer) -> BlockTag

/// A socket option that a program set and that means something at the backend (protocol.md §8).
public struct SocketOption: Hashable, Sendable {
    public var level: Int32
    public var name: Int32
    public var value: [UInt8]
    public init(level: Int32, name: Int32, value: [UInt8]) {
        self.level = level
        self.name = name
        self.value = value
    }
}

public typealias SocketOptions = [SocketOption]
