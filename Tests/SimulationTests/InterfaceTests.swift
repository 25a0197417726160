import Simulation
import Testing

/// Several servers, or one over several interfaces.
@Suite struct InterfaceTests {
    /// Of the link matrix, in virtual time: no decision may make all paths less than they are. The other
    /// cells: kwik-simulate --cells 6.
    @Test(arguments: [Cell.Kind.servers, .interfaces, .upload])
    func cellReachesTheSum(_ kind: Cell.Kind) throws {
        let result = try run("A", kind)
        #expect(result.ofSum >= 0.95)
        #expect(result.ofBest >= 1)
    }

    @Test("An upload over two relays is about twice as fast as over one")
    func relays() throws {
        #expect(try run("B", .relays).ofBest >= 1.9)
    }

    /// Near beside far, with loss, and very far.
    @Test(
        "A path that is bad beside another does no harm",
        arguments: [
            ("C", Cell.Kind.servers), ("C", .interfaces), ("C", .upload), ("D", .upload), ("E", .interfaces),
            ("E", .upload),
        ])
    func badPath(name: String, kind: Cell.Kind) throws {
        #expect(try run(name, kind).ofBest >= 0.99)
    }

    private func run(_ name: String, _ kind: Cell.Kind) throws -> Cell.Result {
        let cell = try #require(Cell.all.first { $0.name == name })
        let result = cell.run(kind, seconds: 3, seed: 1, tracing: false)
        #expect(result.violation == nil)
        return result
    }
}
