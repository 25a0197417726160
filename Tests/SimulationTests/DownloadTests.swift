import KwikCore
import Simulation
import Testing

@Suite struct DownloadTests {
    @Test func threeEqualLinksAreAlmostThreeTimesAsFast() throws {
        let stage = Stage(size: 20_000_000)
        let outcome = stage.play()
        let alone = stage.alone()
        #expect(outcome.violation == nil)
        #expect(alone.violation == nil)
        let download = try #require(outcome.programs.first)
        let single = try #require(alone.programs.first)
        #expect(download.digest == single.digest)
        #expect(download.read == single.read)
        #expect(download.engaged == [ServerID(1), ServerID(2)])
        #expect(single.seconds / download.seconds >= 2.7)
        for server in UInt32(0)..<3 { #expect((0.25...0.42).contains(download.share(of: server))) }
    }

    /// Round trips far below what waits in queues, and a replica whose links lose: leases are late against
    /// their promises again and again (seed 7773 of an earlier generator, 47 % too much then).
    @Test func leasesThatAreLateAgainAndAgainStayWithinTheBudgetOfDuplicates() throws {
        let good = LinkTraits.of(megabits: 5, roundTrip: 0.4)
        var lossy = good
        lossy.loss = 0.0122
        var scenario = Stage(links: [good, good, lossy, lossy, good]).scenario
        scenario.servers = Array(scenario.servers.prefix(3))
        for (route, server) in [0, 0, 1, 1, 2].enumerated() { scenario.routes[route].server = server }
        for route in [1, 3] { scenario.routes[route].interface = InterfaceID(2) }
        let sizes: [UInt64] = [382_980, 29_559, 2_057_292]
        scenario.workloads[0].exchanges = sizes.map { Exchange(.get, size: $0, seed: $0) }
        for seed in UInt64(1)..<6 {
            scenario.seed = seed
            let outcome = Simulation.run(scenario)
            #expect(outcome.violation == nil)
            let program = try #require(outcome.programs.first)
            let received = program.received.values.reduce(0, +)
            #expect(outcome.coverage.moved > 0)
            // The budget (5 % and 256 KiB), and a lease on each path that was under way when it was moved.
            #expect(received < program.read + program.read / 20 + (256 << 10) + 5 * (64 << 10))
        }
    }

    @Test func shortAnswersTouchThePrimaryAlone() throws {
        var workload = Workload(start: Stage.start, exchanges: [])
        for seed in 0..<20 { workload.exchanges.append(Exchange(.get, size: 4_000, seed: UInt64(seed))) }
        let outcome = Stage(workload: workload).play()
        #expect(outcome.violation == nil)
        let program = try #require(outcome.programs.first)
        #expect(program.errno == nil)
        #expect(program.engaged.isEmpty)
        // A round trip for the connect and one for each exchange.
        #expect(program.seconds < 21 * 0.020 + 0.1)
    }

    @Test func slowReaderIsNotReadFarAheadOf() throws {
        var workload = Workload(start: Stage.start, exchanges: [Exchange(.get, size: 8_000_000, seed: 42)])
        workload.readRate = 500_000
        let outcome = Stage(workload: workload).play()
        #expect(outcome.violation == nil)
        #expect(outcome.programs.first?.errno == nil)
        // Three times what the paths carry in a round trip and 100 ms, their headers included.
        #expect(outcome.furthestAhead <= 9 << 19)
    }

    @Test func sameSeedIsTheSameRun() {
        let first = Simulation.run(.random(seed: 7))
        let second = Simulation.run(.random(seed: 7))
        #expect(first.steps == second.steps)
        #expect(first.seconds == second.seconds)
        #expect(first.programs.map(\.digest) == second.programs.map(\.digest))
    }

    @Test func uploadArrivesWholeOverALossyPath() {
        var link = LinkTraits.of(megabits: 20, roundTrip: 40)
        link.loss = 0.01
        let workload = Workload(start: Stage.start, exchanges: [Exchange(.put, size: 2_000_000, seed: 9)])
        // The answer is a digest of what the application got; the program compares it.
        let outcome = Stage(link: link, workload: workload).play()
        #expect(outcome.violation == nil)
        #expect(outcome.programs.first?.errno == nil)
    }

    @Test func fullDuplexEchoDoesNotBlock() {
        let workload = Workload(start: Stage.start, exchanges: [Exchange(.echo, size: 6_000_000, seed: 9)])
        let outcome = Stage(workload: workload).play()
        #expect(outcome.violation == nil)
        #expect(outcome.programs.first?.read == 6_000_000)
    }
}
