import Testing

@testable import KwikCore

/// Programs and servers around one `ClientSession`, all as plain as can be.
final class ClientWorld {
    let session: ClientSession
    /// Servers offer compression.
    private let compresses: Bool
    var now = Instant(nanoseconds: 1_000_000_000)
    /// In the order in which they were opened, with what the client sent on each.
    private(set) var opened: [ChannelID] = []
    private(set) var sent: [ChannelID: [UInt8]] = [:]
    private(set) var finished: Set<ChannelID> = []
    private(set) var abandoned: [ChannelID: ErrorCode] = [:]
    private(set) var events: [Event] = []
    private(set) var probes: [PathID] = []
    private(set) var endedPaths: [PathID: ErrorCode] = [:]
    /// The answers to connects.
    private(set) var answers: [StreamID: [Int32]] = [:]
    private(set) var ends: [StreamID: [StreamEnd]] = [:]
    private(set) var released: [StreamID] = []
    private(set) var accepted: [StreamID] = []
    private(set) var offered: [StreamID] = []
    /// What each program has read, as long as they read.
    private(set) var taken: [StreamID: [UInt8]] = [:]
    var programsRead = true
    private var writer = FrameWriter()
    /// What each path's transport last said.
    private var samples: [PathID: PathSample] = [:]

    /// The primary in most tests, and the replica.
    static let origin = ServerID(1)
    static let mirror = ServerID(2)
    static let path = PathID(1)
    static let mirrorPath = PathID(2)

    init(
        _ settings: ClientSettings = ClientSettings(), memory: MemoryBudget? = nil, codec: Codec? = nil,
        compresses: Bool = false
    ) {
        session = ClientSession(
            settings: settings, integrity: GatewayChecks.integrity, memory: memory, codec: codec)
        self.compresses = compresses
        for server in [Self.origin, Self.mirror, ServerID(3)] {
            unsafe session.setTagger(
                { stream, block, bytes in unsafe GatewayChecks.tag(stream, block, Array(bytes)) },
                for: server)
        }
    }

    // MARK: The driver

    func handle(_ input: Input) {
        if case .sample(let path, let sample) = input { samples[path] = sample }
        call { session.handle(input, now: now, into: &$0) }
    }

    @discardableResult
    func call<Result>(_ body: (inout [Action]) -> Result) -> Result {
        var actions: [Action] = []
        let result = body(&actions)
        for action in actions { carryOut(action) }
        return result
    }

    private func carryOut(_ action: Action) {
        switch action {
        case .open(let channel): opened.append(channel)
        case .send(let channel, let slice):
            if finished.contains(channel) { Issue.record("bytes behind the end of \(channel)") }
            unsafe sent[channel, default: []] += Array(slice.bytes)
        case .finish(let channel): finished.insert(channel)
        case .abandon(let channel, let code): abandoned[channel] = code
        case .stop: break
        case .probe(let path): probes.append(path)
        case .endPath(let path, let code): endedPaths[path] = code
        case .deliver(let stream): if programsRead { programTakes(stream) }
        case .accept(let stream): accepted.append(stream)
        case .opened(let stream, let errno, _, _): answers[stream, default: []].append(errno)
        case .endLocal(let stream, let end): ends[stream, default: []].append(end)
        case .release(let stream): released.append(stream)
        case .offered(let stream, _): offered.append(stream)
        case .event(let event): events.append(event)
        case .connect, .setOption: preconditionFailure("not the client's to ask")
        }
    }

    func tick(after interval: Interval = .zero) {
        now = now + interval
        handle(.tick)
    }

    /// Time passes in which all the paths answer.
    func pass(_ interval: Interval, on paths: [PathID] = [path, mirrorPath]) {
        let end = now + interval
        while now < end {
            now = now + .milliseconds(5)
            for path in paths { handle(.heard(path)) }
            handle(.tick)
        }
    }

    func up(
        _ path: PathID = path, _ server: ServerID = origin, _ roles: Roles = [.origin, .replica],
        interface: InterfaceID = .any, resumed: Bool = true
    ) {
        let name = PathName(server: server, interface: interface)
        var traits = PathTraits(name: name, kind: .direct, roles: roles, resumed: resumed)
        traits.compresses = compresses
        handle(.pathUp(path, traits))
        sample(path)
    }

