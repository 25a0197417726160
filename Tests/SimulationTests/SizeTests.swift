import Simulation
import Testing

/// Small files over cell A's links: more paths are no reason to be slower than the best of them.
@Suite struct SizeTests {
    @Test(
        "A small transfer is no slower than over the best path alone",
        arguments: ["A-20K", "A-200K", "A-2M"])
    func smallTransfers(name: String) throws {
        let cell = try #require(Cell.all.first { $0.name == name })
        for kind in [Cell.Kind.servers, .interfaces] {
            let result = cell.run(kind, seconds: 0, seed: 1, tracing: false)
            #expect(result.violation == nil)
            #expect(result.ofBest > 0.98)
        }
    }
}
