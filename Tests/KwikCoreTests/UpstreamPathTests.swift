import Testing

@testable import KwikCore

/// Upstream bytes over several paths to the primary.
@Suite struct UpstreamPathTests {
    static let second = PathID(7)

    /// A stream that has credit, a second path to its primary, and `count` bytes to send.
    static func bulk(_ count: Int) throws -> ClientScene {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.up(second, ClientWorld.origin)
        world.receive(scene.own, .window(read: 0, maximum: 8 << 20))
        #expect(world.write(scene.stream, count) == count)
        world.tick()
        return scene
    }

    func pieces(_ world: ClientWorld, _ channel: ChannelID) -> RangeSet {
        var set = RangeSet()
        for range in world.upstream(channel) { set.insert(range) }
        return set
    }

    @Test("A stream that sends much takes every path to its primary, each byte once")
    func bothPaths() throws {
        let scene = try Self.bulk(1 << 20)
        let world = scene.world
        for _ in 0..<40 {
            world.pull(room: 16_384)
            world.pull(Self.second, room: 16_384)
        }
        let side = try world.main(Self.second)
        #expect(world.preface(side) == Preface(stream: scene.stream, role: .attach(epoch: 0, received: 0)))
        let (first, second) = (pieces(world, scene.own), pieces(world, side))
        #expect(first.count == 512 << 10 && second.count == 512 << 10)
        for range in first.ranges { #expect(!second.overlaps(range)) }
    }

    /// Seed 67590 of the simulation: the path died behind the end, and nobody sent its bytes again.
    @Test("The channel's end waits for what is on its way on other paths")
    func endWaits() throws {
        for dies in [true, false] {
            let scene = try Self.bulk(20 * Int(Block.size))
            let world = scene.world
            world.fin(scene.own, 0)
            world.pull(Self.second, room: 30_000)
            let side = try world.main(Self.second)
            world.handle(.localEnded(scene.stream, closed: true))
            while world.session.wantsToSend(ClientWorld.path) { world.pull(room: 65_536) }
            #expect(world.frames(scene.own).contains { $0.isFin })
            #expect(!world.finished.contains(scene.own) && !world.finished.contains(side))
            if dies {
                world.handle(.pathDown(Self.second))
                while world.session.wantsToSend(ClientWorld.path) { world.pull(room: 65_536) }
                #expect(pieces(world, scene.own).count == 20 * Block.size)
            } else {
                world.receive(scene.own, .window(read: 20 * Block.size, maximum: 8 << 20))
                #expect(pieces(world, scene.own).count == 18 * Block.size)
            }
            #expect(world.finished.contains(scene.own))
        }
    }

    @Test("A stream that sends little stays on one path")
    func little() throws {
        let scene = try Self.bulk(100_000)
        scene.world.pull(Self.second)
        #expect(scene.world.opened.allSatisfy { $0.path != Self.second })
        #expect(!scene.world.session.wantsToSend(Self.second))
    }

    @Test("The end of an upload is not left to a path that would take longer than the other needs for all")
    func slowPathIsSpared() throws {
        let scene = try Self.bulk(200_000)
        let world = scene.world
        world.sample(Self.second, srtt: .milliseconds(300), window: 100_000)
        world.pull(Self.second)
        #expect(world.upstream(try world.main(Self.second)).isEmpty)
        #expect(world.write(scene.stream, 3 << 20) == 3 << 20)
        // 100 MB/s against 0.3 MB/s: only with much more to send is the slow one of use.
        world.sample(window: 40_000)
        world.pull(Self.second, room: 16_384)
        #expect(world.upstream(try world.main(Self.second)).count == 1)
    }

    @Test("What a silent path had goes out on the other, at once and nothing else again")
    func pathFallsSilent() throws {
        let scene = try Self.bulk(1 << 20)
        let world = scene.world
        world.pull(room: 262_144)
        world.pull(Self.second, room: 262_144)
        let side = try world.main(Self.second)
        let lost = pieces(world, side)
        #expect(lost.count == 262_144)
        world.handle(.pathDown(Self.second))
        while world.session.wantsToSend(ClientWorld.path) { world.pull(room: 65_536) }
        let all = world.upstream(scene.own)
        #expect(all.reduce(0) { $0 + $1.count } == 1 << 20)
        #expect(pieces(world, scene.own).ranges == [ByteRange(0, 1 << 20)])
    }

    @Test("The own channel's path dies: the stream attaches on the other, and goes on where it has to")
    func ownPathFallsSilent() throws {
        let scene = try Self.bulk(1 << 20)
        let world = scene.world
        world.pull(room: 262_144)
        world.pull(Self.second, room: 262_144)
        let side = try world.main(Self.second)
        world.handle(.pathDown(ClientWorld.path))
        let own = try #require(try scene.state.own)
        #expect(own.path == Self.second && own != side)
        #expect(world.preface(own) == Preface(stream: scene.stream, role: .attach(epoch: 1, received: 0)))
        world.pull(Self.second)
        #expect(world.upstream(own).isEmpty)
        world.receive(own, .window(read: 16_384, maximum: 8 << 20))
        while world.session.wantsToSend(Self.second) { world.pull(Self.second, room: 65_536) }
        var all = pieces(world, own)
        for range in world.upstream(side) { all.insert(range) }
        all.insert(ByteRange(0, 16_384))
        #expect(all.ranges == [ByteRange(0, 1 << 20)])
    }

    @Test("A piece whose acknowledgement is overdue goes out once more, on the other path alone")
    func lateIsRepeated() throws {
        let scene = try Self.bulk(600_000)
        let world = scene.world
        world.pull(Self.second, room: 16_384)
        while world.session.wantsToSend(ClientWorld.path) { world.pull(room: 65_536) }
        let side = try world.main(Self.second)
        let late = try #require(world.upstream(side).first)
        world.receive(scene.own, .window(read: late.start, maximum: 8 << 20))
        world.pass(.milliseconds(70), on: [ClientWorld.path, Self.second])
        #expect(!world.session.wantsToSend(ClientWorld.path))
        world.pass(.milliseconds(60), on: [ClientWorld.path, Self.second])
        world.pull(Self.second)
        #expect(world.upstream(side).count == 1)
        world.pull()
        #expect(world.upstream(scene.own).last == late)
        world.receive(scene.own, .window(read: 600_000, maximum: 8 << 20))
        world.pass(.seconds(1), on: [ClientWorld.path, Self.second])
        #expect(!world.session.wantsToSend(ClientWorld.path))
    }

    @Test("Credit that grows between the driver's looks wakes the program")
    func pausedProgramIsWoken() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.receive(scene.own, .window(read: 0, maximum: 8 << 20))
        world.sample(window: 20_000)
        #expect(world.write(scene.stream, 4 << 20) == 1 << 20)
        guard case .none = world.session.room(scene.stream) else { throw Unexpected() }
        world.pull(room: 4 << 20)
        world.sample(window: 4 << 20)
        let accepts = world.accepted.count
        world.receive(scene.own, .window(read: 16_384, maximum: 8 << 20))
        #expect(world.accepted.count == accepts + 1)
    }

    struct Unexpected: Error {}
}
