import Testing

@testable import KwikCore

/// One test per criterion of the specification's chapter on secondary streams, by its number: the mapping,
/// offsets of several sources, isolation, errors and limits. Its first half: SecondaryStreamTests.
@Suite struct SecondaryFaultTests {
    private static let mine = channel(1, on: 2)
    private static let next = channel(5, on: 2)
    private static let whole = Preface.Role.contribution(offset: 2 * Block.size, length: 2 * Block.size)

    // MARK: 5. Which channel is whose

    @Test("5.1 the channel's stream is recorded when it begins, and shown")
    func recorded() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        let recorded = try #require(try scene.state.contributions.first)
        #expect(recorded.channel == Self.mine && recorded.server == ClientWorld.mirror)
        #expect(recorded.range == .blocks(2, 4))
        #expect(scene.world.session.report(of: scene.stream)?.internalChannels == 1)
    }

    @Test("5.2 what comes later on the channel goes where the record says")
    func followed() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        scene.world.tick(after: .milliseconds(100))
        scene.world.give(Self.mine, .blocks(2, 4))
        #expect(scene.hasRead(4))
    }

    @Test("5.3 a stream's end closes the channels that belong to it")
    func closedWithTheStream() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        // And one that waits for a delegation.
        scene.world.preface(
            Self.next, .contribution(offset: 8 * Block.size, length: Block.size), scene.stream)
        scene.world.receive(scene.own, .reset(errno: 104, offset: 0))
        #expect(scene.world.abandoned[Self.mine] == ErrorCode.none)
        #expect(scene.world.abandoned[Self.next] == ErrorCode.none)
        #expect(scene.world.session.waiting.isEmpty)
    }

    @Test("5.4 a channel's end leaves the stream to the other sources")
    func oneOfSeveral() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        let lease = try scene.mirrorLease()
        let first = ByteRange(lease.range.start, lease.range.start + Block.size)
        world.contribute(Self.mine, scene.stream, first)
        #expect(try scene.state.contributions.isEmpty)
        #expect(try scene.state.down.contains(first))
        // The lease's own channel goes on.
        world.data(lease.channel, lease.range, finished: true)
        #expect(try scene.state.down.contains(ByteRange(lease.range.end - Block.size, lease.range.end)))
        #expect(
            try scene.state.part(of: ClientWorld.mirror).map { try scene.state.parts[$0].ended } == .some(nil)
        )
    }

    @Test("5.5 bytes that are not where the channel's preface says are found out and fetched elsewhere")
    func corruptedMapping() throws {
        for strange: ByteRange in [.blocks(4, 5), .blocks(0, 1), .blocks(3, 4)] {
            let scene = try ClientScene.delegated()
            let world = scene.world
            world.preface(Self.mine, Self.whole, scene.stream)
            world.data(Self.mine, strange)
            #expect(world.events.contains(.malformed(Self.mine, .badRange)))
            #expect(world.abandoned[Self.mine] == .protocolViolation)
            world.tick()
            #expect(world.leases(ClientWorld.path).map(\.range) == [.blocks(2, 4)])
        }
        // A stream that is not there.
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, StreamID(400))
        #expect(scene.world.events.contains(.unknownStream(Self.mine, StreamID(400))))
    }

    // MARK: 6. Offsets of several sources

    @Test("6.1 the primary's bytes stand at their offsets, past what others bring")
    func primarysPlace() throws {
        let scene = try ClientScene.delegated()
        scene.world.data(scene.own, .blocks(4, 6))
        #expect(scene.hasRead(2))
        scene.world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        #expect(scene.hasRead(6))
    }

    @Test("6.2 a secondary's bytes stand at theirs, without conflict")
    func secondarysPlace() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        scene.world.data(Self.mine, .blocks(2, 3))
        scene.world.data(scene.own, .blocks(4, 5))
        scene.world.data(Self.mine, .blocks(3, 4))
        let sum = GatewayChecks.fin(.blocks(2, 4), GatewayWorld.content)
        scene.world.receive(
            Self.mine, .fin(base: 2 * Block.size, final: 4 * Block.size, sum: sum, closed: false),
            finished: true)
        #expect(scene.hasRead(5))
        #expect(try scene.state.book.duplicated == 0)
    }

    @Test("6.3 where copies overlap the first verified one wins", arguments: [true, false])
    func overlap(_ primaryFirst: Bool) throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        world.preface(Self.mine, Self.whole, scene.stream)
        world.tick(after: .seconds(2))
        let lease = try #require(world.leases(ClientWorld.path).first)
        if primaryFirst { world.data(lease.channel, lease.range, finished: true) }
        // Its sums match what it sends, which differs from the primary's.
        world.give(Self.mine, .blocks(2, 4), lies: primaryFirst)
        if !primaryFirst { world.data(lease.channel, lease.range, lies: true, finished: true) }
        #expect(scene.hasRead(4))
        #expect(try scene.state.book.memory == 0)
    }

    @Test("6.3 the first verified copy stays while what comes before it is missing", arguments: [true, false])
    func overlapUnread(_ primaryFirst: Bool) throws {
        let scene = try ClientScene.delegated(.blocks(3, 4))
        let world = scene.world
        let other = channel(1, on: 3)
        world.receive(scene.own, .delegated([.blocks(2, 3)], server: ClientWorld.thirdName))
        // All of it but the FIN.
        world.preface(Self.mine, .contribution(offset: 3 * Block.size, length: Block.size), scene.stream)
        world.data(Self.mine, .blocks(3, 4), lies: primaryFirst)
        let all = [ClientWorld.path, ClientWorld.mirrorPath, ClientWorld.thirdPath]
        world.pass(.milliseconds(600), on: all)
        // The third still brings block 2, so that the primary is asked for block 3 alone.
        world.preface(other, .contribution(offset: 2 * Block.size, length: Block.size), scene.stream)
        let half = ByteRange(2 * Block.size, 2 * Block.size + Block.size / 2)
        world.data(other, half)
        world.pass(.milliseconds(600), on: all)
        let lease = try #require(world.leases(ClientWorld.path).first)
        #expect(lease.range == .blocks(3, 4) && world.leases(ClientWorld.path).count == 1)
        let fin = { world.tell(Self.mine, .blocks(3, 4), lies: primaryFirst) }
        if !primaryFirst { fin() }
        world.data(lease.channel, lease.range, lies: !primaryFirst, finished: true)
        if primaryFirst { fin() }
        #expect(try scene.hasRead(2) && scene.state.down.contains(.blocks(3, 4)))
        world.data(other, ByteRange(half.end, 3 * Block.size))
        world.tell(other, .blocks(2, 3))
        #expect(scene.hasRead(4))
        #expect(try scene.state.book.memory == 0 && scene.state.down.memory == 0)
    }

    @Test("6.3 the first verified copy stays while the program does not read", arguments: [true, false])
    func overlapHeld(_ primaryFirst: Bool) throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        world.programsRead = false
        world.preface(Self.mine, Self.whole, scene.stream)
        world.data(Self.mine, .blocks(2, 4), lies: primaryFirst)
        world.pass(.milliseconds(1_200), on: [ClientWorld.path, ClientWorld.mirrorPath])
        let lease = try #require(world.leases(ClientWorld.path).first)
        #expect(lease.range == .blocks(2, 4))
        if !primaryFirst { world.tell(Self.mine, .blocks(2, 4)) }
        world.data(lease.channel, lease.range, lies: !primaryFirst, finished: true)
        if primaryFirst { world.tell(Self.mine, .blocks(2, 4), lies: true) }
        #expect(try scene.state.book.memory == 0)
        world.programTakes(scene.stream)
        #expect(scene.hasRead(4))
    }

    @Test("6.4 a hole is waited for, and then fetched from the primary")
    func hole() throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        world.pass(.milliseconds(900), on: [ClientWorld.path, ClientWorld.mirrorPath, ClientWorld.thirdPath])
        #expect(world.expirations == 0 && world.leases(ClientWorld.path).isEmpty)
        world.pass(.milliseconds(200), on: [ClientWorld.path, ClientWorld.mirrorPath, ClientWorld.thirdPath])
        #expect(world.expirations == 1)
        let lease = try #require(world.leases(ClientWorld.path).first)
        world.data(lease.channel, .blocks(2, 4), finished: true)
        scene.finish(4, without: .blocks(2, 4))
        #expect(scene.hasRead(4) && world.ends[scene.stream] == [.finished(closed: false)])
    }

    @Test("6.4 a contribution waits for the delegation that has another way, and not for ever")
    func waits() throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        world.contribute(Self.mine, scene.stream, .blocks(4, 5))
        world.contribute(Self.next, scene.stream, .blocks(5, 6))
        world.receive(scene.own, .delegated([.blocks(4, 5)], server: ClientWorld.mirrorName))
        world.contribute(channel(9, on: 2), scene.stream, .blocks(2, 4))
        #expect(scene.hasRead(5))
        world.tick(after: .milliseconds(1_100))
        #expect(world.abandoned[Self.next] == .refusedByPolicy)
    }

    @Test("6.5 what is read follows the offsets, whoever sent what and when")
    func strictOrder() throws {
        let scene = try ClientScene.delegated(.blocks(2, 8))
        var number: Int64 = 1
        for block in [7, 3, 5, 2, 6, 4] as [UInt64] {
            scene.world.contribute(channel(number, on: 2), scene.stream, .blocks(block, block + 1))
            scene.world.data(scene.own, .blocks(8 + UInt64(number) / 4, 9 + UInt64(number) / 4))
            number += 4
            #expect(scene.taken == GatewayWorld.content(ByteRange(0, UInt64(scene.taken.count))))
        }
        #expect(scene.hasRead(14))
    }

    @Test("6.4 a delegation that crossed a lease of the primary's is no hole for ever")
    func crossedLease() throws {
        let scene = try ClientScene.delegated(.blocks(2, 3))
        let world = scene.world
        let further = PathID(4)
        world.up(further, interface: InterfaceID(2))
        world.receive(
            scene.own, .progress(produced: 200 * Block.size, ended: false, applicationLimited: false))
        world.pass(.milliseconds(110), on: [ClientWorld.path, further])
        let lease = try #require(world.leases(further).first)
        let first = ByteRange(lease.range.start, lease.range.start + Block.size)
        world.receive(scene.own, .delegated([first], server: Array("nobody".utf8)))
        // The primary serves what it had not left to others.
        world.data(lease.channel, ByteRange(first.end, first.end + Block.size))
        world.pass(.milliseconds(20), on: [ClientWorld.path, further])
        let asked = world.leases(ClientWorld.path) + world.leases(further)
        #expect(asked.contains { $0 != lease && $0.range.start <= first.start && first.end <= $0.range.end })
    }

    @Test("6.4 a lease's contribution whose blocks are delegated meanwhile leaves no hole when it is torn")
    func crossedContribution() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.claim(ClientWorld.mirrorName, by: ClientWorld.mirror)
        let lease = try scene.mirrorLease()
        let (first, second) = (lease.range.start, lease.range.start + Block.size)
        let both = ByteRange(first, second + Block.size)
        world.preface(Self.mine, .contribution(offset: first, length: both.count), scene.stream)
        world.data(Self.mine, ByteRange(first, second))
        // The primary had left them to it before it was asked to let them be carved.
        world.receive(scene.own, .delegated([both], server: ClientWorld.mirrorName))
        for case .carve(let sequence, _) in world.frames(scene.own) {
            world.receive(scene.own, .carved(sequence: sequence, []))
        }
        world.data(Self.mine, ByteRange(second, both.end))
        #expect(world.abandoned[Self.mine] == ErrorCode.none)
        #expect(world.expirations == 1)
        world.tick()
        let asked = world.leases(ClientWorld.path).map(\.range)
        #expect(asked.contains { $0.start <= both.start && both.end <= $0.end })
    }

    // MARK: 7. Isolation

    @Test("7.1 bytes of a secondary stay apart until they are verified")
    func apart() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        scene.world.data(Self.mine, .blocks(2, 4))
        #expect(scene.hasRead(2))
        #expect(try scene.state.book.memory == 2 * Block.size)
        #expect(try scene.state.down.memory == 0)
    }

    @Test("7.2 a leased contribution waits for the primary's tag like any lease")
    func tagged() throws {
        let scene = try ClientScene.engaged()
        let lease = try scene.mirrorLease()
        let first = ByteRange(lease.range.start, lease.range.start + Block.size)
        scene.world.contribute(Self.mine, scene.stream, first)
        #expect(try !scene.state.down.contains(first))
        scene.world.grantCarves(scene.own, of: scene.stream)
        #expect(try scene.state.down.contains(first))
    }

    @Test("7.3 channels of a secondary have numbers of their connection's own")
    func ownNumbers() {
        let world = SecondaryStreamTests.contributing(.blocks(0, 1), to: StreamID(0))
        let bytes = GatewayWorld.content(.blocks(1, 2))
        world.call { actions in
            _ = unsafe bytes.withUnsafeBytes {
                unsafe world.session.contribute(
                    $0, to: StreamID(0), at: Block.size, now: world.now, into: &actions)
            }
        }
        #expect(world.opened == [channel(1), channel(5)])
    }

    @Test("7.4 a connection's offsets become the stream's")
    func convertedOffsets() throws {
        let far = 100 * Block.size
        let scene = try ClientScene.delegated()
        scene.world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        scene.world.receive(
            scene.own, .delegated([ByteRange(far / 2, far / 2 + Block.size)], server: ClientWorld.mirrorName))
        scene.world.contribute(Self.mine, scene.stream, ByteRange(far / 2, far / 2 + Block.size))
        #expect(try scene.state.down.contains(ByteRange(far / 2, far / 2 + Block.size)))
        #expect(try scene.state.down.highest == far / 2 + Block.size)
    }

    // MARK: 8. Errors

    @Test("8.1 a secondary's channel that fails costs the stream nothing")
    func channelFails() throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        world.preface(Self.mine, Self.whole, scene.stream)
        world.receive(Self.mine, [0x02, 0x01, 0xFF])
        #expect(world.abandoned[Self.mine] == .protocolViolation)
        #expect(world.ends.isEmpty && world.endedPaths.isEmpty)
        world.data(scene.own, .blocks(4, 5))
        world.tick()
        let lease = try #require(world.leases(ClientWorld.path).first)
        world.data(lease.channel, lease.range, finished: true)
        #expect(scene.hasRead(5))
    }

    @Test("8.2 a secondary that is gone leaves its channels closed, and the primary in its place")
    func secondaryGone() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        scene.world.data(Self.mine, .blocks(2, 3))
        scene.world.handle(.pathDown(ClientWorld.mirrorPath))
        #expect(try scene.state.contributions.isEmpty)
        #expect(scene.world.expirations == 1)
        scene.world.tick()
        #expect(scene.world.leases(ClientWorld.path).map(\.range) == [.blocks(2, 4)])
    }

    @Test("8.3 corrupted data of a secondary is rejected without harm to the others")
    func corrupted() throws {
        // The sum is not that of the bytes.
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        scene.world.give(Self.mine, .blocks(2, 4), sum: 4_711)
        #expect(scene.world.abandoned[Self.mine] == .integrity)
        #expect(scene.hasRead(2))
        #expect(try scene.state.book.memory == 0)
        // A byte was changed on the way.
        let other = try ClientScene.delegated()
        other.world.preface(Self.mine, Self.whole, other.stream)
        var bytes = other.world.pieceBytes(.blocks(2, 3))
        bytes[bytes.count - 1] ^= 1
        other.world.receive(Self.mine, bytes)
        #expect(other.world.abandoned[Self.mine] == .integrity)
        for scene in [scene, other] {
            scene.world.tick()
            let lease = try #require(scene.world.leases(ClientWorld.path).first)
            scene.world.data(lease.channel, lease.range, finished: true)
            #expect(scene.hasRead(4) && scene.world.ends.isEmpty)
        }
    }

    @Test("8.4 a secondary whose contributions do not match the tags is left out of the stream")
    func isolated() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        let lease = try scene.mirrorLease()
        let range = ByteRange(lease.range.start, lease.range.start + 2 * Block.size)
        world.preface(Self.mine, .contribution(offset: range.start, length: range.count), scene.stream)
        world.data(Self.mine, range, lies: true)
        world.denySums(scene.own)
        #expect(world.events.contains(.replicaEnded(scene.stream, ClientWorld.mirror, .mismatches(2))))
        world.tick()
        let again = try #require(world.leases(ClientWorld.path).first)
        #expect(again.range.start == range.start)
        #expect(world.ends.isEmpty)
    }

    @Test("8.5 what fails is told with stream, server, offset and reason")
    func told() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, Self.whole, scene.stream)
        scene.world.give(Self.mine, .blocks(2, 4), sum: 4_711)
        let failure = Event.contributionFailed(
            scene.stream, ClientWorld.mirror, offset: 2 * Block.size, .integrity)
        #expect(scene.world.failures == [failure])
        let expired = Event.delegationExpired(
            scene.stream, ClientWorld.mirror, offset: 2 * Block.size, length: 2 * Block.size)
        #expect(scene.world.events.contains(expired))
    }

    // MARK: 10. Limits

    @Test("10.2 many channels of a secondary take so much memory at most")
    func bounded() throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        let piece = world.pieceBytes(.blocks(8, 9))
        for number in 0..<1_000 as Range<Int64> {
            world.preface(
                channel(4 * number + 1, on: 2), .contribution(offset: 8 * Block.size, length: Block.size),
                scene.stream)
            for _ in 0..<8 { world.receive(channel(4 * number + 1, on: 2), piece) }
        }
        let held = world.session.waiting.reduce(0) { $0 + $1.held.count }
        #expect(held <= ClientLimit.waitingBytes && held > ClientLimit.waitingBytes / 2)
        #expect(world.session.waiting.count <= ClientLimit.waiting)
        #expect(world.session.channels.count <= ClientLimit.waiting + 1)
        // Blocks that are here already are not held twice.
        world.receive(scene.own, .delegated([.blocks(8, 9)], server: ClientWorld.mirrorName))
        #expect(try scene.state.book.memory <= Block.size)
    }

    @Test("10.3 a verified block is taken over, not copied, and its copy is gone")
    func takenOver() throws {
        let scene = try ClientScene.delegated(.blocks(2, 34))
        scene.world.programsRead = false
        for block in 2..<34 as Range<UInt64> {
            scene.world.contribute(
                channel(Int64(block) * 4 + 1, on: 2), scene.stream, .blocks(block, block + 1))
            #expect(try scene.state.book.memory == 0)
        }
        #expect(try scene.state.down.memory == 32 * Int(Block.size))
        #expect(try scene.state.delegations.count <= 1 && scene.state.contributions.isEmpty)
    }

    // MARK: Delegation at the gateway

    @Test("A primary delegates what it has not begun, keeps it for leases, and leaves it out of its sum")
    func delegates() throws {
        let world = GatewayWorld()
        world.up()
        world.open(channel(4), StreamID(0))
        world.receive(channel(4), .window(read: 0, maximum: 1 << 20))
        world.give(StreamID(0), Int(8 * Block.size))
        world.pull(room: Int(Block.size))
        let granted = world.call {
            world.session.delegate(
                .blocks(0, 4), of: StreamID(0), to: ClientWorld.mirrorName, now: world.now, into: &$0)
        }
        #expect(granted == [.blocks(1, 4)])
        world.pull()
        #expect(world.received(channel(4)) == [.blocks(0, 1), .blocks(4, 8)])
        world.lease(channel(8), StreamID(0), .blocks(1, 4))
        world.pull()
        #expect(world.received(channel(8)) == [.blocks(1, 4)])
        // Attached anew: it stays delegated, and is told again.
        world.preface(channel(12), StreamID(0), .attach(epoch: 1, received: Block.size))
        #expect(
            world.frames(channel(12)).contains(.delegated([.blocks(1, 4)], server: ClientWorld.mirrorName)))
        world.handle(.localEnded(StreamID(0), closed: false))
        let sum =
            GatewayChecks.fin(.blocks(0, 8), GatewayWorld.content)
            &- GatewayChecks.fin(.blocks(1, 4), GatewayWorld.content)
        #expect(
            world.frames(channel(12)).contains(.fin(base: 0, final: 8 * Block.size, sum: sum, closed: false)))
    }
}
