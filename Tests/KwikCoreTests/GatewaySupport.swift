import KwikCore

/// Checksums that are simple and still tell bytes, their order and the seed apart.
enum GatewayChecks {
    static func crc(_ before: UInt32, _ bytes: [UInt8]) -> UInt32 {
        bytes.reduce(before) { $0 &* 16_777_619 &+ UInt32($1) &+ 1 }
    }

    static func sum(_ seed: UInt64, _ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(seed &+ 0x9E37_79B9_7F4A_7C15) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    static var integrity: Integrity {
        unsafe Integrity(
            crc32c: { before, bytes in unsafe crc(before, Array(bytes)) },
            blockSum: { seed, bytes in unsafe sum(seed, Array(bytes)) })
    }

    static func tag(_ stream: StreamID, _ block: UInt64, _ bytes: [UInt8]) -> BlockTag {
        BlockTag(high: stream.value << 32 | block, low: sum(block, bytes))
    }

    /// Σ over the blocks of `range` of what the direction carries (protocol.md §6).
    static func fin(_ range: ByteRange, _ content: (ByteRange) -> [UInt8]) -> UInt64 {
        var sum: UInt64 = 0
        var start = range.start
        while start < range.end {
            let end = min(Block.roundDown(start) + Block.size, range.end)
            sum &+= self.sum(start, content(ByteRange(start, end)))
            start = end
        }
        return sum
    }
}

/// A client and a backend around one `GatewaySession`, both as plain as can be.
final class GatewayWorld {
    let session: GatewaySession
    var now = Instant(nanoseconds: 1_000_000_000)
    /// What the gateway sent on each channel.
    private(set) var sent: [ChannelID: [UInt8]] = [:]
    private(set) var finished: Set<ChannelID> = []
    private(set) var abandoned: [ChannelID: ErrorCode] = [:]
    private(set) var events: [Event] = []
    private(set) var connects: [StreamID: SocketOptions] = [:]
    private(set) var ends: [StreamID: [StreamEnd]] = [:]
    private(set) var released: [StreamID] = []
    private(set) var accepts = 0
    /// Channels of the gateway's own, and what the client answered.
    private(set) var opened: [ChannelID] = []
    private(set) var answers: [StreamID: Int32] = [:]
    private(set) var options: [SocketOption] = []
    /// What each backend took.
    private(set) var taken: [StreamID: [UInt8]] = [:]
    /// Bytes that each backend has given, or had discarded.
    private(set) var given: [StreamID: UInt64] = [:]
    private(set) var discarded: UInt64 = 0
    /// Whether backends read.
    var backendsRead = true
    private var writer = FrameWriter()

    init(
        roles: Roles = [.origin, .replica], limits: GatewayLimits = GatewayLimits(),
        memory: MemoryBudget? = nil, codec: Codec? = nil
    ) {
        session = unsafe GatewaySession(
            roles: roles, integrity: GatewayChecks.integrity, memory: memory, codec: codec,
            tagger: { stream, block, bytes in unsafe GatewayChecks.tag(stream, block, Array(bytes)) },
            limits: limits)
    }

