import KwikCore
import KwikTelemetry
import Testing

@testable import KwikEndpoint
@testable import KwikEngine
@testable import KwikGateway

/// What one end does about a path that it ends itself, because of what the other end did (protocol.md §9).
@Suite struct FaultTests {
    private func server(_ name: String, _ address: String, _ role: String = "origin") -> String {
        "name = \"\(name)\"\naddress = \"\(address)\"\nroles = [\"\(role)\"]"
    }

    private func gateway(_ world: World) throws -> String {
        try world.addGateway("a", id: "a.test", roles: "\"origin\"", maxRate: "1 Gbit/s")
    }

    private func link(_ world: World, _ gateway: Int) -> PathLink? {
        world.gateways[gateway].sessions.values.lazy.compactMap(\.driver.links.first).first
    }

    private func accepted(_ world: World) -> Int {
        world.gatewayLines.count { $0.contains("path accepted") }
    }

    // MARK: The engine

    @Test(arguments: ControlFault.allCases)
    func aServerThatBreaksTheControlStreamIsNotConnectedToAtOnce(_ fault: ControlFault) throws {
        let world = try World(answer: 1_000)
        try world.startEngine([server("a.test", gateway(world))])
        try world.connect(reads: false)
        fault.commit(on: try #require(link(world, 0)))
        #expect(try world.turn(until: { world.warnings.contains { $0.contains(fault.told) } }))
        // It was, without a delay: the next is due after 22 s at the earliest.
        try world.pass(.seconds(1))
        #expect(accepted(world) == 1)
        let told = world.warnings.filter { $0.contains("path closed") }
        #expect(told.count == 1)
        #expect(told.allSatisfy { $0.hasPrefix("warning path closed service=") })
        #expect(told.allSatisfy { $0.contains("server=a.test") })
        try world.want()
        let native = world.warnings.filter { $0.contains("programs connect natively") }
        #expect(native.count == 1 && native.allSatisfy { $0.hasSuffix("reason=\"a.test: \(fault.reason)\"") })
    }

    @Test func aReplicaThatOpensPublicStreamsIsNotConnectedToAtOnce() throws {
        let world = try World(answer: 1 << 20)
        let a = try gateway(world)
        let b = try world.addGateway("b", id: "b.test", roles: "\"replica\"", maxRate: "1 Gbit/s")
        try world.startEngine([server("a.test", a), server("b.test", b, "replica")])
        try world.connect()
        #expect(try world.turn(until: { link(world, 1) != nil }))
        let rogue = try #require(link(world, 1))
        var writer = FrameWriter()
        rogue.open(1)
        rogue.send(1, writer.preface(Preface(stream: StreamID(1), role: .serverStream)))
        #expect(
            try world.turn(until: {
                world.warnings.contains { $0.contains("path closed") && $0.contains("class=security") }
            }))
        #expect(try world.turn(until: { world.hasEnded }))
        try world.pass(.seconds(1))
        #expect(accepted(world) == 2)
        #expect(world.read == World.content(0..<(1 << 20)))
    }

    @Test func anAnswerToTheHelloThatIsMalformedIsToldWithItsClass() throws {
        let world = try World(answer: 0)
        let rogue = try RogueServer(world, answer: ControlFault.garbage)
        try world.startEngine([server("a.test", "\(rogue.address)")])
        try world.want()
        func told() -> String? { world.warnings.first { $0.contains("path refused") } }
        #expect(try world.turn(until: { told() != nil }))
        #expect(told()?.contains(ControlFault.malformed.told) == true)
    }

    @Test func aGatewayThatStopsHasFoundNoFault() throws {
        let world = try World(answer: 1_000)
        try world.startEngine([server("a.test", gateway(world))])
        try world.connect(reads: false)
        world.gateways[0].stop()
        try world.pass(.milliseconds(100))
        #expect(!world.gatewayLines.contains { $0.contains("path closed") })
        #expect(!world.warnings.contains { $0.contains("path closed") })
    }

    // MARK: The gateway

    /// The line with which the gateway ends the path of the only client.
    private func told(_ world: World) throws -> String {
        func lines() -> [String] {
            world.gatewayLines.filter { $0.contains("path closed") || $0.contains("path refused") }
        }
        #expect(try world.turn(until: { !lines().isEmpty }))
        try world.pass(.milliseconds(50))
        #expect(lines().count == 1)
        return try #require(lines().first)
    }

    @Test(arguments: ControlFault.allCases)
    func aClientThatBreaksTheControlStreamIsToldOf(_ fault: ControlFault) throws {
        let world = try World(answer: 0)
        let client = try RogueClient(world, to: gateway(world))
        client.sayHello()
        #expect(try world.turn(until: { client.isAdmitted }))
        fault.commit(on: client.link)
        let line = try told(world)
        #expect(line.hasPrefix("warning path closed client=127.0.0.1:") && line.hasSuffix(fault.told))
        #expect(world.gateways[0].counters.refusedHellos == 0)
    }

    @Test func aSecondHelloIsToldOf() throws {
        let world = try World(answer: 0)
        let client = try RogueClient(world, to: gateway(world))
        client.sayHello()
        client.sayHello()
        let line = try told(world)
        #expect(line.hasPrefix("warning path closed "))
        #expect(line.hasSuffix("reason=\"a second hello\" class=fatal"))
    }

    /// Nor does the hello that comes behind it admit the client.
    @Test func aCommandBeforeTheHelloIsARefusal() throws {
        let world = try World(answer: 0)
        let client = try RogueClient(world, to: gateway(world))
        client.command()
        client.sayHello()
        let line = try told(world)
        #expect(line.hasPrefix("warning path refused "))
        #expect(line.hasSuffix("reason=\"the hello comes first\" class=fatal"))
        #expect(world.gateways[0].sessions.isEmpty && world.gateways[0].counters.refusedHellos == 1)
        #expect(try world.turn(until: { client.end != nil }))
        #expect(client.end?.errorClass == .fatal)
    }

    @Test func aRefusedHelloIsToldOfOnceAndWithItsService() throws {
        let world = try World(answer: 0)
        let client = try RogueClient(world, to: gateway(world))
        client.sayHello(token: "guessed")
        let line = try told(world)
        #expect(line.hasPrefix("warning path refused "))
        #expect(line.hasSuffix("service=\(world.service) reason=\"wrong token\" class=security"))
        #expect(world.gateways[0].counters.refusedHellos == 1)
    }

    @Test func whoBreaksARuleAndClosesAtOnceHasBrokenIt() throws {
        let world = try World(answer: 0)
        let client = try RogueClient(world, to: gateway(world))
        client.sayHello()
        #expect(try world.turn(until: { client.isAdmitted }))
        try client.sendAndClose(ControlFault.garbage)
        #expect(try told(world).hasSuffix(ControlFault.malformed.told))
    }

    @Test func controlMessagesThatAreNotTakenUseAResourceUp() throws {
        let world = try World(answer: 0)
        let client = try RogueClient(world, to: gateway(world))
        var count = 0
        // The loop does not turn meanwhile, so none leaves.
        while client.end == nil, count < 100_000 {
            client.command()
            count += 1
        }
        #expect(client.end == .closed(.resourceLimit, reason: "control messages are not taken"))
        #expect(client.end?.errorClass == .resource)
    }
}
