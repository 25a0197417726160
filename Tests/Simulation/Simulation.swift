public import KwikCore

/// What a run came to.
public struct Outcome: Sendable {
    /// What was violated first, if anything.
    public var violation: String?
    /// In-order bytes that programs read.
    public var bytes: UInt64 = 0
    /// Virtual time.
    public var seconds = 0.0
    public var steps: UInt64 = 0
    public var coverage = Coverage()
    /// How often each kind that `Census` names occurred.
    public var census: [String: Int] = [:]
    /// The furthest that a gateway read its backend ahead of a program, in bytes.
    public var furthestAhead: UInt64 = 0
    /// Bytes of packets that came out of the links, toward the servers and toward the client, until every
    /// program was over.
    public var carriedUp: UInt64 = 0
    public var carriedDown: UInt64 = 0
    public var programs: [ProgramOutcome] = []
    /// Where `Scenario.records`.
    public var secondaries: SecondaryRecord?
}

public struct ProgramOutcome: Sendable {
    /// nil: it did all it wanted.
    public var errno: Int32?
    public var read: UInt64
    /// CRC32C of what it read.
    public var digest: UInt32
    /// From the connect to its last byte.
    public var seconds: Double
    public var longestGap: Interval
    /// From each request to the last byte of its answer; not of pipelined ones.
    public var latencies: [Interval]
    public var primaries: [ServerID]
    public var engaged: [ServerID]
    public var replicaEnds: [ReplicaEnd]
    /// Payload bytes of the stream by server, as the client's report has it before the stream ends.
    public var received: [ServerID: UInt64]
}

/// A scenario being played.
public final class Simulation {
    private let world: World
    private let scenario: Scenario
    private let network: Network
    private let client: Client
    private let dialler: Dialler
    private var programs: [Program] = []
    /// Beside the first server, with streams that it opened.
    private var serverPrograms: [Program] = []
    /// Those of `scenario.serverWorkloads` whose time has come.
    private var serverStarts = 0
    private let secondary: Secondary
    private var ambushes: Ambushes?
    private var received: [Int: [ServerID: UInt64]] = [:]
    /// The furthest that a gateway was ahead of its program, over all streams.
    private(set) var furthestAhead: UInt64 = 0

    /// What a fair network needs after the heal besides the programs' own time.
    private static let grace = 90.0
    /// Bytes that may come twice, besides a tenth: three times the client's own budget.
    private static let waste: UInt64 = 786_432
    /// On a network without faults both sides have forgotten every stream after this.
    private static let settling = Interval.seconds(5)
    /// Both sides have forgotten every stream when so much time has gone by.
    private static let rest = Interval.seconds(80)

    private init(_ plan: Scenario, tracing: Bool) {
        let scenario = plan.withRelaysReached
        self.scenario = scenario
        let world = World(tracing: tracing)
        self.world = world
        network = Network(world, scenario) { server, event in
            switch event {
            case .integrityFailure where scenario.servers[Int(server.value)].character == .shorter:
                // One of a quorum may be asked past its own end.
                break
            case .malformed, .policyViolation, .integrityFailure:
                world.fail("gateway \(server.value): \(event)")
            case .unknownStream: world.count("unknown-at-gateway")
            default: break
            }
        }
        client = Client(world, network, scenario)
        dialler = Dialler(world, network, client, scenario)
        client.dialler = dialler
        secondary = Secondary(world, network, scenario)
    }

    /// Plays the scenario to its end.
    public static func run(_ scenario: Scenario, tracing: Bool = false) -> Outcome {
        let simulation = Simulation(scenario, tracing: tracing)
        return simulation.play()
    }

