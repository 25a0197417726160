import Testing

@testable import KwikCore

/// One test per criterion of the specification's chapter on secondary streams, by its number: who may open
/// what, and how bytes of several servers come together. Its other half: SecondaryFaultTests.
@Suite struct SecondaryStreamTests {
    private static let mine = channel(1, on: 2)
    private static let next = channel(5, on: 2)

    // MARK: 1. Who opens streams

    @Test("1.1 a stream that the primary opens is a public stream of the session")
    func primaryOpens() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.preface(channel(1), .serverStream)
        #expect(world.offered == [StreamID(1)])
        #expect(world.call { world.session.accept(StreamID(1), now: world.now, into: &$0) })
        world.data(channel(1), ByteRange(0, 100))
        #expect(world.taken[StreamID(1)] == GatewayWorld.content(ByteRange(0, 100)))
        world.write(StreamID(1), 50)
        world.pull()
        let answers = wireRead(world.sent[channel(1)] ?? [])
        #expect(answers.items.first == .frame(.opened(errno: 0, local: [], peer: [])))
        #expect(answers.items.contains { if case .data = $0 { true } else { false } })
        world.fin(channel(1), 100)
        #expect(world.ends[StreamID(1)] == [.finished(closed: false)])
    }

    /// Seed 38561 of the simulation: it was attached to the other stream of that number.
    @Test("1.1 such a stream ends when another process serves in the place of the one that opened it")
    func primaryRestarts() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.preface(channel(1), .serverStream)
        #expect(world.call { world.session.accept(StreamID(1), now: world.now, into: &$0) })
        world.up(PathID(9), resumed: false)
        #expect(world.ends[StreamID(1)] == [.aborted(errno: 104)])
        #expect(world.ends[scene.stream] == nil)
    }

    @Test("1.1 the gateway's end of it: offered, taken, refused")
    func gatewayOpens() throws {
        let world = GatewayWorld()
        world.up()
        #expect(world.call { world.session.openStream(now: world.now, into: &$0) } == nil)
        world.open(channel(4), StreamID(0))
        let id = try #require(world.call { world.session.openStream(now: world.now, into: &$0) })
        #expect(id == StreamID(1) && world.opened == [channel(1)])
        #expect(world.items(channel(1)) == [.preface(Preface(stream: id, role: .serverStream))])
        world.receive(channel(1), .opened(errno: 0, local: [], peer: []))
        #expect(world.answers[id] == 0)
        world.give(id, 500)
        world.pull()
        #expect(world.received(channel(1)) == [ByteRange(0, 500)])
        let other = try #require(world.call { world.session.openStream(now: world.now, into: &$0) })
        world.handle(.channelReset(channel(5), code: ErrorCode.refusedByPolicy.rawValue))
        #expect(world.answers[other] == 111 && world.released.contains(other))
    }

    @Test("1.2 what a secondary opens is a channel of its own connection, no public stream")
    func secondaryOpens() {
        let world = GatewayWorld(roles: .replica)
        world.up()
        world.open(channel(4), StreamID(0), .replica)
        #expect(world.call { world.session.openStream(now: world.now, into: &$0) } == nil)
        let bytes = GatewayWorld.content(.blocks(2, 3))
        let isTaken = world.call { actions in
            unsafe bytes.withUnsafeBytes {
                unsafe world.session.contribute(
                    $0, to: StreamID(0), at: 2 * Block.size, now: world.now, into: &actions)
            }
        }
        #expect(isTaken && world.opened == [channel(1)])
        #expect(world.session.streams.count == 1)
    }

    @Test("1.3 a public stream of a secondary never appears: its path ends")
    func secondaryMayNot() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(Self.mine, .serverStream)
        #expect(scene.world.offered.isEmpty && scene.world.session.streams.count == 1)
        #expect(scene.world.endedPaths == [ClientWorld.mirrorPath: .refusedByPolicy])
    }

    @Test("1.4 what is offered to be accepted is the primary's alone")
    func onlyPrimarysAreOffered() throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        world.preface(channel(1), .serverStream, StreamID(1))
        world.preface(channel(5), .serverStream, StreamID(3))
        // Taken already, and not the server's to number.
        world.preface(channel(9), .serverStream, StreamID(3))
        world.preface(channel(13), .serverStream, StreamID(4))
        #expect(world.offered == [StreamID(1), StreamID(3)])
        #expect(world.abandoned[channel(9)] == ErrorCode.none)
        #expect(world.abandoned[channel(13)] == .protocolViolation)
    }

    @Test("1.5 what secondaries open is dealt with inside")
    func inside() throws {
        let scene = try ClientScene.delegated()
        scene.world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        #expect(scene.world.offered.isEmpty && scene.world.session.streams.count == 1)
        #expect(scene.world.answers[scene.stream] == [0])
        #expect(scene.hasRead(4))
    }

    // MARK: 2. Inside

    @Test("2.1 the client gets a secondary's channel by that path's own connection")
    func byItsPath() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(
            Self.mine, .contribution(offset: 2 * Block.size, length: Block.size), scene.stream)
        #expect(try scene.state.contributions.map(\.channel.path) == [ClientWorld.mirrorPath])
        #expect(scene.world.session.report(now: scene.world.now).paths.map(\.internalChannels) == [0, 1, 0])
    }

    @Test("2.2 it is read inside, and nothing of it shows before it is verified")
    func notExposed() throws {
        let scene = try ClientScene.delegated()
        scene.world.preface(
            Self.mine, .contribution(offset: 2 * Block.size, length: Block.size), scene.stream)
        scene.world.data(Self.mine, .blocks(2, 3))
        #expect(scene.world.offered.isEmpty && scene.hasRead(2))
    }

    @Test("2.3 its bytes come into the stream that it names")
    func aggregated() throws {
        let scene = try ClientScene.delegated()
        scene.world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        scene.world.data(scene.own, .blocks(4, 5))
        #expect(scene.hasRead(5))
    }

    @Test("2.4 its end is nobody's but its own")
    func endsInside() throws {
        let scene = try ClientScene.delegated()
        scene.world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        #expect(scene.world.finished.contains(Self.mine))
        #expect(scene.world.ends[scene.stream] == nil)
        #expect(try scene.state.contributions.isEmpty)
        scene.finish(4, without: .blocks(2, 4))
        #expect(scene.world.ends[scene.stream] == [.finished(closed: false)])
    }

    @Test("2.5 a program sees the same bytes and the same end with it and without")
    func transparent() throws {
        let scene = try ClientScene.delegated()
        scene.world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        scene.finish(4, without: .blocks(2, 4))
        let plain = try ClientScene.connected()
        plain.world.data(plain.own, .blocks(0, 4))
        plain.world.fin(plain.own, 4 * Block.size)
        #expect(scene.taken == plain.taken)
        #expect(scene.world.ends[scene.stream] == plain.world.ends[plain.stream])
    }

    // MARK: 3. Bytes come together

    @Test("3.1 what a secondary writes bears the stream's id and offset")
    func bearsItsPlace() {
        let world = Self.contributing(.blocks(6, 8), to: StreamID(42))
        let role = Preface.Role.contribution(offset: 6 * Block.size, length: 2 * Block.size)
        #expect(world.items(channel(1)).first == .preface(Preface(stream: StreamID(42), role: role)))
        #expect(world.received(channel(1)) == [.blocks(6, 8)])
    }

    @Test("3.2 it is put where its offset says")
    func byOffset() throws {
        let scene = try ClientScene.delegated()
        scene.world.contribute(Self.mine, scene.stream, .blocks(3, 4))
        #expect(scene.hasRead(2))
        scene.world.contribute(Self.next, scene.stream, .blocks(2, 3))
        #expect(scene.hasRead(4))
    }

    @Test("3.3 several secondaries write into one stream")
    func several() throws {
        let scene = try ClientScene.delegated()
        scene.world.receive(scene.own, .delegated([.blocks(4, 6)], server: ClientWorld.thirdName))
        scene.world.contribute(channel(1, on: 3), scene.stream, .blocks(4, 6))
        scene.world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        #expect(scene.hasRead(6))
        #expect(scene.world.failures.isEmpty)
    }

    @Test("3.4 order and integrity are those of the stream's offsets")
    func inOrder() throws {
        let scene = try ClientScene.delegated(.blocks(2, 10))
        for block in (2..<10 as Range<UInt64>).reversed() {
            scene.world.contribute(
                channel(Int64(block) * 4 + 1, on: 2), scene.stream, .blocks(block, block + 1))
        }
        #expect(scene.hasRead(10))
        scene.finish(10, without: .blocks(2, 10))
        #expect(scene.world.ends[scene.stream] == [.finished(closed: false)])
    }

    @Test("3.5 a reader is told of bytes as of any others")
    func oneReader() throws {
        let scene = try ClientScene.delegated()
        scene.world.programsRead = false
        scene.world.contribute(Self.mine, scene.stream, .blocks(2, 4))
        scene.world.data(scene.own, .blocks(4, 5))
        scene.world.programTakes(scene.stream)
        #expect(scene.hasRead(5))
    }

    // MARK: 4. On the wire

    @Test("4.1 a secondary's channel begins with what names its stream")
    func beginsWithItsStream() {
        let world = Self.contributing(.blocks(0, 1), to: StreamID(8))
        guard case .preface(let preface)? = world.items(channel(1)).first else {
            Issue.record("no preface")
            return
        }
        #expect(preface.stream == StreamID(8))
    }

    @Test("4.2 its bytes travel in pieces with offset and checksum, and a sum at the end")
    func inPieces() {
        let range = ByteRange(Block.size - 100, 2 * Block.size + 50)
        let world = Self.contributing(range, to: StreamID(8))
        let pieces = world.items(channel(1)).compactMap { item -> UInt64? in
            if case .data(let header, _) = item { header.offset } else { nil }
        }
        #expect(pieces == [Block.size - 100, Block.size, 2 * Block.size])
        #expect(world.received(channel(1)) == [range])
        let sum = GatewayChecks.fin(range, GatewayWorld.content)
        #expect(
            world.frames(channel(1)) == [.fin(base: range.start, final: range.end, sum: sum, closed: false)])
        #expect(world.finished == [channel(1)])
    }

    @Test("4.3 the client brings it to the stream that it names, among several")
    func amongSeveral() throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        let second = try world.open()
        let own = try world.main()
        world.receive(own, .opened(errno: 0, local: [], peer: []))
        world.receive(own, .delegated([.blocks(0, 1)], server: ClientWorld.mirrorName))
        world.contribute(Self.mine, second, .blocks(0, 1))
        #expect(world.taken[second] == GatewayWorld.content(.blocks(0, 1)))
        #expect(scene.hasRead(2))
    }

    @Test("4.4 the protocol is one: what a gateway sends is what a client reads, however it is cut")
    func oneProtocol() throws {
        let gateway = Self.contributing(.blocks(2, 4), to: StreamID(0))
        let bytes = try #require(gateway.sent[channel(1)])
        for step in [1, 7, 1_000, bytes.count] {
            let scene = try ClientScene.delegated()
            #expect(scene.stream == StreamID(0))
            var start = 0
            while start < bytes.count {
                let end = min(start + step, bytes.count)
                scene.world.receive(Self.mine, Array(bytes[start..<end]), finished: end == bytes.count)
                start = end
            }
            #expect(scene.hasRead(4))
        }
    }

    @Test("4.5 when it fails the stream goes on: the primary is asked")
    func failsInside() throws {
        let scene = try ClientScene.delegated()
        let world = scene.world
        world.preface(Self.mine, .contribution(offset: 2 * Block.size, length: 2 * Block.size), scene.stream)
        world.data(Self.mine, .blocks(2, 3))
        world.handle(.channelReset(Self.mine, code: 2))
        world.tick()
        let lease = try #require(world.leases(ClientWorld.path).first)
        #expect(lease.range == .blocks(2, 4))
        world.data(lease.channel, lease.range, finished: true)
        #expect(scene.hasRead(4) && world.ends.isEmpty)
    }

    /// A gateway that has sent a contribution of its own.
    static func contributing(_ range: ByteRange, to stream: StreamID) -> GatewayWorld {
        let world = GatewayWorld(roles: .replica)
        world.up()
        let bytes = GatewayWorld.content(range)
        world.call { actions in
            _ = unsafe bytes.withUnsafeBytes {
                unsafe world.session.contribute(
                    $0, to: stream, at: range.start, now: world.now, into: &actions)
            }
        }
        world.pull()
        return world
    }
}
