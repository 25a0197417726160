import KwikCore
import Simulation
import Testing

/// The traps of the client's algorithm, into which its first simulation fell, each in a scenario that shows
/// it. `make mutants` plays seeds and none of these: what bounds here are worth shows in the figures beside
/// them.
@Suite struct TrapTests {
    private func download(_ size: UInt64, seed: UInt64 = 42) -> Exchange {
        Exchange(.get, size: size, seed: seed)
    }

    private func check(_ outcome: Outcome) throws -> ProgramOutcome {
        #expect(outcome.violation == nil)
        let program = try #require(outcome.programs.first)
        #expect(program.errno == nil)
        return program
    }

    private func received(_ program: ProgramOutcome) -> UInt64 { program.received.values.reduce(0, +) }

    @Test("Trap 1: what fails a path is silence of packets, not of stream bytes, which loss holds up")
    func lossIsNotDeath() throws {
        var link = LinkTraits.of(megabits: 4, roundTrip: 80)
        link.loss = 0.08
        var suspected = 0
        for seed in UInt64(1)..<6 {
            var scenario = Stage(characters: [.honest], link: link, size: 1_500_000).scenario
            scenario.seed = seed
            let outcome = Simulation.run(scenario)
            let program = try check(outcome)
            // In-order bytes stand still for longer than a silence may last.
            #expect(program.longestGap > .milliseconds(250))
            #expect(outcome.coverage.failedPaths == 0)
            suspected += outcome.coverage.suspected
        }
        // Five times 22 s in which now and then a probe and all else in flight is lost: 12 times here, and
        // 235 times where only stream bytes are heard.
        #expect(suspected <= 20)
    }

