/// The gateway's side of a session: feeds a backend with what the client sends, keeps a window of what the
/// backend answers, and sends of it what is its own to send or leased.
///
/// One for each session id of a client; a session belongs to one service, and its streams share its paths.
/// All intelligence is at the client (overview.md): nothing here chooses a path or a range.
///
/// Files: this one takes inputs apart; `GatewayChannels` reads channels, `GatewayUpstream` and
/// `GatewayDownstream` are the two directions, `GatewayPull` sends DATA, `GatewayLife` begins and ends
/// streams.
@safe
public final class GatewaySession {
    public typealias Room = SendWindow.Room

    /// The session had no path for `GatewayLimits.sessionGrace`: its backends are reset, it can be forgotten.
    public internal(set) var isExpired = false
    /// May be changed at any time; counts for what is granted from then on.
    public var limits: GatewayLimits

    let roles: Roles
    let integrity: Integrity
    let tagger: Tagger
    let compressor: Compressor?
    let decompressor: Decompressor?
    var processor = ProcessorPressure()
    var memory: SessionMemory
    /// Of what this server gives of its own.
    var compressibility = Compressibility()
    var paths: [PathID: GatewayPath] = [:]
    var streams: [StreamID: GatewayStream] = [:]
    /// Channels that wait for their stream, oldest first.
    var waiting: [GatewayChannel] = []
    /// Streams that this server has opened and the client has not answered.
    var offering: [GatewayStream] = []
    /// Streams with `giveUpAt`.
    var ending: [GatewayStream] = []
    /// Streams whose WINDOW waits for company, by when it is due.
    var delayed: [(due: Instant, stream: GatewayStream)] = []
    var closed = ClosedStreams()
    /// Last reports of those that were released since the last tick.
    var ended: [StreamReport] = []
    /// Whether some stream of the session has, or had, this server for its primary.
    var isPrimary = false
    var sums = SumAllowance()
    let unfinished = UnfinishedFrames()
    /// The next stream that this server opens.
    var nextOwnStream: UInt64 = 1
    /// When the session expires, while it has no path.
    var expiresAt: Instant?
    var writer = FrameWriter()
    var now = Instant(nanoseconds: 0)
    /// What the driver is asked, in order: its own list, lent for the time of a call.
    var out: [Action] = []

    /// - Parameters:
    ///   - roles: what this server offers for the session's service.
    ///   - memory: what the process's sessions share; nil: nothing but `limits` limits this one.
    ///   - codec: nil where pieces are never compressed.
    ///   - tagger: keyed with the session's join secret.
    public init(
        roles: Roles, integrity: Integrity, memory: MemoryBudget? = nil, codec: Codec? = nil,
        tagger: @escaping Tagger, limits: GatewayLimits
    ) {
        self.roles = roles
        self.integrity = integrity
        unsafe self.tagger = tagger
        compressor = codec.map { Compressor($0) }
        decompressor = codec.map { Decompressor($0) }
        self.limits = limits
        self.memory = SessionMemory(memory)
    }

    /// Streams refer to their channels and paths, and those to them.
    deinit {
        for stream in streams.values {
            for part in stream.parts { part.path.deactivate(part) }
            stream.parts = []
        }
        for path in paths.values {
            for channel in path.channels.values { channel.use = .ignored }
        }
    }

    public func handle(_ input: Input, now: Instant, into actions: inout [Action]) {
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        self.now = now
        switch input {
        case .pathUp(let id, let traits): pathUp(id, traits)
        case .pathDown(let id): pathDown(id)
        case .heard(let id): paths[id]?.heardAt = now
        case .sample(let id, let sample): paths[id]?.sample = sample
        case .received(let id, let bytes, let finished): unsafe received(id, bytes, finished: finished)
        case .channelReset(let id, let code): channelReset(id, code: code)
        case .channelClosed(let id): channelClosed(id)
        case .tick: tick()
        case .worked(let share): processor.worked(share, now: now)
        case .localEnded(let id, let closed): withStream(id) { backendEnded($0, closed: closed) }
        case .localAborted(let id, let errno): withStream(id) { backendFailed($0, errno: errno) }
        case .localWrote(let id, let count): withStream(id) { backendTook(count, of: $0) }
        case .localDeaf(let id): withStream(id) { deafen($0) }
        case .backendConnected(let id, let local, let peer):
            withStream(id) { connected($0, local: local, peer: peer) }
        case .backendRefused(let id, let errno): withStream(id) { refused($0, errno: errno) }
        }
    }

    /// What the driver says of a stream that was released meanwhile is of no interest.
    private func withStream(_ id: StreamID, _ body: (GatewayStream) -> Void) {
        if let stream = streams[id] { body(stream) }
    }

    // MARK: Time