    /// The downstream bytes of every backend here.
    static func content(_ range: ByteRange) -> [UInt8] {
        (range.start..<range.end).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 13) }
    }

    // MARK: The driver

    func handle(_ input: Input) {
        var actions: [Action] = []
        session.handle(input, now: now, into: &actions)
        carryOut(actions)
    }

    @discardableResult
    func call<Result>(_ body: (inout [Action]) -> Result) -> Result {
        var actions: [Action] = []
        let result = body(&actions)
        carryOut(actions)
        return result
    }

    private func carryOut(_ actions: [Action]) {
        for action in actions {
            switch action {
            case .send(let channel, let slice): unsafe sent[channel, default: []] += Array(slice.bytes)
            case .finish(let channel): finished.insert(channel)
            case .abandon(let channel, let code): abandoned[channel] = code
            case .event(let event): events.append(event)
            case .connect(let stream, let options): connects[stream] = options
            case .endLocal(let stream, let end): ends[stream, default: []].append(end)
            case .release(let stream): released.append(stream)
            case .accept: accepts += 1
            case .setOption(_, let option): options.append(option)
            case .deliver(let stream): if backendsRead { backendTakes(stream) }
            case .open(let channel): opened.append(channel)
            case .opened(let stream, let errno, _, _): answers[stream] = errno
            case .stop, .probe, .endPath, .offered: preconditionFailure("not the gateway's to ask")
            }
        }
    }

    func tick(after interval: Interval = .zero) {
        now = now + interval
        handle(.tick)
    }

    func up(_ path: PathID = PathID(1), compresses: Bool = false) {
        var traits = PathTraits(server: ServerID(7), roles: [.origin, .replica], resumed: false)
        traits.compresses = compresses
        handle(.pathUp(path, traits))
    }

    func pull(_ path: PathID = PathID(1), room: Int = .max) {
        var actions: [Action] = []
        session.pull(path, room: room, now: now, into: &actions)
        carryOut(actions)
    }

    // MARK: The backend

    func backendTakes(_ stream: StreamID) {
        while true {
            var slices: [ChunkSlice] = []
            session.readable(stream, into: &slices)
            let bytes = slices.flatMap { unsafe Array($0.bytes) }
            if bytes.isEmpty { return }
            taken[stream, default: []] += bytes
            handle(.localWrote(stream, count: bytes.count))
        }
    }

    func connect(_ stream: StreamID) {
        handle(.backendConnected(stream, local: [1, 2], peer: [3, 4]))
    }

    /// The backend gives up to `count` bytes, as far as the session takes them. Returns how many it took.
    @discardableResult
    func give(_ stream: StreamID, _ count: Int) -> Int {
        var left = count
        while left > 0 {
            let offset = given[stream, default: 0]
            let step: Int
            switch session.room(stream) {
            case .none: return count - left
            case .discard(let most):
                step = min(most, left)
                discarded += UInt64(step)
            case .buffer(let buffer):
                step = min(buffer.count, left)
                let bytes = GatewayWorld.content(ByteRange(offset, offset + UInt64(step)))
                unsafe buffer.copyBytes(from: bytes)
            }
            given[stream] = offset + UInt64(step)
            left -= step
            var actions: [Action] = []
            session.filled(stream, count: step, now: now, into: &actions)
            carryOut(actions)
        }
        return count
    }

    // MARK: The client

    func receive(_ channel: ChannelID, _ bytes: [UInt8], finished: Bool = false) {
        unsafe bytes.withUnsafeBytes { unsafe handle(.received(channel, $0, finished: finished)) }
    }

    func receive(_ channel: ChannelID, _ frames: Frame..., finished: Bool = false) {
        receive(channel, frames.flatMap { wireBytes(writer.frame($0)) }, finished: finished)
    }

    func preface(_ channel: ChannelID, _ stream: StreamID, _ role: Preface.Role, finished: Bool = false) {
        receive(channel, wireBytes(writer.preface(Preface(stream: stream, role: role))), finished: finished)
    }

    func data(_ channel: ChannelID, at offset: UInt64, _ bytes: [UInt8], crc: UInt32? = nil) {
        receive(channel, dataBytes(at: offset, bytes, crc: crc))
    }

    func dataBytes(at offset: UInt64, _ bytes: [UInt8], crc: UInt32? = nil) -> [UInt8] {
        let header = writer.dataHeader(
            offset: offset, length: bytes.count, flags: 0, crc32c: crc ?? GatewayChecks.crc(0, bytes))
        return wireBytes(header) + bytes
    }

    /// A stream whose backend is connected.
    func open(_ channel: ChannelID, _ stream: StreamID, _ role: Preface.Role = .stream) {
        preface(channel, stream, role)
        receive(channel, .open([]))
        connect(stream)
    }

    func lease(
        _ channel: ChannelID, _ stream: StreamID, _ range: ByteRange, read: UInt64 = 0,
        window: UInt64 = 1 << 24, carves: Bool = false
    ) {
        preface(
            channel, stream,
            .lease(offset: range.start, length: range.count, read: read, window: window, carves: carves),
            finished: true)
    }

    // MARK: What the client sees

    func items(_ channel: ChannelID) -> [WireItem] {
        let outcome = wireRead(sent[channel] ?? [], preface: channel.number & 1 == 1)
        precondition(outcome.error == nil, "the gateway sent what no reader takes")
        return outcome.items
    }

    func frames(_ channel: ChannelID) -> [Frame] {
        items(channel).compactMap { if case .frame(let frame) = $0 { frame } else { nil } }
    }

    /// What DATA on the channel covers, if every piece is what it should be.
    func received(_ channel: ChannelID) -> [ByteRange]? {
        var ranges: [ByteRange] = []
        for case .data(let header, let bytes) in items(channel) {
            let range = ByteRange(header.offset, header.offset + UInt64(header.length))
            guard bytes == GatewayWorld.content(range), header.crc32c == GatewayChecks.crc(0, bytes) else {
                return nil
            }
            if let last = ranges.last, last.end == range.start {
                ranges[ranges.count - 1].end = range.end
            } else {
                ranges.append(range)
            }
        }
        return ranges
    }
}

func channel(_ number: Int64, on path: UInt32 = 1) -> ChannelID {
    ChannelID(path: PathID(path), number: number)
}

extension Frame {
    var isFin: Bool { if case .fin = self { true } else { false } }
    var windowFields: ByteRange? {
        if case .window(let read, let maximum) = self { ByteRange(read, maximum) } else { nil }
    }
    var producedInProgress: UInt64? {
        if case .progress(let produced, _, _) = self { produced } else { nil }
    }
}
