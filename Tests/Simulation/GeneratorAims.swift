internal import KwikCore

// Deaths for which a scenario has to offer more than chance alone brings together: somebody who forwards, a
// further interface, a stream that comes to the moment. Drawn apart and added behind all else, so that the
// rest of a seed's scenario stays as it is.
extension Scenario {
    private static let relays: [Ambush.Victim] = [.relayProcess, .relaySilence, .relayedLink]
    /// Few streams come to these by themselves.
    private static let rareMoments: [Ambush.Moment] = [.engaged, .moved, .reattached, .sent, .shut]
    private static let share = 0.14

    /// Who dies when, of what ambushes that are drawn freely hardly ever meet.
    private static let aims: [(victim: Ambush.Victim, moment: Ambush.Moment)] =
        Ambush.Victim.allCases.flatMap { victim in
            Ambush.Moment.allCases
                .filter { relays.contains(victim) || victim == .interfaceLink || rareMoments.contains($0) }
                .filter { $0 != .promoted }.map { (victim, $0) }
        }

    /// A program of its own comes to the moment, and the victim is there.
    mutating func drawAim() {
        var chance = Chance(seed: seed, purpose: "aims")
        guard chance.chance(Scenario.share) else { return }
        let aim = chance.pick(Scenario.aims)
        // Replicas get nothing of what is over at once.
        let needsReplicas = aim.moment == .engaged || aim.moment == .moved
        let size = UInt64(chance.integer(needsReplicas ? 1_000_000...3_000_000 : 200_000...2_000_000))
        let kind: Exchange.Kind = aim.moment == .sent ? chance.pick([.put, .echo]) : .get
        var workload = Workload(
            start: Interval(seconds: chance.number(0.3...1)),
            exchanges: [Exchange(kind, size: size, seed: chance.next() >> 8)])
        workload.ending = aim.moment == .shut ? .halfClose : chance.pick([.close, .halfClose, .bye])
        let program = workloads.count
        workloads.append(workload)
        var link = routes[0]
        link.relay = nil
        if Scenario.relays.contains(aim.victim), routes.allSatisfy({ $0.relay == nil }) {
            if servers.count == 1 { servers.append(ServerPlan(roles: [.relay])) }
            link.relay = chance.integer(1...(servers.count - 1))
            routes.append(link)
        } else if aim.victim == .interfaceLink, routes.allSatisfy({ $0.kind != .interface }) {
            link.interface = InterfaceID(2)
            routes.append(link)
        }
        if aim.moment == .reattached {
            // With another way to the server the stream moves there, without one it waits for the next.
            let hasOther = routes.contains { $0.server == 0 && $0.kind != .direct }
            ambushes.append(
                Ambush(
                    hasOther ? .directLink : .connection, at: chance.pick([.asked, .answered]), of: program,
                    delay: Interval(seconds: chance.number(0...0.03)),
                    lasts: Interval(seconds: chance.number(0.3...2))))
        }
        var ambush = Scenario.ambush(&chance)
        ambush.victim = aim.victim
        ambush.moment = aim.moment
        ambush.program = needsReplicas ? nil : program
        ambush.passes = 0
        ambushes.append(ambush)
        let heal = Interval(seconds: chance.number(4...10))
        healAt = max(healAt, heal)
    }

    /// Interfaces go, all of them perhaps, and most come back.
    mutating func drawUnplugged() {
        var chance = Chance(seed: seed, purpose: "unplugged")
        guard chance.rarely(0.06) else { return }
        for _ in 0..<chance.integer(1...3) {
            let interface = chance.pick(routes).interface
            let at = Interval(seconds: chance.number(0.4...4))
            faults.append((at, .unplug(interface)))
            if chance.chance(0.8) {
                faults.append((at + Interval(seconds: chance.number(0.05...6)), .plug(interface)))
            }
        }
        faults.sort { $0.at < $1.at }
        healAt = max(healAt, .seconds(10))
    }

    /// A replica so far and fast that the leases which go out with its stream's beginning fill more than a
    /// datagram, the first of which is lost or late now and then.
    static func overtaking(seed: UInt64) -> Scenario {
        var chance = Chance(seed: seed, purpose: "overtaking")
        let near = LinkTraits.of(megabits: chance.number(5...15), roundTrip: 40)
        var routes = [RoutePlan(server: 0, near)]
        for server in 1...2 {
            let far = LinkTraits.of(megabits: 100, roundTrip: chance.number(100...200))
            var route = RoutePlan(server: server, far)
            route.up.loss = 0.1
            route.up.reordering = 0.1
            routes.append(route)
        }
        let workloads = (0..<8).map { index in
            let exchange = Exchange(.get, size: 3_000_000, seed: chance.next() >> 8)
            return Workload(start: .milliseconds(900 + Int64(index) * 400), exchanges: [exchange])
        }
        let servers = [ServerPlan(roles: [.origin, .replica])]
            + Array(repeating: ServerPlan(roles: [.replica]), count: 2)
        return Scenario(seed: seed, servers: servers, routes: routes, workloads: workloads)
    }

    /// Paths die while their hellos are answered, some of them to a gateway that was started anew.
    mutating func drawLostAnswers() {
        var chance = Chance(seed: seed, purpose: "lost answers")
        guard chance.rarely(0.04) else { return }
        lostAnswers = chance.pick([0.2, 0.5, 0.8])
        if chance.chance(0.6) {
            var link = routes[0]
            link.relay = nil
            link.interface = InterfaceID(3)
            link.down.delay = link.down.delay * Int64(chance.integer(1...10))
            routes.append(link)
        }
        for _ in 0..<chance.integer(0...3) {
            let at = Interval(seconds: chance.number(0.5...6))
            faults.append((at, .crash(server: 0)))
            faults.append((at + .milliseconds(Int64(chance.integer(10...500))), .restart(server: 0)))
        }
        faults.sort { $0.at < $1.at }
        healAt = max(healAt, .seconds(10))
    }

    /// Relays and further interfaces lead to the primary and to the servers that may take its place, and
    /// somebody dies when one has.
    mutating func drawSuccessorAim() {
        var chance = Chance(seed: seed, purpose: "successors")
        guard chance.chance(0.7) else { return }
        let targets = servers.indices
        // The last that is left has no other to be reached by.
        if targets.count == 2 || chance.chance(0.3) { servers.append(ServerPlan(roles: [.relay])) }
        for target in targets {
            guard var route = routes.first(where: { $0.server == target }) else { continue }
            // The former primary can't forward for its successor.
            route.relay = chance.pick((1..<servers.count).filter { $0 != target })
            routes.append(route)
            guard chance.chance(0.3) else { continue }
            route.relay = nil
            route.interface = InterfaceID(2)
            routes.append(route)
        }
        if chance.chance(0.9) {
            let victims = Scenario.relays + Scenario.relays + Ambush.Victim.allCases
            aimAtPromotion(chance.pick(victims), &chance)
        }
    }

    /// Somebody dies when two servers have taken the primary's place.
    mutating func drawQuorumAim() {
        var chance = Chance(seed: seed, purpose: "quorum aims")
        guard chance.chance(0.35) else { return }
        let victims = Ambush.Victim.allCases.filter { !Scenario.relays.contains($0) }
        aimAtPromotion(chance.pick(victims), &chance)
    }

    private mutating func aimAtPromotion(_ victim: Ambush.Victim, _ chance: inout Chance) {
        var ambush = Scenario.ambush(&chance)
        ambush.victim = victim
        ambush.moment = .promoted
        ambush.passes = 0
        ambushes.append(ambush)
    }
}
