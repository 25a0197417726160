public import KwikCore

/// One server of a scenario.
public struct ServerPlan: Sendable {
    public var roles: Roles
    public var character: Character
    /// Its gateway can tell a backend that closed from one that shut its writing half (a Unix socket can).
    public var tellsClosed: Bool
    /// It offers compression.
    public var compresses = true

    /// The last byte of each write of its backends is urgent.
    public var marksUrgent = false
    /// What it does wrong with contributions.
    public var mischief: Mischief?

    public init(
        _ character: Character = .honest, roles: Roles = [.origin, .replica], tellsClosed: Bool = true
    ) {
        self.character = character
        self.roles = roles
        self.tellsClosed = tellsClosed
    }
}

/// One way from the client to a server.
public struct RoutePlan: Sendable {
    /// Index of the server.
    public var server: Int
    /// The client's interface that it begins at.
    public var interface = InterfaceID(1)
    /// Index of the server that forwards its packets, unread; nil: none does.
    public var relay: Int?
    public var up: LinkTraits
    public var down: LinkTraits
    /// Routes of the same number share their queues.
    public var bottleneck: Int?

    public init(
        server: Int, interface: InterfaceID = InterfaceID(1), up: LinkTraits, down: LinkTraits,
        bottleneck: Int? = nil
    ) {
        self.server = server
        self.interface = interface
        self.up = up
        self.down = down
        self.bottleneck = bottleneck
    }

    /// Both directions alike.
    public init(server: Int, interface: InterfaceID = InterfaceID(1), _ traits: LinkTraits) {
        self.init(server: server, interface: interface, up: traits, down: traits)
    }

    var kind: PathKind {
        if relay != nil { return .relay }
        return interface == InterfaceID(1) ? .direct : .interface
    }
}

/// Something that goes wrong, or right again. Routes and servers by their index.
public enum Fault: Sendable {
    /// Both directions drop everything until the route is revived.
    case kill(route: Int)
    case revive(route: Int)
    /// One direction alone drops everything for a while.
    case blackhole(route: Int, isUp: Bool, Interval)
    /// Both directions do.
    case blackout(route: Int, Interval)
    /// Multiplies the rate.
    case rate(route: Int, Double)
    case loss(route: Int, Double)
    /// Multiplies the delay.
    case delay(route: Int, Double)
    case jitter(route: Int, Interval)
    /// The QUIC connection ends from the server's side.
    case close(route: Int)
    /// All packets of the server vanish until it is woken.
    case silence(server: Int)
    case wake(server: Int)
    /// The gateway's process dies and forgets everything.
    case crash(server: Int)
    case restart(server: Int)
    /// The system tells that the client's interface is gone, until it is plugged in again.
    case unplug(InterfaceID)
    case plug(InterfaceID)
}

/// Everything that a run needs; it and the code decide every step.
public struct Scenario: Sendable {
    public var seed: UInt64
    public var settings = ClientSettings()
    public var limits = GatewayLimits()
    public var servers: [ServerPlan]
    public var routes: [RoutePlan]
    public var workloads: [Workload]
    /// Of the path manager.
    public var maximumPaths = 8
    public var idleTimeout = Interval.seconds(60)
    /// How long a program waits for a path before it connects natively.
    public var nativeAfter = Interval.seconds(60)
    /// What the streams of the engine's process, and of each gateway's, may hold together, in bytes.
    public var memory: UInt64 = 64 << 20
    /// The client offers compression.
    public var compresses = false
    /// Servers give bytes of their own (role 4), and primaries delegate.
    public var contributes = false
    /// Whom a primary delegates to brings it at once and whole: nothing late, left out, or to a stranger.
    public var keepsDelegations = false
    /// `Outcome.secondaries` is kept.
    public var records = false
    /// What programs beside the first server do with streams that it opens (role 5).
    public var serverWorkloads: [Workload] = []
    public var faults: [(at: Interval, Fault)] = []
    public var ambushes: [Ambush] = []
    /// Share of the answers to hellos that are lost, and their paths with them.
    public var lostAnswers = 0.0
    /// Then every link and server is as it was in the beginning.
    public var healAt = Interval.zero

    public init(seed: UInt64, servers: [ServerPlan], routes: [RoutePlan], workloads: [Workload]) {
        self.seed = seed
        self.servers = servers
        self.routes = routes
        self.workloads = workloads
    }

    /// The scenario with its first `count` operations only: programs and faults in the order of time, then
    /// ambushes.
    public func prefix(_ count: Int) -> Scenario {
        let starts = workloads.map(\.start) + faults.map(\.at)
        let order = starts.indices.sorted { (starts[$0], $0) < (starts[$1], $1) }.prefix(count)
        var short = self
        short.workloads = order.filter { $0 < workloads.count }.sorted().map { workloads[$0] }
        short.faults = order.filter { $0 >= workloads.count }.map { faults[$0 - workloads.count] }
        short.ambushes = Array(ambushes.prefix(max(0, count - starts.count)))
        return short
    }

    /// With what a relay needs: its role, and a way by which it can be asked.
    var withRelaysReached: Scenario {
        var whole = self
        for plan in routes {
            guard let relay = plan.relay else { continue }
            whole.servers[relay].roles.insert(.relay)
            guard !whole.routes.contains(where: { $0.server == relay && $0.relay == nil }) else { continue }
            var own = plan
            own.server = relay
            own.relay = nil
            whole.routes.append(own)
        }
        return whole
    }

    /// Programs, faults and ambushes.
    public var operations: Int { workloads.count + faults.count + ambushes.count }

    /// Nothing goes wrong in it.
    var isCalm: Bool { faults.isEmpty && ambushes.isEmpty && lostAnswers == 0 }
}
