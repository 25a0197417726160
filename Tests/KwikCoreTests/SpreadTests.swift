import Testing

@testable import KwikCore

/// Downstream bytes over further paths to the primary.
@Suite struct SpreadTests {
    static let second = PathID(7)

    /// The primary has sent two blocks, has 4 MiB more, and a second path takes leases.
    static func spread() throws -> ClientScene {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.up(second, ClientWorld.origin)
        world.data(scene.own, .blocks(0, 2))
        world.receive(scene.own, .progress(produced: 4 << 20, ended: false, applicationLimited: false))
        world.pass(.milliseconds(110), on: [ClientWorld.path, second])
        return scene
    }

    @Test("A stream that one path holds up takes leases of the primary over the other, without CARVE or tag")
    func leasesOnTheOtherPath() throws {
        let scene = try Self.spread()
        let world = scene.world
        let asked = try #require(world.leases(Self.second).first)
        guard case .lease(_, _, _, _, let carves)? = world.preface(asked.channel)?.role else {
            throw Unexpected()
        }
        #expect(carves)
        #expect(world.frames(scene.own).allSatisfy { if case .carve = $0 { false } else { true } })
        world.data(scene.own, ByteRange(Block.size * 2, asked.range.start))
        world.data(asked.channel, asked.range, finished: true)
        #expect(world.taken[scene.stream]?.count == Int(asked.range.end))
        #expect(try scene.state.parts.isEmpty && scene.state.failedLeases == 0)
    }

    @Test("A path that carries leases or upstream bytes carries the stream, and is no spare")
    func noSpare() throws {
        for scene in [try Self.spread(), try UpstreamPathTests.bulk(1 << 20)] {
            let report = scene.world.session.report(now: scene.world.now)
            #expect(report.paths.map(\.path) == [ClientWorld.path, Self.second])
            #expect(report.paths.map(\.streams) == [1, 1])
            #expect(report.spare == nil)
        }
        let idle = try ClientScene.connected()
        idle.world.up(Self.second, ClientWorld.origin)
        #expect(idle.world.session.report(now: idle.world.now).spare == Self.second)
    }

    @Test("What the primary's own sender had begun comes from there, and the rest by the lease")
    func partOfTheLease() throws {
        let scene = try Self.spread()
        let world = scene.world
        let asked = try #require(world.leases(Self.second).first)
        let from = asked.range.start + Block.size
        world.data(asked.channel, ByteRange(from, asked.range.end), finished: true)
        #expect(try !scene.state.book.claims.contains(asked.range.start))
        world.data(scene.own, ByteRange(Block.size * 2, from))
        #expect(world.taken[scene.stream]?.count == Int(asked.range.end))
        #expect(try scene.state.failedLeases == 0)
    }

    @Test("A lease that came too late leaves all to the own sender")
    func lateLease() throws {
        let scene = try Self.spread()
        let world = scene.world
        let asked = try #require(world.leases(Self.second).first)
        world.receive(asked.channel, .end, finished: true)
        #expect(try !scene.state.book.claims.overlaps(asked.range))
        #expect(try scene.state.book.orphans.isEmpty && scene.state.failedLeases == 0)
    }

