import Simulation
import Testing

@Suite struct DarkReplicaTests {
    /// It was parked for giving nothing, and stayed so: .917.
    @Test("A replica whose path was dark for seconds carries its share as soon as that is back")
    func replicaBack() throws {
        let cell = try #require(Cell.all.first { $0.name == "K-replica" })
        let result = cell.run(.servers, seconds: 9, seed: 1, tracing: false)
        #expect(result.violation == nil)
        #expect(result.ofSum > 0.925)
    }
}
