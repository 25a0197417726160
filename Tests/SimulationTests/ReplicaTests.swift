import KwikCore
import Simulation
import Testing

/// Replicas that are not what they seem. Whatever they send, programs read the primary's bytes.
@Suite struct ReplicaTests {
    private func download(_ character: Character) throws -> (outcome: Outcome, program: ProgramOutcome) {
        let stage = Stage(characters: [.honest, character, .honest])
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        let program = try #require(outcome.programs.first)
        #expect(program.errno == nil)
        #expect(program.digest == stage.alone().programs.first?.digest)
        return (outcome, program)
    }

    private func endedByMismatch(_ program: ProgramOutcome) -> Bool {
        program.replicaEnds.contains { if case .mismatches = $0 { true } else { false } }
    }

    @Test func lyingReplicaIsFoundOutAndTheOthersGoOn() throws {
        let (outcome, program) = try download(.lying(from: 0))
        #expect(endedByMismatch(program))
        #expect(outcome.coverage.mismatched >= 2)
        #expect(program.share(of: 1) < 0.1)
        #expect(program.share(of: 2) > 0.3)
    }

    @Test func replicaThatBeginsToLieLateIsFoundOutToo() throws {
        let (_, program) = try download(.lying(from: 4_000_000))
        #expect(endedByMismatch(program))
        #expect(program.share(of: 1) > 0.05)
    }

    @Test func anotherDateCostsNothing() throws {
        let (outcome, program) = try download(.dated(3))
        #expect(!endedByMismatch(program))
        #expect(outcome.coverage.mismatched == 0)
        #expect(program.share(of: 1) > 0.25)
    }

    @Test func shorterReplicaIsLeftOutAtItsEnd() throws {
        let (_, program) = try download(.shorter)
        #expect(program.share(of: 1) > 0.2)
    }

    @Test func stallingReplicaHoldsNobody() throws {
        let (_, program) = try download(.stalling(after: 2_500_000))
        #expect(program.longestGap < .milliseconds(1_500))
    }

    @Test func resettingReplicaHoldsNobody() throws {
        let (_, program) = try download(.resetting(after: 2_500_000))
        #expect(program.replicaEnds.contains(.failed))
        #expect(program.longestGap < .milliseconds(500))
    }

    @Test func refusingReplicaIsLeftOut() throws {
        let (_, program) = try download(.refusing)
        #expect(program.replicaEnds.contains(.failed))
        #expect(program.share(of: 2) > 0.4)
    }

    @Test func liarOfSeveralStreamsIsQuarantined() throws {
        var stage = Stage(characters: [.honest, .lying(from: 0)], size: 2_000_000)
        stage.link = .of(megabits: 8, roundTrip: 20)
        var scenario = stage.scenario
        for index in 1..<5 {
            let exchange = Exchange(.get, size: 2_000_000, seed: UInt64(index))
            scenario.workloads.append(Workload(start: .seconds(Int64(index) * 4), exchanges: [exchange]))
        }
        let outcome = Simulation.run(scenario)
        #expect(outcome.violation == nil)
        #expect(outcome.coverage.quarantined >= 1)
        #expect(outcome.programs.last?.engaged == [])
    }
}
