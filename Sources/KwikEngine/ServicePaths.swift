internal import KwikConfiguration
internal import KwikControl
internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikTelemetry
internal import KwikTransport

/// One configured server of a service.
struct ServerEntry {
    let id: ServerID
    let configuration: EngineServer
    var membership = Membership(session: ServerEntry.drawSession())
    /// How the gateway calls itself.
    var name = ""
    /// Why the last attempt failed; nil after one that did not.
    var refused: String?
    var routes: [LocalRoute] = []

    static func drawSession() -> SessionID {
        SessionID(high: RandomBytes.word(), low: RandomBytes.word())
    }
}

/// The paths of one service: does what its path manager decides.
final class ServicePaths {
    private let service: EngineService
    private let recipe: ServerPath.Recipe
    private let endpoint: Endpoint
    private let log: Log
    private(set) var servers: [ServerEntry]
    private var manager: PathManager
    private var paths: [ServerPath] = []
    /// As the system was when it last told of a change; nil: it can't tell.
    private var local: LocalRoutes?
    /// Routes were looked up before the last change.
    private var isStale = true
    /// The last reason that was logged.
    private var refusals: [PathName: String] = [:]
    private var nextRelay = 0

    /// A path is up, with what its server made known.
    var onUp: (PathLink, PathTraits, ServerHello) -> Void = { _, _, _ in }
    /// A server calls itself so, and may be called so.
    var onNamed: (ServerID, _ claimed: String, _ bound: String) -> Void = { _, _, _ in }
    /// A server's session has a new secret.
    var onSecret: (ServerID, [UInt8]) -> Void = { _, _ in }
    /// Whether a stream ends without the path.
    var isNeeded: (PathName) -> Bool = { _ in false }
    /// Something changed: `advance` is due.
    var onChange: () -> Void = {}

    init(
        _ service: EngineService, engine: EngineConfiguration, recipe: ServerPath.Recipe, endpoint: Endpoint,
        log: Log
    ) {
        self.service = service
        self.recipe = recipe
        self.endpoint = endpoint
        self.log = log
        servers = service.servers.enumerated().map { index, server in
            ServerEntry(id: ServerID(UInt32(index + 1)), configuration: server)
        }
        manager = PathManager(
            servers: servers.map { PathManager.Server(id: $0.id, roles: $0.configuration.roles) },
            idleTimeout: engine.idlePathTimeout, maximumPaths: engine.maxPaths, seed: RandomBytes.word())
    }

    // MARK: What programs want

    func wanted() {
        if isStale { refresh() }
        manager.wanted(now: Clock.now())
    }

    func isReachable(_ restriction: PathRestriction) -> Bool { manager.isReachable(restriction) }

    func use(streams: Int) { manager.use(streams: streams, now: Clock.now()) }

    /// Why no server can be used, for people.
    var reasons: String {
        servers.compactMap { entry in entry.refused.map { "\(entry.configuration.name): \($0)" } }
            .joined(separator: "; ")
    }

    // MARK: Links

    /// Links, addresses or routes of this machine have changed.
    func linksChanged(_ local: LocalRoutes?) {
        self.local = local
        isStale = true
        // Also where the last path went with its link: this may be the next.
        if !paths.isEmpty || manager.isInUse(now: Clock.now()) { refresh() }
    }

    private func refresh() {
        isStale = false
        for index in servers.indices {
            let routes = routes(to: servers[index].configuration)
            servers[index].routes = routes
            if routes.isEmpty { servers[index].refused = "no route" }
            manager.reach(servers[index].id, by: routes.map(\.interface))
        }
        for path in paths where path.name.relay == nil {
            let routes = servers.first { $0.id == path.name.server }?.routes ?? []
            // Its interface has another address now: the old one brings no answers.
            if let route = routes.first(where: { $0.interface == path.name.interface }),
                route.source != path.local.source
            {
                path.close("the local address is gone")
            }
        }
        onChange()
    }

    private func routes(to server: EngineServer) -> [LocalRoute] {
        guard let remote = SocketAddress(host: server.address.host, port: server.address.port) else {
            return []
        }
        do throws(Errno) {
            guard let local else { return try unknownRoute(to: remote) }
            return try local.towards(remote, service.interfaces)
        } catch {
            do throws(Errno) { return try unknownRoute(to: remote) } catch { return [] }
        }
    }

