/// The client's relation to one service: its paths, its streams, and every decision about them.
///
/// Kinds of call, in the order of a driver's turn: `open`, `filled` and `handle` tell it what happened and
/// collect actions; `handle(.tick)` ends the turn: time-driven decisions and lease grants are made there;
/// `pull` asks for the bytes that a path has room for; `readable` shows bytes for a program. Nothing here
/// reads a clock, draws chance or does I/O, and nothing a peer sends stops it: a peer at fault loses its
/// channel or its path.
public final class ClientSession {
    let settings: ClientSettings
    let integrity: Integrity
    let compressor: Compressor?
    let decompressor: Decompressor?
    var processor = ProcessorPressure()
    var memory: SessionMemory
    /// In the order of their ids.
    var paths: [ClientPath] = []
    /// In the order of their ids.
    var streams: [ClientStream] = []
    /// Those of `streams` that the next tick has to look at, in the order of their ids: something was told of
    /// them, or time alone may call for something. The others cost a turn nothing.
    var awake: [ClientStream] = []
    /// Those of `streams` that may have upstream bytes to send.
    var sending: [ClientStream] = []
    var channels: [ChannelID: ClientChannel] = [:]
    /// Those of `channels` that servers opened.
    var foreignChannels: Set<ChannelID> = []
    /// Those that carry public streams which nobody has taken yet.
    var offers: [ClientChannel] = []
    var takenOffers: [TakenOffers] = []
    /// Those that carry contributions which nobody has asked for yet.
    var waiting: [ClientChannel] = []
    /// Who is, or was, the primary of a stream.
    var primaries: Set<ServerID> = []
    /// Who is, or was, one of two in a primary's place.
    var members: Set<ServerID> = []
    var names = ServerNames()
    var taggers: [ServerTagger] = []
    var trust = Trust()
    /// The last reports of streams that were released since the turn's end before.
    var ended: [StreamReport] = []
    var writer = FrameWriter()
    /// What this call asks of the driver; swapped with the caller's list for the time of the call.
    var out: [Action] = []
    private var nextStream: UInt64 = 0
    private var nextTick = Instant.never
    /// Streams that the network limits, at least one.
    var contenders: UInt64 = 1
    var turn = 0

    /// - Parameters:
    ///   - memory: what the process's sessions share; nil: nothing but `settings` limits this one.
    ///   - codec: nil where pieces are never compressed.
    public init(
        settings: ClientSettings, integrity: Integrity, memory: MemoryBudget? = nil, codec: Codec? = nil
    ) {
        self.settings = settings
        self.integrity = integrity
        compressor = codec.map { Compressor($0) }
        decompressor = codec.map { Decompressor($0) }
        self.memory = SessionMemory(memory)
    }

    /// The server's join secret came: its block tags can be checked.
    public func setTagger(_ tagger: @escaping Tagger, for server: ServerID) {
        taggers.removeAll { $0.server == server }
        unsafe taggers.append(ServerTagger(server: server, tag: tagger))
    }

    /// A program connects. The answer is `Action.opened`.
    ///
    /// Returns nil when the session holds as many streams as it may.
    public func open(
        _ options: SocketOptions, restriction: PathRestriction = .none, now: Instant,
        into actions: inout [Action]
    ) -> StreamID? {
        guard streams.count < ClientLimit.streams else { return nil }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        let stream = ClientStream(
            id: StreamID(nextStream), options: options.bounded, restriction: restriction,
            integrity: integrity, now: now)
        nextStream += 2
        insert(stream)
        wake(stream)
        assignPrimary(stream, now: now)
        return stream.id
    }

    /// A program changed an option of its socket: the primary is told, and every later one too. What no frame
    /// can carry is left out.
    public func setOption(_ option: SocketOption, for id: StreamID, into actions: inout [Action]) {
        guard let stream = stream(id), stream.options.set(option) else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        if let own = stream.own, !stream.ownFinished { send(.option(option), on: own) }
        tellSecond(of: stream, .option(option))
        if option.sendBuffer != nil {
            stream.upTaken = max(stream.upTaken, stream.upAcknowledged)
            resume(stream)
        }
    }

    public func handle(_ input: Input, now: Instant, into actions: inout [Action]) {
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        switch input {
        case .pathUp(let id, let traits): pathUp(id, traits, now: now)
        case .pathDown(let id): pathDown(id, now: now)
        case .heard(let id): heard(id, now: now)
        case .sample(let id, let sample): path(id)?.measured(sample, now: now)
        case .received(let id, let bytes, let finished):
            unsafe received(id, bytes, finished: finished, now: now)
        case .channelReset(let id, let code): channelReset(id, code: code, now: now)
        case .channelClosed(let id): channelClosed(id, now: now)
        case .tick: tick(now: now)
        case .worked(let share): processor.worked(share, now: now)
        case .localEnded(let id, let closed): localEnded(id, closed: closed, now: now)
        case .localAborted(let id, let errno): localAborted(id, errno: errno, now: now)
        case .localWrote(let id, let count): localWrote(id, count: count, now: now)
        case .localDeaf(let id): localDeaf(id, now: now)
        case .backendConnected, .backendRefused: preconditionFailure("a client has no backend")
        }
    }

