import Testing

@testable import KwikCore

private let origin = ClientWorld.path
private let mirrors = [PathID(2), PathID(3), PathID(4)]
private let patience = Interval.milliseconds(250)

/// A stream under `quorum` whose primary is silent, and who goes on in its place.
private struct Bereft {
    let scene: ClientScene
    let front: UInt64
    var world: ClientWorld { scene.world }

    /// Each of `count` replicas has the request; what the first was leased matched, if it was asked to.
    init(mirrors count: Int = 2, matched: Bool = true, produced: UInt64 = 4 << 20) throws {
        scene = try ClientScene.connected(ClientSettings(silentPrimary: .quorum))
        let world = scene.world
        for (index, path) in mirrors.prefix(count).enumerated() {
            world.up(path, ServerID(UInt32(index) + 2), .replica)
        }
        world.data(scene.own, .blocks(0, 2))
        world.receive(scene.own, .progress(produced: produced, ended: false, applicationLimited: false))
        world.pass(.milliseconds(110), on: [origin] + mirrors)
        for path in mirrors.prefix(count) {
            let replica = try world.main(path)
            world.receive(replica, .opened(errno: 0, local: [], peer: []))
            world.receive(replica, .progress(produced: produced, ended: false, applicationLimited: false))
        }
        world.tick()
        let lease = try #require(world.leases(mirrors[0]).first)
        world.data(scene.own, ByteRange(2 * Block.size, lease.range.start))
        if matched {
            world.grantCarves(scene.own, of: scene.stream)
            world.data(lease.channel, lease.range, finished: true)
        }
        front = try scene.state.down.front
    }

    /// The primary is silent for long enough.
    func lose() -> Bereft {
        world.handle(.pathDown(origin))
        world.pass(patience, on: mirrors)
        return self
    }

    func channel(_ index: Int) throws -> ChannelID { try world.main(mirrors[index]) }

    var taken: UInt64 { UInt64(world.taken[scene.stream]?.count ?? 0) }
    var quorums: [Event] { world.events.filter { if case .quorum = $0 { true } else { false } } }
    var end: [StreamEnd]? { world.ends[scene.stream] }

    func resets(_ channel: ChannelID) -> Bool {
        world.frames(channel).contains { if case .reset = $0 { true } else { false } }
    }
}

@Suite struct ClientQuorumTests {
    @Test("Two replicas are attached where the program is, and it is shown what both have sent")
    func agreement() throws {
        let bereft = try Bereft(mirrors: 3).lose()
        let (world, front) = (bereft.world, bereft.front)
        #expect(bereft.quorums == [.quorum(bereft.scene.stream, ServerID(2), ServerID(3), offset: front)])
        let (lead, second) = (try bereft.channel(0), try bereft.channel(1))
        #expect(world.preface(lead)?.role == .attach(epoch: 1, received: front))
        #expect(world.preface(second)?.role == .attach(epoch: 2, received: front))
        #expect(world.preface(try bereft.channel(2))?.role == .replica)
        #expect(world.frames(second).contains { $0.windowFields?.start == front })
        world.data(lead, ByteRange(front, front + 40_000))
        #expect(bereft.taken == front)
        world.data(second, ByteRange(front, front + 10_000))
        #expect(bereft.taken == front + 10_000)
        world.data(second, ByteRange(front + 10_000, front + 60_000))
        #expect(bereft.taken == front + 40_000)
        world.data(lead, ByteRange(front + 40_000, front + 50_000))
        #expect(bereft.taken == front + 50_000)
        #expect(world.taken[bereft.scene.stream] == GatewayWorld.content(ByteRange(0, front + 50_000)))
        #expect(world.leases(mirrors[2]).isEmpty)
    }

    @Test("A byte on which they differ ends the stream, and is not shown")
    func disagreement() throws {
        for liesFirst in [true, false] {
            let bereft = try Bereft().lose()
            let (world, front) = (bereft.world, bereft.front)
            let (lead, second) = (try bereft.channel(0), try bereft.channel(1))
            for channel in [lead, second] { world.data(channel, ByteRange(front, front + 1_000)) }
            world.data(lead, ByteRange(front + 1_000, front + 2_000), lies: liesFirst)
            world.data(second, ByteRange(front + 1_000, front + 2_000), lies: !liesFirst)
            let told = Event.quorumDisagreed(
                bereft.scene.stream, ServerID(2), ServerID(3), offset: front + 1_000)
            #expect(world.events.contains(told))
            #expect(bereft.end == [.aborted(errno: 104)])
            #expect(bereft.taken == front + 1_000)
            #expect(bereft.resets(lead) && bereft.resets(second))
            #expect(world.finished.isSuperset(of: [lead, second]))
        }
    }