    /// The system does not tell of its links: it decides, packet by packet.
    private func unknownRoute(to remote: SocketAddress) throws(Errno) -> [LocalRoute] {
        [
            LocalRoute(
                interface: .any, name: "", source: try UDPSocket.source(towards: remote), needsDevice: false,
                isPreferred: true)
        ]
    }

    // MARK: The manager's decisions

    func advance(now: Instant) {
        for path in paths {
            if !path.isUp, now >= path.helloDue { path.close("no hello") }
            path.expireQuestions(now: now)
        }
        var commands: [PathManager.Command] = []
        manager.advance(now: now, isNeeded: isNeeded, into: &commands)
        for command in commands {
            switch command {
            case .connect(let name): connect(name)
            case .hello(let name): hello(name)
            case .close(let name): paths.filter { $0.name == name }.forEach { closeUnasked($0, "not used") }
            case .closeAll: closeAll("idle")
            }
        }
    }

    var deadline: Instant {
        var next = manager.deadline ?? .never
        for path in paths {
            if !path.isUp { next = min(next, path.helloDue) }
            next = min(next, path.questionsDue ?? .never)
        }
        return next
    }

    private func entry(_ server: ServerID) -> Int? { servers.firstIndex { $0.id == server } }

    private func connect(_ name: PathName) {
        guard let index = entry(name.server) else { return }
        let server = servers[index].configuration
        do throws(ServerPath.Failure) {
            if let relay = name.relay {
                try connect(name, to: server, through: relay)
                return
            }
            guard let route = servers[index].routes.first(where: { $0.interface == name.interface }),
                let remote = SocketAddress(host: server.address.host, port: server.address.port)
            else { throw ServerPath.Failure(reason: "no route", errorClass: .path) }
            let kind: PathKind = route.isPreferred ? .direct : .interface
            let path = ServerPath(name, kind: kind, to: server, by: route, recipe, endpoint: endpoint)
            try path.connect(to: remote)
            keep(path)
        } catch {
            note(name, error)
            manager.failed(name, permanent: error.isPermanent, now: Clock.now())
        }
    }

    private func connect(
        _ name: PathName, to server: EngineServer, through relay: ServerID
    ) throws(ServerPath.Failure) {
        let control = paths.first {
            $0.name == PathName(server: relay, interface: name.interface) && $0.isUp
        }
        guard let control else { throw ServerPath.Failure(reason: "the relay is gone", errorClass: .path) }
        let path = ServerPath(name, kind: .relay, to: server, by: control.local, recipe, endpoint: endpoint)
        keep(path)
        nextRelay += 1
        let id = "relay-\(nextRelay)"
        path.onOver = { [weak control] in control?.endRelay(id: id) }
        control.relay(to: server.address, id: id) { [weak self, weak path] answer in
            guard let self, let path, self.paths.contains(where: { $0 === path }) else { return }
            do throws(ServerPath.Failure) {
                switch answer {
                case .success(let address): try path.connect(to: address)
                case .failure(let failure): throw failure
                }
            } catch {
                path.onOver()
                self.failed(path, error)
            }
        }
    }

    private func keep(_ path: ServerPath) {
        paths.append(path)
        path.onShaken = { [unowned self, unowned path] in
            self.manager.shaken(path.name)
            self.onChange()
        }
        path.onUp = { [unowned self, unowned path] link, hello in self.up(path, link, hello) }
        path.onFailed = { [unowned self, unowned path] failure in self.failed(path, failure) }
        path.onDown = { [unowned self, unowned path] end in self.down(path, end) }
        path.onRemoval = { [unowned self, unowned path] reason in
            self.log.write(
                .notice, "server stops",
                [LogField("server", self.name(path.name.server)), LogField("reason", reason)])
        }
    }

    private func hello(_ name: PathName) {
        guard let index = entry(name.server), let path = paths.first(where: { $0.name == name }) else {
            return
        }
        path.hello(
            servers[index].membership.hello(draw: ServerEntry.drawSession), serverID: servers[index].name)
    }

