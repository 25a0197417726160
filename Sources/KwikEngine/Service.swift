internal import KwikConfiguration
internal import KwikControl
internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikPrograms
internal import KwikTelemetry
internal import KwikTransport

/// One service: its session, the servers it may use, and the programs that use it now.
final class Service {
    let configuration: EngineService
    private let endpoint: Endpoint
    private let log: Log
    private var servers: [ServerEntry] = []
    private var manager: PathManager
    private let recipe: ServerPath.Recipe
    private var session: ClientSession
    private var driver: SessionDriver
    private var paths: [ServerPath] = []
    private var programs: [StreamID: Program] = [:]
    private var taggers: [ServerID: BlockTaggers] = [:]
    private(set) var finished: [JSON] = []
    private var timer: LoopTimer?
    /// Told once until a server answers again.
    private var saidNative = false
    var onEvent: (Event) -> Void = { _ in }
    var counters = ProgramCounters()

    struct ProgramCounters {
        var connects: UInt64 = 0
        var served: UInt64 = 0
        var native: UInt64 = 0
    }

    /// How long a program's connect waits for a server before the engine connects natively (shim.md).
    static let nativeAfter = Interval.seconds(1)
    private static let pendingCheck = Interval.milliseconds(250)

    init(
        _ configuration: EngineService, engine: EngineConfiguration, clientID: String, endpoint: Endpoint,
        log: Log
    ) throws(StartError) {
        self.configuration = configuration
        self.endpoint = endpoint
        self.log = log
        for (index, server) in configuration.servers.enumerated() {
            servers.append(ServerEntry(id: ServerID(UInt32(index + 1)), configuration: server))
        }
        manager = PathManager(
            servers: servers.map(\.id), idleTimeout: engine.idlePathTimeout, maximumPaths: engine.maxPaths,
            seed: RandomBytes.word())
        let trust: TrustStore
        do throws(TransportError) {
            trust = try TrustStore(
                authorities: configuration.authorities?.bytes ?? [],
                certificate: configuration.clientIdentity?.certificate.bytes,
                key: configuration.clientIdentity?.key.bytes)
        } catch {
            throw StartError("service \(configuration.name): \(error)")
        }
        var settings = TransportSettings()
        // A server's own channels are refused; so many at a time may come to be.
        settings.streams = 64
        settings.congestionControl = configuration.congestion == .cubic ? .cubic : .bbr2
        recipe = ServerPath.Recipe(
            service: configuration.name, trust: trust, settings: settings, token: configuration.token,
            clientID: clientID, session: SessionID(high: RandomBytes.word(), low: RandomBytes.word()))
        let client = ClientSettings(
            silentPrimary: configuration.policy == .promote ? .promote : .fail,
            replicas: configuration.replicas == .auto)
        session = ClientSession(settings: client, integrity: .standard)
        driver = endpoint.makeDriver(SessionDoor(session))
        driver.role = { [unowned self] action in self.perform(action) }
        do throws(Errno) {
            timer = try endpoint.loop.timer { [unowned self] in self.advance() }
        } catch {
            throw StartError("service \(configuration.name): \(error)")
        }
    }

    // MARK: Programs

    /// Whether a program's connect is taken. The first one that is not is told about, once.
    func wants() -> Bool {
        counters.connects += 1
        manager.wanted(now: Clock.now())
        defer { advance() }
        if manager.isReachable(now: Clock.now()) { return true }
        sayNative()
        counters.native += 1
        return false
    }

    private func sayNative() {
        guard !saidNative else { return }
        saidNative = true
        let reasons = servers.compactMap { entry in
            entry.refused.map { "\(entry.configuration.name): \($0)" }
        }
        log.write(
            .warning, "no server reachable, programs connect natively",
            [
                LogField("service", configuration.name), LogField("reason", reasons.joined(separator: "; ")),
            ])
    }

    func connected(_ connection: ProgramConnection) {
        let options = [SocketOption.port(connection.localPort)] + connection.options
        let stream = driver.call { now, actions in session.open(options, now: now, into: &actions) }
        guard let stream else {
            goNative(connection)
            return
        }
        let program = Program(
            connection, stream: stream, session: session, driver: driver, openedAt: Clock.now())
        programs[stream] = program
        program.watch(loop: endpoint.loop)
        if let result = early.removeValue(forKey: stream) { perform(result) }
        manager.use(streams: programs.count, now: Clock.now())
        advance()
    }

    /// Answers that came before `open` returned.
    private var early: [StreamID: Action] = [:]

    private func goNative(_ connection: ProgramConnection) {
        counters.native += 1
        sayNative()
        connection.native()
    }

    // MARK: Paths

    /// Attempts that are due, programs that waited long enough, and the next look at both.
    private func advance() {
        let now = Clock.now()
        for (stream, program) in programs
        where program.isPending && now >= program.openedAt + Self.nativeAfter {
            // What an earlier one in this loop brought about may have gone as far as here.
            guard !session.isReachable, programs[stream] === program else { continue }
            programs[stream] = nil
            driver.input(.localAborted(stream, errno: 0))
            program.abandon()
            goNative(program.connection)
        }
        for path in paths where !path.isUp && now >= path.helloDue { path.close("no hello") }
        var commands: [PathManager.Command] = []
        manager.advance(now: now, into: &commands)
        for command in commands {
            switch command {
            case .connect(let server): connect(server)
            case .closeAll: closePaths("idle")
            }
        }
        var next = manager.deadline ?? .never
        for program in programs.values where program.isPending {
            let due = program.openedAt + Self.nativeAfter
            // With an active path the far end's own answer is waited for, as long as it is active.
            next = min(next, due > now ? due : now + Self.pendingCheck)
        }
        for path in paths where !path.isUp { next = min(next, path.helloDue) }
        timer?.arm(at: next)
    }