    @Test("The end is shown once both have said it, and their sums are right")
    func end() throws {
        for (wrong, expected) in [(false, StreamEnd.finished(closed: false)), (true, .aborted(errno: 104))] {
            let bereft = try Bereft().lose()
            let (world, front) = (bereft.world, bereft.front)
            let (lead, second) = (try bereft.channel(0), try bereft.channel(1))
            for channel in [lead, second] { world.data(channel, ByteRange(front, front + 20_000)) }
            world.fin(lead, front + 20_000, base: front)
            #expect(bereft.end == nil)
            if wrong {
                world.receive(second, .fin(base: front, final: front + 20_000, sum: 1, closed: false))
            } else {
                world.fin(second, front + 20_000, base: front)
            }
            #expect(bereft.end == [expected])
        }
    }

    @Test("Who ends where the other goes on differs from it")
    func ends() throws {
        for isLeads in [true, false] {
            let bereft = try Bereft().lose()
            let (world, front) = (bereft.world, bereft.front)
            let channels = [try bereft.channel(0), try bereft.channel(1)]
            world.fin(channels[isLeads ? 0 : 1], front + 100, base: front)
            world.data(channels[isLeads ? 1 : 0], ByteRange(front, front + 101))
            #expect(bereft.end == [.aborted(errno: 104)])
            #expect(bereft.taken == front)
        }
    }

    @Test("The second falls silent: a third takes its place, from what was agreed on")
    func third() throws {
        let bereft = try Bereft(mirrors: 3).lose()
        let (world, front) = (bereft.world, bereft.front)
        let lead = try bereft.channel(0)
        world.data(lead, ByteRange(front, front + 5_000))
        world.data(try bereft.channel(1), ByteRange(front, front + 2_000))
        world.pass(.seconds(5), on: [mirrors[0], mirrors[2]])
        #expect(bereft.quorums.count == 2)
        let third = try bereft.channel(2)
        #expect(world.preface(third)?.role == .attach(epoch: 3, received: front + 2_000))
        world.data(third, ByteRange(front + 2_000, front + 4_000))
        #expect(bereft.taken == front + 4_000)
        #expect(try bereft.channel(0) == lead)
    }

    @Test("The lead falls silent: the second goes on from what it has sent, with a third beside it")
    func leadLost() throws {
        let bereft = try Bereft(mirrors: 3).lose()
        let (world, front) = (bereft.world, bereft.front)
        world.data(try bereft.channel(0), ByteRange(front, front + 1_000))
        world.data(try bereft.channel(1), ByteRange(front, front + 3_000))
        world.handle(.pathDown(mirrors[0]))
        world.pass(patience, on: mirrors)
        let (lead, second) = (try bereft.channel(1), try bereft.channel(2))
        #expect(world.preface(lead)?.role == .attach(epoch: 3, received: front + 3_000))
        #expect(world.preface(second)?.role == .attach(epoch: 4, received: front + 1_000))
        world.data(second, ByteRange(front + 1_000, front + 6_000))
        #expect(bereft.taken == front + 3_000)
        world.data(lead, ByteRange(front + 3_000, front + 6_000))
        world.fin(second, front + 6_000, base: front + 1_000)
        world.fin(lead, front + 6_000, base: front)
        #expect(bereft.end == [.finished(closed: false)])
        #expect(world.taken[bereft.scene.stream] == GatewayWorld.content(ByteRange(0, front + 6_000)))
    }

    @Test("One of two is lost, and no third is there: the stream waits as under fail, goes on if it is back")
    func alone() throws {
        for (index, isBack) in [(0, false), (0, true), (1, false), (1, true)] {
            let bereft = try Bereft().lose()
            let (world, front) = (bereft.world, bereft.front)
            let other = mirrors[1 - index]
            world.handle(.pathDown(mirrors[index]))
            world.pass(.seconds(29), on: [other])
            #expect(bereft.end == nil)
            guard isBack else {
                world.pass(.seconds(2), on: [other])
                #expect(bereft.end == [.aborted(errno: 110)])
                continue
            }
            world.up(PathID(9), ServerID(UInt32(index) + 2), .replica)
            world.pass(.seconds(2), on: [other, PathID(9)])
            #expect(bereft.quorums.count == 1)
            let channels = [try world.main(PathID(9)), try world.main(other)]
            for channel in channels { world.data(channel, ByteRange(front, front + 100)) }
            #expect(bereft.taken == front + 100)
        }
    }

