import Testing

@testable import KwikCore

/// How streams share what their windows may hold, and sessions that of their process.
@Suite struct MemoryBudgetTests {
    private static let first = Tuning.initialWindow

    // MARK: The rule

    @Test func sharesAreNeverMoreThanTheWhole() {
        let bytes: UInt64 = 64 << 20
        for count in 1...200 {
            for wanting in 0...count {
                let wants = Sharers.share(of: bytes, among: count, wanting: wanting, wants: true)
                let idle = Sharers.share(of: bytes, among: count, wanting: wanting, wants: false)
                let together =
                    UInt64(wanting) * (wanting > 0 ? wants : 0) + UInt64(count - wanting) * idle
                #expect(together <= bytes)
                if wanting > 0 { #expect(wants >= bytes / UInt64(2 * wanting)) }
            }
        }
        #expect(Sharers.share(of: bytes, among: 1_001, wanting: 1, wants: true) == bytes / 2)
        #expect(Sharers.share(of: bytes, among: 1, wanting: 1, wants: true) == bytes)
    }

    @Test func whoMovesNothingForTwoSecondsWantsNothing() {
        var sharers = Sharers()
        var marks = (Sharers.Mark(), Sharers.Mark(), Sharers.Mark())
        sharers.enter(&marks.0)
        sharers.enter(&marks.1)
        sharers.enter(&marks.2)
        sharers.tell(&marks.0, holds: false, moves: true)
        sharers.tell(&marks.1, holds: true, moves: false)
        #expect(sharers.share(of: 1_200, for: marks.0) == 400)
        #expect(sharers.share(of: 1_200, for: marks.2) == 200)
        sharers.roll(to: Instant(nanoseconds: 1_999_999_999))
        #expect(sharers.share(of: 1_200, for: marks.1) == 400)
        // The one that holds something goes on wanting.
        sharers.roll(to: Instant(nanoseconds: 2_000_000_000))
        #expect(sharers.share(of: 1_200, for: marks.0) == 200)
        #expect(sharers.share(of: 1_200, for: marks.1) == 600)
        sharers.leave(&marks.1)
        sharers.leave(&marks.1)
        #expect(sharers.count == 2)
        #expect(sharers.share(of: 1_200, for: marks.0) == 600)
    }

    // MARK: Clients

    /// A further stream of the world's, connected.
    private func connect(_ world: ClientWorld) throws -> ClientScene {
        let stream = try world.open()
        let own = try world.main()
        world.receive(own, .opened(errno: 0, local: [], peer: []))
        return ClientScene(world: world, stream: stream, own: own)
    }

    private func crowd(_ count: Int, _ world: ClientWorld) throws -> [ClientScene] {
        world.up()
        // More than any share here.
        for _ in 0..<40 {
            world.sample(window: 64 << 20)
            world.tick(after: .milliseconds(10))
        }
        return try (0..<count).map { _ in try connect(world) }
    }

    private func window(_ scene: ClientScene) throws -> UInt64 {
        let state = try scene.state
        return state.granted - state.down.read
    }

    private func download(_ scene: ClientScene, _ count: UInt64) throws {
        let start = try scene.state.down.read
        let end = start + count * Block.size
        var next = start
        while next < end {
            scene.world.data(scene.own, ByteRange(next, next + Block.size))
            next += Block.size
        }
    }

    @Test("1,000 idle streams leave a download its window")
    func idleStreamsLeaveADownloadItsWindow() throws {
        let world = ClientWorld()
        let scenes = try crowd(1_001, world)
        let last = try #require(scenes.last)
        #expect(try window(last) < 2 * Self.first)
        try download(last, 4)
        #expect(try window(last) >= Tuning.minimumWindow)
        // It ends; the next one has as much.
        world.pass(.seconds(3), on: [ClientWorld.path])
        try download(scenes[500], 4)
        #expect(try window(scenes[500]) >= Tuning.minimumWindow)
        let frames = world.frames(scenes[500].own).compactMap(\.windowFields)
        #expect(frames.last.map { $0.count >= Tuning.minimumWindow } ?? false)
    }

    @Test func streamsThatWantShareHalfOfIt() throws {
        var settings = ClientSettings()
        settings.memoryBudget = 8 << 20
        let world = ClientWorld(settings)
        let scenes = try crowd(64, world)
        for _ in 0..<16 {
            for scene in scenes.prefix(16) { try download(scene, 8) }
        }
        let together = try scenes.prefix(16).reduce(0) { $0 + (try window($1)) }
        #expect(together <= 4 << 20)
        #expect(together > 3 << 20)
    }

    /// Programs that read no more: each has what was its share when it stopped, the next one not less than
    /// its own.
    @Test func stalledReadersKeepTheirSharesAlone() throws {
        var settings = ClientSettings()
        settings.memoryBudget = 8 << 20
        let world = ClientWorld(settings)
        let scenes = try crowd(256, world)
        var bound: UInt64 = 0
        for (index, scene) in scenes.prefix(8).enumerated() {
            world.programsRead = true
            try download(scene, 4)
            world.programsRead = false
            world.data(scene.own, ByteRange(4 * Block.size, 8 * Block.size))
            // They hold it for longer than what moves counts.
            world.pass(.seconds(3), on: [ClientWorld.path])
            bound += (4 << 20) / UInt64(index + 1)
            let together = try scenes.prefix(index + 1).reduce(0) { $0 + (try window($1)) }
            #expect(together <= bound)
        }
        world.programsRead = true
        let other = scenes[100]
        try download(other, 4)
        #expect(try window(other) <= (4 << 20) / 9)
        #expect(try window(other) > (4 << 20) / 9 - Block.size)
    }

    @Test func servicesShareTheProcessesMemory() throws {
        let memory = MemoryBudget(bytes: 3 << 20)
        let worlds = (0..<3).map { _ in ClientWorld(memory: memory) }
        let scenes = try worlds.map { try crowd(4, $0) }
        for _ in 0..<16 {
            for scene in scenes.joined() { try download(scene, 8) }
        }
        let together = try scenes.joined().reduce(0) { $0 + (try window($1)) }
        #expect(together <= 3 << 20)
        #expect(together > 5 << 19)
        // The others come to rest.
        worlds[1].now = worlds[1].now + .seconds(5)
        for _ in 0..<16 {
            for scene in scenes[1] { try download(scene, 8) }
        }
        let alone = try scenes[1].reduce(0) { $0 + (try window($1)) }
        #expect(alone > 5 << 18)
        #expect(alone <= 3 << 19)
    }

    // MARK: Gateways

    /// Streams whose clients let their backends give without end, and read nothing.
    private func served(_ count: Int, _ world: GatewayWorld) -> [StreamID] {
        world.up()
        return (0..<count).map { index in
            let stream = StreamID(UInt64(index) * 2)
            let own = channel(Int64(index) * 4)
            world.open(own, stream)
            world.receive(own, .window(read: 0, maximum: 1 << 40))
            return stream
        }
    }

    @Test("1,000 idle streams leave a backend its window")
    func idleStreamsLeaveABackendItsWindow() {
        var limits = GatewayLimits()
        limits.windowPerSession = 4 << 20
        let world = GatewayWorld(limits: limits)
        let streams = served(1_001, world)
        #expect(world.give(streams[0], 8 << 20) == 2 << 20)
        // The next that wants as much has half of that, and the first once it is read on.
        #expect(world.give(streams[1], 8 << 20) == 1 << 20)
        world.receive(channel(0), .window(read: 2 << 20, maximum: 1 << 40))
        #expect(world.give(streams[0], 8 << 20) == 1 << 20)
        #expect(world.give(streams[2], 8 << 20) < 1 << 20)
    }

    @Test("Clients together hold no more than the gateway's memory")
    func clientsShareTheGatewaysMemory() {
        let memory = MemoryBudget(bytes: 4 << 20, keepsPlace: true)
        let worlds = (0..<12).map { _ in GatewayWorld(memory: memory) }
        var held: [Int] = []
        for world in worlds { held += served(1, world).map { world.give($0, 8 << 20) } }
        #expect(held[0] == 2 << 20)
        #expect(held[1] == (4 << 20) / 3)
        let together = held.reduce(0, +)
        #expect(together >= 4 << 20)
        // The last find nothing but their first windows.
        #expect(together <= (4 << 20) + 12 * Int(Self.first))
        #expect(held[11] == Int(Self.first))
        // What one has read others may hold.
        worlds[0].receive(channel(0), .window(read: 2 << 20, maximum: 1 << 40))
        worlds[11].receive(channel(0), .window(read: Self.first, maximum: 1 << 40))
        #expect(worlds[11].give(StreamID(0), 8 << 20) == (4 << 20) / 13)
        // Sessions without streams count no more.
        for world in worlds.prefix(11) {
            world.receive(channel(0), .reset(errno: 104, offset: 0))
            #expect(world.released == [StreamID(0)])
        }
        worlds[11].receive(channel(0), .window(read: 1 << 20, maximum: 1 << 40))
        worlds[11].give(StreamID(0), 8 << 20)
        #expect(worlds[11].given[StreamID(0)] == 3 << 20)
    }
}