    func sample(_ path: PathID = path, srtt: Interval = .milliseconds(10), window: UInt64 = 1 << 20) {
        let sample = PathSample(
            srtt: srtt, rttVariation: .milliseconds(2), probeTimeout: .milliseconds(43),
            congestionWindow: window, inFlight: 0, received: samples[path]?.received ?? 0)
        handle(.sample(path, sample))
    }

    func pull(_ path: PathID = path, room: Int = 1 << 20) {
        call { session.pull(path, room: room, now: now, into: &$0) }
    }

    // MARK: The program

    func open(_ options: SocketOptions = [], _ restriction: PathRestriction = .none) throws -> StreamID {
        try #require(openIfPossible(options, restriction))
    }

    func openIfPossible(_ options: SocketOptions = [], _ restriction: PathRestriction = .none) -> StreamID? {
        call { session.open(options, restriction: restriction, now: now, into: &$0) }
    }

    /// The server is at fault on the stream's channel, and again on each that takes its place.
    func insist(_ stream: StreamID, _ fault: (ChannelID) -> Void) throws {
        for _ in 0..<8 where ends[stream] == nil {
            let own = try #require(session.stream(stream)?.own)
            fault(own)
            #expect(abandoned[own] != nil)
        }
        #expect(ends[stream] == [.aborted(errno: 104)])
    }

    func programTakes(_ stream: StreamID) {
        while true {
            var slices: [ChunkSlice] = []
            session.readable(stream, into: &slices)
            let bytes = slices.flatMap { unsafe Array($0.bytes) }
            if bytes.isEmpty { return }
            taken[stream, default: []] += bytes
            handle(.localWrote(stream, count: bytes.count))
        }
    }

    /// The program writes up to `count` bytes. Returns how many were taken.
    @discardableResult
    func write(_ stream: StreamID, _ count: Int) -> Int {
        var left = count
        while left > 0, case .buffer(let buffer) = session.room(stream) {
            let step = min(buffer.count, left)
            unsafe buffer.copyBytes(from: Array(repeating: 7, count: step))
            left -= step
            call { session.filled(stream, count: step, now: now, into: &$0) }
        }
        return count - left
    }

    // MARK: The servers

    func receive(_ channel: ChannelID, _ bytes: [UInt8], finished: Bool = false) {
        unsafe bytes.withUnsafeBytes { unsafe handle(.received(channel, $0, finished: finished)) }
        guard var sample = samples[channel.path] else { return }
        sample.received += UInt64(bytes.count)
        handle(.sample(channel.path, sample))
    }

    func receive(_ channel: ChannelID, _ frames: Frame..., finished: Bool = false) {
        receive(channel, frames.flatMap { wireBytes(writer.frame($0)) }, finished: finished)
    }

    func preface(_ channel: ChannelID, _ role: Preface.Role, _ stream: StreamID = StreamID(1)) {
        receive(channel, wireBytes(writer.preface(Preface(stream: stream, role: role))))
    }

    func pieceBytes(_ range: ByteRange, _ bytes: [UInt8]? = nil) -> [UInt8] {
        let bytes = bytes ?? GatewayWorld.content(range)
        let header = writer.dataHeader(
            offset: range.start, length: bytes.count, flags: 0, crc32c: GatewayChecks.crc(0, bytes))
        return wireBytes(header) + bytes
    }

    /// The content of the range, or what `lies` makes of it, a piece per block.
    func data(_ channel: ChannelID, _ range: ByteRange, lies: Bool = false, finished: Bool = false) {
        var start = range.start
        while start < range.end {
            let end = min(Block.roundDown(start) + Block.size, range.end)
            let bytes = GatewayWorld.content(ByteRange(start, end))
            receive(channel, pieceBytes(ByteRange(start, end), lies ? bytes.map { ~$0 } : bytes))
            start = end
        }
        if finished { receive(channel, [UInt8](), finished: true) }
    }

    /// FIN as an honest primary says it.
    func fin(_ channel: ChannelID, _ final: UInt64, base: UInt64 = 0, closed: Bool = false) {
        let sum = GatewayChecks.fin(ByteRange(base, final), GatewayWorld.content)
        receive(channel, .fin(base: base, final: final, sum: sum, closed: closed))
    }

    static func tags(_ stream: StreamID, _ range: ByteRange) -> Frame {
        let first = Block.index(of: range.start)
        let tags = (first..<Block.index(of: Block.roundUp(range.end))).map { block in
            let bytes = ByteRange(Block.start(of: block), min(Block.start(of: block + 1), range.end))
            return GatewayChecks.tag(stream, block, GatewayWorld.content(bytes))
        }
        return .tag(firstBlock: first, tags)
    }

