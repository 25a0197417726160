import KwikCore
import Simulation
import Testing

/// Streams that share paths.
@Suite struct FairnessTests {
    /// SO_PRIORITY 6 (interactive), at the level SOL_SOCKET.
    private static let interactive = SocketOption(level: 1, name: 12, value: [6, 0, 0, 0])

    /// A program that asks for little, again and again.
    private func asking(_ kind: Exchange.Kind) -> Workload {
        var workload = Workload(start: .milliseconds(1_500), exchanges: [])
        for seed in 0..<100 {
            workload.exchanges.append(
                Exchange(kind, size: 1_000, seed: UInt64(seed), think: .milliseconds(30)))
        }
        workload.options = [Self.interactive]
        return workload
    }

    private func percentile99(_ program: ProgramOutcome) -> Double {
        let sorted = program.latencies.sorted()
        return sorted.isEmpty ? .infinity : sorted[sorted.count * 99 / 100 - 1].seconds
    }

    /// The interactive program's p99 alone, and beside a bulk transfer, in seconds.
    private func latencies(_ kind: Exchange.Kind, beside bulk: Exchange, _ stage: Stage) -> (Double, Double) {
        var scenario = stage.scenario
        scenario.workloads = [asking(kind)]
        let alone = Simulation.run(scenario)
        #expect(alone.violation == nil)
        scenario.workloads.append(Workload(start: Stage.start, exchanges: [bulk]))
        let both = Simulation.run(scenario)
        #expect(both.violation == nil)
        // The bulk transfer has gone on for all of the time.
        #expect(both.programs[1].seconds > 4.5)
        return (percentile99(alone.programs[0]), percentile99(both.programs[0]))
    }

    /// Half a bandwidth-delay product of queue: what waits in the network's own queue is not ours to pass.
    private static let link = LinkTraits.of(megabits: 20, roundTrip: 40, queue: 0.5)

    @Test func interactiveStreamKeepsItsLatencyBesideADownload() {
        let bulk = Exchange(.get, size: 40_000_000, seed: 42)
        let (alone, beside) = latencies(.get, beside: bulk, Stage(link: Self.link))
        #expect(beside <= 2 * alone)
    }

    @Test func interactiveStreamKeepsItsLatencyBesideAnUpload() {
        let bulk = Exchange(.put, size: 15_000_000, seed: 42)
        let (alone, beside) = latencies(.put, beside: bulk, Stage(link: Self.link))
        #expect(beside <= 2 * alone)
    }

    @Test func weightsShareAPath() throws {
        var scenario = Stage(characters: [.honest]).scenario
        var first = Workload(start: Stage.start, exchanges: [Exchange(.get, size: 6_000_000, seed: 1)])
        first.options = [Self.interactive]
        let second = Workload(start: Stage.start, exchanges: [Exchange(.get, size: 6_000_000, seed: 2)])
        scenario.workloads = [first, second]
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        // Four shares of five while both are busy: 6 MB take 1.25 times as long as alone.
        #expect(outcome.programs[0].seconds < outcome.programs[1].seconds * 0.7)
    }

    /// Several that stall hold no more than their shares, and the others' transfers go on.
    @Test func stalledReadersTakeNoMoreThanTheirShare() throws {
        var scenario = Stage().scenario
        scenario.settings.memoryBudget = 16 << 20
        for seed in UInt64(1)..<5 {
            var stalled = Workload(
                start: .milliseconds(400), exchanges: [Exchange(.get, size: 12_000_000, seed: seed)])
            stalled.pauses = [(at: 500_000, for: .seconds(30))]
            scenario.workloads.append(stalled)
        }
        scenario.workloads[0].start = .seconds(4)
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        let alone = Stage().play()
        #expect(outcome.programs[0].seconds < alone.programs[0].seconds * 1.15)
        #expect(outcome.furthestAhead <= 4 << 20)
    }

    /// Connections that are kept and do nothing cost a transfer nothing.
    @Test func idleConnectionsLeaveADownloadItsRate() throws {
        let links = [30.0, 30, 20].map { LinkTraits.of(megabits: $0, roundTrip: 60) }
        var scenario = Stage(size: 12_000_000, links: links).scenario
        scenario.workloads[0].start = .seconds(4)
        scenario.settings.memoryBudget = 12 << 20
        let alone = Simulation.run(scenario)
        let idle = Workload(
            start: Stage.start, exchanges: [Exchange(.get, size: 100, seed: 1, think: .seconds(20))])
        scenario.workloads += Array(repeating: idle, count: 180)
        let beside = Simulation.run(scenario)
        #expect(beside.violation == nil)
        #expect(beside.programs[0].seconds < alone.programs[0].seconds * 1.05)
    }
}
