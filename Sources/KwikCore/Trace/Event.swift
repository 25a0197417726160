/// Everything worth telling, once: log lines, counters, traces and the tests' recorders are made from it.
public enum Event: Hashable, Sendable {
    case pathStateChanged(PathID, ServerID, from: PathState, to: PathState)
    /// A malformed preface or frame ended one channel.
    case malformed(ChannelID, WireError)
    /// A reference to a stream that stayed unknown for the whole wait, or one too many waiting.
    case unknownStream(ChannelID, StreamID)
    /// A public stream or unrequested bytes from a server that may not: the path was ended.
    case policyViolation(PathID, ServerID, ErrorCode)
    case streamOpened(StreamID, ServerID)
    case streamConnected(StreamID, errno: Int32)
    case streamClosed(StreamID, StreamEnd, received: UInt64, sent: UInt64)
    /// Bytes that a gateway sent of the stream by lease, those of them that its backend had given before it
    /// was asked for, and those that it sent once more without asking its backend again.
    case windowUsed(StreamID, leased: UInt64, ahead: UInt64, again: UInt64)
    /// A code ended the channel that carries a stream: ours or the peer's.
    case channelFailed(ChannelID, StreamID, ErrorCode)
    /// The primary opened a public stream; nobody here takes such.
    case serverStreamRefused(StreamID, ServerID)
    /// The server is not called as its hello says; nothing is delegated to it by that name.
    case nameRefused(ServerID, name: [UInt8], NameRefusal)
    /// A server's own bytes for a stream, from the offset on, came to their place.
    case contributed(StreamID, ServerID, offset: UInt64, length: UInt64)
    /// They did not, or not all of them: nobody had given it the range, or they were no good.
    case contributionFailed(StreamID, ServerID, offset: UInt64, ErrorCode)
    /// The server did not give in time what the primary left to it: the primary is asked.
    case delegationExpired(StreamID, ServerID, offset: UInt64, length: UInt64)
    /// The stream was found network-limited and this replica was given the request.
    case replicaEngaged(StreamID, ServerID)
    case replicaEnded(StreamID, ServerID, ReplicaEnd)
    case replicaQuarantined(ServerID, time: Interval)
    /// A replica's block did not match its tag; it is fetched from the primary.
    case blockMismatch(StreamID, block: UInt64, ServerID)
    /// A replica's bytes stand so many behind the primary's, or before them if less than 0: found by sums,
    /// and confirmed by a tag.
    case replicaShifted(StreamID, ServerID, shift: Int64)
    case leaseMoved(StreamID, offset: UInt64, length: UInt64, from: ServerID, to: ServerID)
    /// The stream moved to another path of its primary.
    case reattached(StreamID, PathID, epoch: UInt64)
    case promoted(StreamID, from: ServerID, to: ServerID, offset: UInt64)
    /// The primary, or one of two in its place, was lost: from the offset on the stream has what these two
    /// agree on.
    case quorum(StreamID, ServerID, ServerID, offset: UInt64)
    /// They do not, from that offset on: the stream was ended.
    case quorumDisagreed(StreamID, ServerID, ServerID, offset: UInt64)
    /// For 5 s the stream brought less than half of its share of what its paths can: both in bytes per
    /// second, and what was changed.
    case belowTarget(StreamID, isUpstream: Bool, rate: UInt64, target: UInt64, TargetRemedy)
    /// A checksum of bytes inside Kwik failed: CRC32C of a piece, or the sum in FIN.
    case integrityFailure(StreamID, offset: UInt64)
}

/// What is done for a stream that is slower than its paths.
public enum TargetRemedy: String, Hashable, Sendable {
    /// Paths that were parked are tried again.
    case unparked = "parked paths are tried again"
    /// All that there are carry it already.
    case none = "nothing"
}

/// Why a replica serves a stream no longer.
public enum ReplicaEnd: Hashable, Sendable {
    case mismatches(Int)
    /// More than 64 KiB behind the upstream, or it could not discard up to the stream's position.
    case behind
    /// It reset its channels or its backend failed.
    case failed
    case pathDown
    /// It added less than it cost: parked for a while.
    case parked
    case promoted
    case streamDone
}
