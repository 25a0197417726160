import KwikCore
import Simulation
import Testing

/// Half of a sparse download's bytes are zero: the simulation's codec makes them five eighths.
@Suite struct CompressionTests {
    private static let size: UInt64 = 8_000_000

    private func play(
        _ kind: Exchange.Kind = .get, sparse: Bool, compresses: Bool, servers: Int = 1
    ) throws -> (program: ProgramOutcome, coverage: Coverage) {
        let exchange = Exchange(kind, size: Self.size, seed: 42)
        var stage = Stage(characters: [Character](repeating: .honest, count: servers))
        stage.workload = Workload(start: Stage.start, exchanges: [sparse ? exchange.sparse : exchange])
        stage.compresses = compresses
        let outcome = stage.play()
        #expect(outcome.violation == nil)
        return (try #require(outcome.programs.first), outcome.coverage)
    }

    @Test("A download that shrinks is faster than its link, and the same bytes", arguments: [1, 3])
    func download(servers: Int) throws {
        let plain = try play(sparse: true, compresses: false, servers: servers)
        let packed = try play(sparse: true, compresses: true, servers: servers)
        #expect(packed.program.digest == plain.program.digest && packed.program.read == plain.program.read)
        // Of three servers the start takes a greater part.
        #expect(plain.program.seconds / packed.program.seconds > (servers == 1 ? 1.4 : 1.2))
        #expect(packed.coverage.compressedDown > 0 && plain.coverage.compressedDown == 0)
    }

    @Test("So is an upload")
    func upload() throws {
        let plain = try play(.put, sparse: true, compresses: false)
        let packed = try play(.put, sparse: true, compresses: true)
        #expect(plain.program.seconds / packed.program.seconds > 1.4)
        #expect(packed.coverage.compressedUp > 0)
    }

    @Test("One that does not shrink takes as long as without")
    func incompressible() throws {
        for kind in [Exchange.Kind.get, .put] {
            let plain = try play(kind, sparse: false, compresses: false)
            let tried = try play(kind, sparse: false, compresses: true)
            #expect(tried.program.digest == plain.program.digest)
            #expect(tried.program.seconds < plain.program.seconds * 1.01)
            #expect(tried.coverage.compressedDown == 0 && tried.coverage.compressedUp == 0)
        }
    }
}