    private func play() -> Outcome {
        if world.tracing { describe() }
        dialler.wanted()
        for (index, workload) in scenario.workloads.enumerated() {
            let program = Program(world, index: index, workload)
            programs.append(program)
            world.after(workload.start) { [client] in client.start(program) }
        }
        for (index, workload) in scenario.serverWorkloads.enumerated() {
            world.after(workload.start) { [self] in startAtServer(index, workload) }
        }
        if scenario.contributes { secondary.begin() }
        for (at, fault) in scenario.faults { world.after(at) { [self] in apply(fault) } }
        let ambushes = Ambushes(world, network, client, scenario) { [weak self] in self?.apply($0) }
        self.ambushes = ambushes
        client.onMoment = { [unowned ambushes] in ambushes.reached($0, by: $1) }
        world.after(scenario.healAt) { [self] in heal() }
        watch()
        let end = world.now + Interval(seconds: limit)
        world.run(until: end) {
            programs.allSatisfy(\.isOver) && world.elapsed >= scenario.healAt.seconds
                && (!scenario.isCalm || serverIsDone)
        }
        judge()
        let carried = network.carried
        if world.violation == nil {
            world.run(until: world.now + Simulation.settling) { false }
            let left = client.report.streams.count
            if scenario.isCalm, programs.allSatisfy(\.hasReadEverything), left > 0 {
                world.fail("client: \(left) streams are left of programs that are over")
            }
            world.run(until: world.now + Simulation.rest) { false }
            checkRest()
            client.finishRecord()
        }
        var outcome = result()
        outcome.carriedUp = carried.up
        outcome.carriedDown = carried.down
        client.vanish()
        for server in network.servers { server.crash() }
        world.end()
        return outcome
    }

    private var serverIsDone: Bool {
        serverStarts == scenario.serverWorkloads.count && serverPrograms.allSatisfy(\.isOver)
    }

    private func startAtServer(_ index: Int, _ workload: Workload) {
        serverStarts += 1
        let program = Program(world, index: 1_000 + index, workload)
        if network.servers[0].gateway?.start(program) ?? false { serverPrograms.append(program) }
    }

    private func describe() {
        world.trace("settings \(scenario.settings)")
        for (index, server) in scenario.servers.enumerated() { world.trace("server \(index) \(server)") }
        for (index, route) in scenario.routes.enumerated() { world.trace("route \(index) \(route)") }
        for (index, workload) in scenario.workloads.enumerated() {
            world.trace(
                "program \(index) \(workload.exchanges) \(workload.ending) at \(workload.start.seconds)")
        }
        for (at, fault) in scenario.faults { world.trace("at \(at.seconds) \(fault)") }
        for ambush in scenario.ambushes { world.trace("\(ambush)") }
        world.trace("heal at \(scenario.healAt.seconds)")
    }

    /// Seconds after which every program has to be over.
    private var limit: Double {
        var own = Interval.zero
        var bytes: UInt64 = 0
        let workloads = scenario.workloads + scenario.serverWorkloads
        for workload in workloads {
            own = own + workload.ownTime
            bytes += workload.bytes
        }
        // The slowest way alone, at a tenth: loss leaves no congestion control of this kind much more.
        let slowest = scenario.routes.reduce(1e9) { min($0, $1.down.rate, $1.up.rate) }
        let start = workloads.reduce(0) { max($0, $1.start.seconds) }
        return max(scenario.healAt.seconds, start) + own.seconds * 2 + Double(bytes) / slowest * 10
            + Simulation.grace
    }

    // MARK: Faults

    private func apply(_ fault: Fault) {
        world.trace("fault \(fault)")
        world.count(fault.name)
        switch fault {
        case .kill(let route): for link in links(route) { link.isKilled = true }
        case .revive(let route): for link in links(route) { link.isKilled = false }
        case .blackhole(let route, let isUp, let time):
            (isUp ? network.routes[route].up : network.routes[route].down).blackhole(for: time)
        case .blackout(let route, let time): for link in links(route) { link.blackhole(for: time) }
        case .rate(let route, let factor): for link in links(route) { link.traits.rate *= factor }
        case .loss(let route, let loss): for link in links(route) { link.traits.loss = loss }
        case .delay(let route, let factor):
            for link in links(route) {
                link.traits.delay = Interval(seconds: link.traits.delay.seconds * factor)
            }
        case .jitter(let route, let jitter): for link in links(route) { link.traits.jitter = jitter }
        case .close(let route): dialler.close(network.routes[route])
        case .silence(let server): network.servers[server].isSilent = true
        case .wake(let server): network.servers[server].isSilent = false
        case .crash(let server): network.servers[server].crash()
        case .restart(let server): network.servers[server].restart()
        case .unplug(let interface): setPlugged(interface, false)
        case .plug(let interface): setPlugged(interface, true)
        }
    }

