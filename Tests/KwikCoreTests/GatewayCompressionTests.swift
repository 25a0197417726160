import Testing

@testable import KwikCore

private let one = StreamID(0)
private let main = channel(0)

/// A stream of one path with more to send than the path takes at once.
private struct Scene {
    let toy = ToyCodec()
    let world: GatewayWorld

    init(offered: Bool = true, produced: Int = 8 << 20) {
        world = GatewayWorld(codec: toy.codec)
        world.up(compresses: offered)
        world.open(main, one)
        world.receive(main, .window(read: 0, maximum: 16 << 20))
        world.give(one, produced)
    }

    func send(rounds: Int, room: Int = 16_384) { for _ in 0..<rounds { world.pull(room: room) } }

    /// What DATA covers, if each piece is what it should be, and how many were compressed.
    func pieces(_ channel: ChannelID = main) throws -> (ranges: [ByteRange], compressed: Int) {
        var ranges: [ByteRange] = []
        var compressed = 0
        for case .data(let header, let bytes) in world.items(channel) {
            let plain = header.isCompressed ? try #require(toy.unpack(bytes)) : bytes
            let range = ByteRange(header.offset, header.offset + UInt64(plain.count))
            #expect(plain == GatewayWorld.content(range))
            #expect(header.crc32c == GatewayChecks.crc(0, plain))
            ranges.append(range)
            compressed += header.isCompressed ? 1 : 0
        }
        return (ranges, compressed)
    }
}

@Suite struct GatewayCompressionTests {
    @Test("Pieces are compressed once the path is full, each a whole block, with the plain bytes' checksum")
    func onceFull() throws {
        let scene = Scene()
        scene.send(rounds: 20)
        let (ranges, compressed) = try scene.pieces()
        // Those of the first block are short, and sent before the path is full.
        let first = ranges.filter { $0.end <= Block.size }.count
        #expect(compressed == ranges.count - first)
        #expect(!scene.world.items(main).compactMap { item in
            if case .data(let header, _) = item { header.isCompressed } else { nil }
        }[0])
        for (before, after) in zip(ranges, ranges.dropFirst()) { #expect(before.end == after.start) }
        for range in ranges.dropFirst(first) { #expect(range.count == Block.size) }
        let path = try #require(scene.world.session.report(now: scene.world.now).paths.first)
        #expect(path.compresses && path.sent == ranges.last?.end)
        // A quarter of each.
        #expect(path.sentWire == 16_384 + UInt64(compressed) * 4_096)
    }

    @Test("Room counts what stands on the wire")
    func room() throws {
        let scene = Scene()
        scene.send(rounds: 1)
        let before = try #require(scene.world.session.report(now: scene.world.now).paths.first).sentWire
        scene.send(rounds: 1, room: 65_536)
        let after = try #require(scene.world.session.report(now: scene.world.now).paths.first).sentWire
        #expect(after - before == 65_536)
    }

    @Test("A path whose other end did not offer it never gets a compressed piece")
    func notOffered() throws {
        let scene = Scene(offered: false)
        scene.send(rounds: 20)
        #expect(try scene.pieces().compressed == 0 && scene.toy.tried == 0)
    }

    @Test("A path that takes all there is gets nothing compressed")
    func pathIsNoLimit() throws {
        let scene = Scene(produced: 1 << 20)
        scene.send(rounds: 1, room: 2 << 20)
        #expect(try scene.pieces().compressed == 0)
        let later = Scene()
        later.send(rounds: 2)
        later.world.now = later.world.now + .milliseconds(101)
        later.send(rounds: 1)
        #expect(try later.pieces().compressed == 4)
    }

    @Test("What does not shrink is tried ever less often, and at once again when it does")
    func incompressible() throws {
        let scene = Scene(produced: 4 << 20)
        scene.toy.shrinks = false
        for _ in 0..<256 { scene.world.pull(room: 16_384) }
        #expect(try scene.pieces().compressed == 0)
        #expect((3...7).contains(scene.toy.tried))
        scene.toy.shrinks = true
        scene.world.receive(main, .window(read: 4 << 20, maximum: 24 << 20))
        scene.world.give(one, 16 << 20)
        for _ in 0..<1_024 { scene.world.pull(room: 16_384) }
        #expect(try scene.pieces().compressed > 500)
    }

    @Test("A processor that has no time to spare compresses nothing, for a second")
    func processor() throws {
        let scene = Scene()
        scene.send(rounds: 2)
        let before = scene.toy.tried
        scene.world.handle(.worked(0.9))
        scene.send(rounds: 5)
        #expect(scene.toy.tried == before)
        scene.world.handle(.worked(0.5))
        scene.send(rounds: 5)
        #expect(scene.toy.tried == before)
        scene.world.now = scene.world.now + .seconds(1)
        scene.send(rounds: 2)
        #expect(scene.toy.tried > before)
    }

    @Test("Leases are compressed as the primary's own bytes are, and bring exactly their range")
    func leases() throws {
        let scene = Scene()
        let lease = channel(4)
        scene.send(rounds: 2)
        scene.world.receive(main, .carve(sequence: 1, [.blocks(64, 68)]))
        scene.world.lease(lease, one, .blocks(64, 68))
        scene.send(rounds: 100)
        let (ranges, compressed) = try scene.pieces(lease)
        #expect(ranges == (64..<68).map { ByteRange.blocks($0, $0 + 1) })
        #expect(compressed == 4 && scene.world.finished.contains(lease))
    }

    @Test("Short pieces go out as they are")
    func short() throws {
        let scene = Scene(produced: 0)
        for _ in 0..<16 {
            scene.world.give(one, 1_000)
            scene.world.pull(room: 1)
        }
        #expect(scene.toy.tried == 0)
    }
}

