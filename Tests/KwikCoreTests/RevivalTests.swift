import Testing

@testable import KwikCore

/// A path that was silent answers again.
@Suite struct RevivalTests {
    @Test("What is left of an expired delegation is asked of the primary again once its path answers")
    func expiredDelegation() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.claim(ClientWorld.mirrorName, by: ClientWorld.mirror)
        let range = ByteRange.blocks(2, 4)
        world.receive(scene.own, .delegated([range], server: ClientWorld.mirrorName))
        let channel = ChannelID(path: ClientWorld.mirrorPath, number: 1)
        world.preface(channel, .contribution(offset: range.start, length: range.count), scene.stream)
        // One block is whole, and nobody vouches for it.
        world.data(channel, .blocks(2, 3))
        world.pass(.milliseconds(1_100))
        #expect(world.expirations == 1)
        #expect(asked(world, range) == range.count)
        world.pass(.milliseconds(200), on: [ClientWorld.mirrorPath])
        #expect(asked(world, range) == 0)
        world.pass(.milliseconds(20))
        #expect(asked(world, range) == range.count)
    }

    @Test("A silent path's server is told of abandoned leases once it answers, and not in the dark")
    func abandonedInTheDark() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        let leases = world.leases(ClientWorld.mirrorPath).map(\.channel)
        world.pass(.milliseconds(200), on: [ClientWorld.path])
        // Those that were late before the path was suspect were said at once.
        let unsaid = leases.filter { world.abandoned[$0] == nil }
        #expect(!unsaid.isEmpty && unsaid.allSatisfy { world.session.channels[$0] == nil })
        world.handle(.heard(ClientWorld.mirrorPath))
        #expect(unsaid.allSatisfy { world.abandoned[$0] == ErrorCode.none })
    }

    /// How much of the range the primary is asked for.
    private func asked(_ world: ClientWorld, _ range: ByteRange) -> UInt64 {
        var all = RangeSet()
        for lease in world.leases(ClientWorld.path) { all.insert(lease.range.intersection(range)) }
        return all.count
    }
}
