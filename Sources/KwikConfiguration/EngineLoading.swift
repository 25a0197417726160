internal import KwikCore

extension EngineConfiguration {
    /// Reads the file and those that it names.
    public static func load(_ path: String) throws(ConfigurationError) -> EngineConfiguration {
        let loading = try Loading(path: path)
        var root = try Table(loading.document, loading.document.root, name: "the file")
        var configuration = EngineConfiguration()
        if var engine = try root.table("engine") {
            configuration.runtimeDirectory = try engine.string("runtime_dir")?.text
            configuration.logLevel = try engine.choice("log_level", LogLevel.self) ?? configuration.logLevel
            configuration.clientID = try engine.string("client_id")?.text
            configuration.maxPaths = try engine.integer("max_paths", in: 1...64) ?? configuration.maxPaths
            configuration.idlePathTimeout =
                try engine.duration("idle_path_timeout", in: .seconds(1)...(.seconds(3_600)))
                ?? configuration.idlePathTimeout
            configuration.interfaces = try engine.interfaces("interfaces") ?? configuration.interfaces
            try engine.finish()
        }
        var names: [String] = []
        var addresses: [AddressAndPort] = []
        for var table in try root.tables("service", name: "[[service]]", limit: ConfigurationLimit.services) {
            let service = try service(
                &table, loading, taken: names, addresses: addresses, interfaces: configuration.interfaces)
            names.append(service.name)
            addresses.append(contentsOf: service.addresses)
            configuration.services.append(service)
        }
        try root.finish()
        return configuration
    }

    private static func service(
        _ table: inout Table, _ loading: Loading, taken names: [String], addresses: [AddressAndPort],
        interfaces: InterfaceChoice
    ) throws(ConfigurationError) -> EngineService {
        let (name, host, place) = try loading.serviceName(in: &table)
        if names.contains(name) { throw table.bad(place, "name", "is used twice: \"\(name)\"") }
        let own = try serviceAddresses(&table, name: name, host: host, taken: addresses)
        var service = EngineService(name: name, addresses: own, servers: [])
        service.policy = try policy(&table) ?? service.policy
        service.replicas = try table.choice("replicas", ReplicaUse.self) ?? service.replicas
        service.congestion = try table.choice("congestion", CongestionControl.self) ?? service.congestion
        service.compression = try table.choice("compression", Compression.self) ?? service.compression
        service.interfaces = try table.interfaces("interfaces") ?? interfaces
        service.token = try token(&table, loading)
        service.authorities = try loading.pem("ca", in: &table)
        service.clientIdentity = try loading.identity(in: &table)
        let servers = try table.tables(
            "server", name: "[[service.server]]", limit: ConfigurationLimit.servers)
        if servers.isEmpty { throw table.missing("server") }
        for var entry in servers {
            let server = try server(&entry, taken: service.servers)
            service.servers.append(server)
        }
        guard service.servers.contains(where: { $0.roles.contains(.origin) }) else {
            throw table.document.error(
                table.place, "no [[service.server]] of \"\(name)\" has the role \"origin\"")
        }
        try table.finish()
        return service
    }

    private static func serviceAddresses(
        _ table: inout Table, name: String, host: String, taken: [AddressAndPort]
    ) throws(ConfigurationError) -> [AddressAndPort] {
        var own: [AddressAndPort] = []
        if let (items, _) = try table.array("addresses", limit: ConfigurationLimit.addresses) {
            for item in items {
                let text = try table.text(item, "addresses")
                let address = try table.address(text, item, "addresses")
                if own.contains(address) || taken.contains(address) {
                    throw table.bad(item, "addresses", "holds an address that is used twice: \(address)")
                }
                own.append(address)
            }
        } else if let address = AddressAndPort(parsing: name) {
            if taken.contains(address) {
                throw table.document.error(table.place, "the address \(address) is used twice")
            }
            own.append(address)
        } else {
            throw table.document.error(
                table.place,
                "'addresses' is missing in [[service]]: connect(2) sees addresses, not the name \"\(host)\"")
        }
        return own
    }

    private static func policy(_ table: inout Table) throws(ConfigurationError) -> FailurePolicy? {
        return try table.choice("policy", FailurePolicy.self)
    }

    private static func token(_ table: inout Table, _ loading: Loading) throws(ConfigurationError) -> String?
    {
        let inline = try table.string("token")
        let filed = try loading.tokens("token_file", limit: 1, in: &table)
        if let inline {
            if filed != nil { throw table.bad(inline.node, "token", "and 'token_file' exclude each other") }
            try loading.checkToken(inline.text, inline.node, "token", in: table)
        }
        return inline?.text ?? filed?.first
    }

    private static func server(
        _ table: inout Table, taken: [EngineServer]
    ) throws(ConfigurationError) -> EngineServer {
        let (name, place) = try table.required("name")
        guard name.utf8.count <= ConfigurationLimit.nameBytes else {
            throw table.bad(place, "name", "is longer than \(ConfigurationLimit.nameBytes) bytes")
        }
        guard let (address, addressNode) = try table.address("address") else {
            throw table.missing("address")
        }
        guard address.port > 0 else { throw table.bad(addressNode, "address", "has port 0") }
        if taken.contains(where: { $0.address == address }) {
            throw table.bad(addressNode, "address", "is used twice in this service: \(address)")
        }
        guard let roles = try table.roles("roles") else { throw table.missing("roles") }
        var pin: [UInt8]?
        if let (text, node) = try table.string("pin") {
            pin = text.hasPrefix("sha256//") ? Base64.decode(text.dropFirst(8)) : nil
            guard pin?.count == 32 else {
                throw table.bad(node, "pin", "must be \"sha256//\" and 32 bytes in base 64")
            }
        }
        let id = try table.string("server_id")
        if let id, id.text.isEmpty || id.text.utf8.count > ConfigurationLimit.nameBytes {
            throw table.bad(
                id.node, "server_id", "is empty or longer than \(ConfigurationLimit.nameBytes) bytes")
        }
        try table.finish()
        return EngineServer(name: name, serverID: id?.text, address: address, roles: roles, pin: pin)
    }
}
