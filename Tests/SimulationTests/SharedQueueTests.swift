import KwikCore
import Simulation
import Testing

/// Paths that lead through one queue bring no more than one of them.
@Suite struct SharedQueueTests {
    private static let size: UInt64 = 26_000_000

    /// Servers behind links of 30 Mbit/s; those of one number share one.
    private func play(_ queues: [Int?]) throws -> (Outcome, ProgramOutcome) {
        let link = LinkTraits.of(megabits: 30, roundTrip: 20)
        let stage = Stage(characters: queues.map { _ in .honest }, link: link, size: Self.size)
        var scenario = stage.scenario
        for (index, queue) in queues.enumerated() { scenario.routes[index].bottleneck = queue }
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        return (outcome, try #require(outcome.programs.first))
    }

    @Test("Replicas behind the primary's queue are parked, and the download is as soon as from it alone",
        arguments: [2, 3])
    func parked(count: Int) throws {
        let (outcome, program) = try play(Array(repeating: 1, count: count))
        let (_, alone) = try play([nil])
        #expect(program.digest == alone.digest)
        #expect(outcome.coverage.parked > 0)
        #expect(program.seconds < alone.seconds * 1.03)
    }

    @Test("What has a queue of its own is not parked")
    func notParked() throws {
        for queues: [Int?] in [[nil, nil], [nil, nil, nil]] {
            let (outcome, _) = try play(queues)
            #expect(outcome.coverage.parked == 0)
        }
    }

    @Test("Two replicas behind one queue, the primary behind another: nothing is lost")
    func half() throws {
        let (_, program) = try play([nil, 1, 1])
        let (_, two) = try play([nil, nil])
        #expect(program.digest == two.digest)
        #expect(program.seconds < two.seconds * 1.03)
    }
}
