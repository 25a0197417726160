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
}