    /// When `.tick` is due next.
    public var deadline: Instant? {
        var earliest = expiresAt ?? .never
        for channel in waiting {
            if case .waiting(_, let until) = channel.use { earliest = min(earliest, until) }
        }
        for path in paths.values { earliest = min(earliest, path.nameless.first?.prefaceDue ?? .never) }
        for stream in ending { earliest = min(earliest, stream.giveUpAt ?? .never) }
        for stream in offering { earliest = min(earliest, stream.offerDue) }
        if let first = delayed.first { earliest = min(earliest, first.due) }
        return earliest == .never ? nil : earliest
    }

    private func tick() {
        ended.removeAll(keepingCapacity: true)
        if let expiresAt, now >= expiresAt {
            expire()
            return
        }
        for channel in waiting {
            guard case .waiting(let preface, let until) = channel.use, now >= until else { continue }
            stopWaiting(channel)
            event(.unknownStream(channel.id, preface.stream))
            abandon(channel, .protocolViolation)
        }
        expirePrefaces()
        for stream in ending where now >= stream.giveUpAt ?? .never { giveUp(stream) }
        offerAgain()
        let due = delayed.prefix { now >= $0.due }
        delayed.removeFirst(due.count)
        for (_, stream) in due where stream.windowDelayed { sendWindow(stream) }
    }

    private func expire() {
        isExpired = true
        expiresAt = nil
        for stream in streams.values.sorted(by: { $0.id < $1.id }) { giveUp(stream) }
    }

    // MARK: Sending

    func send(_ frame: Frame, on channel: GatewayChannel) {
        precondition(!channel.isFinished, "frame on a channel that is finished")
        out.append(.send(channel.id, writer.frame(frame)))
    }

    func finish(_ channel: GatewayChannel) {
        guard !channel.isFinished else { return }
        channel.isFinished = true
        out.append(.finish(channel.id))
    }

    /// Both halves are of no more use; what still comes is dropped.
    func abandon(_ channel: GatewayChannel, _ code: ErrorCode) {
        channel.use = .ignored
        channel.isFinished = true
        channel.reader = ChannelReader(expectsPreface: false)
        channel.unfinished = nil
        channel.piece = nil
        channel.compressed = nil
        channel.held = []
        out.append(.abandon(channel.id, code))
    }

    func event(_ event: Event) { out.append(.event(event)) }

    // MARK: Status

    /// The path that carries the stream's own sender.
    public func path(of stream: StreamID) -> PathID? { streams[stream]?.own?.id.path }

    public func report(now: Instant) -> SessionReport {
        var report = SessionReport()
        for path in paths.values.sorted(by: { $0.id < $1.id }) {
            let count = streams.values.reduce(0) { $0 + ($1.parts.contains { $0.path === path } ? 1 : 0) }
            let leases = streams.values.reduce(0) { sum, stream in
                stream.parts.reduce(sum) { $1.path === path ? $0 + $1.leases.count : $0 }
            }
            let srtt = path.sample?.srtt ?? .zero
            let window = Double(path.sample?.congestionWindow ?? 0)
            report.paths.append(
                PathReport(
                    path: path.id, name: path.traits.name, kind: path.traits.kind, state: .active,
                    srtt: srtt, rate: srtt > .zero ? window / srtt.seconds : 0, received: path.received,
                    sent: path.sent, streams: count,
                    internalChannels: leases + path.contributions.count, compresses: compresses(path),
                    receivedWire: path.receivedWire, sentWire: path.sentWire))
        }
        report.streams = streams.values.sorted { $0.id < $1.id }.map { self.report($0) }
        return report
    }

    /// A stream's figures; of a released one those that it ended with, until the next tick.
    public func report(of id: StreamID) -> StreamReport? {
        streams[id].map { report($0) } ?? ended.first { $0.stream == id }
    }

    func report(_ stream: GatewayStream) -> StreamReport {
        let part = StreamPart(
            server: ServerID(0), role: stream.isReplica ? .replica : .primary,
            received: stream.reassembler.front, ended: nil)
        return StreamReport(
            stream: stream.id, primary: ServerID(0), delivered: stream.reassembler.read,
            sent: stream.window.produced, parts: [part], internalChannels: stream.leases)
    }
}

/// The ids of streams that were closed a short while ago: references to them may still be on their way.
struct ClosedStreams {
    private var order: [(until: Instant, id: StreamID)] = []
    private var until: [StreamID: Instant] = [:]

    func contains(_ id: StreamID, now: Instant) -> Bool { until[id].map { now < $0 } ?? false }

    /// Forgets what is older, and the oldest when there would be more than `limit`.
    mutating func insert(_ id: StreamID, until end: Instant, now: Instant, limit: Int) {
        var gone = order.prefix { $0.until <= now }.count
        // Many at once, so that a removal costs little on the average.
        if order.count >= limit { gone = max(gone, limit / 8 + 1) }
        if gone * 2 >= order.count || order.count >= limit {
            for entry in order.prefix(gone) { until[entry.id] = nil }
            order.removeFirst(min(gone, order.count))
        }
        until[id] = end
        order.append((end, id))
    }
}
