internal import KwikCore

extension Scenario {
    /// A service that goes on by a quorum: its primary is lost while replicas are at work, of whom one may
    /// differ, and now and then another one is lost after it.
    static func bereaved(seed: UInt64) -> Scenario {
        var chance = Chance(seed: seed, purpose: "bereaved")
        var servers = [ServerPlan(.honest, tellsClosed: chance.chance(0.5))]
        for _ in 0..<chance.integer(2...3) {
            servers.append(ServerPlan(roles: [.replica], tellsClosed: chance.chance(0.5)))
        }
        if chance.chance(0.6) {
            servers[chance.integer(1...(servers.count - 1))].character = drawOdd(&chance)
        }
        let link = LinkTraits.of(megabits: chance.number(4...30), roundTrip: chance.number(2...60))
        var routes: [RoutePlan] = []
        for server in servers.indices {
            var own = link
            if chance.chance(0.3) { own.rate *= chance.number(0.4...2) }
            if chance.chance(0.2) { own.loss = chance.number(0...0.01) }
            routes.append(RoutePlan(server: server, own))
            if chance.chance(0.2) { routes.append(RoutePlan(server: server, interface: InterfaceID(2), own)) }
        }
        var workloads: [Workload] = []
        for _ in 0..<chance.pick([1, 1, 2]) { workloads.append(drawTransfer(&chance)) }
        var scenario = Scenario(seed: seed, servers: servers, routes: routes, workloads: workloads)
        scenario.settings.silentPrimary = .quorum
        if chance.chance(0.2) { scenario.settings.memoryBudget = 2 << 20 }
        scenario.healAt = Interval(seconds: chance.pick([8.0, 20.0, 45.0]))
        scenario.drawLosses(&chance)
        // Whoever is next dies while it comes to it.
        for _ in 0..<chance.pick([0, 0, 1, 2]) {
            var next = Scenario.ambush(&chance)
            next.moment = chance.pick([.promoted, .promoted, .reattached, .engaged])
            scenario.ambushes.append(next)
        }
        scenario.drawQuorumAim()
        return scenario
    }

    private static func drawOdd(_ chance: inout Chance) -> Character {
        switch chance.integer(0...10) {
        // Late enough that it may be among the two before it is found out.
        case 0...4: .lying(from: UInt64(chance.integer(1_000_000...4_500_000)))
        case 5, 6: .dated(chance.next() % 5 + 1)
        case 7: .shifted
        case 8: .shorter
        case 9: .stalling(after: UInt64(chance.integer(200_000...4_000_000)))
        default: .resetting(after: UInt64(chance.integer(200_000...4_000_000)))
        }
    }

    private static func drawTransfer(_ chance: inout Chance) -> Workload {
        var exchanges: [Exchange] = []
        for _ in 0..<chance.pick([1, 1, 1, 2, 3]) {
            let kind = chance.pick([Exchange.Kind.get, .get, .get, .chunked])
            let size = UInt64(chance.integer(1_500_000...5_000_000))
            exchanges.append(Exchange(kind, size: size, seed: chance.next() >> 8))
        }
        if chance.chance(0.2) {
            let size = UInt64(chance.logarithmic(1...200_000))
            exchanges.append(Exchange(chance.pick([.put, .echo]), size: size, seed: chance.next() >> 8))
        }
        var workload = Workload(start: Interval(seconds: 0.3 + chance.number(0...0.5)), exchanges: exchanges)
        workload.isPipelined = chance.chance(0.2)
        workload.ending = chance.pick([.close, .close, .halfClose, .bye])
        switch chance.integer(0...15) {
        case 0: workload.ending = .abort(after: UInt64(chance.integer(0...3_000_000)))
        case 1: workload.ending = .leave(after: UInt64(chance.integer(0...3_000_000)))
        case 2: workload.ending = .deafen(after: UInt64(chance.integer(0...3_000_000)))
        case 3: workload.readRate = chance.integer(200_000...2_000_000)
        default: break
        }
        return workload
    }

    private mutating func drawLosses(_ chance: inout Chance) {
        var at = 0.4 + chance.number(0...3)
        lose(&chance, server: 0, at: at)
        for _ in 0..<chance.pick([0, 0, 1, 1, 2]) {
            at += chance.number(0...2)
            lose(&chance, server: chance.integer(0...(servers.count - 1)), at: at)
        }
        faults.sort { $0.at < $1.at }
    }

    private mutating func lose(_ chance: inout Chance, server: Int, at: Double) {
        let later = Interval(seconds: at + 0.02 + chance.fraction() * chance.fraction() * 6)
        let back = chance.chance(server == 0 ? 0.3 : 0.5)
        let at = Interval(seconds: at)
        switch chance.integer(0...3) {
        case 0, 1:
            faults.append((at, .silence(server: server)))
            if back { faults.append((later, .wake(server: server))) }
        case 2:
            faults.append((at, .crash(server: server)))
            if back { faults.append((later, .restart(server: server))) }
        default:
            for (index, route) in routes.enumerated() where route.server == server {
                faults.append((at, .kill(route: index)))
                if back { faults.append((later, .revive(route: index))) }
            }
        }
    }
}
