import Testing

@testable import KwikCore

private let path = ClientWorld.path
private let mirrorPath = ClientWorld.mirrorPath

@Suite struct ClientPromotionTests {
    /// A replica has served a block that matched; the primary is gone.
    private func orphaned(
        _ policy: ClientSettings.SilentPrimary, matched: Bool = true, formerly: Set<ServerID> = []
    ) throws -> ClientScene {
        let scene = try ClientScene.engaged(ClientSettings(silentPrimary: policy))
        let world = scene.world
        try scene.state.formerPrimaries = formerly
        let lease = try scene.mirrorLease()
        world.data(scene.own, ByteRange(2 * Block.size, lease.range.start))
        if matched {
            world.grantCarves(scene.own, of: scene.stream)
            world.data(lease.channel, lease.range, finished: true)
        }
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250))
        return scene
    }

    /// Under promote, with what the replica was asked for first and gave: its blocks matched.
    private func matched() throws -> (scene: ClientScene, lease: ClientWorld.Asked) {
        let scene = try ClientScene.engaged(ClientSettings(silentPrimary: .promote))
        let lease = try scene.mirrorLease()
        scene.world.grantCarves(scene.own, of: scene.stream)
        scene.world.data(lease.channel, lease.range, finished: true)
        return (scene, lease)
    }

    @Test("Under promote a replica whose blocks matched goes on from the front, with a sum of its own")
    func promotion() throws {
        let scene = try orphaned(.promote)
        let world = scene.world
        let front = try scene.state.down.front
        let promoted = Event.promoted(
            scene.stream, from: ClientWorld.origin, to: ClientWorld.mirror, offset: front)
        #expect(world.events.contains(promoted))
        let own = try world.main(mirrorPath)
        #expect(world.preface(own)?.role == .attach(epoch: 1, received: front))
        #expect(world.abandoned.values.contains(.reattached))
        world.receive(own, .window(read: 0, maximum: 65_536))
        world.data(own, ByteRange(front, front + 5_000))
        world.receive(own, .fin(base: 0, final: front + 5_000, sum: 0, closed: false))
        #expect(world.abandoned[own] == .protocolViolation)
    }

    /// On a far path most of it has gone by before the path is suspect.
    @Test(
        "A silent primary is replaced 250 ms or 1.5 round trips after the probe that it did not answer",
        arguments: [(10, 275), (160, 275), (300, 475), (3_600_000, 15_025)] as [(Int64, Int64)])
    func silence(srtt: Int64, expected: Int64) throws {
        let (scene, _) = try matched()
        let world = scene.world
        world.sample(path, srtt: .milliseconds(srtt))
        let last = world.now
        func isReplaced() -> Bool {
            world.events.contains { if case .promoted = $0 { true } else { false } }
        }
        while !isReplaced(), world.now - last < .seconds(20) {
            world.pass(.milliseconds(5), on: [mirrorPath])
        }
        #expect(world.now - last >= .milliseconds(expected))
        #expect(world.now - last <= .milliseconds(expected + 10))
    }

    @Test("A program that quits in the turn in which its silent primary is due has no other server")
    func quitInTheTurn() throws {
        let (scene, _) = try matched()
        let world = scene.world
        world.pass(.milliseconds(270), on: [mirrorPath])
        let opened = world.opened
        #expect(world.ends[scene.stream] == nil)
        world.now = world.now + .milliseconds(20)
        world.handle(.localAborted(scene.stream, errno: 0))
        world.handle(.tick)
        #expect(world.released == [scene.stream])
        #expect(world.opened == opened)
    }

    private func blocks(_ range: ByteRange) -> [ByteRange] {
        (Block.index(of: range.start)..<Block.index(of: range.end)).map { .blocks($0, $0 + 1) }
    }

    /// As `matched`, and the replica has given a further lease whole, whose tags have not come.
    private func givenAhead() throws -> (
        scene: ClientScene, tagged: ClientWorld.Asked, untagged: ClientWorld.Asked
    ) {
        let (scene, tagged) = try matched()
        scene.world.pass(.milliseconds(20))
        let untagged = try #require(scene.world.leases(mirrorPath).last { $0.channel != tagged.channel })
        scene.world.data(untagged.channel, untagged.range, finished: true)
        return (scene, tagged, untagged)
    }

    @Test("What the promoted server has sent already is not asked of it again, with a tag or without")
    func promotedCopies() throws {
        let (scene, tagged, untagged) = try givenAhead()
        let world = scene.world
        #expect(try !blocks(untagged.range).contains { try scene.state.down.contains($0) })
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250))
        for block in blocks(tagged.range) + blocks(untagged.range) {
            #expect(try scene.state.down.contains(block))
        }
        #expect(try scene.state.down.front == 2 * Block.size)
        let own = try world.main(mirrorPath)
        let isCarved = world.frames(own).contains { frame in
            guard case .carve(_, let ranges) = frame else { return false }
            return ranges.contains { (range: ByteRange) in range.overlaps(untagged.range) }
        }
        #expect(isCarved)
    }

    /// Seed 69150 of the simulation: bytes of the new primary's were told to be the old one's.
    @Test("The promoted server's truth is told to begin with what it had sent already")
    func promotedFrom() throws {
        let (scene, _, untagged) = try givenAhead()
        let world = scene.world
        world.data(scene.own, ByteRange(2 * Block.size, untagged.range.start))
        let front = try scene.state.down.front
        #expect(front == untagged.range.start)
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250))
        #expect(try scene.state.down.front == untagged.range.end)
        let promoted = Event.promoted(
            scene.stream, from: ClientWorld.origin, to: ClientWorld.mirror, offset: front)
        #expect(world.events.contains(promoted))
    }

    @Test("What the promoted server was asked for goes on, is carved from its own sender and taken as it is")
    func promotedLeases() throws {
        let (scene, first) = try matched()
        let world = scene.world
        world.pass(.milliseconds(20))
        let lease = try #require(world.leases(mirrorPath).last { $0.channel != first.channel })
        let begun = ByteRange(lease.range.start, lease.range.start + 5_000)
        world.data(lease.channel, begun)
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250))
        #expect(world.abandoned[lease.channel] == nil)
        #expect(try scene.state.down.contains(begun))
        let own = try world.main(mirrorPath)
        let isCarved = world.frames(own).contains { frame in
            guard case .carve(_, let ranges) = frame else { return false }
            return ranges.contains { (range: ByteRange) in range.intersection(lease.range) == lease.range }
        }
        #expect(isCarved)
        world.data(lease.channel, ByteRange(begun.end, lease.range.end), finished: true)
        for block in blocks(lease.range) { #expect(try scene.state.down.contains(block)) }
        #expect(try scene.state.book.duplicated == 0)
    }

    /// The server would let go of it, and take the attach for one to an earlier part (seed 57858).
    @Test("Leases that overtake the attach let nothing go from where that begins")
    func promotedBeforeTheAttachIsThere() throws {
        let (scene, first) = try matched()
        let world = scene.world
        let other = PathID(3)
        world.data(scene.own, ByteRange(2 * Block.size, first.range.start))
        world.up(other, ClientWorld.mirror, .replica)
        world.pass(.milliseconds(20))
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250), on: [mirrorPath, other])
        let own = try #require(try scene.state.own)
        guard case .attach(1, let received)? = world.preface(own)?.role else {
            Issue.record("nobody was promoted")
            return
        }
        var told: [UInt64] = []
        for _ in 0..<5 {
            for lease in world.leases(mirrorPath) + world.leases(other) {
                world.data(lease.channel, lease.range, finished: true)
            }
            let known = Set(world.opened)
            let read = try scene.state.down.read
            world.pass(.milliseconds(5), on: [mirrorPath, other])
            for channel in world.opened where !known.contains(channel) && read > received {
                guard case .lease(_, _, let read, _, _)? = world.preface(channel)?.role else { continue }
                told.append(read)
            }
        }
        #expect(!told.isEmpty && told.allSatisfy { $0 <= received })
    }

    /// Seeds 4512 and 9927 of the simulation: FIN had another base, and a range ended before it began.
    @Test(
        "What the promoted server has brought of the front's block counts", arguments: [1_000, 6_000, 9_000])
    func promotedAtTheFront(brought: UInt64) throws {
        let (scene, _) = try matched()
        let world = scene.world
        let block = ByteRange.blocks(2, 3)
        world.data(scene.own, ByteRange(block.start, block.start + 6_000))
        world.pass(.milliseconds(100), on: [mirrorPath])
        for other in world.leases(mirrorPath) where !other.range.overlaps(block) {
            world.data(other.channel, other.range, finished: true)
        }
        world.pass(.milliseconds(40), on: [mirrorPath])
        let asked = try #require(world.leases(mirrorPath).first { $0.range.overlaps(block) })
        world.data(asked.channel, ByteRange(block.start, block.start + brought))
        world.pass(.milliseconds(400), on: [mirrorPath])
        let own = try world.main(mirrorPath)
        guard case .attach(_, let received)? = world.preface(own)?.role else {
            Issue.record("nobody was promoted")
            return
        }
        #expect(received == block.start + max(brought, 6_000))
        let state = try scene.state
        #expect(state.sumFrom == received && state.down.sumToFront(from: received) != nil)
    }

    @Test("What the lost primary sent beyond a hole is not fetched again, if the new one's tags are the same")
    func formerBlocks() throws {
        for isSame in [true, false] {
            let (scene, lease) = try matched()
            let world = scene.world
            let former = ByteRange.blocks(3, 4)
            try #require(lease.range.start >= former.end)
            world.data(scene.own, former, lies: !isSame)
            world.handle(.pathDown(path))
            world.pass(.milliseconds(250))
            #expect(try !scene.state.down.contains(former))
            let own = try world.main(mirrorPath)
            world.grantCarves(own, of: scene.stream)
            #expect(try scene.state.down.contains(former) == isSame)
            world.pass(.milliseconds(20), on: [mirrorPath])
            let isAsked = world.leases(mirrorPath).contains { $0.range.overlaps(former) }
            #expect(isAsked == !isSame)
        }
    }

    /// Seed 13085 of the simulation: a part of a block was to be leased anew, in vain and without end.
    @Test("A promoted server's lease of the short last block is given back, and all of it asked for anew")
    func promotedShortEnd() throws {
        let final = 40 * Block.size + 3_057
        let scene = try ClientScene.engaged(
            ClientSettings(silentPrimary: .promote), produced: final, ended: true)
        let world = scene.world
        let first = try scene.mirrorLease()
        world.grantCarves(scene.own, of: scene.stream)
        world.data(first.channel, first.range, finished: true)
        world.pass(.milliseconds(20))
        let last = try #require(world.leases(mirrorPath).first { $0.range.end == final })
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250))
        #expect(world.abandoned[last.channel] != nil)
        let own = try world.main(mirrorPath)
        world.handle(.channelReset(last.channel, code: 0))
        world.receive(own, .progress(produced: final + 50_000, ended: false, applicationLimited: false))
        world.pass(.milliseconds(50))
        for range in try scene.state.book.primaryOnly.ranges { #expect(range.end % Block.size == 0) }
    }

    @Test("A lease of the promoted server's that is amid a piece goes on, and its piece is still checked")
    func promotedAmidPiece() throws {
        for isSound in [true, false] {
            let (scene, first) = try matched()
            let world = scene.world
            world.pass(.milliseconds(20))
            let lease = try #require(world.leases(mirrorPath).last { $0.channel != first.channel })
            let range = ByteRange(lease.range.start, lease.range.start + 5_000)
            var piece = world.pieceBytes(range)
            if !isSound { piece[200] ^= 1 }
            world.receive(lease.channel, Array(piece.prefix(1_000)))
            world.handle(.pathDown(path))
            world.pass(.milliseconds(250))
            #expect(world.abandoned[lease.channel] == nil)
            #expect(try !scene.state.down.contains(range))
            world.receive(lease.channel, Array(piece.dropFirst(1_000)))
            #expect(try scene.state.down.contains(range) == isSound)
            #expect((world.abandoned[lease.channel] != nil) == !isSound)
            guard isSound else { continue }
            world.data(lease.channel, ByteRange(range.end, lease.range.end), finished: true)
            let block = Block.index(of: range.start)
            #expect(try scene.state.down.contains(.blocks(block, block + 1)))
        }
    }

    @Test("While the primary is silent its unfinished bytes are asked of the replica that may take its place")
    func suspectFront() throws {
        let (scene, lease) = try matched()
        let world = scene.world
        let front = try scene.state.down.front
        func asksForFront() -> Bool {
            world.leases(mirrorPath).contains { $0.range.overlaps(ByteRange(front, front + 1)) }
        }
        #expect(!asksForFront())
        world.pass(.milliseconds(100), on: [mirrorPath])
        for other in world.leases(mirrorPath) where other.channel != lease.channel {
            world.data(other.channel, other.range, finished: true)
        }
        world.pass(.milliseconds(20), on: [mirrorPath])
        #expect(try scene.state.primary == ClientWorld.origin)
        #expect(asksForFront())
    }

    /// One that was the primary before has not heard of who was it meanwhile where all that told it died with
    /// its path, and its sum begins where it began (seed 68653 of the simulation).
    @Test("The promoted server's FIN ends the stream", arguments: [false, true])
    func promotedEnd(wasPrimary: Bool) throws {
        let scene = try orphaned(.promote, formerly: wasPrimary ? [ClientWorld.mirror] : [])
        let world = scene.world
        let front = try scene.state.down.front
        let produced = try scene.state.progress
        let own = try world.main(mirrorPath)
        world.data(own, ByteRange(front, min(produced, front + (1 << 20) - 65_536)))
        let here = try scene.state.down.front
        #expect(here > front)
        var next = here
        while next < produced {
            let granted = try #require(world.frames(own).compactMap(\.windowFields).last?.end)
            let end = min(produced, granted)
            #expect(end > next)
            world.data(own, ByteRange(next, end))
            next = end
        }
        world.fin(own, produced, base: wasPrimary ? 0 : front)
        #expect(world.ends[scene.stream] == [.finished(closed: false)])
        #expect(world.taken[scene.stream] == GatewayWorld.content(ByteRange(0, produced)))
    }

    /// Seeds 35401 and 40616 of the simulation: the path died with the attach, or with what answered it.
    @Test("A promoted server sums from the first attach that it gets", arguments: [true, false])
    func promotedSum(getsTheFirst: Bool) throws {
        let scene = try orphaned(.promote)
        let world = scene.world
        let front = try scene.state.down.front
        let own = try world.main(mirrorPath)
        world.data(own, ByteRange(front, front + 5_000))
        let here = try scene.state.down.front
        #expect(here > front)
        world.handle(.pathDown(mirrorPath))
        let again = PathID(9)
        world.up(again, ClientWorld.mirror, .replica)
        let next = try world.main(again)
        #expect(world.preface(next)?.role == .attach(epoch: 2, received: here))
        world.receive(next, .window(read: 0, maximum: 65_536))
        let final = try scene.state.progress
        var at = here
        while at < final {
            let granted = try #require(world.frames(next).compactMap(\.windowFields).last?.end)
            world.data(next, ByteRange(at, min(final, granted)))
            at = min(final, granted)
        }
        world.fin(next, final, base: getsTheFirst ? front : here)
        #expect(world.ends[scene.stream] == [.finished(closed: false)])
    }

    @Test("Under fail, and without a block that matched, nobody is promoted")
    func noPromotion() throws {
        for (policy, matched) in [(.fail, true), (.promote, false)] as [(ClientSettings.SilentPrimary, Bool)]
        {
            let scene = try orphaned(policy, matched: matched)
            let world = scene.world
            #expect(try scene.state.primary == ClientWorld.origin)
            #expect(world.ends[scene.stream] == nil)
            world.pass(.seconds(30))
            #expect(world.ends[scene.stream] == [.aborted(errno: 110)])
        }
    }

    @Test("A promoted server's credit is its own, not what the dead primary gave")
    func promotedCredit() throws {
        let scene = try ClientScene.engaged(ClientSettings(silentPrimary: .promote))
        let world = scene.world
        world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        world.receive(try scene.replica(), .window(read: 0, maximum: 65_536))
        world.grantCarves(scene.own, of: scene.stream)
        let lease = try scene.mirrorLease()
        world.data(lease.channel, lease.range, finished: true)
        world.write(scene.stream, 60_000)
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250))
        let own = try world.main(mirrorPath)
        world.receive(own, .window(read: 0, maximum: 20_000))
        #expect(try scene.state.upMaximum == 65_536)
        world.write(scene.stream, 100_000)
        world.pull(mirrorPath)
        #expect(world.upstream(own).last?.end == 65_536)
    }

    /// The stream ended with ECONNRESET when the promoted server told how far it was.
    @Test("What the dead primary has of an upload, and the promoted server has not, is kept for that one")
    func promotedUpload() throws {
        let scene = try ClientScene.engaged(ClientSettings(silentPrimary: .promote))
        let world = scene.world
        world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        world.receive(try scene.replica(), .window(read: 0, maximum: 1 << 20))
        world.grantCarves(scene.own, of: scene.stream)
        let lease = try scene.mirrorLease()
        world.data(lease.channel, lease.range, finished: true)
        world.write(scene.stream, 100_000)
        world.pull()
        world.receive(scene.own, .window(read: 2 * Block.size, maximum: 1 << 20))
        world.handle(.pathDown(path))
        world.pass(.milliseconds(250))
        let own = try world.main(mirrorPath)
        world.receive(own, .window(read: 31, maximum: 1 << 20))
        world.pull(mirrorPath)
        #expect(world.ends.isEmpty)
        #expect(world.upstream(own).first?.start == 31 && world.upstream(own).last?.end == 100_000)
    }
}
