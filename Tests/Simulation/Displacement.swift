internal import KwikCore

// Replicas whose bytes stand elsewhere than the primary's. Drawn apart, so that the rest of a seed's scenario
// stays as it is.
extension Scenario {
    private static let share = 0.25

    /// Makes honest replicas displaced ones, each with this probability, in some of the scenarios.
    mutating func displaceReplicas(most: Double) {
        var chance = Chance(seed: seed, purpose: "displaced")
        guard settings.silentPrimary == .fail, most == 1 || chance.chance(Scenario.share) else { return }
        for index in servers.indices.dropFirst() {
            let plan = Scenario.drawDisplacement(&chance)
            // One of them may be some stream's primary: then the others stand elsewhere.
            if servers[index].character == .honest, chance.chance(most) { servers[index].character = plan }
        }
    }

    private static func drawDisplacement(_ chance: inout Chance) -> Character {
        // Beyond what is looked for, now and then.
        let count = chance.chance(0.1) ? chance.integer(4_000...20_000) : chance.logarithmic(1...4_096)
        let from = chance.chance(0.6) ? chance.integer(0...60) : chance.integer(0...1_500_000)
        return .displaced(by: chance.chance(0.5) ? count : -count, from: UInt64(from))
    }

    /// Long answers on kept connections, of replicas each of which is displaced; nil for most seeds.
    static func shifted(seed: UInt64) -> Scenario? {
        var chance = Chance(seed: seed, purpose: "shifted")
        guard chance.chance(0.04) else { return nil }
        var workloads: [Workload] = []
        for _ in 0..<chance.integer(1...2) {
            var workload = Workload(start: Interval(seconds: chance.number(0.3...1)), exchanges: [])
            for _ in 0..<chance.integer(1...4) {
                let size = UInt64(chance.integer(300_000...2_000_000))
                workload.exchanges.append(Exchange(.get, size: size, seed: chance.next() >> 8))
            }
            workload.isPipelined = chance.chance(0.3)
            workload.ending = chance.pick([.close, .bye, .halfClose])
            workloads.append(workload)
        }
        let count = chance.integer(2...4)
        var routes: [RoutePlan] = []
        for server in 0..<count {
            var link = LinkTraits.of(megabits: chance.number(3...20), roundTrip: chance.number(2...60))
            if chance.chance(0.3) { link.loss = chance.number(0...0.01) }
            routes.append(RoutePlan(server: server, link))
        }
        var servers = [ServerPlan()]
        for _ in 1..<count { servers.append(ServerPlan(roles: [.replica])) }
        var scenario = Scenario(seed: seed, servers: servers, routes: routes, workloads: workloads)
        scenario.displaceReplicas(most: 1)
        scenario.contributes = chance.chance(0.2)
        if chance.chance(0.5) { scenario.drawFaults() }
        return scenario
    }
}