    // MARK: What the servers see

    /// The preface and the items after it.
    func items(_ channel: ChannelID) -> [WireItem] {
        let outcome = wireRead(sent[channel] ?? [], preface: true)
        precondition(outcome.error == nil, "the client sent what no reader takes")
        return outcome.items
    }

    func frames(_ channel: ChannelID) -> [Frame] {
        items(channel).compactMap { if case .frame(let frame) = $0 { frame } else { nil } }
    }

    func preface(_ channel: ChannelID) -> Preface? {
        if case .preface(let preface)? = items(channel).first { preface } else { nil }
    }

    /// Upstream bytes on the channel.
    func upstream(_ channel: ChannelID) -> [ByteRange] {
        items(channel).compactMap {
            guard case .data(let header, _) = $0 else { return nil }
            return ByteRange(header.offset, header.offset + UInt64(header.length))
        }
    }

    struct Asked: Equatable {
        var channel: ChannelID
        var range: ByteRange
    }

    /// Leases on the path that the client has not abandoned and the server has not finished.
    func leases(_ path: PathID) -> [Asked] {
        opened.filter { $0.path == path && abandoned[$0] == nil && session.channels[$0] != nil }
            .compactMap { channel in
                guard case .lease(let offset, let length, _, _, _)? = preface(channel)?.role else {
                    return nil
                }
                return Asked(channel: channel, range: ByteRange(offset, offset + length))
            }
    }

    /// The last channel opened on the path that is no lease.
    func main(_ path: PathID = path) throws -> ChannelID {
        try #require(
            opened.last {
                if case .lease = preface($0)?.role { return false }
                return $0.path == path
            })
    }

    /// The primary has no sums of the blocks that it is asked about: what differs there is not shifted.
    func denySums(_ channel: ChannelID) {
        for case .sumRequest(let block, _) in frames(channel) {
            receive(channel, .sums(firstBlock: block, []))
        }
    }

    /// Every CARVE on the channel is granted, and tagged.
    func grantCarves(_ channel: ChannelID, of stream: StreamID, tagged: Bool = true) {
        for case .carve(let sequence, let ranges) in frames(channel) {
            receive(channel, .carved(sequence: sequence, ranges))
            for range in ranges where tagged { receive(channel, Self.tags(stream, range)) }
        }
    }
}

extension ByteRange {
    static func blocks(_ first: UInt64, _ last: UInt64) -> ByteRange {
        ByteRange(first * Block.size, last * Block.size)
    }
}

/// A connected stream, and the channel that carries it.
struct ClientScene {
    var world: ClientWorld
    var stream: StreamID
    var own: ChannelID

    /// What the session keeps of the stream.
    var state: ClientStream { get throws { try #require(world.session.stream(stream)) } }

    static func connected(
        _ settings: ClientSettings = ClientSettings(), codec: Codec? = nil, compresses: Bool = false
    ) throws -> ClientScene {
        let world = ClientWorld(settings, codec: codec, compresses: compresses)
        world.up()
        let stream = try world.open()
        let own = try world.main()
        world.receive(own, .opened(errno: 0, local: [], peer: []))
        return ClientScene(world: world, stream: stream, own: own)
    }

    /// A replica is engaged and has leases; the primary has sent two blocks and has `produced` bytes.
    static func engaged(
        _ settings: ClientSettings = ClientSettings(), produced: UInt64 = 4 << 20, ended: Bool = false,
        codec: Codec? = nil, compresses: Bool = false
    ) throws -> ClientScene {
        let scene = try connected(settings, codec: codec, compresses: compresses)
        let world = scene.world
        world.up(ClientWorld.mirrorPath, ClientWorld.mirror, .replica)
        world.data(scene.own, .blocks(0, 2))
        world.receive(scene.own, .progress(produced: produced, ended: ended, applicationLimited: false))
        world.pass(.milliseconds(110))
        let replica = try world.main(ClientWorld.mirrorPath)
        world.receive(replica, .opened(errno: 0, local: [], peer: []))
        world.receive(replica, .progress(produced: produced, ended: ended, applicationLimited: false))
        world.tick()
        return scene
    }

    func replica() throws -> ChannelID { try world.main(ClientWorld.mirrorPath) }

    func mirrorLease() throws -> ClientWorld.Asked {
        try #require(world.leases(ClientWorld.mirrorPath).first)
    }
}
