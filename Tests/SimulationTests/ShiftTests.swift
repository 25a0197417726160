import KwikCore
import Simulation
import Testing

/// Replicas whose bytes stand elsewhere than the primary's: a header that is longer or shorter.
@Suite struct ShiftTests {
    private func play(
        _ character: Character, _ workload: Workload? = nil
    ) throws -> (outcome: Outcome, program: ProgramOutcome) {
        var stage = Stage(characters: [.honest, character, .honest])
        stage.workload = workload
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

    @Test("A header of another length costs a round trip, not the replica", arguments: [3, 4_096, -3, -4_096])
    func header(difference: Int) throws {
        let (outcome, program) = try play(.displaced(by: difference, from: 10))
        #expect(!endedByMismatch(program))
        #expect(outcome.coverage.shifted == 1)
        #expect(program.share(of: 1) > 0.25)
    }

    @Test("Bytes that are displaced from somewhere on are found there")
    func later() throws {
        let (outcome, program) = try play(.displaced(by: 100, from: 4_000_000))
        #expect(!endedByMismatch(program))
        #expect(outcome.coverage.shifted == 1)
        #expect(program.share(of: 1) > 0.25)
    }

    @Test("On a kept connection every response shifts by as much again")
    func keptConnection() throws {
        var workload = Workload(start: Stage.start, exchanges: [])
        for seed in 1..<5 { workload.exchanges.append(Exchange(.get, size: 3_000_000, seed: UInt64(seed))) }
        let (outcome, program) = try play(.shifted, workload)
        #expect(!endedByMismatch(program))
        #expect(outcome.coverage.shifted == 4)
        #expect(program.share(of: 1) > 0.2)
    }

    @Test("What is displaced by more than is looked for is left out")
    func tooFar() throws {
        let (outcome, program) = try play(.displaced(by: 4_097, from: 10))
        #expect(endedByMismatch(program))
        #expect(outcome.coverage.shifted == 0 && outcome.coverage.mismatched == 2)
        #expect(program.share(of: 2) > 0.3)
    }
}
