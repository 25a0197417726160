import KwikCore
import Simulation
import Testing

@Suite struct FailureTests {
    private static let killed = Interval.milliseconds(1_200)
    /// Round trip of the stage's links, with a full queue.
    private static let roundTrip = 0.040
    private static let tolerableGap = max(0.300, 3 * roundTrip)

    @Test func replicaThatDiesSilentlyCostsAShortGap() throws {
        let stage = Stage(faults: [(Self.killed, .silence(server: 1))])
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(download.digest == stage.alone().programs.first?.digest)
        #expect(download.longestGap.seconds <= Self.tolerableGap)
        #expect(download.primaries == [ServerID(0)])
    }

    @Test func promotedReplicaTakesOverFromASilentPrimary() throws {
        let stage = Stage(silentPrimary: .promote, faults: [(Self.killed, .silence(server: 0))])
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(download.primaries.count == 2)
        #expect(download.digest == stage.alone().programs.first?.digest)
        // Promotion waits for max(200 ms, 2·PTO) of silence; a slower attempt than that is seen as a gap.
        #expect(download.longestGap.seconds <= Self.tolerableGap + 0.2)
    }

    /// Relays lead to the successor once the primary's path has failed.
    @Test(arguments: [Ambush.Victim.relayProcess, .relaySilence, .relayedLink])
    func promotedReplicaOutlivesItsRelay(_ victim: Ambush.Victim) throws {
        var stage = Stage(silentPrimary: .promote, faults: [(Self.killed, .silence(server: 0))])
        stage.link = LinkTraits.of(megabits: 4, roundTrip: 20)
        stage.size = 11_000_000
        var scenario = stage.scenario
        for (server, relay) in [(1, 2), (2, 1)] {
            scenario.servers[server].roles = [.origin, .replica]
            var route = RoutePlan(server: server, stage.link)
            route.relay = relay
            scenario.routes.append(route)
        }
        scenario.ambushes = [Ambush(victim, at: .promoted, delay: .seconds(7))]
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        #expect(outcome.census["\(victim.rawValue)@promoted"] == 1)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(outcome.coverage.relayed > 0)
        // Three where the relay is the successor itself.
        #expect(download.primaries.count >= 2)
        #expect(download.digest == stage.alone().programs.first?.digest)
    }

    @Test func primarysOtherInterfaceTakesOverFromASilentOne() throws {
        var stage = Stage(faults: [(Self.killed, .kill(route: 0))])
        stage.links = [stage.link, stage.link]
        stage.isOneServer = true
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(download.primaries == [ServerID(0)])
        #expect(download.digest == stage.alone().programs.first?.digest)
        #expect(outcome.coverage.reattached == 1)
        #expect(download.longestGap.seconds <= Self.tolerableGap)
    }

    @Test func relayTakesOverFromASilentInterface() throws {
        var scenario = Stage(faults: [(Self.killed, .kill(route: 0))]).scenario
        scenario.settings.replicas = false
        scenario.routes[1].server = 0
        scenario.routes[1].relay = 1
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(outcome.coverage.relayed == 1)
        #expect(download.longestGap.seconds <= Self.tolerableGap)
    }

    @Test func relayThatDiesTakesItsPathAlong() throws {
        var scenario = Stage(faults: [(Self.killed, .crash(server: 1))]).scenario
        scenario.routes[1].server = 0
        scenario.routes[1].relay = 1
        scenario.routes[2].server = 0
        scenario.routes[2].interface = InterfaceID(2)
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(outcome.coverage.failedPaths > 0)
        #expect(download.longestGap.seconds <= Self.tolerableGap)
    }

    @Test func boundProgramFailsWithItsInterfaceAlone() throws {
        var stage = Stage(faults: [(Self.killed, .kill(route: 0))])
        stage.links = [stage.link, stage.link]
        stage.isOneServer = true
        var scenario = stage.scenario
        scenario.workloads.append(scenario.workloads[0])
        scenario.workloads[0].restriction = PathRestriction(interfaces: [InterfaceID(1)])
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        #expect(outcome.programs.map(\.errno) == [110, nil])
        #expect(outcome.coverage.restricted == 1)
    }