    @Test("Who resets, refuses or forgets the stream is lost for good; a third takes its place")
    func lostForGood() throws {
        for index in [0, 1] {
            let faults: [(ClientWorld, ChannelID) -> Void] = [
                { $0.receive($1, .reset(errno: 104, offset: 1 << 20)) },
                { $0.receive($1, [], finished: true) },
                { $0.receive($1, .end) },
                { $0.handle(.channelReset($1, code: 8)) },
            ]
            for fault in faults {
                let bereft = try Bereft(mirrors: 3).lose()
                let (world, front) = (bereft.world, bereft.front)
                for place in 0..<2 { world.data(try bereft.channel(place), ByteRange(front, front + 50)) }
                fault(world, try bereft.channel(index))
                world.pass(patience, on: mirrors)
                #expect(bereft.quorums.count == 2)
                let channels = [try bereft.channel(1 - index), try bereft.channel(2)]
                for channel in channels { world.data(channel, ByteRange(front + 50, front + 100)) }
                #expect(bereft.taken == front + 100)
            }
        }
    }

    @Test("The only one that is known to have been right is lost before anything was agreed on")
    func unvouched() throws {
        for index in [0, 1] {
            let bereft = try Bereft(mirrors: 3).lose()
            let world = bereft.world
            world.receive(try bereft.channel(index), .reset(errno: 104, offset: 1 << 20))
            world.pass(patience, on: mirrors)
            #expect(bereft.quorums.count == (index == 0 ? 1 : 2))
            guard index == 0 else { continue }
            world.pass(.seconds(30), on: mirrors)
            #expect(bereft.end == [.aborted(errno: 110)])
        }
    }

    @Test("Both receive what the program writes, and its end; the slower one bounds it")
    func upstream() throws {
        let bereft = try Bereft().lose()
        let world = bereft.world
        let (lead, second) = (try bereft.channel(0), try bereft.channel(1))
        world.receive(lead, .window(read: 0, maximum: 1 << 20))
        world.receive(second, .window(read: 0, maximum: 1 << 20))
        #expect(world.write(bereft.scene.stream, 8 << 20) == 1 << 20)
        world.handle(.localEnded(bereft.scene.stream, closed: false))
        for path in mirrors.prefix(2) { world.pull(path, room: 2 << 20) }
        for channel in [lead, second] {
            #expect(world.upstream(channel).last?.end == 1 << 20)
            #expect(world.frames(channel).contains { $0.isFin })
        }
        // What one of them has not acknowledged is kept for it.
        world.receive(lead, .window(read: 1 << 20, maximum: 8 << 20))
        #expect(try bereft.scene.state.up.heldFrom == 0)
        world.receive(second, .window(read: 1 << 20, maximum: 8 << 20))
        #expect(try bereft.scene.state.up.heldFrom == 1 << 20)
    }

    @Test("The second's path is lost and it has another: both directions go on where they were")
    func secondMoves() throws {
        let bereft = try Bereft().lose()
        let (world, front) = (bereft.world, bereft.front)
        let second = try bereft.channel(1)
        world.receive(try bereft.channel(0), .window(read: 0, maximum: 1 << 20))
        world.receive(second, .window(read: 0, maximum: 1 << 20))
        world.write(bereft.scene.stream, 3_000)
        world.pull(mirrors[1])
        world.receive(second, .window(read: 1_000, maximum: 1 << 20))
        world.data(second, ByteRange(front, front + 500))
        world.up(PathID(9), ServerID(3), .replica)
        world.handle(.pathDown(mirrors[1]))
        let moved = try world.main(PathID(9))
        #expect(world.preface(moved)?.role == .attach(epoch: 3, received: front + 500))
        world.pull(PathID(9))
        #expect(world.upstream(moved) == [ByteRange(1_000, 3_000)])
        world.receive(moved, .window(read: 3_000, maximum: 1 << 20))
        world.data(moved, ByteRange(front + 500, front + 900))
        world.data(try bereft.channel(0), ByteRange(front, front + 900))
        #expect(bereft.taken == front + 900)
        #expect(bereft.quorums.count == 1)
    }

