internal import KwikCore

// What scenarios got later, each drawn apart, so that the rest of a seed's scenario stays as it is.
extension Scenario {
    /// Deaths at the instants that matter. A run in which all went well otherwise heals after them.
    mutating func drawAmbushes() {
        var chance = Chance(seed: seed, purpose: "ambushes")
        guard chance.rarely(0.35) else { return }
        if faults.isEmpty { healAt = Interval(seconds: chance.chance(0.1) ? 45 : chance.number(2...10)) }
        for _ in 0..<chance.integer(1...3) { ambushes.append(Scenario.ambush(&chance)) }
    }

    static func ambush(_ chance: inout Chance) -> Ambush {
        var ambush = Ambush(
            chance.pick(Ambush.Victim.allCases), at: chance.pick(Ambush.Moment.allCases),
            passes: chance.pick([0, 0, 0, 1, 2, 5]))
        switch chance.integer(0...2) {
        case 0: break
        case 1: ambush.delay = Interval(seconds: chance.number(0...0.03))
        default: ambush.delay = Interval(seconds: chance.fraction() * chance.fraction())
        }
        if chance.chance(0.7) {
            ambush.lasts = Interval(seconds: 0.02 + chance.fraction() * chance.fraction() * 4)
        }
        return ambush
    }

    /// The primary dies under a replica that may take its place, and whoever is next while it does.
    static func succession(seed: UInt64) -> Scenario {
        var chance = Chance(seed: seed, purpose: "succession")
        let link = LinkTraits.of(megabits: chance.number(4...30), roundTrip: chance.number(4...60))
        let servers = (0..<chance.integer(2...4)).map { _ in
            ServerPlan(roles: [.origin, .replica], tellsClosed: chance.chance(0.5))
        }
        var routes = servers.indices.map { RoutePlan(server: $0, link) }
        if chance.chance(0.3) { routes.append(RoutePlan(server: 0, interface: InterfaceID(2), link)) }
        var workload = Workload(start: .milliseconds(300), exchanges: [])
        for _ in 0..<chance.integer(1...2) {
            let kind = chance.pick([Exchange.Kind.get, .get, .chunked])
            let size = UInt64(chance.integer(2_000_000...5_000_000))
            workload.exchanges.append(Exchange(kind, size: size, seed: chance.next() >> 8))
        }
        workload.ending = chance.pick([.close, .halfClose, .bye])
        var scenario = Scenario(seed: seed, servers: servers, routes: routes, workloads: [workload])
        scenario.settings.silentPrimary = .promote
        let first = Ambush(
            chance.pick([.primaryProcess, .primarySilence]), at: chance.pick([.engaged, .moved]),
            passes: chance.integer(0...3), delay: Interval(seconds: chance.number(0...1)))
        scenario.ambushes = [first]
        if chance.chance(0.7) {
            var next = Scenario.ambush(&chance)
            next.moment = .promoted
            next.passes = 0
            scenario.ambushes.append(next)
        }
        scenario.healAt = Interval(seconds: chance.number(4...12))
        scenario.drawSuccessorAim()
        return scenario
    }

    /// A transfer that is long enough to see that all servers are behind one queue.
    static func sharedQueue(seed: UInt64) -> Scenario? {
        var chance = Chance(seed: seed, purpose: "shared queue")
        guard chance.chance(0.01) else { return nil }
        let megabits = chance.number(10...25)
        let link = LinkTraits.of(megabits: megabits, roundTrip: chance.number(10...40))
        let servers = (0..<chance.integer(2...3)).map { _ in ServerPlan() }
        let routes = servers.indices.map { server in
            var route = RoutePlan(server: server, link)
            route.bottleneck = 1
            return route
        }
        let size = UInt64(megabits * 125_000 * chance.number(7...9))
        let exchange = Exchange(.get, size: size, seed: chance.next() >> 8)
        let workload = Workload(start: .milliseconds(300), exchanges: [exchange])
        return Scenario(seed: seed, servers: servers, routes: routes, workloads: [workload])
    }

    /// What programs set on their sockets, urgent bytes, and programs that close behind their last byte.
    mutating func drawSockets() {
        var chance = Chance(seed: seed, purpose: "sockets")
        for index in workloads.indices {
            if chance.rarely(0.1) { workloads[index].options.append(Scenario.option(&chance)) }
            if chance.rarely(0.1) {
                let at = workloads[index].start + Interval(seconds: chance.number(0...3))
                workloads[index].changes.append((at, Scenario.option(&chance)))
            }
            if chance.rarely(0.02) {
                let time = chance.integer(2_000...10_000)
                workloads[index].options.append(
                    SocketOption(SocketOption.tcp, SocketOption.userTimeoutName, time))
            }
            if chance.rarely(0.05) { workloads[index].marksUrgent = true }
        }
        if chance.rarely(0.05) { for index in servers.indices { servers[index].marksUrgent = true } }
        guard chance.rarely(0.15) else { return }
        let size = UInt64(chance.logarithmic(1...600_000))
        var quit = Workload(
            start: Interval(seconds: chance.number(0.3...3)),
            exchanges: [Exchange(.put, size: size, seed: chance.next() >> 8)])
        quit.ending = .quit
        workloads.append(quit)
    }

    /// A program that makes its send buffer smaller while it does not read, and more than that waits for a
    /// backend that has to be rid of its answer first.
    mutating func drawNarrowed() {
        var chance = Chance(seed: seed, purpose: "narrowed")
        guard chance.rarely(0.02) else { return }
        let size = UInt64(chance.integer(1_500_000...3_000_000))
        var workload = Workload(
            start: Interval(seconds: chance.number(0.3...2)),
            exchanges: [Exchange(.echo, size: size, seed: chance.next() >> 8)])
        workload.options.append(SocketOption(SocketOption.socket, SocketOption.receiveBufferName, 65_536))
        let pause = chance.number(2...5)
        workload.pauses = [(at: UInt64(chance.integer(0...100_000)), for: Interval(seconds: pause))]
        let at = workload.start + Interval(seconds: chance.number(0.5...1) * pause)
        workload.changes = [(at, SocketOption(SocketOption.socket, SocketOption.sendBufferName, 65_536))]
        workloads.append(workload)
    }

    private static func option(_ chance: inout Chance) -> SocketOption {
        let name = chance.pick([
            SocketOption.sendBufferName, SocketOption.receiveBufferName, SocketOption.priorityName,
        ])
        let value =
            name == SocketOption.priorityName ? chance.integer(0...7) : chance.logarithmic(65_536...1_048_576)
        return SocketOption(SocketOption.socket, name, value)
    }
}
