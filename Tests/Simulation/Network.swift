internal import KwikCore

/// One machine: a gateway and its application. The application is a function, so it survives its gateway.
@safe
final class Server {
    let id: ServerID
    let character: Character
    let roles: Roles
    let tellsClosed: Bool
    let marksUrgent: Bool
    let mischief: Mischief?
    /// Bytes of each stream that its backend was given.
    var intake: [StreamID: UInt64] = [:]
    let contributes: Bool
    let compresses: Bool
    private let world: World
    let limits: GatewayLimits
    private let memoryBytes: UInt64
    /// Of its process.
    private(set) var memory: MemoryBudget
    private let onEvent: (ServerID, Event) -> Void
    /// What its process has of the client's sessions, the latest last.
    private var sessions: [Hosted] = []
    /// Sessions that were ever begun here.
    private var begun: UInt64 = 0
    private(set) var isRunning = true
    /// Packets to and from it vanish.
    var isSilent = false
    /// When streams that it had were lost: its process died, or its session expired.
    private(set) var losses: [Instant] = []
    private(set) var expirations = 0
    /// How often its process has died: what it forwarded as a relay is forgotten each time.
    private(set) var deaths = 0
    private var backends: [Backend] = []

    init(
        _ world: World, _ id: ServerID, plan: ServerPlan, _ scenario: Scenario,
        onEvent: @escaping (ServerID, Event) -> Void
    ) {
        self.world = world
        self.id = id
        limits = scenario.limits
        memoryBytes = scenario.memory
        memory = MemoryBudget(bytes: memoryBytes, keepsPlace: true)
        self.onEvent = onEvent
        character = plan.character
        roles = plan.roles
        tellsClosed = plan.tellsClosed
        marksUrgent = plan.marksUrgent
        mischief = plan.mischief
        contributes = scenario.contributes
        compresses = plan.compresses
    }

    func serve(_ socket: SocketEnd) {
        backends.append(Backend(world, socket, character, marksUrgent: marksUrgent))
    }

    /// The one that the client uses; nil while the process is down.
    var gateway: Gateway? { sessions.last?.gateway }

    /// Streams that its process still has.
    var streamCount: Int { sessions.reduce(0) { $0 + $1.gateway.report.streams.count } }

    /// The process dies with all it knows.
    func crash() {
        sessions.forEach { $0.gateway.vanish() }
        sessions = []
        isRunning = false
        deaths += 1
        memory = MemoryBudget(bytes: memoryBytes, keepsPlace: true)
        losses.append(world.now)
    }

    func restart() { isRunning = true }

    /// A session, as its gateway process keeps it.
    struct Hosted {
        let id: SessionID
        let secret: [UInt8]
        let gateway: Gateway
    }

    /// The session that a hello joins or begins; nil: its proof is not that of the session's client. As
    /// `Join`'s proof would show it, the secret itself stands for it.
    func admit(_ shown: Membership) -> (session: Hosted, resumed: Bool)? {
        expire()
        if let known = sessions.first(where: { $0.id == shown.session }) {
            return known.secret == shown.joinSecret ? (known, true) : nil
        }
        begun += 1
        let secret = (0..<8).map { UInt8(truncatingIfNeeded: begun >> (8 * $0)) }
        let id = self.id
        let onEvent = self.onEvent
        let fresh = Hosted(
            id: shown.session, secret: secret,
            gateway: unsafe Gateway(world, self, tagger: tagger(secret)) { onEvent(id, $0) })
        sessions.append(fresh)
        return (fresh, false)
    }

    private func expire() {
        for session in sessions where session.gateway.isOver {
            session.gateway.vanish()
            guard session.gateway === gateway else { continue }
            expirations += 1
            losses.append(world.now)
        }
        sessions.removeAll { $0.gateway.isOver }
    }

    /// As both ends derive it from the session's secret.
    func tagger(_ secret: [UInt8]) -> Tagger {
        let key = secret.reduce(UInt64(id.value) &+ 0x5ec7e7) { Chance.mix($0 ^ UInt64($1)) }
        return unsafe SimIntegrity.tagger(key: key)
    }
}

/// A way from one of the client's interfaces to a server.
final class Route {
    let index: Int
    private let world: World
    let server: Server
    let up: Link
    let down: Link
    let plan: RoutePlan
    /// Forwards its packets.
    let relay: Server?
    /// What it forwards since it was asked, and how often it had died by then.
    private var forwarding: (gate: RelayGate, deaths: Int)?
    /// A path runs over it.
    var isUp = false
    /// The client's system says that its interface is there.
    var isPlugged: Bool { up.isPlugged }
    /// Both ends offered compression.
    let compresses: Bool

    init(
        _ world: World, index: Int, server: Server, relay: Server?, up: Link, down: Link, plan: RoutePlan,
        compresses: Bool
    ) {
        self.world = world
        self.index = index
        self.server = server
        self.relay = relay
        self.up = up
        self.down = down
        self.plan = plan
        self.compresses = compresses && server.compresses
    }

