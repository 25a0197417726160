internal import KwikCore

extension Scenario {
    /// A scenario drawn from a seed: 1 ... 4 servers, links, programs and faults of every kind, then all is
    /// well.
    public static func random(seed: UInt64) -> Scenario {
        var chance = Chance(seed: seed, purpose: "scenario")
        if chance.chance(0.04) { return liar(seed: seed) }
        var apart = Chance(seed: seed, purpose: "apart")
        if apart.chance(0.03) { return succession(seed: seed) }
        var overtakes = Chance(seed: seed, purpose: "overtakes")
        if overtakes.chance(0.01) { return overtaking(seed: seed) }
        if let shifted = shifted(seed: seed) { return shifted }
        if let shared = sharedQueue(seed: seed) { return shared }
        var quorum = Chance(seed: seed, purpose: "quorum")
        if quorum.chance(0.08) { return bereaved(seed: seed) }
        var settings = ClientSettings(
            silentPrimary: chance.chance(0.4) ? .promote : .fail, replicas: chance.chance(0.95),
            memoryBudget: chance.chance(0.2) ? 2 << 20 : 64 << 20)
        if settings.silentPrimary == .fail, quorum.chance(0.4) { settings.silentPrimary = .quorum }
        let servers = drawServers(&chance, promotes: settings.silentPrimary == .promote)
        var routes = drawRoutes(&chance, servers: servers.count)
        drawRelays(seed: seed, servers: servers.count, &routes)
        var workloads = drawWorkloads(&chance)
        drawRestrictions(seed: seed, routes, &workloads)
        var scenario = Scenario(seed: seed, servers: servers, routes: routes, workloads: workloads)
        scenario.settings = settings
        if chance.chance(0.2) {
            scenario.limits.windowPerStream = 524_288
            scenario.limits.windowPerSession = 1_048_576
        }
        let forgets = chance.chance(0.01)
        if forgets {
            scenario.forgetSession()
        } else {
            if chance.chance(0.8) { scenario.drawFaults() }
            scenario.drawAmbushes()
        }
        scenario.drawSockets()
        scenario.drawNarrowed()
        scenario.drawSecondary()
        scenario.drawCompression()
        scenario.displaceReplicas(most: 0.7)
        if !forgets {
            scenario.drawAim()
            scenario.drawLostAnswers()
            scenario.drawUnplugged()
        }
        scenario.drawProcessLimits()
        return scenario
    }

    /// Processes that have little memory; an engine that may have few paths, or soon closes those that nobody
    /// uses.
    private mutating func drawProcessLimits() {
        var chance = Chance(seed: seed, purpose: "process limits")
        if chance.rarely(0.15) { memory = UInt64(chance.logarithmic(1 << 20...16 << 20)) }
        if chance.rarely(0.1) {
            maximumPaths = chance.integer(1...4)
            let interfaces = routes.filter { $0.server == 0 && $0.relay == nil }.map(\.interface)
            if chance.chance(0.5), let last = interfaces.last {
                workloads[workloads.count - 1].restriction = PathRestriction(interfaces: [last])
            }
        }
        // The engine's own patience (shim.md); or more, for what happens to streams that wait.
        if chance.chance(0.5) { nativeAfter = .seconds(1) }
        // A server can't open a stream on paths that the engine closes.
        if serverWorkloads.isEmpty, chance.rarely(0.1) {
            idleTimeout = Interval(seconds: chance.number(0.5...3))
        }
    }

    /// Services that compress, and programs that have something to compress; drawn apart as well.
    private mutating func drawCompression() {
        var chance = Chance(seed: seed, purpose: "compression")
        guard chance.rarely(0.3) else { return }
        compresses = true
        for index in servers.indices { servers[index].compresses = chance.chance(0.85) }
        for index in workloads.indices {
            workloads[index].exchanges = workloads[index].exchanges.map {
                chance.chance(0.6) ? $0.sparse : $0
            }
        }
    }

    /// What Kwik-aware servers do: drawn apart, so that the rest of a seed's scenario stays as it is.
    private mutating func drawSecondary() {
        var chance = Chance(seed: seed, purpose: "secondary")
        contributes = chance.chance(0.25)
        guard chance.rarely(0.15) else { return }
        for _ in 0..<chance.integer(1...3) {
            let kind = chance.pick([Exchange.Kind.get, .put, .echo, .chunked])
            let size = UInt64(chance.logarithmic(1...300_000))
            let exchange = Exchange(kind, size: size, seed: chance.next() >> 8)
            var workload = Workload(start: Interval(seconds: chance.number(0.5...3)), exchanges: [exchange])
            workload.ending = chance.pick([.close, .halfClose, .bye])
            serverWorkloads.append(workload)
        }
    }

