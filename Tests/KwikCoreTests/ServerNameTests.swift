import Testing

@testable import KwikCore

/// A server's id is its own word: it counts where what authenticated the server says the same.
@Suite struct ServerNameTests {
    private let a = ServerID(1)
    private let b = ServerID(2)
    private let name = Array("b.test".utf8)

    private func refusals(_ world: ClientWorld) -> [Event] {
        world.events.filter { if case .nameRefused = $0 { true } else { false } }
    }

    @Test("A name that is bound to the server is its own")
    func bound() {
        let world = ClientWorld()
        world.claim(name, by: b)
        #expect(world.session.names.server(called: name) == b)
        #expect(refusals(world).isEmpty)
    }

    @Test("Any other is refused, told once, and takes nothing from whoever has it, before or after")
    func unbound() {
        for isFirst in [true, false] {
            let world = ClientWorld()
            if !isFirst { world.claim(name, by: b) }
            for _ in 0..<3 { world.claim(name, by: a, bound: Array("a.test".utf8)) }
            #expect(world.session.names.server(called: name) == (isFirst ? nil : b))
            world.claim(name, by: b)
            #expect(world.session.names.server(called: name) == b)
            #expect(refusals(world) == [.nameRefused(a, name: name, .unbound)])
        }
    }

    @Test("Two servers of one name: the first has it, until it says otherwise")
    func taken() {
        let world = ClientWorld()
        world.claim(name, by: a)
        world.claim(name, by: b)
        #expect(world.session.names.server(called: name) == a)
        #expect(refusals(world) == [.nameRefused(b, name: name, .taken)])
        world.claim(Array("x".utf8), by: a, bound: name)
        #expect(world.session.names.server(called: name) == nil)
        world.claim(name, by: b)
        #expect(world.session.names.server(called: name) == b)
    }

    @Test("No name at all is none")
    func empty() {
        let world = ClientWorld()
        world.claim([], by: a, bound: [])
        #expect(world.session.names.server(called: []) == nil)
        #expect(refusals(world) == [.nameRefused(a, name: [], .unbound)])
    }

    @Test("What is left to a name that somebody only claims expires, and comes from the primary")
    func hostile() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.up(ClientWorld.mirrorPath, ClientWorld.mirror, .replica)
        world.claim(ClientWorld.thirdName, by: ClientWorld.mirror, bound: ClientWorld.mirrorName)
        world.data(scene.own, .blocks(0, 2))
        world.receive(scene.own, .delegated([.blocks(2, 4)], server: ClientWorld.thirdName))
        let channel = ChannelID(path: ClientWorld.mirrorPath, number: 1)
        world.preface(
            channel, .contribution(offset: 2 * Block.size, length: 2 * Block.size), scene.stream)
        world.give(channel, .blocks(2, 4))
        world.pass(.seconds(2))
        #expect(world.abandoned[channel] == .refusedByPolicy)
        #expect(scene.hasRead(2) && world.expirations == 1)
        #expect(world.leases(ClientWorld.path).map(\.range) == [.blocks(2, 4)])
    }
}
