public import KwikCore

/// Somebody dies when a program's connection has come to a certain point, or a little later: chance alone
/// hardly ever meets the instants that matter.
public struct Ambush: Sendable {
    public enum Moment: String, CaseIterable, Sendable {
        /// The stream was opened, and nobody has answered yet.
        case opened
        case connected
        /// A request was handed to the socket.
        case asked
        /// The last byte of a body was.
        case sent
        /// The first byte of an answer was read.
        case answered
        /// A replica was given the request.
        case engaged
        case moved
        case reattached
        case promoted
        /// The last byte of an answer was read.
        case whole
        /// The program shut its writing half down.
        case shut
        case closed
    }

    public enum Victim: String, CaseIterable, Sendable {
        case primaryProcess = "primary-process"
        case primarySilence = "primary-silence"
        case replicaProcess = "replica-process"
        case replicaSilence = "replica-silence"
        case relayProcess = "relay-process"
        case relaySilence = "relay-silence"
        case directLink = "direct-link"
        case interfaceLink = "interface-link"
        case relayedLink = "relayed-link"
        /// A QUIC connection to the primary.
        case connection
    }

    /// Index of the program; nil: whichever comes to the point first.
    public var program: Int?
    public var moment: Moment
    /// So many times it passes the point unharmed.
    public var passes: Int
    public var delay: Interval
    public var victim: Victim
    /// Nil: until all is healed.
    public var lasts: Interval?

    public init(
        _ victim: Victim, at moment: Moment, of program: Int? = nil, passes: Int = 0,
        delay: Interval = .zero, lasts: Interval? = nil
    ) {
        self.program = program
        self.moment = moment
        self.passes = passes
        self.delay = delay
        self.victim = victim
        self.lasts = lasts
    }
}

/// The ambushes of a run that wait.
final class Ambushes {
    private let world: World
    private let network: Network
    private let client: Client
    private var waiting: [Ambush]
    private let until: Instant
    private var chance: Chance
    private let apply: (Fault) -> Void

    /// - Parameter until: all is healed then, and nobody dies any more.
    init(
        _ world: World, _ network: Network, _ client: Client, _ scenario: Scenario,
        apply: @escaping (Fault) -> Void
    ) {
        self.world = world
        self.network = network
        self.client = client
        self.apply = apply
        waiting = scenario.ambushes
        until = world.now + scenario.healAt
        chance = Chance(seed: scenario.seed, purpose: "victims")
    }

    /// The program has come to the point.
    func reached(_ moment: Ambush.Moment, by program: Int) {
        guard !waiting.isEmpty else { return }
        var rest: [Ambush] = []
        for var ambush in waiting {
            guard ambush.moment == moment, ambush.program ?? program == program else {
                rest.append(ambush)
                continue
            }
            guard ambush.passes == 0 else {
                ambush.passes -= 1
                rest.append(ambush)
                continue
            }
            let due = ambush
            // Not within whatever call has brought the program there.
            world.after(due.delay) { [weak self] in self?.strike(due, program) }
        }
        waiting = rest
    }

    private func strike(_ ambush: Ambush, _ program: Int) {
        guard world.now < until, let (fault, end) = faults(ambush.victim, program) else { return }
        world.count(ambush.victim.rawValue)
        world.count("at-\(ambush.moment.rawValue)")
        world.count("\(ambush.victim.rawValue)@\(ambush.moment.rawValue)")
        apply(fault)
        guard let lasts = ambush.lasts, let end, world.now + lasts < until else { return }
        world.after(lasts) { [apply] in apply(end) }
    }

    /// What strikes the victim, and what ends it; nil: there is none of the kind that lives.
    private func faults(_ victim: Ambush.Victim, _ program: Int) -> (Fault, Fault?)? {
        let primary = client.primaries[program]?.last ?? network.servers[0].id
        switch victim {
        case .primaryProcess: return crash(of: network.server(primary))
        case .primarySilence: return silence(of: network.server(primary))
        case .replicaProcess: return replica(of: program, besides: primary).flatMap { crash(of: $0) }
        case .replicaSilence: return replica(of: program, besides: primary).flatMap { silence(of: $0) }
        case .relayProcess: return route(.relay, to: primary)?.relay.flatMap { crash(of: $0) }
        case .relaySilence: return route(.relay, to: primary)?.relay.flatMap { silence(of: $0) }
        case .directLink: return kill(route(.direct, to: primary))
        case .interfaceLink: return kill(route(.interface, to: primary))
        case .relayedLink: return kill(route(.relay, to: primary))
        case .connection:
            let all = network.routes.filter { $0.isUp && $0.server.id == primary }
            return all.isEmpty ? nil : (.close(route: chance.pick(all).index), nil)
        }
    }

    private func crash(of server: Server) -> (Fault, Fault?)? {
        guard server.isRunning else { return nil }
        let index = Int(server.id.value)
        return (.crash(server: index), .restart(server: index))
    }

    private func silence(of server: Server) -> (Fault, Fault?)? {
        guard server.isRunning, !server.isSilent else { return nil }
        let index = Int(server.id.value)
        return (.silence(server: index), .wake(server: index))
    }

    private func kill(_ route: Route?) -> (Fault, Fault?)? {
        route.map { (.kill(route: $0.index), .revive(route: $0.index)) }
    }

    /// One that serves the stream, if any does.
    private func replica(of program: Int, besides primary: ServerID) -> Server? {
        let engaged = (client.engaged[program] ?? []).filter { $0 != primary }
        let others = network.servers.filter { $0.id != primary && $0.roles.contains(.replica) }.map(\.id)
        let all = engaged.isEmpty ? others : engaged
        return all.isEmpty ? nil : network.server(chance.pick(all))
    }

    /// One that is up; to that server if any is.
    private func route(_ kind: PathKind, to server: ServerID) -> Route? {
        let all = network.routes.filter { $0.isUp && !$0.up.isDead && $0.plan.kind == kind }
        let own = all.filter { $0.server.id == server }
        let choice = own.isEmpty ? all : own
        return choice.isEmpty ? nil : chance.pick(choice)
    }
}
