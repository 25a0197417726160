import Simulation
import Testing

/// Several servers, or one over several interfaces.
@Suite struct InterfaceTests {
    /// Of the link matrix, in virtual time: no decision may make all paths less than they are. The other
    /// cells: kwik-simulate --cells 6.
    @Test(arguments: Cell.Kind.allCases)
    func cellReachesTheSum(_ kind: Cell.Kind) {
        let result = Cell.all[0].run(kind, seconds: 3, seed: 1, tracing: false)
        #expect(result.violation == nil)
        #expect(result.ofSum >= 0.95)
        #expect(result.ofBest >= 1)
    }
}
