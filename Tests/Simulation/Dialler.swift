internal import KwikCore

/// Makes the paths that the path manager decides on, as the engine does: the relay is asked if there is one,
/// then comes a round trip for TLS, then the hello.
final class Dialler {
    private let world: World
    private let network: Network
    private unowned let client: Client
    private var manager: PathManager
    private var timer: Timer?
    private var isDue = false
    private var attempts: [Attempt] = []
    private var nextPath: UInt32 = 0
    private var memberships: [ServerID: Membership]
    private var drawn: UInt64 = 0
    /// Servers whose gateways have accepted no hello since they refused one.
    private var refusedSince: [ServerID: Instant] = [:]
    private let lostAnswers: Double
    private let healAt: Instant
    private var answers: Chance

    /// A path that is being made, or up.
    private final class Attempt {
        let name: PathName
        let path: PathID
        let route: Route
        var stage = Stage.asking
        /// Of the handshake.
        var roundTrip = Interval.zero
        /// What the hello showed.
        var shown: Membership?
        var answer: Answer?
        /// Nothing comes to the client by it any more.
        var isLost = false
        /// The session that it has joined.
        weak var gateway: Gateway?

        init(_ name: PathName, _ path: PathID, by route: Route) {
            self.name = name
            self.path = path
            self.route = route
        }

        /// A gateway's path ids have nothing to do with the client's.
        var farPath: PathID { PathID(path.value + 1_000_000) }
    }

    /// What the gateway says to a hello, whether it is heard or not.
    private enum Answer {
        case accepted(secret: [UInt8], resumed: Bool)
        case refused
    }

    private enum Stage { case asking, shaking, shaken, greeting, up, over }

    /// A message and its answer, by one route.
    private struct Question {
        var route: Route
        var stage: Stage
        var size: Int
        var answerSize: Int
        var patience: Interval
        /// At the server; false: there is no answer.
        var arrived: () -> Bool = { true }
        /// With the round trip.
        var answered: (Interval) -> Void
    }

    /// How often a message is sent: a handshake's for 6 s in all.
    private static let tries = 4
    /// For so long at most a gateway refuses the proof of a session that it had to begin anew: until paths
    /// that are up no more are found out, and one attempt after that.
    private static let refusals = Interval.seconds(25)

    init(_ world: World, _ network: Network, _ client: Client, _ scenario: Scenario) {
        self.world = world
        self.network = network
        self.client = client
        lostAnswers = scenario.lostAnswers
        healAt = world.now + scenario.healAt
        answers = Chance(seed: scenario.seed, purpose: "answers")
        memberships = Dictionary(
            uniqueKeysWithValues: network.servers.map { server in
                (server.id, Membership(session: SessionID(high: 0, low: UInt64(server.id.value))))
            })
        manager = PathManager(
            servers: network.servers.map { PathManager.Server(id: $0.id, roles: $0.roles) },
            idleTimeout: scenario.idleTimeout, maximumPaths: scenario.maximumPaths, seed: scenario.seed)
        timer = Timer(world) { [weak self] in self?.advance() }
        linksChanged()
    }

    /// The client's system tells of its interfaces.
    func linksChanged() {
        for server in network.servers {
            let own = network.routes.filter { $0.server === server && $0.relay == nil && $0.isPlugged }
            manager.reach(server.id, by: own.map(\.plan.interface))
        }
        changed()
    }

    // MARK: What the client tells

    /// A program wants the service.
    func wanted() {
        manager.wanted(now: world.now)
        changed()
    }

    func isReachable(_ restriction: PathRestriction) -> Bool { manager.isReachable(restriction) }

    func use(streams count: Int) {
        manager.use(streams: count, now: world.now)
        changed()
    }

    /// A path that was up is gone.
    func lost(_ path: PathID) {
        guard let attempt = attempts.first(where: { $0.path == path }) else { return }
        fail(attempt)
    }

    func name(of path: PathID) -> PathName? { attempts.first { $0.path == path }?.name }

    /// The server ends the connection that runs over the route.
    func close(_ route: Route) {
        guard let attempt = attempts.first(where: { $0.route === route }) else { return }
        attempt.gateway?.close(attempt.farPath)
    }

    // MARK: The manager's decisions

    /// Not within whatever call has brought the change.
    private func changed() {
        guard !isDue else { return }
        isDue = true
        world.at(world.now) { [weak self] in
            self?.isDue = false
            self?.advance()
        }
    }

    private func advance() {
        var commands: [PathManager.Command] = []
        manager.advance(now: world.now, isNeeded: client.depends, into: &commands)
        for command in commands {
            world.trace("paths: \(command)")
            switch command {
            case .connect(let name): connect(name)
            case .hello(let name): attempts.filter { $0.name == name }.forEach(hello)
            case .close(let name):
                world.count("closed-unasked")
                attempts.filter { $0.name == name }.forEach(close)
            case .closeAll:
                world.count("closed-idle")
                attempts.forEach(close)
            }
        }
        timer?.arm(at: manager.deadline)
    }

    private func connect(_ name: PathName) {
        nextPath += 1
        guard let route = network.route(for: name) else {
            // A relay that does not forward to there.
            manager.failed(name, permanent: true, now: world.now)
            return changed()
        }
        let attempt = Attempt(name, PathID(nextPath), by: route)
        attempts.append(attempt)
        guard let relay = route.relay?.id else { return shake(attempt) }
        let own = PathName(server: relay, interface: name.interface)
        guard let control = attempts.first(where: { $0.name == own && $0.stage == .up }) else {
            return fail(attempt)
        }
        let question = Question(
            route: control.route, stage: .asking, size: 150, answerSize: 150, patience: .milliseconds(400),
            arrived: {
                route.forward()
                return true
            }, answered: { [weak self] _ in self?.shake(attempt) })
        ask(question, for: attempt)
    }

