public import KwikCore

/// What both ends of a path must offer before it is used: `capabilities` of the hellos.
public enum Capability {
    /// DATA may be compressed, either way.
    public static let zstd = "zstd"
}

/// The first message on a control stream, client → gateway.
public struct ClientHello: Hashable, Sendable {
    public var clientID: String = ""
    public var version: UInt32 = 0
    public var capabilities: [String] = []
    /// "host:port", as the configuration names it.
    public var service: String = ""
    public var credential: Credential = .none
    /// HMAC-SHA-256(join secret, exporter ‖ session id ‖ server id), protocol.md §2; empty: no join.
    public var joinProof: [UInt8] = []

    public enum Credential: Hashable, Sendable {
        case none
        case bearerToken(String)
        /// `mac`: HMAC-SHA-256(key, TLS exporter "EXPORTER-kwik-auth" ‖ client id ‖ service).
        case hmac(keyID: String, mac: [UInt8])
    }

    public init() {}
}

/// The gateway's answer to `ClientHello`.
public struct ServerHello: Hashable, Sendable {
    public var accepted = false
    /// An `ErrorCode` (see `error`), 0 where accepted.
    public var errorCode: UInt32 = 0
    public var errorMessage: String = ""
    public var serverID: String = ""
    public var roles: Roles = []
    public var limits: SessionLimits?
    /// Secret: never logged.
    public var joinSecret: [UInt8] = []
    /// Whether this gateway process already knew the session.
    public var resumed = false
    public var version: UInt32 = 0
    public var capabilities: [String] = []

    public init() {}

    /// A code that this version does not know shows as a protocol violation.
    public var error: ErrorCode {
        get { ErrorCode(rawValue: UInt64(errorCode)) ?? .protocolViolation }
        set { errorCode = UInt32(newValue.rawValue) }
    }
}

/// What a gateway grants a session. 0: not said.
public struct SessionLimits: Hashable, Sendable {
    public var maxStreams: UInt32 = 0
    public var maxPaths: UInt32 = 0
    /// Bytes per stream and direction.
    public var maxWindowBytes: UInt64 = 0
    public var idleTimeoutMilliseconds: UInt32 = 0

    public init() {}
}