    @Test("The other path dies: its blocks, which have no tag, are leased from the primary over the own path")
    func otherPathDies() throws {
        let scene = try Self.spread()
        let world = scene.world
        world.up(ClientWorld.mirrorPath, ClientWorld.mirror, .replica)
        let asked = try #require(world.leases(Self.second).first)
        world.handle(.pathDown(Self.second))
        world.tick()
        let again = world.leases(ClientWorld.path)
        #expect(again.contains { $0.range.start == asked.range.start })
        for lease in world.leases(ClientWorld.mirrorPath) { #expect(!lease.range.overlaps(asked.range)) }
    }

    /// The attach carves anew what was asked for by lease: the own sender on the other path leaves it out.
    @Test("A lease that came too late for an own sender that is no more leaves no hole")
    func lateLeaseBeforeAnAttach() throws {
        let scene = try Self.spread()
        let world = scene.world
        let asked = try #require(world.leases(Self.second).first)
        world.handle(.pathDown(ClientWorld.path))
        let own = try world.main(Self.second)
        world.receive(own, .window(read: 0, maximum: 1 << 20))
        world.grantCarves(own, of: scene.stream, tagged: false)
        world.receive(asked.channel, .end, finished: true)
        world.tick()
        let again = world.leases(Self.second)
        #expect(again.contains { $0.range.start == asked.range.start && $0.channel != asked.channel })
    }

    /// The session trapped.
    @Test("A time in which more came twice than came at all counts for nothing")
    func duplicatesOutnumber() {
        let before = ClientStream.Counts(all: 500, own: 400, each: [])
        #expect(ClientStream.Counts(all: 300, own: 450, each: []).since(before) == 0)
        #expect(ClientStream.Counts(all: 700, own: 450, each: []).since(before) == 200)
    }

    /// The other path's bytes counted for nothing, so the paths were parked, and one that came back got no
    /// leases.
    @Test("A stream that goes on by another path is judged anew")
    func judgedAnew() throws {
        let scene = try Self.spread()
        let world = scene.world
        world.pass(.milliseconds(200), on: [ClientWorld.path, Self.second])
        guard case .together = try scene.state.trial else { throw Unexpected() }
        world.handle(.pathDown(ClientWorld.path))
        guard case .ramp = try scene.state.trial else { throw Unexpected() }
    }

    /// Only replicas were.
    @Test("A further path that gives nothing is parked, until its time is over or the own path is suspect")
    func parkedPath() throws {
        let scene = try Self.spread()
        let world = scene.world
        let both = [ClientWorld.path, Self.second]
        world.pass(.milliseconds(200), on: both)
        let asked = try #require(world.leases(Self.second).first)
        world.data(scene.own, ByteRange(Block.size * 2, asked.range.start))
        #expect(try scene.state.isSpread)
        // One second says little of a path that loses.
        world.pass(.milliseconds(4_800), on: both)
        #expect(try scene.state.isSpread)
        world.pass(.milliseconds(1_400), on: both)
        #expect(try scene.state.isParked(Self.second) && !scene.state.isSpread)
        try scene.state.unpark(now: world.now + .seconds(20))
        #expect(try scene.state.isParked(Self.second))
        world.pass(.milliseconds(300), on: [Self.second])
        #expect(try !scene.state.isParked(Self.second))
    }

    /// With a second for it, replicas on the same machine took a third of a download's time and gave nothing.
    @Test("What proved its worth is left alone for a minute; where that is in doubt for a second, then two")
    func settledTime() {
        func times(_ rate: Double, isSure: Bool) -> [Interval] {
            [0, 1, 5, 6, 1_000].map { Tuning.settledTime(rate: rate, isSure: isSure, times: $0) }
        }
        let doubling = [1, 2, 32, 60, 60].map { Interval.seconds($0) }
        #expect(times(60e6, isSure: true) == Array(repeating: .seconds(60), count: 5))
        #expect(times(60e6, isSure: false) == doubling)
        #expect(times(500e6, isSure: true) == doubling)
    }

    @Test("A trial takes a second, or ten round trips, but a tenth of that where bytes come fast")
    func fastTrial() {
        let near = Interval.milliseconds(1)
        #expect(Tuning.trialTime(longest: near, rate: 60e6) == .seconds(1))
        #expect(Tuning.trialTime(longest: near, rate: 70e6) == .milliseconds(100))
        #expect(Tuning.trialTime(longest: .milliseconds(200), rate: 70e6) == .seconds(2))
        #expect(Tuning.trialTime(longest: .milliseconds(200), rate: 0) == .seconds(2))
    }

    /// A path of its own beside one with 50 ms of jitter was parked: that one's heaps looked like a rate.
    @Test("A path is steady where its round trips vary by an eighth at most")
    func steady() {
        let path = ClientPath(
            id: Self.second, traits: PathTraits(server: ClientWorld.origin, roles: .replica, resumed: false),
            now: Instant(nanoseconds: 0))
        path.sample.srtt = .milliseconds(40)
        path.sample.rttVariation = .milliseconds(5)
        #expect(path.isSteady)
        path.sample.rttVariation = .milliseconds(6)
        #expect(!path.isSteady)
    }

    struct Unexpected: Error {}
}
