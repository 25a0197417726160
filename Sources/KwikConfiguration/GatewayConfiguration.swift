public import KwikCore

/// What kwik-gateway is told: kwik-gateway.toml(5).
public struct GatewayConfiguration: Sendable {
    /// `[gateway] listen`: UDP. Port 0 asks the system for one.
    public var listen: AddressAndPort
    /// `[gateway] server_id`: how this server calls itself in ServerHello.
    public var serverID: String
    /// `[gateway] certificate`, `key`.
    public var identity: CertificateAndKey
    /// `[gateway] client_ca`: if given, clients must show a certificate that chains to it.
    public var clientAuthorities: AttachedFile?
    /// `[gateway] max_rate`: bytes per second that it sends at most, all clients together; nil: no limit.
    public var maxRate: UInt64?
    /// `[gateway] memory`: bytes that all streams' windows may hold together, those of all clients.
    public var memory: UInt64 = 64 << 20
    /// `[gateway] max_sessions`.
    public var maxSessions: Int = 1_024
    /// `[gateway] congestion`.
    public var congestion: CongestionControl = .cubic
    /// `[gateway] runtime_dir`; nil: found by the rule of `RuntimeDirectory`.
    public var runtimeDirectory: String?
    /// `[gateway] log_level`.
    public var logLevel: LogLevel = .info
    /// `[relay]`; nil: this gateway relays nothing.
    public var relay: RelayConfiguration?
    public var services: [GatewayService] = []
}

/// `[relay]`: clients of services with the role relay may have their datagrams forwarded.
public struct RelayConfiguration: Hashable, Sendable {
    /// `allow`: to these addresses (UDP) and no others; never empty.
    public var allow: [AddressAndPort]
    /// `max_rate`: bytes per second that are forwarded for one client, each way.
    public var maxRate: UInt64 = 125_000_000
    /// `max_paths`: forwarded for one client at a time.
    public var maxPaths: Int = 4

    public init(allow: [AddressAndPort]) { self.allow = allow }
}

/// `[[service]]`: what the gateway serves, chosen by exact name.
public struct GatewayService: Sendable {
    /// "host:port", as the engines' configuration names it.
    public var name: String
    /// nil: the gateway only relays to other servers of the service.
    public var backend: Backend?
    /// Never empty.
    public var roles: Roles
    /// Bearer tokens, any of which admits a client; none: no token is asked for. Secret: never logged.
    /// Compare in constant time.
    public var tokens: [String] = []
    /// `max_window`: bytes per stream and direction, 64 KiB ... 1 GiB.
    public var maxWindow: UInt64 = 16 << 20
    public var compression: Compression = .none
    /// `max_streams`: per session.
    public var maxStreams: Int = 1_024

    /// `backend_sees`: whose address the backend has for a connection's peer.
    public var backendSees: Peer = .gateway

    /// `proxy_protocol`: what goes before the client's bytes on each connection to the backend; nil: nothing.
    public var proxyProtocol: ProxyProtocol?

    public enum Peer: String, CaseIterable, Sendable {
        /// The operator consents: not the client's.
        case gateway
        /// The backend runs under libkwik.so on this machine, which shows it the client's.
        case client
    }

    public enum Backend: Hashable, Sendable {
        /// "address:port".
        case tcp(AddressAndPort)
        /// "unix:/path", absolute.
        case unix(String)
    }

    public enum ProxyProtocol: String, CaseIterable, Sendable {
        /// HAProxy's binary header with the client's address.
        case v2
    }
}
