public struct TransportCommand: Hashable, Sendable {
    public var commandID: String = ""
    public var type: CommandType = .establishPath
    public var connectionID: String = ""
    /// `establishPath` to a relay: the target, "address:port".
    public var transportData: [UInt8] = []
    public var options: Options?

    public enum CommandType: UInt32, Sendable {
        case establishPath = 0
        case closePath = 1
        case scaleBandwidth = 2
        case updateQualityOfService = 3
        case healthCheck = 4
        case syncState = 5
    }

    public struct Options: Hashable, Sendable {
        public var maxPaths: UInt32 = 0
        public var targetBandwidthMbps: UInt32 = 0
        public var timeoutSeconds: UInt32 = 0
        public var preferredServers: [String] = []
        public var qualityOfService: QualityOfService?

        public init() {}
    }

    public init() {}
}

public struct TransportResponse: Hashable, Sendable {
    public var commandID: String = ""
    public var status: Status = .success
    public var errorMessage: String = ""
    public var result: Result?

    public enum Status: UInt32, Sendable {
        case success = 0
        case partialSuccess = 1
        case failure = 2
        case inProgress = 3
    }

    public struct Result: Hashable, Sendable {
        public var activePaths: UInt32 = 0
        public var totalBandwidthMbps: UInt32 = 0
        public var averageLatencyMilliseconds: Float = 0
        public var pathContributions: [PathContribution] = []

        public init() {}
    }

    public struct PathContribution: Hashable, Sendable {
        /// "address:port".
        public var serverAddress: String = ""
        public var bandwidthMbps: UInt32 = 0
        public var latencyMilliseconds: Float = 0
        /// 0 ... 1.
        public var packetLossRate: Float = 0

        public init() {}
    }

    public init() {}
}