    private func setPlugged(_ interface: InterfaceID, _ isPlugged: Bool) {
        for route in network.routes where route.plan.interface == interface {
            for link in [route.up, route.down] { link.isPlugged = isPlugged }
        }
        dialler.linksChanged()
    }

    private func links(_ route: Int) -> [Link] { [network.routes[route].up, network.routes[route].down] }

    private func heal() {
        world.trace("heal")
        for route in network.routes {
            route.up.heal(route.plan.up)
            route.down.heal(route.plan.down)
        }
        for server in network.servers {
            server.isSilent = false
            server.restart()
        }
        dialler.linksChanged()
    }

    /// Looks at what can't be seen from one event: how far gateways read ahead, and who sent what.
    private func watch() {
        world.after(.milliseconds(20)) { [weak self] in
            // Afterwards nothing is read.
            guard let self, self.programs.contains(where: { !$0.isOver }) else { return }
            self.look()
            self.watch()
        }
    }

    private func look() {
        let report = client.report
        client.record { record in
            record.mostInternal = max(record.mostInternal, report.streams.map(\.internalChannels).max() ?? 0)
        }
        for path in report.paths {
            if path.receivedWire < path.received { client.count { $0.compressedDown += 1 } }
            if path.sentWire < path.sent { client.count { $0.compressedUp += 1 } }
            // What is damaged came, and is no payload.
            let isSound = network.server(path.server).mischief != .damages
            if !path.compresses, isSound, path.receivedWire != path.received || path.sentWire != path.sent {
                world.fail("path \(path.path.value) is compressed, and one end did not offer it")
            }
        }
        for report in report.streams {
            guard let program = programs.first(where: { client.streams[$0.index] == report.stream }) else {
                continue
            }
            var parts: [ServerID: UInt64] = [:]
            for part in report.parts { parts[part.server, default: 0] += part.received }
            received[program.index] = parts
            for server in network.servers {
                guard let produced = server.gateway?.produced[report.stream] else { continue }
                if produced > report.delivered {
                    furthestAhead = max(furthestAhead, produced - report.delivered)
                }
            }
        }
    }

    // MARK: Judgement

    private func judge() {
        for program in programs where world.violation == nil {
            switch program.state {
            case .done:
                client.count { $0.completed += 1 }
                checkWaste(program)
            case .failed(let errno):
                client.count { errno == Errno.timedOut ? ($0.timedOut += 1) : ($0.wereReset += 1) }
                if !mayFail(program) {
                    world.fail("\(program.name) failed with errno \(errno): \(program.report)")
                }
            case .native: break
            case .running where mayFail(program): break
            case .idle, .connecting, .running:
                world.fail("\(program.name) is not over: \(program.report)")
            }
        }
        for program in serverPrograms where scenario.isCalm && program.state != .done {
            world.fail("\(program.name) of the server is not done: \(program.report)")
        }
        if furthestAhead > scenario.limits.windowPerStream + 262_144 {
            world.fail("a gateway read \(furthestAhead) bytes ahead of its program")
        }
    }

    /// Where nothing failed, and replicas are what they should be, hardly any byte is asked for twice.
    private func checkWaste(_ program: Program) {
        guard scenario.isCalm, !scenario.contributes, program.hasReadEverything,
            let read = program.witness?.read,
            scenario.servers.allSatisfy({ $0.character == .honest })
        else { return }
        let total = (received[program.index] ?? [:]).values.reduce(0, +)
        world.trace("\(program.name) read \(read) bytes, and \(total) were received")
        if total > read + read / 10 + Simulation.waste {
            world.fail("\(program.name) read \(read) bytes, and \(total) were received")
        }
    }

