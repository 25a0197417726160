import Testing

@testable import KwikCore

@Suite struct ClientCompressionTests {
    private let toy = ToyCodec()

    private func connected(offered: Bool = true) throws -> ClientScene {
        try ClientScene.connected(codec: toy.codec, compresses: offered)
    }

    private func pack(_ range: ByteRange, lies: Bool = false) -> [UInt8] {
        let plain = GatewayWorld.content(range).map { lies ? ~$0 : $0 }
        return compressedPiece(toy.pack(plain), of: plain, at: range.start)
    }

    private func report(_ world: ClientWorld) throws -> PathReport {
        try #require(world.session.report(now: world.now).paths.first)
    }

    @Test("The primary's compressed pieces are read as their plain bytes; both are counted")
    func taken() throws {
        let scene = try connected()
        for block in UInt64(0)..<3 { scene.world.receive(scene.own, pack(.blocks(block, block + 1))) }
        #expect(scene.world.taken[scene.stream] == GatewayWorld.content(.blocks(0, 3)))
        let path = try report(scene.world)
        #expect(path.compresses && path.received == 3 * 16_384 && path.receivedWire == 3 * 4_096)
    }

    @Test("A path's rate, from which leases are cut, is that of the plain bytes")
    func rate() throws {
        var rates: [Double] = []
        for compressed in [true, false] {
            let scene = try connected()
            let world = scene.world
            world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
            for block in UInt64(0)..<60 {
                world.now = world.now + .milliseconds(2)
                if compressed {
                    world.receive(scene.own, pack(.blocks(block, block + 1)))
                } else {
                    world.data(scene.own, .blocks(block, block + 1))
                }
                world.tick()
            }
            rates.append(try #require(world.session.path(ClientWorld.path)).estimate)
        }
        #expect(abs(rates[0] - rates[1]) < 0.05 * rates[1] && rates[0] > 7e6)
    }

    @Test("One that was not offered is refused, and so is nonsense; the server is not asked for ever")
    func refused() throws {
        for offered in [true, false] {
            let scene = try connected(offered: offered)
            let body = offered ? [UInt8](repeating: 0xA5, count: 200) : toy.pack([1, 2, 3])
            let frame = compressedPiece(body, of: [1, 2, 3], at: 0)
            scene.world.receive(scene.own, frame)
            #expect(
                scene.world.events.contains(.malformed(scene.own, offered ? .badCompression : .badFlags)))
            #expect(scene.world.abandoned[scene.own] == .protocolViolation)
            #expect(scene.world.taken[scene.stream] == nil)
        }
    }

    @Test("A replica's bomb ends its part; the stream goes on from the primary")
    func replica() throws {
        let scene = try ClientScene.engaged(codec: toy.codec, compresses: true)
        let world = scene.world
        let lease = try scene.mirrorLease()
        let bomb = [UInt8](repeating: 7, count: 16_385)
        world.receive(lease.channel, compressedPiece(toy.pack(bomb), of: bomb, at: lease.range.start))
        #expect(world.events.contains(.malformed(lease.channel, .badCompression)))
        #expect(world.events.contains(.replicaEnded(scene.stream, ClientWorld.mirror, .failed)))
        #expect(world.ends[scene.stream] == nil)
        world.data(scene.own, .blocks(2, 4))
        #expect(world.taken[scene.stream]?.count == 4 * 16_384)
    }

    @Test("A lease's blocks come compressed; those that do not match their tags are never shown")
    func leases() throws {
        for lies in [false, true] {
            let scene = try ClientScene.engaged(codec: toy.codec, compresses: true)
            let world = scene.world
            let lease = try scene.mirrorLease()
            world.grantCarves(scene.own, of: scene.stream)
            world.data(scene.own, ByteRange(2 * Block.size, lease.range.start))
            var start = lease.range.start
            while start < lease.range.end {
                world.receive(lease.channel, pack(ByteRange(start, start + Block.size), lies: lies))
                start += Block.size
            }
            #expect(toy.restored > 0)
            let shown = UInt64(world.taken[scene.stream]?.count ?? 0)
            #expect(shown == (lies ? lease.range.start : lease.range.end))
            #expect(world.taken[scene.stream] == GatewayWorld.content(ByteRange(0, shown)))
        }
    }

    @Test("An upload is compressed once its path is full; what is read from the program grows with it")
    func upload() throws {
        let scene = try connected()
        let world = scene.world
        world.sample(srtt: .milliseconds(400), window: 1 << 20)
        world.receive(scene.own, .window(read: 0, maximum: 32 << 20))
        let before = world.write(scene.stream, 16 << 20)
        for _ in 0..<100 { world.pull(room: 16_384) }
        let items = world.items(scene.own)
        var compressed = 0
        var end: UInt64 = 0
        for case .data(let header, let bytes) in items {
            let plain = header.isCompressed ? try #require(toy.unpack(bytes)) : bytes
            #expect(header.offset == end && header.crc32c == GatewayChecks.crc(0, plain))
            end = header.offset + UInt64(plain.count)
            compressed += header.isCompressed ? 1 : 0
        }
        #expect(compressed > 50)
        let path = try report(world)
        #expect(path.sent == end && path.sentWire < end / 2)
        // 1 MiB in 400 ms on the wire is four times as much of the program's.
        #expect(world.write(scene.stream, 32 << 20) > before)
    }

    @Test("A path so fast that the processor would be the limit gets nothing compressed")
    func fastPath() throws {
        for (window, isFast) in [(UInt64(12_800_000), false), (12_900_000, true)] {
            let scene = try connected()
            let before = toy.tried
            scene.world.receive(scene.own, .window(read: 0, maximum: 32 << 20))
            scene.world.sample(srtt: .milliseconds(400), window: window)
            scene.world.write(scene.stream, 1 << 20)
            for _ in 0..<10 { scene.world.pull(room: 16_384) }
            #expect((toy.tried == before) == isFast)
        }
    }

    @Test("A processor that has no time to spare compresses nothing")
    func processor() throws {
        let scene = try connected()
        scene.world.receive(scene.own, .window(read: 0, maximum: 32 << 20))
        scene.world.sample(srtt: .milliseconds(400), window: 1 << 20)
        scene.world.write(scene.stream, 1 << 20)
        scene.world.handle(.worked(1))
        for _ in 0..<20 { scene.world.pull(room: 16_384) }
        #expect(toy.tried == 0)
    }
}