    private func connect(_ server: ServerID) {
        guard let index = servers.firstIndex(where: { $0.id == server }) else { return }
        do throws(ServerPath.Failure) {
            let path = try ServerPath(servers[index], recipe, endpoint: endpoint)
            paths.append(path)
            path.onUp = { [unowned self, unowned path] link, hello in self.up(path, link, hello) }
            path.onFailed = { [unowned self, unowned path] failure in self.failed(path, failure) }
            path.onDown = { [unowned self, unowned path] error in self.down(path, error) }
            path.onRemoval = { [unowned self] reason in
                self.log.write(
                    .notice, "server stops", [LogField("server", server.value), LogField("reason", reason)])
            }
        } catch {
            note(index, error)
            manager.failed(server, permanent: error.isPermanent, now: Clock.now())
        }
    }

    private func up(_ path: ServerPath, _ link: PathLink, _ hello: ServerHello) {
        guard let index = servers.firstIndex(where: { $0.id == path.server }) else { return }
        servers[index].name = hello.serverID
        servers[index].refused = nil
        saidNative = false
        if !hello.resumed || servers[index].joinSecret != hello.joinSecret {
            servers[index].joinSecret = hello.joinSecret
            let table = BlockTaggers(joinSecret: hello.joinSecret)
            taggers[path.server] = table
            unsafe session.setTagger(table.tagger, for: path.server)
        }
        manager.connected(path.server)
        // A server's own word never adds to what the configuration allows it.
        let roles = hello.roles.intersection(servers[index].configuration.roles)
        driver.adopt(link, traits: PathTraits(server: path.server, roles: roles, resumed: hello.resumed))
        advance()
    }

    /// Of our own accord: attempts that end so have not failed.
    private func closePaths(_ reason: String) {
        for path in paths {
            if !path.isUp {
                path.onFailed = { [unowned self, unowned path] _ in self.paths.removeAll { $0 === path } }
            }
            path.close(reason)
        }
    }

    private func failed(_ path: ServerPath, _ failure: ServerPath.Failure) {
        paths.removeAll { $0 === path }
        if let index = servers.firstIndex(where: { $0.id == path.server }) { note(index, failure) }
        manager.failed(path.server, permanent: failure.isPermanent, now: Clock.now())
        advance()
    }

    private func down(_ path: ServerPath, _ error: TransportError?) {
        paths.removeAll { $0 === path }
        if let error {
            log.write(
                .notice, "path closed",
                [
                    LogField("service", configuration.name), LogField("server", name(path.server)),
                    LogField("reason", error),
                ])
        }
        manager.failed(path.server, permanent: false, now: Clock.now())
        advance()
    }

    /// Logs a refusal when its reason is new.
    private func note(_ index: Int, _ failure: ServerPath.Failure) {
        let isNews = servers[index].refused != failure.reason
        servers[index].refused = failure.reason
        guard isNews else { return }
        log.write(
            failure.isPermanent ? .warning : .notice, "path refused",
            [
                LogField("service", configuration.name),
                LogField("server", servers[index].configuration.name),
                LogField("address", servers[index].configuration.address), LogField("reason", failure.reason),
            ])
    }

    func name(_ id: ServerID) -> String {
        servers.first { $0.id == id }?.configuration.name ?? "\(id.value)"
    }

    // MARK: What the session asks

    private func perform(_ action: Action) {
        switch action {
        case .opened(let stream, let errno, let local, let peer):
            guard let program = programs[stream] else {
                early[stream] = action
                return
            }
            if errno == 0 { counters.served += 1 }
            program.opened(errno: errno, local: local, peer: peer)
        case .deliver(let stream): programs[stream]?.deliver()
        case .accept(let stream): programs[stream]?.accept()
        case .endLocal(let stream, let end): programs[stream]?.end(end)
        case .release(let stream): released(stream)
        case .event(let event):
            if case .streamClosed(let stream, _, _, _) = event { keepReport(of: stream) }
            onEvent(event)
        case .connect, .setOption, .open, .send, .finish, .abandon, .stop, .probe, .endPath:
            preconditionFailure("not an engine's part")
        }
    }

    private func released(_ stream: StreamID) {
        programs.removeValue(forKey: stream)?.close()
        early[stream] = nil
        for table in taggers.values { table.forget(stream) }
        manager.use(streams: programs.count, now: Clock.now())
        advance()
    }

    private func keepReport(of stream: StreamID) {
        guard let report = session.report(of: stream) else { return }
        let pid = programs[stream]?.connection.pid
        finished.append(StatusShape.stream(report, program: pid, name: { [self] in name($0) }))
        if finished.count > StatusShape.finishedLimit { finished.removeFirst() }
    }

    func status(now: Instant) -> JSON {
        let shown = servers.map { entry in
            StatusShape.Server(
                id: entry.id, name: entry.configuration.name, address: "\(entry.configuration.address)",
                roles: entry.configuration.roles, refused: entry.refused)
        }
        let own = StatusShape.Session(report: session.report(now: now)) { [self] in
            programs[$0]?.connection.pid
        }
        return StatusShape.service(
            name: configuration.name, policy: configuration.policy.rawValue, servers: shown, sessions: [own],
            finished: finished, now: now)
    }

    /// The engine stops: programs see their connections reset, servers are told.
    func stop() {
        for program in programs.values { program.end(.aborted(errno: 104)) }
        programs = [:]
        closePaths("the engine stops")
    }
}
