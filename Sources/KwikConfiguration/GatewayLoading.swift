internal import KwikCore

extension GatewayConfiguration {
    /// Reads the file and those that it names.
    public static func load(_ path: String) throws(ConfigurationError) -> GatewayConfiguration {
        let loading = try Loading(path: path)
        var root = try Table(loading.document, loading.document.root, name: "the file")
        guard var gateway = try root.table("gateway") else { throw root.missing("[gateway]") }
        guard let (listen, _) = try gateway.address("listen") else { throw gateway.missing("listen") }
        let (serverID, idNode) = try gateway.required("server_id")
        guard serverID.utf8.count <= ConfigurationLimit.nameBytes else {
            throw gateway.bad(idNode, "server_id", "is longer than \(ConfigurationLimit.nameBytes) bytes")
        }
        guard let identity = try loading.identity(in: &gateway) else { throw gateway.missing("certificate") }
        var configuration = GatewayConfiguration(listen: listen, serverID: serverID, identity: identity)
        configuration.clientAuthorities = try loading.pem("client_ca", in: &gateway)
        configuration.maxRate = try gateway.rate("max_rate")
        configuration.memory =
            try gateway.size("memory", in: (1 << 20)...(1 << 40)) ?? configuration.memory
        configuration.maxSessions =
            try gateway.integer("max_sessions", in: 1...1_000_000) ?? configuration.maxSessions
        configuration.congestion =
            try gateway.choice("congestion", CongestionControl.self) ?? configuration.congestion
        configuration.runtimeDirectory = try gateway.string("runtime_dir")?.text
        configuration.logLevel = try gateway.choice("log_level", LogLevel.self) ?? configuration.logLevel
        try gateway.finish()
        if var relay = try root.table("relay") { configuration.relay = try self.relay(&relay) }
        for var table in try root.tables("service", name: "[[service]]", limit: ConfigurationLimit.services) {
            let service = try service(
                &table, loading, taken: configuration.services, relays: configuration.relay != nil)
            configuration.services.append(service)
            if service.backendSees == .client, configuration.runtimeDirectory == nil {
                throw gateway.missing("runtime_dir")
            }
        }
        if configuration.services.isEmpty { throw root.missing("[[service]]") }
        let relays = configuration.services.contains { $0.roles.contains(.relay) }
        if configuration.relay != nil, !relays {
            throw root.document.error(
                root.place, "[relay] is of no use: no [[service]] has the role \"relay\"")
        }
        try root.finish()
        return configuration
    }

    private static func relay(_ table: inout Table) throws(ConfigurationError) -> RelayConfiguration {
        guard let (items, _) = try table.array("allow", limit: ConfigurationLimit.relayTargets) else {
            throw table.missing("allow")
        }
        var relay = RelayConfiguration(allow: [])
        for item in items {
            let text = try table.text(item, "allow")
            let address = try table.address(text, item, "allow")
            guard address.port > 0 else { throw table.bad(item, "allow", "holds an address with port 0") }
            guard Literal.isUnicast(address.host) else {
                throw table.bad(item, "allow", "holds an address that is no single machine's: \(address)")
            }
            if relay.allow.contains(address) {
                throw table.bad(item, "allow", "holds an address twice: \(address)")
            }
            relay.allow.append(address)
        }
        relay.maxRate = try table.rate("max_rate") ?? relay.maxRate
        relay.maxPaths = try table.integer("max_paths", in: 1...64) ?? relay.maxPaths
        try table.finish()
        return relay
    }

