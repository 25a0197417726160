internal import KwikCore

/// One machine: a gateway and its application. The application is a function, so it survives its gateway.
@safe
final class Server {
    let id: ServerID
    let character: Character
    let roles: Roles
    let tagger: Tagger
    let tellsClosed: Bool
    let marksUrgent: Bool
    /// Bytes of each stream that its backend was given.
    var intake: [StreamID: UInt64] = [:]
    let contributes: Bool
    let compresses: Bool
    private let world: World
    private let limits: GatewayLimits
    private let onEvent: (ServerID, Event) -> Void
    /// Nil while the process is down.
    private(set) var gateway: Gateway?
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
        _ world: World, _ id: ServerID, plan: ServerPlan, limits: GatewayLimits, contributes: Bool,
        onEvent: @escaping (ServerID, Event) -> Void
    ) {
        self.world = world
        self.id = id
        self.limits = limits
        self.onEvent = onEvent
        character = plan.character
        roles = plan.roles
        tellsClosed = plan.tellsClosed
        marksUrgent = plan.marksUrgent
        self.contributes = contributes
        compresses = plan.compresses
        unsafe tagger = SimIntegrity.tagger(key: Chance.mix(UInt64(id.value) &+ 0x5ec7e7))
    }

    func serve(_ socket: SocketEnd) {
        backends.append(Backend(world, socket, character, marksUrgent: marksUrgent))
    }

    /// The process dies with all it knows.
    func crash() {
        gateway?.vanish()
        gateway = nil
        isRunning = false
        deaths += 1
        losses.append(world.now)
    }

    func restart() { isRunning = true }

    /// The session for a hello, and whether it was there already.
    func session() -> (gateway: Gateway, resumed: Bool) {
        if let gateway, !gateway.isOver { return (gateway, true) }
        if let gateway {
            gateway.vanish()
            expirations += 1
            losses.append(world.now)
        }
        let id = self.id
        let onEvent = self.onEvent
        let fresh = Gateway(world, self, limits: limits) { onEvent(id, $0) }
        gateway = fresh
        return (fresh, false)
    }
}

/// A way from one of the client's interfaces to a server.
final class Route {
    let index: Int
    let server: Server
    let up: Link
    let down: Link
    let plan: RoutePlan
    /// Forwards its packets.
    let relay: Server?
    /// The relay's deaths when the path was dialled.
    var relayDeaths = 0
    /// The path that runs over it now, or is being made.
    var path: PathID?
    var isUp = false
    var failures = 0
    /// When the client last heard from the server this way.
    var attempt = 0
    /// Both ends offered compression.
    let compresses: Bool
    /// Administratively down: not dialled.
    var isBarred = false

    init(
        index: Int, server: Server, relay: Server?, up: Link, down: Link, plan: RoutePlan, compresses: Bool
    ) {
        self.index = index
        self.server = server
        self.relay = relay
        self.up = up
        self.down = down
        self.plan = plan
        self.compresses = compresses && server.compresses
    }

    var name: PathName { PathName(server: server.id, interface: plan.interface, relay: relay?.id) }

    /// Whether a packet that was sent now would not be dropped on its way.
    var carries: Bool {
        guard let relay else { return true }
        return relay.isRunning && !relay.isSilent && relay.deaths == relayDeaths
    }

    /// Whether a packet of the client's reaches a server's process.
    var reaches: Bool { carries && server.isRunning && !server.isSilent }

    /// Whether one of the server's reaches the client.
    var returns: Bool { carries && !server.isSilent }

    func traits(resumed: Bool) -> PathTraits {
        var traits = PathTraits(name: name, kind: plan.kind, roles: server.roles, resumed: resumed)
        traits.compresses = compresses
        return traits
    }
}