    @Test("Trap 2: leases that follow an idle period find their paths alive")
    func idlePathsAreAlive() throws {
        var workload = Workload(start: Stage.start, exchanges: [download(3_000_000)])
        for seed in 1..<5 {
            workload.exchanges.append(
                Exchange(.get, size: 3_000_000, seed: UInt64(seed), think: .milliseconds(4_700)))
        }
        let outcome = Stage(workload: workload).play()
        let program = try check(outcome)
        #expect(outcome.coverage.suspected == 0)
        for server in UInt32(1)..<3 { #expect(program.share(of: server) > 0.2) }
    }

    @Test("Trap 3: the front is always somebody's, so that little waits behind a hole")
    func theFrontIsFetched() throws {
        // The primary brings a twentieth: the front comes from others.
        let links = [(6.0, 40.0), (60, 20), (60, 40)].map { LinkTraits.of(megabits: $0.0, roundTrip: $0.1) }
        let outcome = Stage(size: 30_000_000, links: links).play()
        let program = try check(outcome)
        #expect(program.share(of: 0) < 0.1)
        // 92 ms, and 0.75 of the sum: 0.48 where the fastest path slides as well.
        #expect(program.longestGap < .milliseconds(120))
        #expect(program.seconds < 30_000_000 / (126 * 125_000) / 0.7)
    }

    @Test("Trap 4: what is late against the ideal and keeps its promise is not asked for again")
    func promisesAreKept() throws {
        let links = [(50.0, 20.0), (30, 60), (20, 100)].map { LinkTraits.of(megabits: $0.0, roundTrip: $0.1) }
        let outcome = Stage(size: 25_000_000, links: links).play()
        let program = try check(outcome)
        #expect(received(program) < program.read + program.read / 100)
    }

    @Test("Trap 4: copies that come in vain count, so that little is asked for twice where packets are lost")
    func losersCount() throws {
        let links = [(6.0, 40.0), (40, 10), (40, 10)].map {
            var link = LinkTraits.of(megabits: $0.0, roundTrip: $0.1)
            link.loss = 0.01
            return link
        }
        // 16 to 23 % came twice where copies that another was verified before did not count; 7 % do.
        for seed in [2, 9, 25, 27] as [UInt64] {
            var scenario = Stage(size: 20_000_000, links: links).scenario
            scenario.seed = seed
            let program = try check(Simulation.run(scenario))
            #expect(received(program) < program.read + program.read / 10)
        }
    }

    @Test("Trap 5: the primary begins no block long before it sends it, so that there is something to carve")
    func thePrimaryLeavesSomething() throws {
        let stage = Stage(size: 2_000_000)
        let program = try check(stage.play())
        let single = try check(stage.alone())
        #expect(program.share(of: 0) < 0.6)
        #expect(single.seconds / program.seconds > 1.6)
    }

    @Test("Trap 6: the window lets four unlike paths work")
    func theWindowIsWide() throws {
        let links = [(50.0, 20.0), (30, 60), (20, 100), (10, 160)].map {
            LinkTraits.of(megabits: $0.0, roundTrip: $0.1)
        }
        let program = try check(Stage(size: 50_000_000, links: links).play())
        #expect(program.seconds < 50_000_000 / (110 * 125_000) / 0.78)
    }

    @Test("Trap 7: a slow application says nothing about its paths' rates")
    func limitedSamplesDoNotCount() throws {
        var workload = Workload(start: Stage.start, exchanges: [download(6_000_000)])
        workload.exchanges.append(Exchange(.get, size: 600_000, seed: 2, pace: 200_000))
        workload.exchanges.append(download(800_000, seed: 3))
        workload.exchanges.append(download(800_000, seed: 4))
        let program = try check(Stage(workload: workload).play())
        #expect(program.latencies.count == 4)
        // The first one behind it is as quick as the next; 1.4 times as long if its samples counted.
        #expect(program.latencies[2].seconds < program.latencies[3].seconds * 1.2)
    }

    @Test("Trap 8: a stalled program takes neither the window of others nor much memory")
    func aStalledReaderIsAlone() throws {
        var stalled = Workload(start: Stage.start, exchanges: [download(20_000_000)])
        stalled.pauses = [(at: 1_000_000, for: .seconds(20))]
        stalled.ending = .leave(after: 1_000_000)
        let other = Workload(start: .milliseconds(1_500), exchanges: [download(8_000_000, seed: 7)])
        // They are there for longer than the stalled ones, and want next to nothing.
        let idle = Workload(
            start: Stage.start, exchanges: [Exchange(.get, size: 100, seed: 1, think: .seconds(40))])
        var scenario = Stage().scenario
        scenario.settings.memoryBudget = 9 << 20
        scenario.workloads = [stalled, stalled, stalled, other] + Array(repeating: idle, count: 5)
        let outcome = Simulation.run(scenario)
        _ = try check(outcome)
        scenario.settings.memoryBudget = 1 << 20
        scenario.workloads = [other]
        let alone = try check(Simulation.run(scenario))
        #expect(outcome.programs[3].seconds < alone.seconds * 1.15)
        // Half the budget, among two at least that want it when it is granted. Each could do with 2.7 MB.
        #expect(outcome.furthestAhead <= 9 << 18)
    }

    @Test("Trap 9: tags do not wait behind the data of a slow primary", arguments: [0, 0.01])
    func tagsGoFirst(_ loss: Double) throws {
        let links = [(6.0, 40.0), (40, 10), (40, 10)].map {
            var link = LinkTraits.of(megabits: $0.0, roundTrip: $0.1)
            link.loss = loss
            return link
        }
        let outcome = Stage(size: 20_000_000, links: links).play()
        let program = try check(outcome)
        #expect(program.share(of: 0) < 0.2)
        // 0.79 of the sum; with loss, at which these links alone bring 3.8, 16 and 16 Mbit/s, 0.85 of that.
        let rate = loss == 0 ? 86 : 36.0
        #expect(program.seconds < 20_000_000 / (rate * 125_000) / 0.72)
        // 92 and 86 ms.
        #expect(program.longestGap < .milliseconds(120))
    }

    @Test("Trap 10: an answer that ends in mid-block on a connection that stays is whole at once")
    func answersEndInMidBlock() throws {
        var workload = Workload(start: Stage.start, exchanges: [])
        for index in 0..<8 {
            workload.exchanges.append(download(1_000_000 + UInt64(index) * 3_001, seed: UInt64(index)))
        }
        workload.ending = .close
        let outcome = Stage(workload: workload).play()
        let program = try check(outcome)
        #expect(outcome.coverage.engaged >= 2)
        #expect(program.latencies.count == 8)
        for latency in program.latencies { #expect(latency < .milliseconds(700)) }
    }

    @Test("Trap 11: credit passes data, so that bytes both ways at once never block each other")
    func creditPassesData() throws {
        let exchange = Exchange(.echo, size: 8_000_000, seed: 9)
        let workload = Workload(start: Stage.start, exchanges: [exchange])
        let links = [(8.0, 60.0), (20, 10)].map { LinkTraits.of(megabits: $0.0, roundTrip: $0.1) }
        let program = try check(Stage(workload: workload, links: links, isOneServer: true).play())
        #expect(program.read == 8_000_000)
        #expect(program.longestGap < .milliseconds(500))
    }

    @Test("Trap 12: what overtakes its stream's OPEN waits for it")
    func whatOvertakesWaits() throws {
        // So many leases go out with what engages a replica that they fill more than a datagram, of which the
        // first is lost or late.
        let near = LinkTraits.of(megabits: 10, roundTrip: 40)
        let far = LinkTraits.of(megabits: 100, roundTrip: 150)
        var overtaken = 0
        for seed in UInt64(1)..<4 {
            var scenario = Stage(links: [near, far, far]).scenario
            scenario.seed = seed
            for index in scenario.routes.indices {
                scenario.routes[index].up.loss = 0.1
                scenario.routes[index].up.reordering = 0.1
            }
            scenario.workloads = (0..<8).map { index in
                let exchange = download(3_000_000, seed: UInt64(index))
                return Workload(start: .milliseconds(900 + Int64(index) * 400), exchanges: [exchange])
            }
            let outcome = Simulation.run(scenario)
            #expect(outcome.violation == nil)
            #expect(outcome.programs.allSatisfy { $0.errno == nil })
            #expect(outcome.census["unknown-at-gateway"] == nil)
            overtaken += outcome.census["overtaken"] ?? 0
        }
        #expect(overtaken > 0)
    }
}
