public struct BandwidthScalingRequest: Hashable, Sendable {
    public var connectionID: String = ""
    public var trigger: Trigger = .manual
    public var currentBandwidthMbps: UInt32 = 0
    public var targetBandwidthMbps: UInt32 = 0
    public var policy: Policy?

    public enum Trigger: UInt32, Sendable {
        case manual = 0
        case demandIncrease = 1
        case demandDecrease = 2
        case performanceDegradation = 3
        case serverFailure = 4
        case costOptimization = 5
    }

    public struct Policy: Hashable, Sendable {
        public var scaleUpThresholdPercent: UInt32 = 0
        public var scaleDownThresholdPercent: UInt32 = 0
        public var minPaths: UInt32 = 0
        public var maxPaths: UInt32 = 0
        public var cooldownSeconds: UInt32 = 0
        public var aggressiveScaling = false

        public init() {}
    }

    public init() {}
}

public struct BandwidthScalingResponse: Hashable, Sendable {
    public var connectionID: String = ""
    public var accepted = false
    /// An `ErrorCode`.
    public var errorCode: UInt32 = 0
    public var errorMessage: String = ""
    public var grantedBandwidthMbps: UInt32 = 0
    public var activePaths: UInt32 = 0

    public init() {}
}

/// One side's view of this path over the last interval.
public struct PerformanceMetrics: Hashable, Sendable {
    public var serverID: String = ""
    public var bandwidthMbps: UInt32 = 0
    public var latencyMilliseconds: Float = 0
    /// 0 ... 1.
    public var packetLossRate: Float = 0
    public var bytesSent: UInt64 = 0
    public var bytesReceived: UInt64 = 0
    public var activeStreams: UInt32 = 0
    public var intervalMilliseconds: UInt32 = 0

    public init() {}
}

public struct LoadBalancingUpdate: Hashable, Sendable {
    public var servers: [ServerLoad] = []

    public struct ServerLoad: Hashable, Sendable {
        public var serverID: String = ""
        public var loadPercent: UInt32 = 0
        /// Relative to the other servers' weights.
        public var weight: UInt32 = 0

        public init() {}
    }

    public init() {}
}

public struct TrafficDistributionPlan: Hashable, Sendable {
    public var shares: [TrafficShare] = []
    public var validSeconds: UInt32 = 0

    public struct TrafficShare: Hashable, Sendable {
        public var serverID: String = ""
        public var percent: UInt32 = 0

        public init() {}
    }

    public init() {}
}