    private static func service(
        _ table: inout Table, _ loading: Loading, taken: [GatewayService], relays: Bool
    ) throws(ConfigurationError) -> GatewayService {
        let (name, _, place) = try loading.serviceName(in: &table)
        if taken.contains(where: { $0.name == name }) {
            throw table.bad(place, "name", "is used twice: \"\(name)\"")
        }
        guard let roles = try table.roles("roles") else { throw table.missing("roles") }
        if roles.contains(.relay), !relays {
            throw table.document.error(
                table.place,
                "the role \"relay\" needs a table [relay] that says what may be reached through it")
        }
        // Who only relays needs no backend, and shows it no address.
        let serves = roles != .relay
        let backend = try backend(&table, isNeeded: serves)
        let proxyProtocol = try table.choice("proxy_protocol", GatewayService.ProxyProtocol.self)
        var peer = GatewayService.Peer.gateway
        if let backend { peer = try self.peer(&table, of: backend, hasProxyHeader: proxyProtocol != nil) }
        var service = GatewayService(name: name, backend: backend, roles: roles)
        service.proxyProtocol = proxyProtocol
        service.backendSees = peer
        service.tokens = try tokens(&table, loading)
        service.maxWindow =
            try table.size("max_window", in: 65_536...(1 << 30)) ?? service.maxWindow
        service.compression = try table.choice("compression", Compression.self) ?? service.compression
        service.maxStreams = try table.integer("max_streams", in: 1...65_536) ?? service.maxStreams
        try table.finish()
        return service
    }

    private static func backend(
        _ table: inout Table, isNeeded: Bool
    ) throws(ConfigurationError) -> GatewayService.Backend? {
        guard let (text, node) = try table.string("backend") else {
            if isNeeded { throw table.missing("backend") }
            return nil
        }
        guard isNeeded else {
            throw table.bad(node, "backend", "is of no use where \"relay\" is the only role")
        }
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            // sun_path holds 108 bytes with its NUL (unix(7)).
            guard path.hasPrefix("/"), path.utf8.count <= 107 else {
                throw table.bad(
                    node, "backend", "must be \"unix:\" and an absolute path of at most 107 bytes")
            }
            return .unix(path)
        }
        guard let address = AddressAndPort(parsing: text), address.port > 0 else {
            throw table.bad(
                node, "backend",
                "must be \"address:port\" with a literal address or \"unix:/path\", this is \"\(text)\"")
        }
        return .tcp(address)
    }

    /// protocol.md §8: the operator says what the backend sees as the client's address.
    private static func peer(
        _ table: inout Table, of backend: GatewayService.Backend, hasProxyHeader: Bool
    ) throws(ConfigurationError) -> GatewayService.Peer {
        guard let (_, node) = try table.string("backend_sees") else {
            if hasProxyHeader { return .gateway }
            throw table.document.error(
                table.place,
                "'backend_sees' is missing in [[service]]: write backend_sees = \"gateway\" to agree that "
                    + "the backend sees the gateway's address instead of the client's, "
                    + "backend_sees = \"client\" if it runs under libkwik.so, or tell it the client's by "
                    + "proxy_protocol = \"v2\"")
        }
        let peer = try table.choice("backend_sees", GatewayService.Peer.self) ?? .gateway
        guard peer == .client else { return peer }
        if hasProxyHeader {
            throw table.bad(node, "backend_sees", "can't be \"client\" beside 'proxy_protocol'")
        }
        guard case .tcp(let address) = backend, !address.host.contains(":") else {
            throw table.bad(
                node, "backend_sees",
                "can be \"client\" only for a backend at an IPv4 address: one that listens on [::] is at "
                    + "127.0.0.1 too")
        }
        return peer
    }

    private static func tokens(_ table: inout Table, _ loading: Loading) throws(ConfigurationError)
        -> [String]
    {
        var tokens: [String] = []
        if let (items, _) = try table.array("tokens", limit: ConfigurationLimit.tokens) {
            for item in items {
                let token = try table.text(item, "tokens")
                try loading.checkToken(token, item, "tokens", in: table)
                tokens.append(token)
            }
        }
        let filed = try loading.tokens("token_file", limit: ConfigurationLimit.tokens, in: &table)
        return tokens + (filed ?? [])
    }
}
