import Testing

@testable import KwikCore

private let mirrorPath = ClientWorld.mirrorPath

/// What the primary's own sender has on the way, where its link is slow.
@Suite struct LeaseEndTests {
    /// The last half second of a download was the slow link's alone (matrix, cell R).
    @Test("Towards the end nothing is left to the own sender that the others bring sooner")
    func relieved() throws {
        for (srtt, isSlow) in [(400, true), (10, false)] {
            let scene = try ClientScene.engaged(produced: 1 << 20)
            let world = scene.world
            world.sample(srtt: .milliseconds(Int64(srtt)))
            let ended = Frame.progress(produced: 1 << 20, ended: true, applicationLimited: false)
            world.receive(scene.own, ended)
            world.receive(try scene.replica(), ended)
            world.tick()
            let claims = try scene.state.book.claims
            let last = ByteRange(7 << 17, 1 << 20)
            #expect(claims.intersection(last).map(\.count) == (isSlow ? [last.count] : []))
            // Asked for at once, not only as far as the path is usually given work ahead.
            let leased = world.leases(mirrorPath).map(\.range.end).max()
            #expect((leased == 1 << 20) == isSlow)
            #expect(try scene.state.book.orphans.isEmpty)
        }
    }

    @Test("What the own sender has on the way stays so when its link slows down")
    func onTheWay() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        let begun = try scene.state.ownBegun
        #expect(begun > 16 * Block.size)
        world.sample(srtt: .milliseconds(100))
        world.grantCarves(scene.own, of: scene.stream)
        for lease in world.leases(mirrorPath) { world.data(lease.channel, lease.range, finished: true) }
        world.pass(.milliseconds(20))
        let starts = world.leases(mirrorPath).map(\.range.start)
        #expect(!starts.isEmpty && starts.allSatisfy { $0 >= begun })
    }
}
