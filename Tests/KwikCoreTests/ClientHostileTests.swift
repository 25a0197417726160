import Testing

@testable import KwikCore

private let far = WireLimit.maximumOffset

/// A server says what it likes: it may harm its own stream, never the engine or another stream.
@Suite struct ClientHostileTests {
    @Test("DATA and FIN before OPENED are refused; the server is asked again, but not for ever")
    func beforeOpened() throws {
        let world = ClientWorld()
        world.up()
        let stream = try world.open()
        for attempt in 0...ClientLimit.reopenings {
            let own = try world.main()
            #expect(own.number == 4 + 4 * Int64(attempt))
            if attempt % 2 == 0 { world.data(own, ByteRange(0, 10)) } else { world.fin(own, 0) }
            #expect(world.abandoned[own] == .protocolViolation)
        }
        #expect(world.answers[stream] == [104] && world.taken[stream] == nil)
        #expect(world.session.channels.isEmpty)
    }

    @Test("A program's stream goes on whatever a replica's server says on its channels")
    func replicaFrames() throws {
        let frames: [Frame] = [
            .carve(sequence: 1, [.blocks(0, 1)]), .carved(sequence: 1, []), .end, .open([]),
            .tag(firstBlock: 3, [BlockTag(high: 1, low: 1)]), .sumRequest(firstBlock: 0, count: 1),
            .reset(errno: 104, offset: 0), .opened(errno: 111, local: [], peer: []),
            .window(read: 1 << 40, maximum: far),
        ]
        for frame in frames {
            let scene = try ClientScene.engaged()
            scene.world.receive(try scene.replica(), frame)
            #expect(scene.world.events.contains(.replicaEnded(scene.stream, ClientWorld.mirror, .failed)))
            #expect(scene.world.ends[scene.stream] == nil)
            #expect(scene.world.leases(ClientWorld.mirrorPath).isEmpty)
        }
        for frame: Frame in [.fin(base: 0, final: 5, sum: 1, closed: true), .urgent(offset: far)] {
            let scene = try ClientScene.engaged()
            scene.world.receive(try scene.replica(), frame)
            #expect(scene.world.ends[scene.stream] == nil)
            #expect(try scene.state.isEngaged)
        }
    }

