import Testing

@testable import KwikCore

private let path = ClientWorld.path
private let reset: StreamEnd = .aborted(errno: 104)

@Suite struct ClientStreamTests {
    @Test("A stream is opened at the origin, and the program is told what its backend said")
    func opening() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        #expect(
            world.items(scene.own).prefix(2) == [
                .preface(Preface(stream: scene.stream, role: .stream)), .frame(.open([])),
            ])
        #expect(world.answers[scene.stream] == [0])
        #expect(scene.own == channel(4))
    }

    @Test("The errno of a refused connect reaches the program; nothing is left of the stream")
    func refusal() throws {
        let world = ClientWorld()
        world.up()
        let stream = try world.open()
        world.receive(try world.main(), .opened(errno: 111, local: [], peer: []))
        world.tick()
        #expect(world.answers[stream] == [111] && world.released == [stream])
        #expect(world.session.channels.isEmpty && world.session.streams.isEmpty)
    }

    @Test("A stream that was refused is not opened anew where its path ends in the same turn")
    func refusalBeforeTheEndOfItsPath() throws {
        let world = ClientWorld()
        world.up()
        let stream = try world.open()
        world.receive(try world.main(), .opened(errno: 111, local: [], peer: []))
        world.handle(.pathDown(ClientWorld.path))
        world.up(PathID(2))
        world.tick()
        #expect(world.answers[stream] == [111] && world.released == [stream])
        #expect(world.opened.count == 1)
    }

    @Test("A turn looks at the streams that something was told of; those that wait are none of its business")
    func idleStreams() throws {
        let world = ClientWorld()
        world.up()
        var streams: [StreamID] = []
        for _ in 0..<100 { streams.append(try world.open()) }
        world.tick()
        #expect(world.session.awake.map(\.id) == streams)
        for channel in world.opened { world.receive(channel, .opened(errno: 0, local: [], peer: [])) }
        world.tick()
        #expect(world.session.awake.isEmpty)
        world.data(world.opened[40], ByteRange(0, 5))
        world.data(world.opened[7], ByteRange(0, 5))
        #expect(world.session.awake.map(\.id) == [streams[7], streams[40]])
        world.tick()
        #expect(world.session.awake.isEmpty)
        // A path that falls silent concerns them all again.
        for _ in 0..<3 { world.tick(after: .seconds(20)) }
        #expect(world.session.awake.map(\.id) == streams)
    }

    @Test("OPENED said twice is heard once")
    func openedTwice() throws {
        let scene = try ClientScene.connected()
        scene.world.receive(scene.own, .opened(errno: 111, local: [], peer: []))
        #expect(scene.world.answers[scene.stream] == [0] && scene.world.released.isEmpty)
    }

    @Test("Bytes come through whole and end when their sum matches")
    func delivery() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        let range = ByteRange(0, 3 * Block.size + 77)
        world.data(scene.own, range)
        world.fin(scene.own, range.end)
        #expect(world.taken[scene.stream] == GatewayWorld.content(range))
        #expect(world.ends[scene.stream] == [.finished(closed: false)])
    }

    @Test("A sum that does not match is a reset, never an end of file")
    func wrongSum() throws {
        let scene = try ClientScene.connected()
        scene.world.data(scene.own, ByteRange(0, 100))
        scene.world.receive(scene.own, .fin(base: 0, final: 100, sum: 1, closed: false))
        #expect(scene.world.ends[scene.stream] == [reset])
        #expect(scene.world.events.contains(.integrityFailure(scene.stream, offset: 100)))
    }

    @Test("A piece that was damaged inside Kwik ends its channel")
    func damagedPiece() throws {
        let scene = try ClientScene.connected()
        var bytes = scene.world.pieceBytes(ByteRange(0, 100))
        bytes[bytes.count - 1] ^= 1
        scene.world.receive(scene.own, bytes)
        #expect(scene.world.abandoned[scene.own] == .integrity)
        #expect(scene.world.events.contains(.integrityFailure(scene.stream, offset: 0)))
        try scene.world.insist(scene.stream) { scene.world.receive($0, bytes) }
        #expect(scene.world.taken[scene.stream] == nil)
    }

    @Test("Bytes before a reset are delivered, then its errno is shown; no errno is ECONNRESET")
    func resets() throws {
        for (told, shown) in [(32, 32), (0, 104)] as [(Int32, Int32)] {
            let scene = try ClientScene.connected()
            let world = scene.world
            world.programsRead = false
            world.data(scene.own, ByteRange(0, 100))
            world.receive(scene.own, .reset(errno: told, offset: 100))
            #expect(world.ends[scene.stream] == nil)
            world.programTakes(scene.stream)
            #expect(world.taken[scene.stream] == GatewayWorld.content(ByteRange(0, 100)))
            #expect(world.ends[scene.stream] == [.aborted(errno: shown)])
        }
    }

    @Test("A reset instead of OPENED is no successful connect, whatever its errno")
    func resetBeforeOpened() throws {
        let world = ClientWorld()
        world.up()
        let stream = try world.open()
        world.receive(try world.main(), .reset(errno: 0, offset: 0))
        #expect(world.answers[stream] == [104])
    }

    @Test("A channel that ends without FIN or RESET is a reset")
    func endWithoutFin() throws {
        let scene = try ClientScene.connected()
        scene.world.data(scene.own, ByteRange(0, 100), finished: true)
        #expect(scene.world.ends[scene.stream] == [reset])
    }

    @Test("A program that reads is granted more; one that does not, no more than a window")
    func windows() throws {
        for reads in [true, false] {
            let scene = try ClientScene.connected()
            let world = scene.world
            world.programsRead = reads
            var next: UInt64 = 0
            for _ in 0..<256 where world.abandoned[scene.own] == nil {
                let granted = try #require(world.frames(scene.own).compactMap(\.windowFields).last)
                guard (next + 1) * Block.size <= granted.end else { break }
                world.data(scene.own, .blocks(next, next + 1))
                next += 1
            }
            #expect(reads ? next == 256 : next * Block.size == Tuning.minimumWindow)
            #expect(world.ends[scene.stream] == nil)
        }
    }

    @Test("Bytes beyond the window end the channel")
    func beyondTheWindow() throws {
        let scene = try ClientScene.connected()
        let last = Tuning.minimumWindow
        scene.world.receive(scene.own, scene.world.pieceBytes(ByteRange(last, last + 1)))
        #expect(scene.world.abandoned[scene.own] == .protocolViolation)
    }

    /// protocol.md §7: SHUT_RD → discard and keep granting.
    @Test("A program that reads no more does not stop its backend")
    func deaf() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.handle(.localDeaf(scene.stream))
        for block in 0..<256 as Range<UInt64> {
            world.data(scene.own, .blocks(block, block + 1))
            #expect(world.abandoned[scene.own] == nil)
        }
        let told = try #require(world.frames(scene.own).compactMap(\.windowFields).last)
        #expect(told.end > 256 * Block.size)
        #expect(world.taken[scene.stream] == nil)
        #expect(try scene.state.down.memory <= Int(Block.size))
    }

    // MARK: Upstream

    @Test("What a program writes goes to the primary, once, as far as it was granted, and FIN behind it")
    func upstream() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        #expect(world.write(scene.stream, 100_000) == 65_536)
        world.pull()
        #expect(world.upstream(scene.own).last?.end == 65_536)
        world.receive(scene.own, .window(read: 65_536, maximum: 1 << 20))
        #expect(world.write(scene.stream, 10) == 10)
        world.handle(.localEnded(scene.stream, closed: false))
        world.pull()
        world.pull()
        #expect(world.upstream(scene.own).map(\.count).reduce(0, +) == 65_546)
        let bytes: (ByteRange) -> [UInt8] = { Array(repeating: 7, count: Int($0.count)) }
        let sum = GatewayChecks.fin(ByteRange(0, 65_546), bytes)
        #expect(
            world.frames(scene.own).filter(\.isFin) == [
                .fin(base: 0, final: 65_546, sum: sum, closed: false)
            ])
        #expect(!world.session.wantsToSend(path))
    }

    @Test("What is held for a primary that does not acknowledge has a limit")
    func heldUpstream() throws {
        let scene = try ClientScene.connected()
        scene.world.receive(scene.own, .window(read: 0, maximum: (1 << 62) - 1))
        scene.world.sample(window: 8 << 20)
        #expect(scene.world.write(scene.stream, 32 << 20) == Int(ClientLimit.upstream))
    }

    /// The bytes were freed, and then pulled: the engine trapped.
    @Test("A primary that acknowledges what it was not sent yet harms nobody")
    func earlyAcknowledgement() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        #expect(world.write(scene.stream, 300_000) == 300_000)
        world.receive(scene.own, .window(read: 200_000, maximum: 1 << 20))
        world.pull()
        #expect(world.upstream(scene.own).first?.start == 200_000)
        #expect(world.upstream(scene.own).last?.end == 300_000)
        world.receive(scene.own, .window(read: 300_001, maximum: 1 << 20))
        #expect(world.abandoned[scene.own] == .protocolViolation)
    }

    // MARK: Ends

    @Test("Both halves closed, the stream is released when the primary has ended its half")
    func fullClose() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.fin(scene.own, 0, closed: true)
        world.handle(.localEnded(scene.stream, closed: true))
        world.pull()
        #expect(world.finished.contains(scene.own))
        world.receive(scene.own, [UInt8](), finished: true)
        world.handle(.channelClosed(scene.own))
        world.tick()
        #expect(world.released == [scene.stream])
        #expect(world.session.channels.isEmpty && world.session.streams.isEmpty)
    }

    /// House bug S7.
    @Test("Nothing is sent for a stream that is released")
    func releasedIsSilent() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.write(scene.stream, 1_000)
        world.handle(.localAborted(scene.stream, errno: 104))
        let said = world.sent[scene.own]
        #expect(world.frames(scene.own).last == .reset(errno: 104, offset: 1_000))
        world.pull()
        world.tick()
        world.pull()
        #expect(world.sent[scene.own] == said && world.finished.contains(scene.own))
    }

    @Test("So many streams, and no more")
    func streamLimit() throws {
        let world = ClientWorld()
        for _ in 0..<ClientLimit.streams { _ = world.openIfPossible() }
        #expect(world.session.streams.count == ClientLimit.streams)
        #expect(world.openIfPossible() == nil)
    }
}
