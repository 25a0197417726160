import Simulation
import Testing

/// Links that fall silent or become slow while they carry a stream.
@Suite struct LinkFaultTests {
    /// It was parked for giving nothing, and stayed so: .917.
    @Test("A replica whose path was dark for seconds carries its share as soon as that is back")
    func replicaBack() throws {
        let cell = try #require(Cell.all.first { $0.name == "K-replica" })
        let result = cell.run(.servers, seconds: 9, seed: 1, tracing: false)
        #expect(result.violation == nil)
        #expect(result.ofSum > 0.925)
    }

    /// To see whether the others share its bottleneck they were paused, for two of its round trips: .93.
    @Test("A primary whose link becomes slow is no reason to pause the replicas")
    func slowPrimary() throws {
        let cell = try #require(Cell.all.first { $0.name == "R" })
        for kind in [Cell.Kind.servers, .interfaces] {
            let result = cell.run(kind, seconds: 6, seed: 1, tracing: false)
            #expect(result.violation == nil)
            #expect(result.ofSum > 0.95)
        }
    }
}