    /// The relay is asked to forward.
    func forward() { forwarding = relay.map { (RelayGate(now: world.now), $0.deaths) } }

    /// A packet of the client's; `arrived` if it gets to the server's process.
    func toServer(_ size: Int, _ arrived: @escaping () -> Void) {
        up.send(size) { [self] in
            let passes = isForwarded { [now = world.now] gate in
                gate.admits(size, isItsHost: true, port: Self.port, now: now)
            }
            if passes, server.isRunning, !server.isSilent { arrived() }
        }
    }

    /// A packet of the server's; `arrived` if it gets to the client.
    func toClient(_ size: Int, _ arrived: @escaping () -> Void) {
        guard !server.isSilent else { return }
        down.send(size) { [self] in
            let passes = isForwarded { [now = world.now] gate in
                gate.returns(size, segment: size, now: now) == size
            }
            if passes, !server.isSilent { arrived() }
        }
    }

    /// The client's, of which a relay takes one.
    private static let port: UInt16 = 4_433

    /// Whether the relay lets the packet pass, if there is one.
    private func isForwarded(_ passes: (inout RelayGate) -> Bool) -> Bool {
        guard let relay else { return true }
        guard relay.isRunning, !relay.isSilent, let known = forwarding, known.deaths == relay.deaths,
            !known.gate.isIdle(now: world.now)
        else { return false }
        var gate = known.gate
        defer { forwarding?.gate = gate }
        return passes(&gate)
    }

    func traits(_ name: PathName, resumed: Bool) -> PathTraits {
        var traits = PathTraits(name: name, kind: plan.kind, roles: server.roles, resumed: resumed)
        traits.compresses = compresses
        return traits
    }
}

/// Hosts and links.
final class Network {
    let world: World
    private(set) var servers: [Server] = []
    private(set) var routes: [Route] = []
    /// When each server was last heard, and the longest silence since a stream's opening is asked for.
    private(set) var silences: [(way: Way, from: Instant, to: Instant)] = []
    private var lastHeard: [Way: Instant] = [:]

    /// How a server is heard: at all, or at one interface.
    struct Way: Hashable {
        var server: ServerID
        var interface: InterfaceID?
    }

    /// Silences shorter than this are not noted.
    private static let notable = Interval.seconds(1)

    init(
        _ world: World, _ scenario: Scenario, onEvent: @escaping (ServerID, Event) -> Void
    ) {
        self.world = world
        for (index, plan) in scenario.servers.enumerated() {
            servers.append(
                Server(world, ServerID(UInt32(index)), plan: plan, scenario, onEvent: onEvent))
        }
        var shared: [Int: (up: Bottleneck, down: Bottleneck)] = [:]
        for (index, plan) in scenario.routes.enumerated() {
            let queues = plan.bottleneck.flatMap { shared[$0] } ?? (Bottleneck(), Bottleneck())
            if let key = plan.bottleneck { shared[key] = queues }
            let up = Link(
                world, plan.up, bottleneck: queues.up,
                chance: Chance(seed: scenario.seed, purpose: "up \(index)"))
            let down = Link(
                world, plan.down, bottleneck: queues.down,
                chance: Chance(seed: scenario.seed, purpose: "down \(index)"))
            routes.append(
                Route(
                    world, index: index, server: servers[plan.server], relay: plan.relay.map { servers[$0] },
                    up: up, down: down, plan: plan, compresses: scenario.compresses))
        }
    }

    /// Bytes of packets that came out of the links.
    var carried: (up: UInt64, down: UInt64) {
        routes.reduce((0, 0)) { ($0.0 + $1.up.carried, $0.1 + $1.down.carried) }
    }

    func server(_ id: ServerID) -> Server { servers[Int(id.value)] }

    func route(for name: PathName) -> Route? {
        routes.first {
            $0.server.id == name.server && $0.relay?.id == name.relay
                && (name.relay != nil || $0.plan.interface == name.interface)
        }
    }

    /// The longest time without a packet that way between the two instants.
    func longestSilence(_ way: Way, from: Instant, to: Instant) -> Interval {
        var longest = Interval.zero
        let running = (way: way, from: lastHeard[way] ?? Instant(nanoseconds: 0), to: world.now)
        for silence in silences + [running] where silence.way == way {
            longest = max(longest, min(silence.to, to) - max(silence.from, from))
        }
        return longest
    }

    /// A packet of the server's came to the client by the route.
    func heard(_ route: Route) {
        for interface in [nil, route.plan.interface] {
            let way = Way(server: route.server.id, interface: interface)
            let before = lastHeard[way] ?? Instant(nanoseconds: 0)
            if world.now - before > Network.notable { silences.append((way, before, world.now)) }
            lastHeard[way] = world.now
        }
    }
}