    /// One replica that lies in every response, asked often enough to be found out for good.
    private static func liar(seed: UInt64) -> Scenario {
        var chance = Chance(seed: seed, purpose: "liar")
        let link = LinkTraits.of(megabits: chance.number(4...16), roundTrip: chance.number(4...40))
        let lies: [Character] = [.lying(from: 0), .lying(from: 100_000), .displaced(by: 9_000, from: 0)]
        let lie = chance.pick(lies)
        var workloads: [Workload] = []
        for index in 0..<chance.integer(4...6) {
            let size = UInt64(chance.integer(1_000_000...2_000_000))
            let start = Interval(seconds: 0.3 + Double(index) * 4)
            let exchange = Exchange(.get, size: size, seed: chance.next() >> 8)
            workloads.append(Workload(start: start, exchanges: [exchange]))
        }
        return Scenario(
            seed: seed, servers: [ServerPlan(), ServerPlan(lie, roles: [.replica]), ServerPlan()],
            routes: (0..<3).map { RoutePlan(server: $0, link) }, workloads: workloads)
    }

    private static func drawServers(_ chance: inout Chance, promotes: Bool) -> [ServerPlan] {
        var servers = [ServerPlan(.honest, tellsClosed: chance.chance(0.5))]
        if chance.chance(0.03) {
            servers[0].character =
                chance.chance(0.5) ? .refusing : .resetting(after: UInt64(chance.integer(0...900_000)))
        }
        for _ in 0..<chance.pick([0, 1, 1, 2, 2, 2, 3]) {
            var plan = ServerPlan(.honest, tellsClosed: chance.chance(0.5))
            plan.roles = chance.rarely(0.3) ? [.origin, .replica] : [.replica]
            if chance.rarely(0.45) { plan.character = drawCharacter(&chance, promotes: promotes) }
            servers.append(plan)
        }
        return servers
    }

    /// A replica that lies may be promoted (the manual says so), and what is read then is its own truth:
    /// under that policy replicas differ only where it can be told which truth counts.
    private static func drawCharacter(_ chance: inout Chance, promotes: Bool) -> Character {
        switch chance.integer(0...(promotes ? 4 : 6)) {
        case 0: .dated(chance.next() % 5 + 1)
        case 1: .stalling(after: UInt64(chance.integer(0...1_500_000)))
        case 2: .resetting(after: UInt64(chance.integer(0...1_500_000)))
        case 3: .refusing
        case 4: .dated(chance.next() % 5 + 1)
        case 5: .lying(from: UInt64(chance.chance(0.5) ? 0 : chance.integer(0...1_000_000)))
        default: chance.chance(0.5) ? .shifted : .shorter
        }
    }

    private static func drawRoutes(_ chance: inout Chance, servers: Int) -> [RoutePlan] {
        var routes: [RoutePlan] = []
        let megabits = chance.pick([2.0, 5.0, 10.0, 20.0, 50.0, 100.0])
        let roundTrip = chance.pick([0.4, 2.0, 10.0, 20.0, 40.0, 80.0])
        let alike = chance.chance(0.5)
        let shares = chance.chance(0.15)
        for server in 0..<servers {
            for interface in 0..<(chance.chance(0.25) ? 2 : 1) {
                let rate = alike ? megabits : megabits * chance.number(0.3...2)
                let delay = alike ? roundTrip : min(200, roundTrip * chance.number(0.5...4))
                var down = LinkTraits.of(
                    megabits: rate, roundTrip: delay, queue: chance.pick([0.5, 1, 1, 2, 5]))
                if chance.rarely(0.3) { down.loss = chance.number(0...0.02) }
                if chance.chance(0.2) { down.reordering = chance.number(0...0.02) }
                if chance.chance(0.2) { down.duplication = chance.number(0...0.02) }
                if chance.chance(0.2) { down.jitter = Interval(seconds: delay / 1_000 * chance.fraction()) }
                var up = down
                if chance.chance(0.3) { up.rate /= 5 }
                routes.append(
                    RoutePlan(
                        server: server, interface: InterfaceID(UInt32(interface) + 1), up: up, down: down,
                        bottleneck: shares ? interface : nil))
            }
        }
        return routes
    }

    /// Other servers forward for paths to the first, over links as good as their own.
    private static func drawRelays(seed: UInt64, servers: Int, _ routes: inout [RoutePlan]) {
        var chance = Chance(seed: seed, purpose: "relays")
        for relay in 1..<max(1, servers) where chance.rarely(0.2) {
            guard var route = routes.first(where: { $0.server == relay }) else { continue }
            route.server = 0
            route.relay = relay
            routes.append(route)
        }
    }

    /// Programs that bind their sockets to an interface by which the first server can be reached.
    private static func drawRestrictions(
        seed: UInt64, _ routes: [RoutePlan], _ workloads: inout [Workload]
    ) {
        var chance = Chance(seed: seed, purpose: "restrictions")
        let interfaces = routes.filter { $0.server == 0 && $0.relay == nil }.map(\.interface)
        for index in workloads.indices where chance.rarely(0.1) {
            workloads[index].restriction = PathRestriction(interfaces: [chance.pick(interfaces)])
        }
    }

