import KwikCore
import Simulation
import Testing

/// A service under `quorum` that loses its primary, at any instant, and what may go wrong after that.
@Suite struct QuorumTests {
    private static let killed = Interval.milliseconds(1_200)

    private func stage(_ characters: [Character] = [.honest, .honest, .honest]) -> Stage {
        Stage(
            characters: characters, silentPrimary: .quorum, faults: [(Self.killed, .silence(server: 0))])
    }

    private func whole(_ stage: Stage) throws -> (outcome: Outcome, program: ProgramOutcome) {
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        let program = try #require(outcome.programs.first)
        #expect(program.errno == nil)
        #expect(program.digest == stage.alone().programs.first?.digest)
        return (outcome, program)
    }

    @Test func twoReplicasGoOnForASilentPrimary() throws {
        let (outcome, program) = try whole(stage())
        #expect(outcome.coverage.quorums == 1)
        #expect(Set(program.primaries) == [ServerID(1), ServerID(2)])
        #expect(program.longestGap < .milliseconds(620))
    }

    @Test func primaryMayDieAtAnyInstantOfTheTransfer() throws {
        for step in 0..<12 {
            var stage = stage()
            stage.size = 2_000_000
            let fault = step % 2 == 0 ? Fault.silence(server: 0) : .crash(server: 0)
            stage.faults = [(.milliseconds(700 + Int64(step) * 23), fault)]
            _ = try whole(stage)
        }
    }

    @Test func differingBodyIsNeverShown() throws {
        for from in [0, 2_000_000, 6_000_000] as [UInt64] {
            let outcome = stage([.honest, .lying(from: from), .honest]).play()
            #expect(outcome.violation == nil)
            let program = try #require(outcome.programs.first)
            #expect(program.errno != nil)
            // One that was found out before is asked no more: then nobody is left to agree with.
            #expect(outcome.coverage.disagreed == (from == 6_000_000 ? 1 : 0))
        }
    }

    @Test func liarBesideTwoThatAgreeHarmsNobody() throws {
        _ = try whole(stage([.honest, .lying(from: 0), .honest, .honest]))
    }

    @Test func anotherDateOfTheNextAnswerEndsTheStream() throws {
        var stage = stage([.honest, .dated(3), .honest])
        let exchanges = [
            Exchange(.get, size: 8_000_000, seed: 42), Exchange(.get, size: 1_000, seed: 43),
        ]
        stage.workload = Workload(start: Stage.start, exchanges: exchanges)
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        #expect(outcome.coverage.disagreed == 1)
        #expect(outcome.programs.first?.errno == 104)
        #expect(outcome.programs.first?.read ?? 0 >= 8_000_000)
    }

    /// Seed 14927: the run took the stream's end, which no byte of the two had preceded, for an error.
    @Test func oneThatHasEndedBeforeLeavesTheOtherAlone() throws {
        var stage = stage([.honest, .honest, .shorter])
        let first = Exchange(.get, size: 3_000_000, seed: 42)
        var second = Exchange(.get, size: 1_000_000, seed: 43)
        second.think = .seconds(2)
        stage.workload = Workload(start: Stage.start, exchanges: [first, second])
        stage.faults = [(.seconds(2), .silence(server: 0))]
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        #expect(outcome.coverage.quorums == 1)
        #expect(outcome.programs.first?.errno == 110)
        #expect(outcome.programs.first?.read == 3_000_040)
    }

    @Test func thirdTakesThePlaceOfOneThatDiesLater() throws {
        for victim in [1, 2, 3] {
            var stage = stage([.honest, .honest, .honest, .honest])
            stage.faults.append((.milliseconds(1_700), .silence(server: victim)))
            let (outcome, program) = try whole(stage)
            #expect(outcome.coverage.quorums <= 2)
            #expect(!program.primaries.contains(ServerID(UInt32(victim))))
        }
    }

    @Test func withoutAThirdTheStreamWaitsForTheOneThatIsBack() throws {
        for victim in [1, 2] {
            var stage = stage()
            stage.faults.append((.milliseconds(1_700), .silence(server: victim)))
            stage.faults.append((.milliseconds(9_000), .wake(server: victim)))
            let (outcome, program) = try whole(stage)
            #expect(outcome.coverage.quorums == 1)
            #expect(program.longestGap > .seconds(6))
        }
    }

    @Test func withoutAThirdTheStreamTimesOut() throws {
        var stage = stage()
        stage.faults.append((.milliseconds(2_000), .silence(server: 1)))
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        #expect(outcome.programs.first?.errno == 110)
    }

    @Test func bothAreGivenWhatTheProgramWritesLater() throws {
        var stage = stage()
        let exchanges = [
            Exchange(.get, size: 6_000_000, seed: 42), Exchange(.put, size: 300_000, seed: 43),
            Exchange(.echo, size: 50_000, seed: 44),
        ]
        var workload = Workload(start: Stage.start, exchanges: exchanges)
        workload.ending = .bye
        stage.workload = workload
        let (outcome, program) = try whole(stage)
        #expect(outcome.coverage.quorums == 1)
        #expect(Set(program.primaries) == [ServerID(1), ServerID(2)])
    }

    @Test func aSecondTwinIsNoHelpToOneThatIsShifted() throws {
        // Two that agree with each other, and not with what the program has read.
        let outcome = stage([.honest, .shifted, .shifted]).play()
        #expect(outcome.violation == nil)
        #expect(outcome.coverage.quorums == 0)
        #expect(outcome.programs.first?.errno == 110)
    }
}
