public struct ServerDiscoveryRequest: Hashable, Sendable {
    public var clientID: String = ""
    public var requiredCapabilities: [String] = []
    public var desiredBandwidthMbps: UInt32 = 0
    public var geographicPreference: GeographicPreference?
    public var qualityOfService: QualityOfService?

    public struct GeographicPreference: Hashable, Sendable {
        public var preferredRegions: [String] = []
        public var maxLatencyMilliseconds: UInt32 = 0
        public var requireSameCountry = false

        public init() {}
    }

    public init() {}
}

/// The quality that a client asks of servers or paths. 0 in any field: no demand.
public struct QualityOfService: Hashable, Sendable {
    public var minBandwidthMbps: UInt32 = 0
    public var maxLatencyMilliseconds: UInt32 = 0
    /// 0 ... 1.
    public var maxPacketLossRate: Float = 0
    public var requireRedundancy = false

    public init() {}
}

public struct ServerDiscoveryResponse: Hashable, Sendable {
    public var servers: [AvailableServer] = []
    public var totalAvailableBandwidthMbps: UInt32 = 0
    public var recommendationReason: String = ""

    public struct AvailableServer: Hashable, Sendable {
        /// "address:port".
        public var address: String = ""
        /// SHA-256 of the certificate's SubjectPublicKeyInfo; empty: not said.
        public var publicKeyHash: [UInt8] = []
        public var availableBandwidthMbps: UInt32 = 0
        public var currentLoadPercent: UInt32 = 0
        public var latencyMilliseconds: UInt32 = 0
        public var capabilities: [String] = []
        public var location: Location?
        public var metrics: Metrics?

        public init() {}
    }

    public struct Location: Hashable, Sendable {
        public var country: String = ""
        public var region: String = ""
        public var datacenter: String = ""
        /// Degrees.
        public var latitude: Float = 0
        public var longitude: Float = 0

        public init() {}
    }

    public struct Metrics: Hashable, Sendable {
        public var activeConnections: UInt32 = 0
        public var bytesTransferredTotal: UInt64 = 0
        public var processorUsagePercent: Float = 0
        public var memoryUsagePercent: Float = 0
        public var uptimeSeconds: UInt32 = 0

        public init() {}
    }

    public init() {}
}
