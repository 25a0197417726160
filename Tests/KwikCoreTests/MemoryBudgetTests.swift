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

/// What gateways' clients may send.
@Suite struct UploadMemoryTests {
    private static let stream = StreamID(0)
    private static let own = channel(0)
    private static let first = GatewayLimits().firstWindow

    private func opened(_ memory: MemoryBudget?, limits: GatewayLimits = GatewayLimits()) -> GatewayWorld {
        let world = GatewayWorld(limits: limits, memory: memory)
        world.up()
        world.open(Self.own, Self.stream)
        return world
    }

    private func state(_ world: GatewayWorld, _ stream: StreamID = stream) throws -> GatewayStream {
        try #require(world.session.streams[stream])
    }

    /// How far the client may send beyond what the backend has taken.
    private func credit(_ world: GatewayWorld, _ stream: StreamID = stream) throws -> UInt64 {
        let state = try state(world, stream)
        return state.granted - state.reassembler.read
    }

    private func here(_ world: GatewayWorld, _ stream: StreamID = stream) throws -> UInt64 {
        let state = try state(world, stream)
        return state.reassembler.highest - state.reassembler.read
    }

    /// The client sends so much as far as it may.
    private func send(_ world: GatewayWorld, _ count: UInt64, _ stream: StreamID = stream) throws {
        let own = channel(Int64(stream.value) * 2)
        let end = try state(world, stream).highest + count
        while let state = world.session.streams[stream], state.highest < min(end, state.granted) {
            let next = min(Block.roundDown(state.highest) + Block.size, end, state.granted)
            let piece = [UInt8](repeating: 7, count: Int(next - state.highest))
            world.data(own, at: state.highest, piece)
        }
    }

    @Test func uploadHasItsWholeWindowWhereMemoryIsPlenty() throws {
        let world = opened(MemoryBudget(bytes: 64 << 20, keepsPlace: true))
        let limits = GatewayLimits()
        #expect(try credit(world) == limits.upstreamUntaken)
        try send(world, 16 << 20)
        #expect(try credit(world) >= limits.upstreamPerStream * 3 / 4)
        world.backendsRead = false
        try send(world, 64 << 20)
        #expect(try here(world) <= limits.upstreamPerStream)
        #expect(try here(world) >= limits.upstreamPerStream * 3 / 4)
    }

    @Test func uploadObeysTheServicesWindow() throws {
        var limits = GatewayLimits()
        limits.upstreamPerStream = 1 << 20
        let world = opened(MemoryBudget(bytes: 64 << 20, keepsPlace: true), limits: limits)
        try send(world, 8 << 20)
        world.backendsRead = false
        try send(world, 8 << 20)
        #expect(try here(world) <= 1 << 20)
    }

    @Test("Uploads whose backends take nothing hold half of the gateway's memory, beside their first windows")
    func stalledUploadsShareTheGatewaysMemory() throws {
        let memory = MemoryBudget(bytes: 8 << 20, keepsPlace: true)
        let worlds = (0..<40).map { _ in opened(memory) }
        for world in worlds { world.backendsRead = false }
        for _ in 0..<4 {
            for world in worlds { try send(world, 4 << 20) }
        }
        let together = try worlds.reduce(0) { $0 + (try here($1)) }
        #expect(together >= 4 << 20)
        // Credit that was given before others came is used as well.
        #expect(together <= memory.promised + 40 * Self.first)
        #expect(memory.promised <= MemoryBudget.overcommitment * (8 << 20))
        // What is still given is the first window.
        let late = opened(memory)
        late.backendsRead = false
        try send(late, 4 << 20)
        #expect(try here(late) <= 2 * Self.first)
    }

