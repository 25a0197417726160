internal import KwikCore

/// How often things happened that the simulation is there to provoke.
public struct Coverage: Sendable {
    public var engaged = 0
    public var moved = 0
    public var mismatched = 0
    /// Replicas whose bytes were found elsewhere than at the primary's offsets.
    public var shifted = 0
    public var promoted = 0
    public var quorums = 0
    public var disagreed = 0
    public var reattached = 0
    public var suspected = 0
    public var failedPaths = 0
    public var quarantined = 0
    public var unknown = 0
    public var behind = 0
    public var failedReplicas = 0
    public var mismatchEnds = 0
    public var parked = 0
    public var timedOut = 0
    public var wereReset = 0
    public var completed = 0
    public var expired = 0
    public var belowTarget = 0
    /// Paths through a relay that came up, and streams bound to interfaces.
    public var relayed = 0
    public var restricted = 0
    public var serverStreams = 0
    public var contributed = 0
    public var contributionsFailed = 0
    public var delegationsExpired = 0
    /// Looks at paths by which something had gone compressed.
    public var compressedDown = 0
    public var compressedUp = 0

    public init() {}

    mutating func note(_ end: ReplicaEnd) {
        switch end {
        case .mismatches: mismatchEnds += 1
        case .behind: behind += 1
        case .failed: failedReplicas += 1
        case .parked: parked += 1
        case .pathDown, .promoted, .streamDone: break
        }
    }

    /// Name and count of each kind.
    public var table: [(name: String, count: Int)] {
        [
            ("completed", completed), ("engaged", engaged), ("moved", moved), ("mismatched", mismatched),
            ("shifted", shifted), ("mismatch-ends", mismatchEnds), ("quarantined", quarantined),
            ("behind", behind),
            ("failed-replicas", failedReplicas), ("parked", parked), ("promoted", promoted),
            ("quorums", quorums), ("disagreed", disagreed),
            ("reattached", reattached), ("suspected", suspected), ("failed", failedPaths),
            ("unknown", unknown),
            ("timed-out", timedOut), ("reset", wereReset), ("expired", expired),
            ("below-target", belowTarget), ("relayed", relayed), ("restricted", restricted),
            ("server-streams", serverStreams), ("contributed", contributed),
            ("failed-contributions", contributionsFailed), ("expired-delegations", delegationsExpired),
            ("compressed-down", compressedDown), ("compressed-up", compressedUp),
        ]
    }

    /// What a thousand runs have to show at least once.
    public var mustOccur: [(name: String, count: Int)] {
        let optional: Set<String> = ["unknown", "behind", "below-target"]
        return table.filter { !optional.contains($0.name) }
    }

    public mutating func add(_ other: Coverage) {
        engaged += other.engaged
        moved += other.moved
        mismatched += other.mismatched
        shifted += other.shifted
        promoted += other.promoted
        quorums += other.quorums
        disagreed += other.disagreed
        reattached += other.reattached
        suspected += other.suspected
        failedPaths += other.failedPaths
        quarantined += other.quarantined
        unknown += other.unknown
        behind += other.behind
        failedReplicas += other.failedReplicas
        mismatchEnds += other.mismatchEnds
        parked += other.parked
        timedOut += other.timedOut
        wereReset += other.wereReset
        completed += other.completed
        expired += other.expired
        belowTarget += other.belowTarget
        relayed += other.relayed
        restricted += other.restricted
        serverStreams += other.serverStreams
        contributed += other.contributed
        contributionsFailed += other.contributionsFailed
        delegationsExpired += other.delegationsExpired
        compressedDown += other.compressedDown
        compressedUp += other.compressedUp
    }
}
