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
        #expect(download.longestGap < .seconds(2))
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
}