    @Test func stalledUploadsLeaveBackendsHalfOfTheMemory() throws {
        let memory = MemoryBudget(bytes: 8 << 20, keepsPlace: true)
        let stalled = (0..<16).map { _ in opened(memory) }
        for world in stalled {
            world.backendsRead = false
            try send(world, 8 << 20)
        }
        let other = opened(memory)
        other.receive(Self.own, .window(read: 0, maximum: 1 << 40))
        // Of 18 by head and 17 that want.
        #expect(other.give(Self.stream, 8 << 20) >= (8 << 20) / 40)
        #expect(other.give(Self.stream, 8 << 20) == 0)
        // Once they are gone, all is there again.
        for world in stalled { world.receive(Self.own, .reset(errno: 104, offset: 0)) }
        #expect(memory.promised <= 4 << 20)
        other.receive(Self.own, .window(read: 1 << 18, maximum: 1 << 40))
        #expect(other.give(Self.stream, 8 << 20) >= 3 << 20)
    }

    @Test func stalledBackendLeavesOtherStreamsTheirUploads() throws {
        let world = opened(MemoryBudget(bytes: 8 << 20, keepsPlace: true))
        let second = StreamID(2)
        world.open(channel(4), second)
        try send(world, 8 << 20)
        world.backendsRead = false
        try send(world, 8 << 20)
        let stalled = try here(world)
        #expect(stalled >= 1 << 20)
        world.backendsRead = true
        for _ in 0..<8 { try send(world, 1 << 20, second) }
        #expect(try credit(world, second) >= 1 << 19)
        #expect(world.taken[second]?.count == 8 << 20)
        #expect(try here(world) == stalled)
    }

    @Test func creditIsNeverTakenBack() throws {
        let memory = MemoryBudget(bytes: 8 << 20, keepsPlace: true)
        let world = opened(memory)
        try send(world, 8 << 20)
        let granted = try state(world).granted
        let others = (0..<16).map { _ in opened(memory) }
        for other in others {
            other.backendsRead = false
            try send(other, 8 << 20)
        }
        #expect(try state(world).granted == granted)
        try send(world, granted - (try state(world).highest))
        #expect(world.abandoned.isEmpty)
        #expect(world.taken[Self.stream].map { UInt64($0.count) } == granted)
    }

    @Test("1,000 idle clients leave an upload its window")
    func idleClientsLeaveAnUploadItsWindow() throws {
        let memory = MemoryBudget(bytes: 64 << 20, keepsPlace: true)
        let idle = (0..<1_000).map { _ in opened(memory) }
        #expect(memory.promised <= MemoryBudget.overcommitment * (32 << 20))
        #expect(try credit(idle[999]) == Self.first)
        let world = opened(memory)
        try send(world, 16 << 20)
        #expect(try credit(world) >= 8 << 20)
    }

    /// One after the other, each at rest before the next comes.
    @Test func creditOfUploadsAtRestIsBounded() throws {
        let memory = MemoryBudget(bytes: 1 << 20, keepsPlace: true)
        var credits: [UInt64] = []
        var now = Instant(nanoseconds: 1_000_000_000)
        for _ in 0..<64 {
            let world = opened(memory)
            world.now = now
            try send(world, 4 << 20)
            credits.append(try credit(world))
            now = now + .seconds(3)
        }
        #expect(credits[0] > 3 << 17)
        #expect(memory.promised <= MemoryBudget.overcommitment << 20)
        #expect(credits[16] > Self.first)
    }

    @Test func uploadThatHasEndedHoldsNothing() throws {
        let memory = MemoryBudget(bytes: 8 << 20, keepsPlace: true)
        let world = opened(memory)
        try send(world, 1 << 20)
        #expect(memory.promised > 1 << 20)
        let bytes = [UInt8](repeating: 7, count: 1 << 20)
        let sum = GatewayChecks.fin(ByteRange(0, 1 << 20)) { Array(bytes[Int($0.start)..<Int($0.end)]) }
        world.receive(Self.own, .fin(base: 0, final: 1 << 20, sum: sum, closed: false))
        #expect(world.ends[Self.stream] == [.finished(closed: false)])
        #expect(memory.promised == 0)
    }
}