    /// When `handle(.tick)` is due at the latest.
    public var deadline: Instant? {
        var earliest = nextTick
        for path in paths {
            earliest = min(earliest, path.liveness.deadline(every: probeInterval(path), sample: path.sample))
        }
        for channel in waiting {
            if case .waiting(_, let until) = channel.use { earliest = min(earliest, until) }
        }
        for id in foreignChannels {
            if case .foreign(let until)? = channels[id]?.use { earliest = min(earliest, until) }
        }
        for stream in awake {
            if case .lingering(let until) = stream.phase { earliest = min(earliest, until) }
            if let until = stream.closing, case .open = stream.phase { earliest = min(earliest, until) }
            if let since = stream.silentSince { earliest = min(earliest, since + silenceLimit(stream)) }
        }
        return earliest == .never ? nil : earliest
    }

    /// Whether any path answers that a stream may begin on: a replica or a relay alone serves nobody.
    public var isReachable: Bool { isReachable(.none) }

    public func isReachable(_ restriction: PathRestriction) -> Bool {
        paths.contains {
            $0.isActive && $0.traits.roles.contains(.origin) && restriction.allows($0.traits.name)
        }
    }

    func path(_ id: PathID) -> ClientPath? { paths.first { $0.id == id } }

    /// The stream, which may be changed: the next tick looks at it.
    func stream(_ id: StreamID) -> ClientStream? {
        guard let stream = find(id) else { return nil }
        wake(stream)
        return stream
    }

    /// Only to look at.
    func find(_ id: StreamID) -> ClientStream? {
        let index = Self.index(of: id, in: streams)
        return index < streams.count && streams[index].id == id ? streams[index] : nil
    }

    /// Where the first stream with this id or a later one stands. Streams come and go in the order of their
    /// ids, so the lists are sorted.
    private static func index(of id: StreamID, in streams: [ClientStream]) -> Int {
        var low = 0
        var high = streams.count
        while low < high {
            let middle = (low + high) / 2
            if streams[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func insert(_ stream: ClientStream) {
        streams.insert(stream, at: Self.index(of: stream.id, in: streams))
        memory.enter(&stream.demand)
    }

    func remove(_ stream: ClientStream) {
        memory.leave(&stream.demand)
        streams.remove(at: Self.index(of: stream.id, in: streams))
        if stream.isAwake { awake.remove(at: Self.index(of: stream.id, in: awake)) }
        if stream.isSending { sending.removeAll { $0 === stream } }
        stream.isAwake = false
        stream.isSending = false
    }

    func wake(_ stream: ClientStream) {
        if stream.isAwake { return }
        stream.isAwake = true
        awake.insert(stream, at: Self.index(of: stream.id, in: awake))
    }

    /// A path came, went or fell silent: any stream may have to do with it.
    func wakeAll() {
        for stream in streams { stream.isAwake = true }
        awake = streams
    }

    /// The best active path to a server that the stream may use: the one of the least srtt.
    func activePath(to server: ServerID, for stream: ClientStream) -> ClientPath? {
        var best: ClientPath?
        for path in paths where path.server == server && path.isActive && stream.allows(path) {
            if best.map({ path.sample.srtt < $0.sample.srtt }) ?? true { best = path }
        }
        return best
    }

    func event(_ event: Event) { out.append(.event(event)) }

    func send(_ frame: Frame, on channel: ChannelID) { out.append(.send(channel, writer.frame(frame))) }

    /// The deadline of the next look at leases: only while some stream is bulk.
    private func tick(now: Instant) {
        ended.removeAll(keepingCapacity: true)
        checkPaths(now: now)
        checkSilence(now: now)
        expireWaiting(now: now)
        var busy = false
        contenders = max(awake.reduce(0) { $0 + (isNetworkLimited($1) ? 1 : 0) }, 1)
        for stream in awake {
            if case .lingering(let until) = stream.phase, now >= until { release(stream) }
            if let until = stream.closing, now >= until, case .open = stream.phase {
                abort(stream, errno: ErrorNumber.connectionReset)
            }
            maybeLinger(stream, now: now)
            guard case .open = stream.phase, !stream.downDone, !stream.released else { continue }
            if !stream.delegations.isEmpty {
                expireDelegations(stream, now: now)
                busy = true
            }
            if !keepQuorum(stream, now: now) {
                schedule(stream, now: now)
                watchDownstream(stream, now: now)
            }
            if stream.isContested || stream.isEngaged || wouldEngage(stream, now: now) { busy = true }
        }
        if spread(now: now) { busy = true }
        awake.removeAll { stream in
            stream.isAwake = stream.isTimed || wouldEngage(stream, now: now)
            return !stream.isAwake
        }
        nextTick = busy ? now + Tuning.tick : .never
    }
}

/// Makes the tags of one server's blocks, from its join secret.
@safe
struct ServerTagger {
    let server: ServerID
    let tag: Tagger
}