    private static func drawWorkloads(_ chance: inout Chance) -> [Workload] {
        var workloads: [Workload] = []
        var budget = UInt64(chance.logarithmic(100_000...6_000_000))
        for index in 0..<chance.pick([1, 1, 1, 2, 3, 5]) {
            let start = Interval(seconds: 0.3 + (index == 0 ? 0 : chance.number(0...3)))
            let count = chance.pick([1, 1, 1, 2, 3, 6])
            var exchanges: [Exchange] = []
            for _ in 0..<count {
                let size = min(budget, UInt64(chance.logarithmic(1...max(1_000, Int(budget)))))
                budget -= min(budget - min(budget, 1_000), size)
                exchanges.append(drawExchange(&chance, size: size))
            }
            var workload = Workload(start: start, exchanges: exchanges)
            workload.isPipelined = chance.chance(0.2)
            drawReader(&chance, &workload)
            workloads.append(workload)
        }
        return workloads
    }

    private static func drawExchange(_ chance: inout Chance, size: UInt64) -> Exchange {
        let kind = chance.pick([Exchange.Kind.get, .get, .get, .get, .chunked, .put, .echo])
        var exchange = Exchange(kind, size: chance.chance(0.02) ? 0 : size, seed: chance.next() >> 8)
        if chance.rarely(0.15) {
            exchange.pace = chance.integer(50_000...2_000_000)
            // A slow application has little to say: runs stay short.
            exchange.size = min(exchange.size, UInt64(exchange.pace) * 5)
        }
        if chance.chance(0.2) { exchange.think = Interval(seconds: chance.number(0...1.5)) }
        return exchange
    }

    private static func drawReader(_ chance: inout Chance, _ workload: inout Workload) {
        let bytes = Int(workload.bytes)
        if chance.rarely(0.15) { workload.readRate = max(20_000, bytes / chance.integer(1...8)) }
        if chance.rarely(0.15) {
            let at = UInt64(chance.integer(0...bytes))
            workload.pauses = [(at: at, for: Interval(seconds: chance.number(0.1...4)))]
        }
        let after = UInt64(chance.integer(0...bytes))
        switch chance.integer(0...19) {
        case 0: workload.ending = .abort(after: after)
        case 1: workload.ending = .leave(after: after)
        case 2: workload.ending = .deafen(after: after)
        case 3...7: workload.ending = .halfClose
        case 8...11: workload.ending = .bye
        default: workload.ending = .close
        }
    }

    // MARK: Faults

    /// The first server is out of reach for longer than its gateway keeps a session without paths.
    private mutating func forgetSession() {
        for (index, route) in routes.enumerated() where route.server == 0 {
            faults.append((.milliseconds(600), .close(route: index)))
        }
        faults.append((.milliseconds(610), .silence(server: 0)))
        healAt = .seconds(33)
    }

    mutating func drawFaults() {
        var chance = Chance(seed: seed, purpose: "faults")
        healAt = Interval(seconds: chance.chance(0.1) ? 45 : chance.number(2...10))
        for _ in 0..<chance.integer(1...8) {
            let at = Interval(
                seconds: 0.35 + chance.number(0...1) * chance.number(0...1) * (healAt.seconds - 1))
            draw(&chance, at: at)
        }
        faults.sort { $0.at < $1.at }
    }

    private mutating func draw(_ chance: inout Chance, at: Interval) {
        let route = chance.integer(0...(routes.count - 1))
        let server = chance.chance(0.4) ? 0 : chance.integer(0...(servers.count - 1))
        // Short ones most of the time: they have to be survived.
        let later = at + Interval(seconds: 0.02 + chance.fraction() * chance.fraction() * 6)
        switch chance.integer(0...11) {
        case 0:
            faults.append((at, .kill(route: route)))
            if chance.chance(0.7) { faults.append((later, .revive(route: route))) }
        case 1, 2: faults.append((at, .blackout(route: route, Interval(seconds: chance.number(0.05...2)))))
        case 3:
            let time = Interval(seconds: chance.number(0.05...2))
            faults.append((at, .blackhole(route: route, isUp: chance.chance(0.5), time)))
        case 4: faults.append((at, .rate(route: route, chance.pick([0.05, 0.2, 0.5, 3]))))
        case 5: faults.append((at, .loss(route: route, chance.pick([0.01, 0.05, 0.3]))))
        case 6: faults.append((at, .delay(route: route, chance.pick([0.5, 2, 5]))))
        case 7: faults.append((at, .jitter(route: route, Interval(seconds: chance.number(0.001...0.1)))))
        case 8: faults.append((at, .close(route: route)))
        case 9, 10:
            faults.append((at, .silence(server: server)))
            if chance.chance(0.7) { faults.append((later, .wake(server: server))) }
        default:
            faults.append((at, .crash(server: server)))
            if chance.chance(0.7) { faults.append((later, .restart(server: server))) }
        }
    }
}