    @Test("A replica may not acknowledge upstream bytes that it was not sent")
    func replicaAcknowledges() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        world.write(scene.stream, 300_000)
        world.receive(try scene.replica(), .window(read: 300_000, maximum: 1 << 20))
        #expect(world.events.contains(.replicaEnded(scene.stream, ClientWorld.mirror, .failed)))
        world.pull()
        world.pull(ClientWorld.mirrorPath)
        #expect(world.upstream(scene.own).last?.end == 300_000)
    }

    @Test("Frames that only clients send end the primary's channel")
    func wrongDirection() throws {
        let frames: [Frame] = [
            .carve(sequence: 1, []), .open([]), .option(SocketOption(level: 1, name: 1, value: [])), .end,
            .sumRequest(firstBlock: 0, count: 1),
        ]
        for frame in frames {
            let scene = try ClientScene.connected()
            try scene.world.insist(scene.stream) { scene.world.receive($0, frame) }
            #expect(scene.world.abandoned[scene.own] == .protocolViolation)
        }
    }

    @Test("Numbers at the end of what integers hold trap nothing")
    func hugeNumbers() throws {
        let frames: [Frame] = [
            .progress(produced: far, ended: false, applicationLimited: false),
            .progress(produced: far, ended: true, applicationLimited: true),
            .window(read: 0, maximum: far), .carved(sequence: far, [.blocks(0, 1)]),
            .tag(firstBlock: WireLimit.blocks - 1, [BlockTag(high: 0, low: 0)]),
            .fin(base: 0, final: far, sum: .max, closed: true), .reset(errno: .max, offset: far),
            .urgent(offset: far), .sums(firstBlock: WireLimit.blocks - 1, [1]),
        ]
        for frame in frames {
            let scene = try ClientScene.engaged()
            let world = scene.world
            world.receive(scene.own, frame)
            world.write(scene.stream, 100_000)
            world.pass(.milliseconds(300))
            world.pull()
            world.grantCarves(scene.own, of: scene.stream)
            world.handle(.pathDown(ClientWorld.path))
            world.up(PathID(9))
            world.pass(.milliseconds(100), on: [PathID(9), ClientWorld.mirrorPath])
            #expect(world.released.isEmpty)
            #expect(try scene.state.book.leases.count < 64)
        }
    }

    @Test("FIN again, or FIN that contradicts what was said: base, end, sum")
    func contradictions() throws {
        let sum = GatewayChecks.fin(ByteRange(0, 500), GatewayWorld.content)
        let wrong: [Frame] = [
            .fin(base: 0, final: 501, sum: sum, closed: false),
            .fin(base: 0, final: 499, sum: sum, closed: false),
            .fin(base: 0, final: 500, sum: sum + 1, closed: false),
            .fin(base: 1, final: 500, sum: sum, closed: false),
        ]
        for frame in wrong {
            let scene = try ClientScene.connected()
            scene.world.data(scene.own, ByteRange(0, 100))
            scene.world.fin(scene.own, 500)
            scene.world.fin(scene.own, 500)
            #expect(scene.world.abandoned[scene.own] == nil)
            scene.world.receive(scene.own, frame)
            #expect(scene.world.abandoned[scene.own] == .protocolViolation)
        }
        for produced in [499, 501] as [UInt64] {
            let scene = try ClientScene.connected()
            scene.world.receive(
                scene.own, .progress(produced: produced, ended: true, applicationLimited: false))
            scene.world.fin(scene.own, 500)
            #expect(scene.world.abandoned[scene.own] == .protocolViolation)
        }
    }

    @Test("Bytes past the end end the channel that brings them")
    func pastTheEnd() throws {
        let scene = try ClientScene.connected()
        scene.world.receive(scene.own, .progress(produced: 500, ended: true, applicationLimited: false))
        scene.world.receive(scene.own, .progress(produced: 900, ended: true, applicationLimited: false))
        scene.world.data(scene.own, ByteRange(0, 501))
        #expect(scene.world.abandoned[scene.own] == .protocolViolation)
    }

    /// Blocks were carved up to an end within a block; the end moved; the next attach could not be written.
    @Test("An end that moves does not spoil what is carved anew")
    func movingEnd() throws {
        let scene = try ClientScene.engaged(produced: 700_001, ended: true)
        let world = scene.world
        world.up(PathID(3))
        world.receive(scene.own, .progress(produced: 4 << 20, ended: false, applicationLimited: false))
        world.pass(.milliseconds(50), on: [ClientWorld.path, ClientWorld.mirrorPath, PathID(3)])
        world.handle(.pathDown(ClientWorld.path))
        let attached = try world.main(PathID(3))
        #expect(world.frames(attached).contains { if case .carve = $0 { true } else { false } })
        #expect(try scene.state.progress == 700_001)
    }

    // MARK: Memory

    @Test("Tags of blocks that nobody asked for are forgotten at once")
    func tagFlood() throws {
        let scene = try ClientScene.engaged()
        let carved = try scene.state.book.claims.count / Block.size
        for first in stride(from: UInt64(0), to: 1 << 20, by: 1_024) {
            let tags = Array(repeating: BlockTag(high: 1, low: first), count: 1_024)
            scene.world.receive(scene.own, .tag(firstBlock: first, tags))
        }
        #expect(try scene.state.book.tags.count <= Int(carved))
    }

    @Test("Tags of blocks that are then refused are forgotten with them")
    func tagThenRefuse() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        for case .carve(let sequence, let ranges) in world.frames(scene.own) {
            for range in ranges { world.receive(scene.own, ClientWorld.tags(scene.stream, range)) }
            world.receive(scene.own, .carved(sequence: sequence, []))
        }
        #expect(try scene.state.book.tags.isEmpty)
        #expect(try scene.state.book.claims.isEmpty)
    }

    /// Each such block left 16 KiB behind, for as long as the stream lived.
    @Test("A primary that sends what it let be carved leaves no copies behind")
    func carvedAndSent() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream, tagged: false)
        for lease in world.leases(ClientWorld.mirrorPath) {
            world.data(lease.channel, lease.range, finished: true)
        }
        #expect(try scene.state.book.memory > 0)
        world.data(scene.own, ByteRange(2 * Block.size, Tuning.minimumWindow))
        #expect(world.taken[scene.stream]?.count == Int(Tuning.minimumWindow))
        #expect(try scene.state.book.memory == 0)
    }

    @Test("CARVED for what was never asked changes nothing")
    func strangeCarved() throws {
        let scene = try ClientScene.engaged()
        let before = try scene.state.book.claims
        scene.world.receive(scene.own, .carved(sequence: 4_711, [.blocks(0, 200)]))
        #expect(try scene.state.book.claims == before)
        // More than was asked is no more than was asked.
        for case .carve(let sequence, _) in scene.world.frames(scene.own) {
            scene.world.receive(scene.own, .carved(sequence: sequence, [.blocks(0, 1_000)]))
        }
        #expect(try scene.state.book.claims == before)
    }

    // MARK: Channels of the server's

    @Test("Public streams may be opened by a primary alone; others lose the path")
    func serverStreams() throws {
        let scene = try ClientScene.engaged()
        scene.world.preface(channel(1), .serverStream)
        #expect(scene.world.offered == [StreamID(1)])
        scene.world.call { scene.world.session.refuse(StreamID(1), .refusedByPolicy, into: &$0) }
        #expect(scene.world.abandoned[channel(1)] == .refusedByPolicy)
        #expect(scene.world.endedPaths.isEmpty)
        scene.world.preface(channel(1, on: 2), .serverStream)
        #expect(scene.world.endedPaths == [ClientWorld.mirrorPath: .refusedByPolicy])
        scene.world.preface(channel(5), .contribution(offset: 1 << 15, length: 10), scene.stream)
        #expect(scene.world.abandoned[channel(5)] == .refusedByPolicy)
        scene.world.preface(channel(9), .replica)
        #expect(scene.world.abandoned[channel(9)] == .protocolViolation)
    }

    @Test("Channels that a server opens and says nothing on are so many at most")
    func silentChannels() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        for number in 0..<5_000 as Range<Int64> { world.receive(channel(4 * number + 1), [0x4B]) }
        #expect(world.session.channels.count == ClientLimit.foreignChannels + 1)
        #expect(world.abandoned[channel(4 * 4_999 + 1)] == .resourceLimit)
        // Those that end make room for others, and all of them go with their path.
        world.handle(.channelReset(channel(1), code: 0))
        world.handle(.channelClosed(channel(5)))
        world.receive(channel(9), [UInt8](), finished: true)
        #expect(world.session.foreignChannels.count == ClientLimit.foreignChannels - 3)
        world.handle(.pathDown(ClientWorld.path))
        #expect(world.session.foreignChannels.isEmpty && world.session.channels.isEmpty)
    }

    @Test("A channel on which no whole preface comes makes room for others after a while")
    func prefaceNotCompleted() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.receive(channel(1), [0x4B])
        world.receive(channel(1), [4])
        let due = world.now + ClientLimit.prefaceTime
        #expect(world.session.deadline.map { $0 <= due } ?? false)
        world.tick(after: ClientLimit.prefaceTime - .milliseconds(1))
        #expect(world.session.foreignChannels == [channel(1)])
        world.tick(after: .milliseconds(1))
        #expect(world.session.foreignChannels.isEmpty)
        #expect(world.abandoned == [channel(1): .protocolViolation])
        #expect(world.events.contains(.malformed(channel(1), .truncated)))
        #expect(try scene.state.own == scene.own)
    }

    @Test("Frames that a server does not complete are so many at most, and end none of another's channels")
    func framesNotCompleted() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        let mirror = try #require(world.session.path(ClientWorld.mirrorPath))
        let primary = try #require(world.session.path(ClientWorld.path))
        let part = try #require(scene.state.parts.first)
        // A TAG of 64 KiB, but for its last byte.
        let frame: [UInt8] = [8, 0x80, 0, 0xFF, 0xFF] + [UInt8](repeating: 0, count: 65_534)
        world.receive(part.channel, frame)
        #expect(mirror.unfinished.bytes == 65_534)
        #expect(primary.unfinished.bytes == 0)
        #expect(world.abandoned[part.channel] == nil)
        let others = UnfinishedFrame(of: mirror.unfinished)
        others.has(ClientLimit.unfinishedFrames)
        world.receive(scene.own, [8, 0x80, 0, 0xFF, 0xFF, 0])
        #expect(world.abandoned[scene.own] == nil)
        world.receive(part.channel, [0])
        #expect(world.abandoned[part.channel] != nil)
        #expect(mirror.unfinished.bytes == ClientLimit.unfinishedFrames)
    }

    @Test("Words for channels, streams and paths that are not there are lost")
    func unknown() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        for id in [channel(400), channel(4, on: 77), channel(2)] {
            world.data(id, ByteRange(0, 10), finished: true)
            world.handle(.channelReset(id, code: 1))
            world.handle(.channelClosed(id))
        }
        world.handle(.heard(PathID(77)))
        world.handle(.pathDown(PathID(77)))
        world.handle(.localWrote(StreamID(98), count: 5))
        world.handle(.localEnded(StreamID(98), closed: true))
        world.handle(.localDeaf(StreamID(98)))
        #expect(world.abandoned.isEmpty && world.released.isEmpty)
        #expect(world.session.channels.count == 1)
    }
}