    @Test("The second's path is dead when it is chosen: its silence is noticed, and another path taken")
    func secondIsDeadWhenChosen() throws {
        let bereft = try Bereft()
        let (world, front) = (bereft.world, bereft.front)
        // Idle, and the quicker one: the second is attached by it.
        let quicker = PathID(9)
        world.up(quicker, ServerID(3), .replica)
        world.sample(quicker, srtt: .milliseconds(5))
        _ = bereft.lose()
        #expect(world.preface(try world.main(quicker))?.role == .attach(epoch: 2, received: front))
        world.pass(.milliseconds(150), on: mirrors)
        #expect(world.preface(try bereft.channel(1))?.role == .attach(epoch: 3, received: front))
    }

    @Test("Without two replicas, or where nothing of either has matched, nobody goes on")
    func nobody() throws {
        for (count, matched) in [(1, true), (2, false)] {
            let bereft = try Bereft(mirrors: count, matched: matched).lose()
            #expect(bereft.quorums.isEmpty && bereft.end == nil)
            bereft.world.pass(.seconds(30), on: mirrors)
            #expect(bereft.end == [.aborted(errno: 110)])
        }
    }

    @Test("A replica whose last block did not match takes no part")
    func mismatched() throws {
        let bereft = try Bereft()
        let world = bereft.world
        let lease = try #require(world.leases(mirrors[1]).first)
        world.data(lease.channel, ByteRange(lease.range.start, lease.range.start + Block.size), lies: true)
        world.grantCarves(bereft.scene.own, of: bereft.scene.stream)
        _ = bereft.lose()
        #expect(bereft.quorums.isEmpty)
    }

    @Test("A parked replica is asked anew, while it can be given the request")
    func recruited() throws {
        let bereft = try Bereft()
        let world = bereft.world
        let index = try #require(try bereft.scene.state.part(of: ServerID(3)))
        let state = try bereft.scene.state
        world.call { _ in world.session.endPart(index, of: state, .parked, now: world.now) }
        world.handle(.pathDown(origin))
        world.pass(patience, on: mirrors)
        #expect(bereft.quorums.isEmpty)
        let again = try bereft.channel(1)
        #expect(world.preface(again)?.role == .replica)
        world.receive(again, .opened(errno: 0, local: [], peer: []))
        world.pass(patience, on: mirrors)
        #expect(bereft.quorums.count == 1)
    }

    @Test("Credit counts for each of the two, and there is less of it while two copies are held")
    func credit() throws {
        let bereft = try Bereft().lose()
        let world = bereft.world
        let granted = try bereft.scene.state.granted
        let second = try bereft.channel(1)
        world.data(second, ByteRange(granted, granted + 1))
        #expect(world.abandoned[second] == .protocolViolation)
    }

    @Test("One of a quorum may open no public stream; its path stays")
    func publicStream() throws {
        let bereft = try Bereft().lose()
        let world = bereft.world
        let channel = ChannelID(path: mirrors[1], number: 1)
        world.preface(channel, .serverStream, StreamID(1))
        #expect(world.abandoned[channel] == .refusedByPolicy)
        #expect(world.endedPaths.isEmpty && world.offered.isEmpty)
    }

    @Test("Nobody reads any more: nothing is left to agree on, and the lead alone is told the rest")
    func deaf() throws {
        let produced: UInt64 = 768 << 10
        let bereft = try Bereft(produced: produced).lose()
        let (world, front) = (bereft.world, bereft.front)
        let (lead, second) = (try bereft.channel(0), try bereft.channel(1))
        world.data(lead, ByteRange(front, front + 20_000))
        world.handle(.localDeaf(bereft.scene.stream))
        #expect(bereft.resets(second) && world.finished.contains(second))
        world.data(lead, ByteRange(front + 20_000, produced))
        world.fin(lead, produced, base: front)
        #expect(bereft.taken == front)
        #expect(bereft.end == [.finished(closed: false)])
    }

    @Test("A delegation of the lead's is refused: its blocks would come from one server alone")
    func delegation() throws {
        let bereft = try Bereft().lose()
        let lead = try bereft.channel(0)
        let block = Block.roundUp(bereft.front)
        bereft.world.receive(
            lead, .delegated([ByteRange(block, block + Block.size)], server: Array("x".utf8)))
        #expect(bereft.world.abandoned[lead] == .protocolViolation)
    }
}
