import Testing

@testable import KwikCore

private let mirrorPath = ClientWorld.mirrorPath

/// A stream whose primary has sent two blocks, its backend `produced` bytes, when a replica `srtt` away was
/// engaged that has said nothing yet.
private func scene(produced: UInt64, srtt: Interval) throws -> ClientScene {
    let scene = try ClientScene.connected()
    let world = scene.world
    world.up(mirrorPath, ClientWorld.mirror, .replica)
    world.sample(mirrorPath, srtt: srtt)
    world.data(scene.own, .blocks(0, 2))
    world.receive(scene.own, .progress(produced: produced, ended: false, applicationLimited: false))
    world.pass(.milliseconds(110))
    return scene
}

@Suite struct LeaseStartTests {
    @Test("A replica's first leases go with what engages it; without an answer no more follow")
    func firstLeases() throws {
        let scene = try scene(produced: 4 << 20, srtt: .milliseconds(40))
        let world = scene.world
        #expect(try scene.state.parts.map(\.progress) == [0])
        #expect(!world.leases(mirrorPath).isEmpty)
        world.grantCarves(scene.own, of: scene.stream)
        world.pass(.milliseconds(200))
        let opened = world.opened.count { $0.path == mirrorPath }
        world.pass(.seconds(1))
        #expect(world.opened.count { $0.path == mirrorPath } == opened)
    }

    /// What a distant replica tells of itself is old: it stood idle until it told of what it had long since
    /// (G: c brought 61 MB of 210, and 63 so).
    @Test("A replica that keeps up is asked for what it has not told of yet, and is given time to tell")
    func keepsUp() throws {
        let scene = try scene(produced: 4 << 20, srtt: .milliseconds(100))
        let world = scene.world
        let replica = try scene.replica()
        world.receive(replica, .opened(errno: 0, local: [], peer: []))
        func tells(_ produced: UInt64) {
            world.receive(replica, .progress(produced: produced, ended: false, applicationLimited: false))
        }
        // It brings all that it was asked for, and tells of no more than that.
        func bringsAll() throws {
            for lease in world.leases(mirrorPath) {
                world.receive(scene.own, ClientWorld.tags(scene.stream, lease.range))
                world.data(lease.channel, lease.range, finished: true)
                tells(lease.range.end)
            }
            world.tick()
        }
        try bringsAll()
        #expect(!world.leases(mirrorPath).isEmpty)
        // Two round trips and what waits in a queue.
        world.pass(.milliseconds(310))
        try bringsAll()
        #expect(world.leases(mirrorPath).isEmpty)
        tells(4 << 20)
        world.tick()
        #expect(!world.leases(mirrorPath).isEmpty)
    }

    /// 64 KiB at a time were more than a slow path was thought to need: it never showed a better rate.
    @Test("A slow path has its next lease before it is done with the last")
    func shortLeases() throws {
        let scene = try scene(produced: 4 << 20, srtt: .milliseconds(160))
        let leases = scene.world.leases(mirrorPath)
        #expect(leases.count > 2)
        #expect(leases.allSatisfy { $0.range.count == Block.size })
    }

    /// The last bytes of a small file came by the slow path, when the other was done.
    @Test("A slow path gets nothing that the others bring sooner, though the end is not told yet")
    func smallRest() throws {
        let rest = try scene(produced: (2 * Block.size) + (320 << 10), srtt: .milliseconds(300))
        #expect(try rest.state.parts.count == 1)
        #expect(rest.world.leases(mirrorPath).isEmpty)
        // Before a full window there is more to come.
        let bulk = try scene(produced: 4 << 20, srtt: .milliseconds(300))
        #expect(!bulk.world.leases(mirrorPath).isEmpty)
    }

    /// On a busy machine one of three servers got nothing for the rest of a download where its first blocks
    /// came at once and a pause behind them, in which a shift was looked for.
    @Test("The first blocks after an idle time do not lower what a replica is known to bring")
    func idleReplica() throws {
        let produced: UInt64 = 2 << 20
        let scene = try ClientScene.engaged(produced: produced)
        let world = scene.world
        let path = try #require(world.session.path(mirrorPath))
        // So near that the last bytes of a lease are as good as many outstanding.
        world.sample(mirrorPath, srtt: .microseconds(300))
        var done = 0
        // One block of the replica's, and all that the primary has to give.
        func serve() throws {
            let carves = world.frames(scene.own).filter { if case .carve = $0 { true } else { false } }
            for case .carve(let sequence, let ranges) in carves[done...] {
                world.receive(scene.own, .carved(sequence: sequence, ranges))
                for range in ranges { world.receive(scene.own, ClientWorld.tags(scene.stream, range)) }
            }
            done = carves.count
            let state = try scene.state
            if let lease = state.book.leases.first(where: { $0.server == ClientWorld.mirror }) {
                let next = ByteRange(lease.next, min(lease.next + Block.size, lease.range.end))
                world.data(lease.channel, next, finished: next.end == lease.range.end)
            }
            // What was moved.
            for lease in world.leases(ClientWorld.path) {
                world.data(lease.channel, lease.range, finished: true)
            }
            let end = min(state.progress, state.granted, state.down.front + Block.size)
            for gap in state.book.claims.gaps(in: ByteRange(state.down.front, max(state.down.front, end))) {
                world.data(scene.own, gap)
            }
        }
        for _ in 0..<200 where world.taken[scene.stream]?.count != Int(produced) {
            try serve()
            world.pass(.milliseconds(5))
        }
        #expect(world.taken[scene.stream]?.count == Int(produced))
        let before = path.estimate
        world.pass(.seconds(3))
        for channel in [scene.own, try scene.replica()] {
            world.receive(channel, .progress(produced: 2 * produced, ended: false, applicationLimited: false))
        }
        world.pass(.milliseconds(10))
        let received = path.received
        try serve()
        #expect(path.received > received && path.estimate >= before)
    }
}
