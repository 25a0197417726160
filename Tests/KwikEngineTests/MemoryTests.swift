import KwikEndpoint
import Testing

@testable import KwikCore
@testable import KwikEngine
@testable import KwikGateway

/// What a gateway holds of its backends' answers, and of what its clients send.
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

    /// To a backend that reads nothing: half of the gateway's memory too, and no more than the service's
    /// window.
    @Test(arguments: [("1 MiB", "16 MiB", UInt64(1 << 19)), ("64 MiB", "256 KiB", 1 << 18)])
    func uploadObeysTheGatewaysSettings(memory: String, window: String, bound: UInt64) throws {
        let world = try World(answer: 1)
        world.backendAnswers = false
        let address = try world.addGateway(
            "a", id: "a.test", roles: "\"origin\"", maxRate: "1 Gbit/s", memory: memory, window: window)
        try world.startEngine(["name = \"a.test\"\naddress = \"\(address)\"\nroles = [\"origin\"]"])
        try world.connect(reads: false)
        func streams() -> [GatewayStream] {
            world.gateways[0].sessions.values.flatMap { $0.core.streams.values }
        }
        func held(_ stream: GatewayStream) -> UInt64 {
            stream.reassembler.highest - stream.reassembler.read
        }
        var most: UInt64 = 0
        var quiet = 0
        world.onTick = {
            world.write()
            let now = streams().map(held).max() ?? 0
            quiet = now > most || now < bound / 2 ? 0 : quiet + 1
            most = max(most, now)
        }
        // It refers to the world, as the world does to it.
        defer { world.onTick = {} }
        #expect(try world.turn(until: { quiet >= 50 }))
        #expect(most <= bound)
        #expect(most >= bound / 2)
    }
}