    @Test func silentPrimaryWithoutPromotionTimesOut() throws {
        let outcome = Stage(faults: [(Self.killed, .silence(server: 0))]).play()
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == 110)
        #expect(outcome.coverage.timedOut == 1)
    }

    @Test func primaryThatComesBackGoesOn() throws {
        let stage = Stage(faults: [
            (Self.killed, .silence(server: 0)), (Self.killed + .seconds(8), .wake(server: 0)),
        ])
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(download.primaries == [ServerID(0)])
        #expect(download.digest == stage.alone().programs.first?.digest)
        #expect(outcome.coverage.reattached > 0)
    }

    @Test func flappingPathsDeliverEverything() throws {
        var faults: [(at: Interval, Fault)] = []
        for round in 0..<12 {
            let at = Interval.milliseconds(700 + Int64(round) * 350)
            faults.append((at, .blackout(route: round % 3, .milliseconds(200))))
        }
        let stage = Stage(faults: faults)
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        #expect(download.errno == nil)
        #expect(download.digest == stage.alone().programs.first?.digest)
        // 200 ms are a pause, not a death.
        #expect(download.primaries == [ServerID(0)])
    }

    @Test func rateThatCollapsesDoesNotHoldTheOthers() throws {
        let stage = Stage(faults: [(Self.killed, .rate(route: 1, 0.05))])
        let outcome = stage.play()
        let alone = stage.alone()
        #expect(outcome.violation == nil)
        let download = try #require(outcome.programs.first)
        let single = try #require(alone.programs.first)
        #expect(download.digest == single.digest)
        #expect(download.seconds < single.seconds * 0.8)
    }

    /// Two servers by an interface each, an engine that may have one path, and two downloads.
    private func onePath(unplugged: [(at: Interval, Fault)]) -> Outcome {
        let link = LinkTraits.of(megabits: 20, roundTrip: 20)
        let routes = [0, 1].map { RoutePlan(server: $0, interface: InterfaceID(UInt32($0) + 1), link) }
        let workloads = [0.3, 8].map {
            Workload(start: Interval(seconds: $0), exchanges: [Exchange(.get, size: 8_000_000, seed: 42)])
        }
        var scenario = Scenario(
            seed: 1, servers: [ServerPlan(), ServerPlan()], routes: routes, workloads: workloads)
        scenario.maximumPaths = 1
        scenario.faults = unplugged
        scenario.healAt = .seconds(3)
        return Simulation.run(scenario)
    }

    /// It was closed for the first server's, and the download with it.
    @Test("A path that a download depends on is not closed for a better one, but after it")
    func betterPathWaits() throws {
        let outcome = onePath(unplugged: [
            (.zero, .unplug(InterfaceID(1))), (.seconds(1), .plug(InterfaceID(1))),
        ])
        #expect(outcome.violation == nil)
        #expect(outcome.programs.map(\.errno) == [nil, nil])
        #expect(outcome.programs.map(\.primaries) == [[ServerID(1)], [ServerID(0)]])
    }

    /// There was no room for it.
    @Test("A path that a download waits for takes the place of one that is of no use to it")
    func pathThatIsMissed() throws {
        let (first, second) = (InterfaceID(1), InterfaceID(2))
        let outcome = onePath(unplugged: [
            (.zero, .unplug(first)), (.seconds(1), .unplug(second)), (.milliseconds(1_100), .plug(first)),
            (.seconds(2), .plug(second)),
        ])
        #expect(outcome.violation == nil)
        #expect(outcome.programs.map(\.errno) == [nil, nil])
        #expect(outcome.programs.map(\.primaries) == [[ServerID(1)], [ServerID(0)]])
    }
}