    /// Seconds after which a stream whose primary is silent ends, and those for which an attempt to connect
    /// goes on that a silence has swallowed.
    private static let failTime = 30.0
    private static let swallowed = 6.0

    /// What protocol.md §7 promises: an error only when the primary failed for good, or for long.
    private func mayFail(_ program: Program) -> Bool {
        if program.witness?.truthMayFail ?? false { return true }
        if client.disagreed.contains(program.index) { return true }
        let opened = client.openedAt[program.index] ?? world.now
        // Servers say nothing where nothing is left to say.
        let closed = client.closedAt[program.index] ?? world.now
        for id in client.primaries[program.index] ?? [] {
            let server = network.server(id)
            if server.losses.contains(where: { $0 >= opened }) { return true }
            switch server.character {
            case .refusing, .resetting, .stalling: return true
            default: break
            }
            let interface = program.workload.restriction.interfaces?.first
            let way = Network.Way(server: id, interface: interface)
            let wait = min(program.workload.userTimeout?.seconds ?? .infinity, Simulation.failTime)
            let patience = max(1, wait * 0.8 - Simulation.swallowed)
            let longest = network.longestSilence(way, from: opened, to: closed)
            if longest > Interval(seconds: patience) { return true }
        }
        return false
    }

    /// Nothing is left of streams that are over.
    private func checkRest() {
        guard programs.allSatisfy(\.isOver) else { return }
        let left = client.report.streams.count
        if left > 0 { world.fail("client: \(left) streams are left of programs that are over") }
        for program in programs { checkIntake(program) }
        for (index, errno) in client.abortedAfter where !mayFail(programs[index]) {
            world.fail("\(programs[index].name) was done, and its stream ended with errno \(errno)")
        }
        if network.servers[0].losses.isEmpty {
            for program in serverPrograms where !program.isOver {
                world.fail("\(program.name) of the server was left without an answer: \(program.report)")
            }
        }
        for server in network.servers {
            let left = server.streamCount
            if left > 0 { world.fail("gateway \(server.id.value): \(left) streams are left") }
        }
    }

    /// Whoever closes without having been answered may rely on its bytes to arrive, as with TCP.
    private func checkIntake(_ program: Program) {
        guard case .quit = program.workload.ending, program.state == .done, !mayFail(program),
            let stream = client.streams[program.index], let primary = client.primaries[program.index]?.last,
            let written = program.witness?.written
        else { return }
        let taken = network.server(primary).intake[stream] ?? 0
        if taken != written {
            world.fail("\(program.name) wrote \(written) bytes and closed, and \(taken) arrived")
        }
    }

    private func result() -> Outcome {
        var outcome = Outcome()
        outcome.violation = world.violation
        outcome.seconds = world.elapsed
        outcome.steps = world.steps
        outcome.furthestAhead = furthestAhead
        outcome.census = world.census
        outcome.secondaries = client.secondaries
        for server in network.servers { client.count { $0.expired += server.expirations } }
        outcome.coverage = client.coverage
        for program in programs {
            var errno: Int32?
            if case .failed(let number) = program.state { errno = number }
            let opened = client.openedAt[program.index] ?? world.now
            outcome.bytes += program.witness?.read ?? 0
            outcome.programs.append(
                ProgramOutcome(
                    errno: errno, read: program.witness?.read ?? 0, digest: program.witness?.digest ?? 0,
                    seconds: ((program.finishedAt ?? world.now) - opened).seconds,
                    longestGap: program.longestGap, latencies: program.latencies,
                    primaries: client.primaries[program.index] ?? [],
                    engaged: client.engaged[program.index] ?? [],
                    replicaEnds: client.replicaEnds[program.index] ?? [],
                    received: received[program.index] ?? [:]))
        }
        return outcome
    }
}