    private func up(_ path: ServerPath, _ link: PathLink, _ hello: ServerHello) {
        guard let index = entry(path.name.server) else { return }
        let known = servers[index].membership.joinSecret
        guard let shown = path.shown, servers[index].membership.accepted(shown, secret: hello.joinSecret)
        else {
            let failure = ServerPath.Failure(reason: "its session was given up", errorClass: .transient)
            note(path.name, failure)
            return path.close(failure.reason)
        }
        servers[index].name = hello.serverID
        let configured = servers[index].configuration
        onNamed(path.name.server, hello.serverID, configured.serverID ?? configured.name)
        servers[index].refused = nil
        refusals[path.name] = nil
        if hello.joinSecret != known { onSecret(path.name.server, hello.joinSecret) }
        manager.connected(path.name, now: Clock.now())
        // A server's own word never adds to what the configuration allows it.
        let roles = hello.roles.intersection(servers[index].configuration.roles)
        var traits = PathTraits(name: path.name, kind: path.kind, roles: roles, resumed: hello.resumed)
        traits.compresses = recipe.capabilities.contains(Capability.zstd)
            && hello.capabilities.contains(Capability.zstd)
        onUp(link, traits, hello)
        onChange()
    }

    private func failed(_ path: ServerPath, _ failure: ServerPath.Failure) {
        paths.removeAll { $0 === path }
        var isPermanent = failure.isPermanent
        if failure.isUnauthenticated, let shown = path.shown, let index = entry(path.name.server),
            servers[index].membership.refused(
                shown, isUp: isUp(path.name.server), draw: ServerEntry.drawSession)
        {
            isPermanent = false
        }
        note(path.name, failure)
        manager.failed(path.name, permanent: isPermanent, now: Clock.now())
        onChange()
    }

    private func down(_ path: ServerPath, _ end: PathEnd) {
        paths.removeAll { $0 === path }
        let recovery = end.errorClass.recovery
        if let fault = end.fault {
            log.write(
                recovery.isAlert ? .warning : .notice, "path closed",
                fields(path.name) + [
                    LogField("reason", fault), LogField("class", end.errorClass.rawValue),
                ])
            keepReason(fault, path.name.server)
        }
        manager.failed(path.name, permanent: recovery.attempt == .late, now: Clock.now())
        onChange()
    }

    /// Of our own accord: it has not failed.
    private func closeUnasked(_ path: ServerPath, _ reason: String) {
        path.onFailed = { [unowned self, unowned path] _ in self.paths.removeAll { $0 === path } }
        path.onDown = { [unowned self, unowned path] _ in self.paths.removeAll { $0 === path } }
        path.close(reason)
    }

    func closeAll(_ reason: String) {
        for path in paths { closeUnasked(path, reason) }
    }

    private func isUp(_ server: ServerID) -> Bool {
        paths.contains { $0.name.server == server && $0.isUp }
    }

    // MARK: For people

    /// Of a server to which no path is up, until one is.
    private func keepReason(_ reason: String, _ server: ServerID) {
        if let index = entry(server), !isUp(server) { servers[index].refused = reason }
    }

    /// Logs a refusal when its reason is new.
    private func note(_ name: PathName, _ failure: ServerPath.Failure) {
        keepReason(failure.reason, name.server)
        guard refusals[name] != failure.reason else { return }
        refusals[name] = failure.reason
        log.write(
            failure.isPermanent ? .warning : .notice, "path refused",
            fields(name) + [
                LogField("reason", failure.reason), LogField("class", failure.errorClass.rawValue),
            ])
    }

    private func fields(_ name: PathName) -> [LogField] {
        var fields = [LogField("service", service.name), LogField("server", self.name(name.server))]
        if let entry = servers.first(where: { $0.id == name.server }) {
            fields.append(LogField("address", entry.configuration.address))
        }
        if let via = via(name) { fields.append(LogField("via", via)) }
        return fields
    }

    func name(_ id: ServerID) -> String {
        servers.first { $0.id == id }?.configuration.name ?? "\(id.value)"
    }

    /// The relay, or else the interface.
    func via(_ name: PathName) -> String? {
        if let relay = name.relay { return self.name(relay) }
        return local?.name(name.interface)
    }
}
