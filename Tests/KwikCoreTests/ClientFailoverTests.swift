import Testing

@testable import KwikCore

private let path = ClientWorld.path
private let other = PathID(3)
private let mirrorPath = ClientWorld.mirrorPath
private let patience = Interval.milliseconds(200)

extension Event {
    fileprivate var isReattachment: Bool { if case .reattached = self { true } else { false } }
}

@Suite struct ClientFailoverTests {
    @Test("A path that is gone: the stream is attached by another, from what is here on")
    func reattach() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.data(scene.own, ByteRange(0, 1_000))
        world.up(other)
        world.handle(.pathDown(path))
        let attached = try world.main(other)
        #expect(world.preface(attached)?.role == .attach(epoch: 1, received: 1_000))
        #expect(world.frames(attached).first?.windowFields?.start == 1_000)
        world.data(attached, ByteRange(1_000, 2_000))
        world.fin(attached, 2_000)
        #expect(world.taken[scene.stream] == GatewayWorld.content(ByteRange(0, 2_000)))
        #expect(world.ends[scene.stream] == [.finished(closed: false)])
    }

    @Test("After an attach upstream bytes go on from where the primary stands, not before it said so")
    func upstreamAfterAttach() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.write(scene.stream, 5_000)
        world.pull()
        world.up(other)
        world.handle(.pathDown(path))
        world.pull(other)
        let attached = try world.main(other)
        #expect(world.upstream(attached).isEmpty)
        world.receive(attached, .window(read: 3_000, maximum: 1 << 20))
        world.pull(other)
        #expect(world.upstream(attached) == [ByteRange(3_000, 5_000)])
    }

    @Test("Silence makes a path suspect: its streams move, and late bytes of the old channel are lost")
    func suspect() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.up(other)
        world.write(scene.stream, 100)
        world.pull()
        world.pass(patience, on: [other])
        #expect(world.probes.contains(path))
        let attached = try world.main(other)
        #expect(world.preface(attached)?.role == .attach(epoch: 1, received: 0))
        world.data(scene.own, ByteRange(0, 10))
        #expect(world.taken[scene.stream] == nil)
        // It may speak again: nothing moves back.
        world.handle(.heard(path))
        world.pass(patience, on: [path, other])
        #expect(world.events.filter { $0.isReattachment }.count == 1)
    }

    @Test("The path that takes a stream over is dead itself: its silence is noticed, and a third one taken")
    func attachedIntoTheDark() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        let third = PathID(9)
        world.up(other)
        world.up(third)
        world.sample(third, srtt: .milliseconds(20))
        world.pass(.milliseconds(50), on: [path, other, third])
        world.handle(.pathDown(path))
        #expect(world.preface(try world.main(other))?.role == .attach(epoch: 1, received: 0))
        world.pass(.milliseconds(100), on: [third])
        #expect(world.preface(try world.main(third))?.role == .attach(epoch: 2, received: 0))
    }

    @Test("A path is failed after five seconds of suspicion, and ended")
    func failed() throws {
        let scene = try ClientScene.connected()
        scene.world.write(scene.stream, 100)
        scene.world.pass(.milliseconds(5_400), on: [])
        #expect(scene.world.endedPaths == [path: ErrorCode.none])
        #expect(scene.world.session.paths.isEmpty && scene.world.session.channels.isEmpty)
        #expect(scene.world.ends[scene.stream] == nil)
    }

    @Test("A primary that stays silent: ETIMEDOUT after 30 s, no sooner, and not if it is back")
    func silence() throws {
        for back in [false, true] {
            let scene = try ClientScene.connected()
            let world = scene.world
            world.handle(.pathDown(path))
            world.tick(after: .milliseconds(29_900))
            #expect(world.ends[scene.stream] == nil)
            if back { world.up(other) }
            world.tick(after: .milliseconds(100))
            #expect(world.ends[scene.stream] == (back ? nil : [.aborted(errno: 110)]))
        }
    }

    @Test("A gateway that is another process knows nothing of an answered stream: the program sees a reset")
    func restarted() throws {
        let scene = try ClientScene.connected()
        scene.world.handle(.pathDown(path))
        scene.world.up(other, resumed: false)
        #expect(scene.world.ends[scene.stream] == [.aborted(errno: 104)])
    }

    /// House bug H4.
    @Test("A stream that was not answered yet is opened anew, whatever gateway is back")
    func openedAnew() throws {
        for resumed in [false, true] {
            let world = ClientWorld()
            world.up()
            let stream = try world.open()
            world.handle(.pathDown(path))
            world.tick()
            world.up(other, resumed: resumed)
            let own = try world.main(other)
            #expect(world.preface(own)?.role == .stream)
            world.receive(own, .opened(errno: 0, local: [], peer: []))
            #expect(world.answers[stream] == [0])
        }
    }

    /// Seed 90542 of the simulation: its time was up before the silent path was given up.
    @Test("A stream that was not answered yet takes a new path where its own is silent")
    func openedBesideSilence() throws {
        let world = ClientWorld()
        world.up()
        let stream = try world.open()
        world.pass(.milliseconds(400), on: [])
        #expect(world.answers[stream] == nil)
        world.up(other, resumed: false)
        let own = try world.main(other)
        #expect(world.preface(own)?.role == .stream)
        world.receive(own, .opened(errno: 0, local: [], peer: []))
        #expect(world.answers[stream] == [0])
    }

    /// House bug S6: it waited for ever.
    @Test("A stream opened while the only path is suspect is given it when it revives")
    func openedWhileSuspect() throws {
        let first = try ClientScene.connected()
        let world = first.world
        world.write(first.stream, 100)
        world.pass(patience, on: [])
        let stream = try world.open()
        #expect(world.session.stream(stream)?.own == nil)
        world.handle(.heard(path))
        let own = try #require(world.session.stream(stream)?.own)
        #expect(world.preface(own) == Preface(stream: stream, role: .stream))
    }

    /// House bug S5.
    @Test("FIN is said again on the channel that is attached after it")
    func finAgain() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.data(scene.own, ByteRange(0, 100))
        world.fin(scene.own, 200)
        world.up(other)
        world.handle(.pathDown(path))
        let attached = try world.main(other)
        world.data(attached, ByteRange(100, 200))
        world.fin(attached, 200)
        #expect(world.abandoned[attached] == nil)
        #expect(world.ends[scene.stream] == [.finished(closed: false)])
    }

    /// House bug S3: the gateway had forgotten it, and the program lost what it had not read yet.
    /// FIN went out on a channel that had ended (seed 62866).
    @Test("Whole before the primary has answered the attach: FIN goes once more, and then the channel ends")
    func wholeBeforeTheAnswer() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.up(other)
        world.data(scene.own, ByteRange(0, 1_000))
        world.handle(.localEnded(scene.stream, closed: false))
        world.pull()
        world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        world.handle(.pathDown(path))
        let attached = try world.main(other)
        world.fin(attached, 1_000)
        #expect(!world.finished.contains(attached))
        world.receive(attached, .window(read: 0, maximum: 1 << 20))
        world.pull(other)
        #expect(world.frames(attached).contains { if case .fin = $0 { true } else { false } })
        #expect(world.finished.contains(attached))
    }

    @Test("A stream that is whole both ways is not attached again")
    func wholeStaysWhole() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.programsRead = false
        world.data(scene.own, ByteRange(0, 100))
        world.fin(scene.own, 100, closed: true)
        world.handle(.localEnded(scene.stream, closed: false))
        world.pull()
        world.receive(scene.own, [UInt8](), finished: true)
        world.handle(.channelClosed(scene.own))
        world.up(other)
        world.handle(.pathDown(path))
        world.pass(patience, on: [other])
        #expect(!world.events.contains { $0.isReattachment })
        world.programTakes(scene.stream)
        #expect(world.taken[scene.stream] == GatewayWorld.content(ByteRange(0, 100)))
        #expect(world.ends[scene.stream] == [.finished(closed: true)])
    }

    @Test("An attach carves anew what others have or were asked for")
    func carvedAnew() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream, tagged: false)
        let lease = try scene.mirrorLease()
        world.data(lease.channel, lease.range, finished: true)
        let claims = try scene.state.book.claims.ranges
        world.up(other)
        world.handle(.pathDown(path))
        let attached = try world.main(other)
        let carved = world.frames(attached).compactMap { frame -> [ByteRange]? in
            if case .carve(_, let ranges) = frame { ranges } else { nil }
        }
        #expect(carved == [claims])
        // The tags that were lost with the path come now.
        world.data(attached, ByteRange(2 * Block.size, lease.range.start))
        world.grantCarves(attached, of: scene.stream)
        #expect(world.taken[scene.stream] == GatewayWorld.content(ByteRange(0, lease.range.end)))
    }

    @Test("A replica's path that falls silent gives its leases to others at once, and is no fault of its own")
    func silentReplica() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        world.pass(patience, on: [path])
        #expect(world.leases(mirrorPath).isEmpty && !world.leases(path).isEmpty)
        #expect(world.session.path(mirrorPath)?.outstanding == 0)
        world.handle(.heard(mirrorPath))
        #expect(try scene.state.isEngaged)
        #expect(world.ends[scene.stream] == nil)
    }

    /// The one that the stream was on fell silent after it, and is only suspect.
    @Test("A path to a silent primary that speaks again takes the stream")
    func revived() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.up(other)
        world.write(scene.stream, 100)
        world.pull()
        world.pass(patience, on: [other])
        #expect(try scene.state.own?.path == other)
        world.pass(.milliseconds(300), on: [])
        #expect(try scene.state.silentSince != nil)
        world.handle(.heard(path))
        #expect(try scene.state.own?.path == path)
        #expect(try scene.state.silentSince == nil)
    }

    /// Seed 9011: it waited for the silent path to fail, for five seconds, and its program only for 4.6.
    @Test("A new path to a silent primary takes the stream")
    func newPathToASilentPrimary() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.write(scene.stream, 100)
        world.pull()
        world.pass(patience, on: [])
        #expect(world.events.filter(\.isReattachment).isEmpty)
        world.up(other)
        let attached = try world.main(other)
        #expect(world.preface(attached)?.role == .attach(epoch: 1, received: 0))
        world.pass(.seconds(40), on: [other])
        #expect(world.ends[scene.stream] == nil)
    }

    @Test("What goes out once more goes before the end of the channel, also where the answer is whole")
    func repeatedBeforeTheEnd() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        world.fin(scene.own, 0)
        world.write(scene.stream, Int(3 * Block.size))
        world.pull()
        world.handle(.localEnded(scene.stream, closed: false))
        world.handle(.pathDown(ClientWorld.path))
        world.up(PathID(9), resumed: true)
        let own = try world.main(PathID(9))
        world.receive(own, .window(read: 0, maximum: 1 << 20))
        for _ in 0..<4 { world.pull(PathID(9), room: 1_000) }
        #expect(world.upstream(own) == [.blocks(0, 1), .blocks(1, 2), .blocks(2, 3)])
        #expect(world.frames(own).contains { $0.isFin } && world.finished.contains(own))
    }
}
