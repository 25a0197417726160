public import KwikCore

/// What kwikd is told: kwik.toml(5).
public struct EngineConfiguration: Sendable {
    /// `[engine] runtime_dir`; nil: found by the rule of `RuntimeDirectory`.
    public var runtimeDirectory: String?
    /// `[engine] log_level`.
    public var logLevel: LogLevel = .info
    /// `[engine] client_id`: how this client calls itself towards gateways; nil: a name drawn by the engine.
    public var clientID: String?
    /// `[engine] max_paths`: paths of one session, 1 ... 64.
    public var maxPaths: Int = 8
    /// `[engine] idle_path_timeout`: an unused path is closed after it, 1 s ... 1 h.
    public var idlePathTimeout: Interval = .seconds(60)
    /// `[engine] interfaces`: where a service does not say otherwise.
    public var interfaces = InterfaceChoice.auto
    public var services: [EngineService] = []

    public init() {}
}

/// `[[service]]`: what programs connect to.
public struct EngineService: Sendable {
    /// "host:port", as programs and gateways name it.
    public var name: String
    /// The addresses at which connect(2) asks for it; never empty. For a service named by a literal address
    /// that one.
    public var addresses: [AddressAndPort]
    public var policy: FailurePolicy = .fail
    public var replicas: ReplicaUse = .auto
    public var congestion: CongestionControl = .cubic
    public var compression: Compression = .none
    /// Bearer token for the gateways. Secret: never logged.
    public var token: String?
    /// PEM list of the authorities that the servers' certificates chain to; nil: the system's.
    public var authorities: AttachedFile?
    public var clientIdentity: CertificateAndKey?
    /// `interfaces`: by which its paths leave; by default the engine's.
    public var interfaces = InterfaceChoice.auto
    /// In the order of the file; never empty, and one of them has the role origin.
    public var servers: [EngineServer]
}

/// `[[service.server]]`: a machine that runs kwik-gateway for the service.
public struct EngineServer: Hashable, Sendable {
    /// The name that its certificate must be valid for.
    public var name: String
    /// `server_id`: what it calls itself in ServerHello; nil: by its name.
    public var serverID: String?
    /// UDP.
    public var address: AddressAndPort
    public var roles: Roles
    /// SHA-256 of the certificate's SubjectPublicKeyInfo, 32 bytes.
    public var pin: [UInt8]?
}
