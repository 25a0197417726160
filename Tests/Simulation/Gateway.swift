internal import KwikCore

/// One gateway process and the session that the client has with it.
final class Gateway: Node {
    private let server: Server
    let session: GatewaySession
    /// All that each stream's backend gave, where servers contribute.
    private(set) var history: [StreamID: [UInt8]] = [:]
    /// Blocks that it has contributed with sums that are not theirs.
    let falsehoods = Falsehoods()
    /// Programs of this server's, by the streams that they opened.
    var own: [StreamID: Program] = [:]
    /// The session was forgotten: a hello gets a new one.
    private(set) var isOver = false
    /// Bytes of each stream that were read from its backend, dropped ones included.
    private(set) var produced: [StreamID: UInt64] = [:]
    private let onEvent: (Event) -> Void
    private let mischiefs: Mischiefs?
    /// Connects and releases of each stream: an answer that comes too late is dropped.
    private var attempts: [StreamID: Int] = [:]

    init(_ world: World, _ server: Server, tagger: @escaping Tagger, onEvent: @escaping (Event) -> Void) {
        self.server = server
        self.onEvent = onEvent
        mischiefs = server.mischief.map { Mischiefs($0) }
        session = unsafe GatewaySession(
            roles: server.roles, integrity: SimIntegrity.make(falsehoods), memory: server.memory,
            codec: server.compresses ? SimCodec.make() : nil, tagger: tagger, limits: server.limits)
        super.init(world, name: "gateway \(server.id.value)")
    }

    override func handle(_ input: Input, into actions: inout [Action]) {
        session.handle(input, now: world.now, into: &actions)
        if session.isExpired { isOver = true }
    }
    override func pull(_ path: PathID, room: Int, into actions: inout [Action]) {
        session.pull(path, room: room, now: world.now, into: &actions)
    }
    override func wantsToSend(_ path: PathID) -> Bool { session.wantsToSend(path) }
    override var sessionDeadline: Instant? { session.deadline }
    override func readable(_ stream: StreamID, into slices: inout [ChunkSlice]) {
        session.readable(stream, into: &slices)
    }
    override func room(_ stream: StreamID) -> SendWindow.Room { session.room(stream) }
    private func remember(_ stream: StreamID, _ count: Int) {
        switch session.room(stream) {
        case .buffer(let buffer): history[stream, default: []] += unsafe Array(buffer.prefix(count))
        case .discard, .none: history[stream, default: []] += [UInt8](repeating: 0, count: count)
        }
    }
    override func filled(_ stream: StreamID, _ count: Int, into actions: inout [Action]) {
        if server.contributes { remember(stream, count) }
        produced[stream, default: 0] += UInt64(count)
        session.filled(stream, count: count, now: world.now, into: &actions)
    }
    override func tellUrgent(_ stream: StreamID, into actions: inout [Action]) {
        session.urgent(stream, into: &actions)
    }
    override func isUrgent(_ stream: StreamID) -> Bool { session.isUrgent(stream) }
    override func localWrote(_ stream: StreamID, _ count: Int) {
        server.intake[stream, default: 0] += UInt64(count)
    }

    override var tellsClosed: Bool { server.tellsClosed }

    override func outgoing(_ slice: ChunkSlice, on channel: ChannelID) -> ChunkSlice? {
        if let mischiefs { mischiefs.outgoing(slice, on: channel) } else { slice }
    }

    var report: SessionReport { session.report(now: world.now) }

    override func happened(_ event: Event) { onEvent(event) }

    override func released(_ stream: StreamID) {
        attempts[stream, default: 0] += 1
        history[stream] = nil
    }

    override func carryOutLocal(_ action: Action) {
        switch action {
        case .connect(let stream, _): connect(stream)
        case .setOption: world.count("option-changed")
        case .opened(let stream, let errno, _, _):
            locals[stream]?.isConnected = errno == 0
            own[stream]?.connected(errno: errno)
            touch(stream)
        default: world.fail("\(name): an action for clients: \(action)")
        }
    }

    private func connect(_ stream: StreamID) {
        produced[stream] = 0
        server.intake[stream] = 0
        history[stream] = nil
        attempts[stream, default: 0] += 1
        let attempt = attempts[stream]
        world.after(.microseconds(200)) { [weak self] in
            guard let self, !self.isOver, self.attempts[stream] == attempt else { return }
            if self.server.character == .refusing {
                return self.give(.backendRefused(stream, errno: Errno.connectionRefused))
            }
            let (near, far) = SocketEnd.pair(buffer: 262_144)
            self.attach(near, to: stream, isConnected: true)
            self.server.serve(far)
            self.give(.backendConnected(stream, local: [], peer: []))
            self.touch(stream)
        }
    }
}
