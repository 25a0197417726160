/// What a service's configuration says of its sessions.
public struct ClientSettings: Sendable {
    /// What happens to a stream whose primary is silent (protocol.md §7).
    public enum SilentPrimary: String, Sendable {
        /// Wait for it, then show ETIMEDOUT.
        case fail
        /// A replica whose blocks have all matched becomes the primary.
        case promote
        /// It goes on with what two replicas agree on, byte for byte.
        case quorum
    }

    public var silentPrimary: SilentPrimary
    /// Whether replicas may be engaged at all.
    public var replicas: Bool
    /// What the windows of the session's streams may hold together, in bytes, and less where its process's
    /// `MemoryBudget` is shared.
    public var memoryBudget: UInt64

    public init(silentPrimary: SilentPrimary = .fail, replicas: Bool = true, memoryBudget: UInt64 = 64 << 20)
    {
        self.silentPrimary = silentPrimary
        self.replicas = replicas
        self.memoryBudget = memoryBudget
    }
}

/// The errno values that the core names (Linux, all architectures that Kwik runs on).
enum ErrorNumber {
    static let connectionReset: Int32 = 104
    static let timedOut: Int32 = 110
    static let connectionRefused: Int32 = 111
}

/// Limits of the client's session.
enum ClientLimit {
    /// Streams of a session, finished ones included until they are released.
    static let streams = 65_536
    /// Upstream bytes held per stream beyond what the primary has acknowledged, at most.
    static let upstream: UInt64 = 16 << 20
    /// CARVEs without an answer, per stream.
    static let carvesPending = 256
    /// Channels that servers opened and whose prefaces have not come, and how long they have for that.
    static let foreignChannels = 256
    static let prefaceTime = Interval.seconds(30)
    /// Bytes held of frames that are not whole, on all channels of a path: a TAG has up to 16 KiB.
    static let unfinishedFrames = 8 << 20
    /// Contributions per path that wait for the delegation they refer to, and their bytes in all.
    static let waiting = 64
    static let waitingBytes = 4 << 20
    /// Contributions of one stream that are coming in, and ranges delegated and not yet read.
    static let contributions = 256
    static let delegations = 1_024
    /// Ranges of a server's own stream ids that were taken.
    static let takenOffers = 256
    /// Slices handed to a local socket at once.
    static let slices = 64
    /// Epochs of one stream.
    static let reattachments: UInt64 = 4_096
    /// A primary that refuses an unanswered stream's channel is asked again so often.
    static let reopenings = 3
    /// Leases that a stream's primary may leave unserved.
    static let failedLeases = 64
}