/// Hosts, links and the dialling of paths. It stands in for the path manager: a path that is lost is dialled
/// again.
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
    private weak var client: Client?
    private var nextPath: UInt32 = 0
    private var chance: Chance

    /// A gateway's path ids have nothing to do with the client's.
    private static let farIDs: UInt32 = 1_000_000
    /// How often a message of a handshake is sent: 6 s in all.
    private static let tries = 4
    /// Silences shorter than this are not noted.
    private static let notable = Interval.seconds(1)

    init(
        _ world: World, _ scenario: Scenario, onEvent: @escaping (ServerID, Event) -> Void
    ) {
        self.world = world
        chance = Chance(seed: scenario.seed, purpose: "dialling")
        for (index, plan) in scenario.servers.enumerated() {
            servers.append(
                Server(
                    world, ServerID(UInt32(index)), plan: plan, limits: scenario.limits,
                    contributes: scenario.contributes, onEvent: onEvent))
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
                    index: index, server: servers[plan.server], relay: plan.relay.map { servers[$0] }, up: up,
                    down: down, plan: plan, compresses: scenario.compresses))
        }
    }

    /// Bytes of packets that came out of the links.
    var carried: (up: UInt64, down: UInt64) {
        routes.reduce((0, 0)) { ($0.0 + $1.up.carried, $0.1 + $1.down.carried) }
    }

    func server(_ id: ServerID) -> Server { servers[Int(id.value)] }

    func name(of path: PathID) -> PathName? { routes.first { $0.path == path }?.name }

    func begin(_ client: Client) {
        self.client = client
        for route in routes { dial(route) }
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

    /// The server ends the connection that runs over the route.
    func close(_ route: Route) {
        guard let path = route.path, let gateway = route.server.gateway else { return }
        gateway.close(PathID(path.value + Network.farIDs))
    }

    // MARK: Dialling

    func lost(_ path: PathID) {
        guard let route = routes.first(where: { $0.path == path }) else { return }
        route.path = nil
        route.isUp = false
        redial(route)
    }

    private func redial(_ route: Route) {
        let wait = min(5.0, 0.1 * Double(1 << min(route.failures, 10))) * chance.number(0.8...1.2)
        route.failures += 1
        world.after(Interval(seconds: wait)) { [weak self] in self?.dial(route) }
    }

    private func dial(_ route: Route) {
        guard route.path == nil, !route.isBarred else { return }
        nextPath += 1
        let path = PathID(nextPath)
        route.path = path
        route.relayDeaths = route.relay?.deaths ?? 0
        world.trace("dial path \(path.value) on route \(route.index) to server \(route.server.id.value)")
        initial(route, path, tries: 0)
    }

    /// One round trip for TLS, one for the hello; each message is repeated until it is answered.
    private func initial(_ route: Route, _ path: PathID, tries: Int) {
        guard route.path == path, !route.isUp else { return }
        guard tries < Network.tries else {
            route.path = nil
            return redial(route)
        }
        let sentAt = world.now
        route.up.send(1_280) { [weak self] in
            guard route.reaches else { return }
            route.down.send(1_280) {
                guard let self, route.returns else { return }
                self.hello(route, path, roundTrip: self.world.now - sentAt, tries: 0)
            }
        }
        world.after(.milliseconds(400 << Int64(tries))) { [weak self] in
            guard route.attempt != Int(path.value) else { return }
            self?.initial(route, path, tries: tries + 1)
        }
    }

    private func hello(_ route: Route, _ path: PathID, roundTrip: Interval, tries: Int) {
        guard route.path == path, !route.isUp, tries > 0 || route.attempt != Int(path.value) else { return }
        guard tries < Network.tries else {
            route.path = nil
            return redial(route)
        }
        route.attempt = Int(path.value)
        route.up.send(700) { [weak self] in self?.helloArrived(route, path, roundTrip) }
        world.after(max(.milliseconds(200 << Int64(tries)), roundTrip * 3)) { [weak self] in
            self?.hello(route, path, roundTrip: roundTrip, tries: tries + 1)
        }
    }

    private var answered: [PathID: Bool] = [:]

    private func helloArrived(_ route: Route, _ path: PathID, _ roundTrip: Interval) {
        let server = route.server
        guard route.reaches else { return }
        let far = PathID(path.value + Network.farIDs)
        let resumed: Bool
        if let known = answered[path] {
            // The connection is there, its answer was lost; unless the process is another one since.
            guard server.gateway?.paths[far] != nil else { return }
            resumed = known
        } else {
            let session = server.session()
            resumed = session.resumed
            answered[path] = resumed
            let gateway = session.gateway
            let connection = Connection(roundTrip: roundTrip, now: world.now) { [weak self] packet in
                guard !server.isSilent else { return }
                route.down.send(packet.size) { self?.arrived(packet, path, by: route) }
            }
            gateway.add(far, connection, route.traits(resumed: resumed))
        }
        route.down.send(400) { [weak self] in self?.welcome(route, path, roundTrip, resumed: resumed) }
    }

    private func welcome(_ route: Route, _ path: PathID, _ roundTrip: Interval, resumed: Bool) {
        guard let client, route.path == path, !route.isUp, route.returns else { return }
        route.isUp = true
        heard(route)
        let server = route.server
        let far = PathID(path.value + Network.farIDs)
        let connection = Connection(roundTrip: roundTrip, now: world.now) { packet in
            route.up.send(packet.size) {
                guard route.reaches else { return }
                server.gateway?.receive(packet, on: far)
            }
        }
        client.add(path, connection, route.traits(resumed: resumed))
        if route.relay != nil { client.count { $0.relayed += 1 } }
        world.after(.seconds(5)) { if route.path == path { route.failures = 0 } }
    }

    private func arrived(_ packet: Packet, _ path: PathID, by route: Route) {
        guard route.returns else { return }
        heard(route)
        client?.receive(packet, on: path)
    }

    private func heard(_ route: Route) {
        for interface in [nil, route.plan.interface] {
            let way = Way(server: route.server.id, interface: interface)
            let before = lastHeard[way] ?? Instant(nanoseconds: 0)
            if world.now - before > Network.notable { silences.append((way, before, world.now)) }
            lastHeard[way] = world.now
        }
    }
}
