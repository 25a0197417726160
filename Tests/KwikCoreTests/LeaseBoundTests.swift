import Testing

@testable import KwikCore

/// What no lease goes beyond, whatever would be quick (algorithm.md, traps 8 and 10).
@Suite struct LeaseBoundTests {
    /// A stream whose primary has sent two blocks and says that it has `produced` bytes, as a replica does,
    /// and where the last of the leases ends that follow.
    private func lastLease(produced: UInt64, _ options: SocketOptions = []) throws -> UInt64? {
        let world = ClientWorld()
        world.up()
        world.up(ClientWorld.mirrorPath, ClientWorld.mirror, .replica)
        // The replica would bring all of it sooner.
        world.sample(srtt: .milliseconds(400))
        _ = try world.open(options)
        let own = try world.main()
        world.receive(own, .opened(errno: 0, local: [], peer: []))
        world.data(own, .blocks(0, 2))
        world.receive(own, .progress(produced: produced - 1, ended: false, applicationLimited: false))
        world.pass(.milliseconds(110))
        let replica = try world.main(ClientWorld.mirrorPath)
        let progress = Frame.progress(produced: produced, ended: false, applicationLimited: false)
        world.receive(replica, .opened(errno: 0, local: [], peer: []), progress)
        // The backend gives still.
        world.receive(own, progress)
        world.tick()
        return world.leases(ClientWorld.mirrorPath).map(\.range.end).max()
    }

    @Test("Only whole blocks that the primary has are leased: what it never completes would be waited for")
    func wholeBlocks() throws {
        #expect(try lastLease(produced: 9 * Block.size + 100) == 9 * Block.size)
        #expect(try lastLease(produced: 9 * Block.size) == 9 * Block.size)
    }

    @Test("Nothing is leased past the window, whatever the primary says it has")
    func window() throws {
        // SO_RCVBUF: eight blocks, behind the two that the program has read.
        let buffer = SocketOption(level: 1, name: 8, value: [0, 0, 2, 0])
        #expect(try lastLease(produced: 4 << 20, [buffer]) == 10 * Block.size)
    }
}
