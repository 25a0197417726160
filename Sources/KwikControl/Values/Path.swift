public import KwikCore

/// Tells the client of one more server of its service; the client decides whether to use it.
public struct AddPathCommand: Hashable, Sendable {
    public var serverID: String = ""
    /// The name that its certificate is valid for.
    public var serverName: String = ""
    /// "address:port".
    public var serverAddress: String = ""
    /// SHA-256 of the certificate's SubjectPublicKeyInfo; empty: not said.
    public var publicKeyHash: [UInt8] = []
    public var roles: Roles = []

    public init() {}
}

/// No new streams on this path; those that run may finish within the grace.
public struct RemovePathCommand: Hashable, Sendable {
    /// An `ErrorCode`; usually `draining`.
    public var errorCode: UInt32 = 0
    public var reason: String = ""
    public var graceMilliseconds: UInt32 = 0

    public init() {}
}

/// A server's own state or capabilities changed.
public struct PathStatusUpdate: Hashable, Sendable {
    public var status: Status = .available
    public var serverID: String = ""
    public var capabilities: [String] = []
    public var roles: Roles = []
    public var reason: String = ""

    public enum Status: UInt32, Sendable {
        case available = 0
        case degraded = 1
        case draining = 2
        case unavailable = 3
    }

    public init() {}
}

public struct HealthCheckRequest: Hashable, Sendable {
    /// Comes back unchanged.
    public var nonce: UInt64 = 0

    public init() {}
}

public struct HealthCheckResponse: Hashable, Sendable {
    public var nonce: UInt64 = 0
    public var status: Status = .healthy
    /// 0 ... 100 by intent; a peer may send more.
    public var loadPercent: UInt32 = 0
    public var activeSessions: UInt32 = 0

    public enum Status: UInt32, Sendable {
        case healthy = 0
        case overloaded = 1
        case stopping = 2
    }

    public init() {}
}

public struct ServerCapabilityQuery: Hashable, Sendable {
    public var clientID: String = ""
    public var service: String = ""
    /// The names asked about; none: all.
    public var capabilities: [String] = []

    public init() {}
}

public struct ServerCapabilityResponse: Hashable, Sendable {
    public var serverID: String = ""
    public var capabilities: [String] = []
    public var roles: Roles = []
    public var limits: SessionLimits?

    public init() {}
}
