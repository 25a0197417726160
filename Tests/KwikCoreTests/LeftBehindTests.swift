import Testing

@testable import KwikCore

/// What a program wrote before it closed: TCP brings it to the far end for as long as that takes it.
@Suite struct LeftBehindTests {
    private static let size = 400_000

    /// A program that wrote and closed, at a time when nothing of it has left.
    private func closed() throws -> ClientScene {
        let scene = try UpstreamPathTests.bulk(Self.size)
        scene.world.handle(.localEnded(scene.stream, closed: true))
        return scene
    }

    private func sendAll(_ world: ClientWorld, _ path: PathID) {
        while world.session.wantsToSend(path) { world.pull(path, room: 16_384) }
    }

    private func hasFin(_ world: ClientWorld, _ channel: ChannelID) -> Bool {
        world.frames(channel).contains { if case .fin = $0 { true } else { false } }
    }

    @Test("What a dead path had goes out again, also behind FIN")
    func againBehindFin() throws {
        let scene = try closed()
        let world = scene.world
        sendAll(world, ClientWorld.path)
        #expect(hasFin(world, scene.own))
        world.tick()
        world.handle(.pathDown(ClientWorld.path))
        let own = try #require(try scene.state.own)
        world.receive(own, .window(read: 0, maximum: 8 << 20))
        world.pull(UpstreamPathTests.second, room: 16_384)
        #expect(hasFin(world, own))
        world.tick()
        sendAll(world, UpstreamPathTests.second)
        var all = RangeSet()
        for range in world.upstream(own) { all.insert(range) }
        #expect(all.ranges == [ByteRange(0, UInt64(Self.size))])
    }

    @Test("It has as long as it takes, if only some of it gets on now and then")
    func slowly() throws {
        let scene = try closed()
        let world = scene.world
        sendAll(world, ClientWorld.path)
        let paths = [ClientWorld.path, UpstreamPathTests.second]
        for step in UInt64(1)..<4 {
            world.pass(.seconds(20), on: paths)
            world.receive(scene.own, .window(read: step * 100_000, maximum: 8 << 20))
        }
        #expect(world.released.isEmpty)
        #expect(!world.frames(scene.own).contains { if case .reset = $0 { true } else { false } })
        world.pass(.seconds(31), on: paths)
        #expect(world.released == [scene.stream])
        #expect(world.frames(scene.own).contains { if case .reset = $0 { true } else { false } })
    }

    @Test("Once all of it is acknowledged, only the end of the channel is waited for")
    func acknowledged() throws {
        let scene = try closed()
        let world = scene.world
        sendAll(world, ClientWorld.path)
        world.receive(scene.own, .window(read: UInt64(Self.size), maximum: 8 << 20))
        world.pass(.seconds(11), on: [ClientWorld.path, UpstreamPathTests.second])
        #expect(world.released == [scene.stream])
        #expect(!world.frames(scene.own).contains { if case .reset = $0 { true } else { false } })
    }
}
