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
    private let paths: ServicePaths
    private var local: LocalRoutes?
    private var session: ClientSession
    private var driver: SessionDriver
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
        memory: MemoryBudget, log: Log
    ) throws(StartError) {
        self.configuration = configuration
        self.endpoint = endpoint
        self.log = log
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
        let compresses = configuration.compression == .zstd
        let recipe = ServerPath.Recipe(
            service: configuration.name, trust: trust, settings: settings, token: configuration.token,
            clientID: clientID, capabilities: compresses ? [Capability.zstd] : [])
        paths = ServicePaths(configuration, engine: engine, recipe: recipe, endpoint: endpoint, log: log)
        let policy: ClientSettings.SilentPrimary =
            switch configuration.policy {
            case .fail: .fail
            case .promote: .promote
            case .quorum: .quorum
            }
        let client = ClientSettings(silentPrimary: policy, replicas: configuration.replicas == .auto)
        session = ClientSession(
            settings: client, integrity: .standard, memory: memory,
            codec: compresses ? endpoint.codec : nil)
        driver = endpoint.makeDriver(SessionDoor(session))
        driver.role = { [unowned self] action in self.perform(action) }
        do throws(Errno) {
            timer = try endpoint.loop.timer { [unowned self] in self.advance() }
        } catch {
            throw StartError("service \(configuration.name): \(error)")
        }
        paths.onUp = { [unowned self] link, traits, _ in self.adopt(link, traits) }
        paths.onNamed = { [unowned self] server, claimed, bound in
            self.driver.call { [session] _, actions in
                session.claim(
                    Array(claimed.utf8), by: server, bound: [Array(bound.utf8)], into: &actions)
            }
        }
        paths.isNeeded = { [unowned self] in self.session.depends(on: $0) }
        paths.onSecret = { [unowned self] server, secret in self.renewTagger(of: server, secret) }
        paths.onChange = { [unowned self] in self.advance() }
    }

    // MARK: Programs

    /// Whether a program's connect is taken. The first one that is not is told about, once.
    func wants(_ request: ConnectRequest) -> Bool {
        counters.connects += 1
        paths.wanted()
        defer { advance() }
        let restriction = restriction(request.binding)
        if paths.isReachable(restriction) { return true }
        guard restriction == .none || !paths.isReachable(.none) else {
            counters.native += 1
            return false
        }
        sayNative()
        counters.native += 1
        return false
    }

    private func sayNative() {
        guard !saidNative else { return }
        saidNative = true
        log.write(
            .warning, "no server reachable, programs connect natively",
            [
                LogField("service", configuration.name), LogField("reason", paths.reasons),
            ])
    }

    func connected(_ connection: ProgramConnection) {
        let restriction = restriction(connection.binding)
        let options = [SocketOption.port(connection.localPort)] + connection.options
        let stream = driver.call { now, actions in
            session.open(options, restriction: restriction, now: now, into: &actions)
        }
        guard let stream else {
            goNative(connection)
            return
        }
        let program = Program(
            connection, stream: stream, session: session, driver: driver, restriction: restriction,
            openedAt: Clock.now())
        programs[stream] = program
        program.watch(loop: endpoint.loop)
        if let result = early.removeValue(forKey: stream) { perform(result) }
        paths.use(streams: programs.count)
        advance()
    }

    /// What a program's socket is bound to, as interfaces. One that is not there leaves no path.
    private func restriction(_ binding: SocketBinding) -> PathRestriction {
        guard let local else { return binding == .none ? .none : PathRestriction(interfaces: []) }
        var interfaces: [InterfaceID]?
        if let device = binding.device { interfaces = local.interface(named: device).map { [$0] } ?? [] }
        if let address = binding.address {
            let holders = local.holders(of: address)
            interfaces = interfaces.map { $0.filter(holders.contains) } ?? holders
        }
        return PathRestriction(interfaces: interfaces)
    }

    /// Answers that came before `open` returned.
    private var early: [StreamID: Action] = [:]

    private func goNative(_ connection: ProgramConnection) {
        counters.native += 1
        sayNative()
        connection.native()
    }

    // MARK: Paths

    /// Programs that waited long enough, paths that are due, and the next look at both.
    private func advance() {
        let now = Clock.now()
        for (stream, program) in programs
        where program.isPending && now >= program.openedAt + Self.nativeAfter {
            // What an earlier one in this loop brought about may have gone as far as here.
            guard !session.isReachable(program.restriction), programs[stream] === program else { continue }
            programs[stream] = nil
            driver.input(.localAborted(stream, errno: 0))
            program.abandon()
            goNative(program.connection)
        }
        paths.advance(now: now)
        var next = paths.deadline
        for program in programs.values where program.isPending {
            let due = program.openedAt + Self.nativeAfter
            // With an active path the far end's own answer is waited for, as long as it is active.
            next = min(next, due > now ? due : now + Self.pendingCheck)
        }
        timer?.arm(at: next)
    }

    private func adopt(_ link: PathLink, _ traits: PathTraits) {
        saidNative = false
        driver.adopt(link, traits: traits)
    }

    private func renewTagger(of server: ServerID, _ secret: [UInt8]) {
        let table = BlockTaggers(joinSecret: secret)
        taggers[server] = table
        unsafe session.setTagger(table.tagger, for: server)
    }

    /// Links, addresses or routes of this machine have changed; nil: the system does not tell.
    func linksChanged(_ local: LocalRoutes?) {
        self.local = local
        paths.linksChanged(local)
    }

    func name(_ id: ServerID) -> String { paths.name(id) }

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
        case .offered(let stream, _):
            // No program listens for what a server opens.
            driver.call { _, actions in session.refuse(stream, .refusedByPolicy, into: &actions) }
        case .connect, .setOption, .open, .send, .finish, .abandon, .stop, .probe, .endPath:
            preconditionFailure("not an engine's part")
        }
    }

    private func released(_ stream: StreamID) {
        programs.removeValue(forKey: stream)?.close()
        early[stream] = nil
        for table in taggers.values { table.forget(stream) }
        paths.use(streams: programs.count)
        advance()
    }

    private func keepReport(of stream: StreamID) {
        guard let report = session.report(of: stream) else { return }
        let pid = programs[stream]?.connection.pid
        finished.append(StatusShape.stream(report, program: pid, name: { [self] in name($0) }))
        if finished.count > StatusShape.finishedLimit { finished.removeFirst() }
    }

    func status(now: Instant) -> JSON {
        let shown = paths.servers.map { entry in
            StatusShape.Server(
                id: entry.id, name: entry.configuration.name, address: "\(entry.configuration.address)",
                roles: entry.configuration.roles, refused: entry.refused)
        }
        var own = StatusShape.Session(report: session.report(now: now)) { [self] in
            programs[$0]?.connection.pid
        }
        own.via = { [self] in paths.via($0) }
        return StatusShape.service(
            name: configuration.name, policy: configuration.policy.rawValue, servers: shown, sessions: [own],
            finished: finished, now: now)
    }

    /// The engine stops: programs see their connections reset, servers are told.
    func stop() {
        for program in programs.values { program.end(.aborted(errno: 104)) }
        programs = [:]
        paths.closeAll("the engine stops")
    }
}