/// What a client sends.
@Suite struct GatewayDecompressionTests {
    private let bytes = GatewayWorld.content(ByteRange(0, 16_384))

    @Test("A compressed piece counts as its plain bytes, however it is split")
    func taken() throws {
        let scene = Scene(produced: 0)
        let frame = compressedPiece(scene.toy.pack(bytes), of: bytes, at: 0)
        for byte in frame { scene.world.receive(main, [byte]) }
        #expect(scene.world.taken[one] == bytes)
        let path = try #require(scene.world.session.report(now: scene.world.now).paths.first)
        #expect(path.received == 16_384 && path.receivedWire == 4_096)
    }

    @Test("One that nobody asked for ends its channel, and harms no other")
    func unasked() {
        let scene = Scene(offered: false, produced: 0)
        let other = channel(4)
        scene.world.open(other, StreamID(2))
        scene.world.receive(main, compressedPiece(scene.toy.pack(bytes), of: bytes, at: 0))
        #expect(scene.world.events.contains(.malformed(main, .badFlags)))
        #expect(scene.world.abandoned[main] == .protocolViolation)
        scene.world.data(other, at: 0, [1, 2, 3])
        #expect(scene.world.taken[StreamID(2)] == [1, 2, 3] && scene.world.taken[one] == nil)
    }

    @Test("Nonsense, and what would grow beyond its block, end their channel, and harm no other")
    func malformed() {
        for (packed, offset) in [(false, UInt64(0)), (true, 1)] {
            let scene = Scene(produced: 0)
            let other = channel(4)
            scene.world.open(other, StreamID(2))
            let body = packed ? scene.toy.pack(bytes) : [UInt8](repeating: 0xA5, count: 400)
            scene.world.receive(main, compressedPiece(body, of: bytes, at: offset))
            #expect(scene.world.events.contains(.malformed(main, .badCompression)))
            #expect(scene.world.abandoned[main] == .protocolViolation)
            scene.world.data(other, at: 0, [1, 2, 3])
            #expect(scene.world.taken[StreamID(2)] == [1, 2, 3] && scene.world.taken[one] == nil)
        }
    }

    @Test("The checksum is that of the plain bytes")
    func checksum() {
        let scene = Scene(produced: 0)
        let wrong = bytes.map { ~$0 }
        scene.world.receive(main, compressedPiece(scene.toy.pack(wrong), of: bytes, at: 0))
        #expect(scene.world.events.contains(.integrityFailure(one, offset: 0)))
        #expect(scene.world.taken[one] == nil)
    }

    @Test("Credit counts plain bytes")
    func credit() {
        var limits = GatewayLimits()
        limits.upstreamPerStream = 65_536
        let toy = ToyCodec()
        let world = GatewayWorld(limits: limits, codec: toy.codec)
        world.up(compresses: true)
        world.open(main, one)
        world.receive(main, compressedPiece(toy.pack(bytes), of: bytes, at: 65_536))
        #expect(world.abandoned[main] == .flowControl)
    }

    @Test("Who sends the same bytes again and again loses the channel: a few make a block each time")
    func again() {
        let scene = Scene(produced: 0)
        let frame = compressedPiece(scene.toy.pack(bytes), of: bytes, at: 0)
        let most = Int(Decompressor.wastedAtMost) / bytes.count
        // The first is of use, and as many more are let pass.
        for count in 1...(most + 3) {
            scene.world.receive(main, frame)
            #expect((scene.world.abandoned[main] == .resourceLimit) == (count == most + 3))
        }
        #expect(scene.world.taken[one] == bytes)
    }

    @Test("Pieces that begin and do not end are bounded, for all streams of a session together")
    func pending() {
        let toy = ToyCodec()
        let world = GatewayWorld(codec: toy.codec)
        world.up(compresses: true)
        let packed = [UInt8](repeating: 0, count: 16_384)
        let most = Decompressor.heldAtMost / packed.count
        for index in 0...most {
            let own = channel(Int64(index) * 4)
            world.open(own, StreamID(UInt64(index) * 2))
            world.receive(own, Array(compressedPiece(packed, of: bytes, at: 0).prefix(20)))
            #expect((world.abandoned[own] == .resourceLimit) == (index == most))
        }
        // Whoever ends gives its share back.
        world.handle(.channelReset(channel(0), code: 0))
        world.handle(.channelClosed(channel(0)))
        let last = channel(Int64(most + 1) * 4)
        world.open(last, StreamID(UInt64(most + 1) * 2))
        world.receive(last, Array(compressedPiece(packed, of: bytes, at: 0).prefix(20)))
        #expect(world.abandoned[last] == nil)
    }
}