    private func shake(_ attempt: Attempt) {
        attempt.stage = .shaking
        let question = Question(
            route: attempt.route, stage: .shaking, size: 1_280, answerSize: 1_280,
            patience: .milliseconds(400),
            answered: { [weak self] roundTrip in
                attempt.roundTrip = roundTrip
                attempt.stage = .shaken
                self?.manager.shaken(attempt.name)
                self?.changed()
            })
        ask(question, for: attempt)
    }

    private func hello(_ attempt: Attempt) {
        attempt.stage = .greeting
        attempt.shown = memberships[attempt.route.server.id]?.hello(draw: draw)
        let question = Question(
            route: attempt.route, stage: .greeting, size: 700, answerSize: 400,
            patience: max(.milliseconds(200), attempt.roundTrip * 3),
            arrived: { [weak self] in self?.join(attempt) ?? false },
            answered: { [weak self] _ in self?.answered(attempt) })
        ask(question, for: attempt)
    }

    private func draw() -> SessionID {
        drawn += 1
        world.count("session-given-up")
        return SessionID(high: 1, low: drawn)
    }

    /// Of our own accord: it has not failed.
    private func close(_ attempt: Attempt) {
        let wasUp = attempt.stage == .up
        forget(attempt)
        if wasUp { client.close(attempt.path) } else { tellClosed(attempt) }
    }

    private func tellClosed(_ attempt: Attempt) {
        attempt.route.toServer(Packet.lowerHeaders) {
            attempt.gateway?.receive(Packet(number: 0, close: 0), on: attempt.farPath)
        }
    }

    private func fail(_ attempt: Attempt) {
        forget(attempt)
        manager.failed(attempt.name, permanent: false, now: world.now)
        changed()
    }

    private func forget(_ attempt: Attempt) {
        attempt.stage = .over
        attempts.removeAll { $0 === attempt }
        attempt.route.isUp = false
    }

    // MARK: Messages

    /// Repeated until it is answered, each time after twice the time.
    private func ask(_ question: Question, for attempt: Attempt, tries: Int = 0) {
        guard attempt.stage == question.stage else { return }
        guard tries < Self.tries else { return fail(attempt) }
        let route = question.route
        let sentAt = world.now
        route.toServer(question.size) { [world] in
            guard question.arrived() else { return }
            route.toClient(question.answerSize) {
                guard attempt.stage == question.stage, !attempt.isLost else { return }
                question.answered(world.now - sentAt)
            }
        }
        world.after(question.patience * Int64(1 << tries)) { [weak self] in
            self?.ask(question, for: attempt, tries: tries + 1)
        }
    }

    /// The hello at the server.
    private func join(_ attempt: Attempt) -> Bool {
        switch attempt.answer {
        case .refused: return true
        // The connection is there, its answer was lost; unless the process is another one since.
        case .accepted: return attempt.gateway?.paths[attempt.farPath] != nil
        case nil: break
        }
        guard let shown = attempt.shown, let (session, resumed) = attempt.route.server.admit(shown) else {
            attempt.answer = .refused
            return true
        }
        attempt.answer = .accepted(secret: session.secret, resumed: resumed)
        attempt.gateway = session.gateway
        attempt.isLost = world.now < healAt && answers.chance(lostAnswers)
        let connection = Connection(roundTrip: attempt.roundTrip, now: world.now) { [weak self] packet in
            attempt.route.toClient(packet.size) {
                guard let self, !attempt.isLost else { return }
                self.network.heard(attempt.route)
                self.client.receive(packet, on: attempt.path)
            }
        }
        session.gateway.add(attempt.farPath, connection, attempt.route.traits(attempt.name, resumed: resumed))
        return true
    }

    private func answered(_ attempt: Attempt) {
        let server = attempt.route.server
        guard let shown = attempt.shown, var membership = memberships[server.id] else { return }
        defer { memberships[server.id] = membership }
        switch attempt.answer {
        case .accepted(let secret, let resumed):
            let known = membership.joinSecret
            guard membership.accepted(shown, secret: secret) else {
                tellClosed(attempt)
                return fail(attempt)
            }
            refusedSince[server.id] = nil
            if secret != known { unsafe client.setTagger(server.tagger(secret), for: server.id) }
            if resumed { world.count("session-resumed") }
            up(attempt, resumed: resumed)
        case .refused:
            world.count("proof-refused")
            let since = refusedSince[server.id] ?? world.now
            refusedSince[server.id] = since
            if world.now - since > Self.refusals { world.fail("paths: one proof after the other is refused") }
            let isUp = attempts.contains { $0.name.server == server.id && $0.stage == .up }
            let isHopeful = membership.refused(shown, isUp: isUp, draw: draw)
            if !isHopeful { world.fail("paths: a hello without a proof was refused") }
            fail(attempt)
        case nil: break
        }
    }

    private func up(_ attempt: Attempt, resumed: Bool) {
        attempt.stage = .up
        let route = attempt.route
        route.isUp = true
        network.heard(route)
        let connection = Connection(roundTrip: attempt.roundTrip, now: world.now) { packet in
            route.toServer(packet.size) {
                attempt.gateway?.receive(packet, on: attempt.farPath)
            }
        }
        manager.connected(attempt.name, now: world.now)
        let traits = route.traits(attempt.name, resumed: resumed)
        client.add(attempt.path, connection, traits)
        if route.relay != nil { client.count { $0.relayed += 1 } }
        changed()
    }
}
