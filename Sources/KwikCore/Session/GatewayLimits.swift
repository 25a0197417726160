/// What a client may ask of a gateway at most, per session, and how long the gateway waits for it.
public struct GatewayLimits: Sendable {
    /// Streams of a session at a time.
    public var streams = 16_384
    /// Channels of a path at a time, closed ones included until the transport has forgotten them.
    public var channelsPerPath = 131_072
    /// Channels that carry all frames (roles 0 to 2) per stream, at a time.
    public var channelsPerStream = 16
    /// Leases per stream that are not complete.
    public var leasesPerStream = 256

    /// Blocks that one SUMREQ may ask the sums of, and those of a session in a second: what is more has none.
    public var sumsPerRequest: UInt64 = 16
    public var sumsPerSecond: UInt64 = 256

    /// Contributions of ours that wait to be sent, and delegations of a stream that are not read.
    public var contributions = 256
    public var delegations = 256

    /// Channels per path whose prefaces are not whole, and how long they have for that: what was lost comes
    /// again sooner, or its path has failed.
    public var prefacesPerPath = 1_024
    public var prefaceTime = Interval.seconds(30)
    /// Bytes held of frames that are not whole, on all channels of the session: nearly all that clients send
    /// have less than 100 bytes.
    public var unfinishedFrames = 4_194_304
    /// Channels per path that wait for their stream to become known (protocol.md §3).
    public var waitingPerPath = 64
    /// Bytes held for a channel that waits, and for all that wait of the session.
    public var waitingBytes = 65_536
    public var waitingBytesPerSession = 4_194_304
    /// The least time that a channel waits; three round trips where that is more.
    public var unknownStreamWait = Interval.seconds(1)
    /// How long the ids of closed streams are remembered, and how many.
    public var closedStreamMemory = Interval.seconds(10)
    public var closedStreams = 65_536

    /// Bytes sent or taken before the first WINDOW (protocol.md §3).
    public var firstWindow: UInt64 = 65_536
    /// Backend bytes held per stream beyond what the client has read.
    public var windowPerStream: UInt64 = 16_777_216
    /// The same for all streams of the session together, either way, and less where its process's
    /// `MemoryBudget` is shared; each has at least `firstWindow`.
    public var windowPerSession: UInt64 = 67_108_864
    /// Client bytes held per stream that the backend has yet to take.
    public var upstreamPerStream: UInt64 = 16_777_216
    /// The same until the backend has taken half as many: as TCP's receive window grows by what is read, so
    /// that a program cannot write far more to one that does not read.
    public var upstreamUntaken: UInt64 = 4_194_304
    /// Backend bytes that a replica reads and drops per stream to follow the client.
    public var discardBudget: UInt64 = 268_435_456

    /// How long a session without paths keeps its backends (protocol.md §3).
    public var sessionGrace = Interval.seconds(30)
    /// How long a stream whose path failed keeps its backend while the client has others to attach it by.
    public var streamGrace = Interval.seconds(30)
    /// How long a stream that this server opens waits for the client's answer.
    public var offerTime = Interval.seconds(30)
    /// A path on which nothing came for longer is used for what this server opens only where no other is
    /// left: clients probe an idle one every 3 s.
    public var pathSilence = Interval.seconds(4)
    /// How long a backend has to take what preceded the client's RESET.
    public var resetDrain = Interval.seconds(1)
    /// How long news of received bytes may wait for another frame to go with.
    public var windowDelay = Interval.milliseconds(25)
    /// Backend bytes between two PROGRESS frames, at least.
    public var progressStep: UInt64 = 65_536

    /// Bytes that one stream sends on a path before it is another's turn.
    public var quantum = 16_384
    /// The least DATA piece that a path's room cuts a longer one down to.
    public var leastPiece = 1_200
    /// Slices shown to the local socket at once.
    public var readableSlices = 64

    public init() {}
}
