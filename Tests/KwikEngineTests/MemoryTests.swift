import KwikEndpoint
import Testing

@testable import KwikCore
@testable import KwikEngine
@testable import KwikGateway

/// What a gateway holds of its backends' answers.
@Suite struct MemoryTests {
    /// Of a program that reads nothing: half of the gateway's memory, since the rest is for other clients.
    @Test func oneClientHasHalfOfTheGatewaysMemory() throws {
        let world = try World(answer: 8 << 20)
        let address = try world.addGateway(
            "a", id: "a.test", roles: "\"origin\"", maxRate: "1 Gbit/s", memory: "1 MiB")
        try world.startEngine(["name = \"a.test\"\naddress = \"\(address)\"\nroles = [\"origin\"]"])
        try world.connect(reads: false)
        func streams() -> [GatewayStream] {
            world.gateways[0].sessions.values.flatMap { $0.core.streams.values }
        }
        func held(_ stream: GatewayStream) -> UInt64 {
            stream.window.produced - min(stream.window.read, stream.window.produced)
        }
        var most: UInt64 = 0
        world.onTick = { most = max(most, streams().map(held).max() ?? 0) }
        // It refers to the world, as the world does to it.
        defer { world.onTick = {} }
        #expect(try world.turn(until: { streams().contains { $0.isPaused && held($0) >= 1 << 19 } }))
        #expect(most <= 1 << 19)
    }
}
