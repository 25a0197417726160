import KwikCore
import KwikEndpoint
import KwikTelemetry
import Testing

@testable import KwikEngine
@testable import KwikGateway

/// Blocks that a primary leaves to another server, over real engine, gateways and QUIC. A gateway in front of
/// an unmodified program never does that: here the test speaks for the two servers.
@Suite struct DelegationTests {
    private static let size: UInt64 = 6 << 20

    /// Server a delegates to `name` what it has in hand, and b brings it.
    private func play(_ world: World, to name: String) throws {
        let (a, b) = (world.gateways[0], world.gateways[1])
        var delegated = 0
        world.onTick = { [unowned world] in
            guard delegated < 8, !world.hasEnded, let giver = b.sessions.values.first else { return }
            for session in a.sessions.values {
                for stream in session.core.report(now: session.driver.now).streams where stream.sent > 0 {
                    let produced = stream.sent
                    let wanted = ByteRange(produced - min(produced, 4 * Block.size), produced)
                    let granted = session.driver.call { now, actions in
                        session.core.delegate(
                            wanted, of: stream.stream, to: Array(name.utf8), now: now, into: &actions)
                    }
                    for range in granted {
                        delegated += 1
                        let bytes = World.content(range.start..<range.end)
                        giver.driver.call { now, actions in
                            _ = unsafe bytes.withUnsafeBytes {
                                unsafe giver.core.contribute(
                                    $0, to: stream.stream, at: range.start, now: now, into: &actions)
                            }
                        }
                    }
                }
            }
        }
        try world.connect()
        #expect(try world.turn(until: { world.hasEnded }))
        #expect(delegated == 8)
        #expect(world.read.count == Int(Self.size))
        #expect(world.read == World.content(0..<Self.size))
    }

    private func server(_ name: String, _ address: String, _ roles: String, id: String? = nil) -> String {
        "name = \"\(name)\"\naddress = \"\(address)\"\nroles = [\(roles)]"
            + (id.map { "\nserver_id = \"\($0)\"" } ?? "")
    }

    @Test("2.3, 3.1, 3.2, 4.3 what the primary leaves to a server comes from it, in the stream and its place")
    func delegatedBlocksComeFromTheServerThatIsCalledSo() throws {
        for id in [nil, "edge-7"] {
            let world = try World(answer: Self.size)
            let a = try world.addGateway("a", id: "a.test", roles: "\"origin\"", maxRate: "40 Mbit/s")
            let b = try world.addGateway(
                "b", id: id ?? "b.test", roles: "\"replica\"", maxRate: "1 Gbit/s")
            try world.startEngine([
                server("a.test", a, "\"origin\""), server("b.test", b, "\"replica\"", id: id),
            ])
            try play(world, to: id ?? "b.test")
            let counters = try #require(world.engine).counters
            #expect(counters.contributions == 8 && counters.delegationsExpired == 0)
            #expect(counters.namesRefused == 0)
        }
    }

    @Test("6.4 what is left to a server that is not there comes from the primary, and nobody else takes it")
    func nobodyTakesWhatIsLeftToAnother() throws {
        let world = try World(answer: Self.size)
        let a = try world.addGateway("a", id: "a.test", roles: "\"origin\"", maxRate: "40 Mbit/s")
        // It says that it is c, which does not answer just now.
        let b = try world.addGateway("b", id: "c.test", roles: "\"replica\"", maxRate: "1 Gbit/s")
        try world.startEngine([
            server("a.test", a, "\"origin\""), server("b.test", b, "\"replica\""),
            server("c.test", "127.0.0.1:9", "\"replica\""),
        ])
        try play(world, to: "c.test")
        let counters = try #require(world.engine).counters
        #expect(counters.contributions == 0 && counters.delegationsExpired > 0)
        #expect(counters.namesRefused == 1)
        let told = world.warnings.filter { $0.contains("server's id not believed server=b.test id=c.test") }
        #expect(told.count == 1)
    }
}
