import KwikCore
import Simulation
import Testing

/// One server over several interfaces.
struct Interfaces {
    var links: [LinkTraits]
    var faults: [(at: Interval, Fault)] = []
    var exchange: Exchange

    func play() -> Outcome {
        let workload = Workload(start: Stage.start, exchanges: [exchange])
        var scenario = Scenario(
            seed: 1, servers: [ServerPlan(roles: .origin)],
            routes: links.map { RoutePlan(server: 0, $0) }, workloads: [workload])
        scenario.faults = faults
        scenario.healAt = .seconds(faults.isEmpty ? 0 : 60)
        return Simulation.run(scenario)
    }

    /// Seconds over all links, and over each alone.
    func measure() throws -> (all: Double, each: [Double]) {
        let all = play()
        #expect(all.violation == nil)
        var each: [Double] = []
        for link in links {
            var single = self
            single.links = [link]
            single.faults = []
            let outcome = single.play()
            #expect(outcome.violation == nil)
            each.append(try #require(outcome.programs.first).seconds)
        }
        return (try #require(all.programs.first).seconds, each)
    }

    /// How much of the sum of the single links' rates all of them together reach.
    func shareOfSum() throws -> Double {
        let (all, each) = try measure()
        return 1 / all / each.reduce(0) { $0 + 1 / $1 }
    }
}

@Suite struct InterfaceTests {
    static let equal = [
        LinkTraits.of(megabits: 20, roundTrip: 20), LinkTraits.of(megabits: 20, roundTrip: 20),
    ]
    static let different = [
        LinkTraits.of(megabits: 50, roundTrip: 20), LinkTraits.of(megabits: 20, roundTrip: 80),
    ]
    @Test(arguments: [equal, different])
    func uploadTakesEveryInterface(_ links: [LinkTraits]) throws {
        let exchange = Exchange(.put, size: 20_000_000, seed: 42)
        #expect(try Interfaces(links: links, exchange: exchange).shareOfSum() >= 0.9)
    }
}
