public import KwikCore

/// What has happened since the start: counted from events, and from what only the daemons see.
public struct Counters: Hashable, Sendable {
    /// connect(2) calls that programs asked about; those that Kwik serves; those left to the system.
    public var connects: UInt64 = 0
    public var served: UInt64 = 0
    public var native: UInt64 = 0
    /// Gateway: sessions begun, hellos refused.
    public var sessions: UInt64 = 0
    public var refusedHellos: UInt64 = 0
    /// Gateway: paths that it forwards now; bytes that it has forwarded, both ways.
    public var relayedPaths: UInt64 = 0
    public var relayedBytes: UInt64 = 0

    public private(set) var streamsOpened: UInt64 = 0
    public private(set) var streamsClosed: UInt64 = 0
    public private(set) var streamsAborted: UInt64 = 0
    /// Bytes of the streams that have ended.
    public private(set) var bytesReceived: UInt64 = 0
    public private(set) var bytesSent: UInt64 = 0
    public private(set) var backendsRefused: UInt64 = 0
    /// Gateway, of the streams that have ended: bytes sent by lease; those of them that its backend had given
    /// before; and bytes sent once more out of what was kept.
    public private(set) var bytesLeased: UInt64 = 0
    public private(set) var bytesReadAhead: UInt64 = 0
    public private(set) var bytesResent: UInt64 = 0
    public private(set) var pathsActivated: UInt64 = 0
    public private(set) var pathsSuspected: UInt64 = 0
    public private(set) var pathsFailed: UInt64 = 0
    public private(set) var replicasEngaged: UInt64 = 0
    public private(set) var replicasEnded: UInt64 = 0
    public private(set) var replicasQuarantined: UInt64 = 0
    public private(set) var replicasShifted: UInt64 = 0
    public private(set) var blockMismatches: UInt64 = 0
    public private(set) var leasesMoved: UInt64 = 0
    public private(set) var reattachments: UInt64 = 0
    public private(set) var promotions: UInt64 = 0
    /// Pairs of servers that took a primary's place, and how many of them did not agree.
    public private(set) var quorums: UInt64 = 0
    public private(set) var quorumDisagreements: UInt64 = 0
    public private(set) var serverStreamsRefused: UInt64 = 0
    /// Ids that servers gave themselves and that nothing vouches for.
    public private(set) var namesRefused: UInt64 = 0
    public private(set) var contributions: UInt64 = 0
    public private(set) var contributionsFailed: UInt64 = 0
    public private(set) var delegationsExpired: UInt64 = 0
    public private(set) var malformed: UInt64 = 0
    public private(set) var policyViolations: UInt64 = 0
    public private(set) var integrityFailures: UInt64 = 0
    public private(set) var channelFailures: UInt64 = 0
    /// How often a stream was slower than its paths for 5 s.
    public private(set) var belowTarget: UInt64 = 0

    public init() {}

    public mutating func count(_ event: Event) {
        switch event {
        case .pathStateChanged(_, _, let from, let to): countPath(from, to)
        case .malformed, .unknownStream: malformed += 1
        case .policyViolation: policyViolations += 1
        case .streamOpened: streamsOpened += 1
        case .streamConnected(_, let errno): if errno != 0 { backendsRefused += 1 }
        case .streamClosed(_, let end, let received, let sent):
            if case .aborted = end { streamsAborted += 1 } else { streamsClosed += 1 }
            bytesReceived &+= received
            bytesSent &+= sent
        case .windowUsed(_, let leased, let ahead, let again):
            bytesLeased &+= leased
            bytesReadAhead &+= ahead
            bytesResent &+= again
        case .replicaEngaged: replicasEngaged += 1
        case .replicaEnded: replicasEnded += 1
        case .replicaQuarantined: replicasQuarantined += 1
        case .replicaShifted: replicasShifted += 1
        case .blockMismatch: blockMismatches += 1
        case .leaseMoved: leasesMoved += 1
        case .reattached: reattachments += 1
        case .promoted: promotions += 1
        case .quorum: quorums += 1
        case .quorumDisagreed: quorumDisagreements += 1
        case .integrityFailure: integrityFailures += 1
        case .channelFailed: channelFailures += 1
        case .belowTarget: belowTarget += 1
        case .serverStreamRefused: serverStreamsRefused += 1
        case .nameRefused: namesRefused += 1
        case .contributed: contributions += 1
        case .contributionFailed: contributionsFailed += 1
        case .delegationExpired: delegationsExpired += 1
        }
    }

    private mutating func countPath(_ from: PathState, _ to: PathState) {
        switch to {
        case .active: if from == .connecting { pathsActivated += 1 }
        case .suspect: pathsSuspected += 1
        case .failed: pathsFailed += 1
        case .connecting, .closed: break
        }
    }

    /// As the status shows them.
    public var json: JSON {
        let all: [(String, UInt64)] = [
            ("connects", connects), ("served", served), ("native", native), ("sessions", sessions),
            ("refused_hellos", refusedHellos), ("relayed_paths", relayedPaths),
            ("relayed_bytes", relayedBytes), ("streams_opened", streamsOpened),
            ("streams_closed", streamsClosed),
            ("streams_aborted", streamsAborted), ("bytes_received", bytesReceived), ("bytes_sent", bytesSent),
            ("bytes_leased", bytesLeased), ("bytes_read_ahead", bytesReadAhead),
            ("bytes_resent", bytesResent),
            ("backends_refused", backendsRefused), ("paths_activated", pathsActivated),
            ("paths_suspected", pathsSuspected), ("paths_failed", pathsFailed),
            ("replicas_engaged", replicasEngaged), ("replicas_ended", replicasEnded),
            ("replicas_quarantined", replicasQuarantined), ("replicas_shifted", replicasShifted),
            ("block_mismatches", blockMismatches),
            ("leases_moved", leasesMoved), ("reattachments", reattachments), ("promotions", promotions),
            ("quorums", quorums), ("quorum_disagreements", quorumDisagreements),
            ("server_streams_refused", serverStreamsRefused), ("names_refused", namesRefused),
            ("contributions", contributions),
            ("contributions_failed", contributionsFailed), ("delegations_expired", delegationsExpired),
            ("malformed", malformed), ("policy_violations", policyViolations),
            ("integrity_failures", integrityFailures), ("channel_failures", channelFailures),
            ("below_target", belowTarget),
        ]
        return .object(all.map { ($0.0, JSON($0.1)) })
    }
}
