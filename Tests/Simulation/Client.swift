internal import KwikCore

/// The engine: the client's session and its programs.
final class Client: Node {
    private let session: ClientSession
    private var byStream: [StreamID: Program] = [:]
    /// The program whose stream is being opened.
    private var starting: Program?
    private var backends: [Backend] = []
    private let network: Network
    private let nativeAfter: Interval
    weak var dialler: Dialler?
    /// The primary of each program's stream, and those before it.
    private(set) var primaries: [Int: [ServerID]] = [:]
    private(set) var streams: [Int: StreamID] = [:]
    private(set) var openedAt: [Int: Instant] = [:]
    private(set) var closedAt: [Int: Instant] = [:]
    private(set) var coverage = Coverage()
    private(set) var engaged: [Int: [ServerID]] = [:]
    private(set) var replicaEnds: [Int: [ReplicaEnd]] = [:]
    /// Programs whose streams ended as two servers did not agree.
    private(set) var disagreed: Set<Int> = []
    /// Streams that ended by an error after their programs had done all they wanted.
    private(set) var abortedAfter: [(program: Int, errno: Int32)] = []
    /// nil: not asked for.
    private(set) var secondaries: SecondaryRecord?
    /// What was put through checksums, sums and tags, where that is kept.
    private let hashed = Tally()
    /// Bytes that each program was given.
    private(set) var delivered: UInt64 = 0

    init(_ world: World, _ network: Network, _ scenario: Scenario) {
        self.network = network
        nativeAfter = scenario.nativeAfter
        secondaries = scenario.records ? SecondaryRecord() : nil
        let integrity =
            scenario.records
            ? SimIntegrity.make { [hashed] in hashed.bytes += UInt64($0) } : SimIntegrity.make()
        session = ClientSession(
            settings: scenario.settings, integrity: integrity,
            memory: MemoryBudget(bytes: scenario.memory), codec: scenario.compresses ? SimCodec.make() : nil)
        super.init(world, name: "client")
        for server in network.servers { claim(server.id) }
    }

    func setTagger(_ tagger: @escaping Tagger, for server: ServerID) {
        guard secondaries != nil else { return unsafe session.setTagger(tagger, for: server) }
        unsafe session.setTagger(
            { [hashed] stream, block, bytes in
                hashed.bytes += UInt64(bytes.count)
                return unsafe tagger(stream, block, bytes)
            }, for: server)
    }

    /// Each server says who it is, and tries to be another.
    private func claim(_ server: ServerID) {
        let own = Gateway.name(server)
        var refusals: [Action] = []
        for name in [Gateway.name(ServerID(server.value ^ 1)), own] {
            session.claim(name, by: server, bound: [own], into: &refusals)
        }
        if refusals.count != 1 { world.fail("client: \(refusals.count) of two names refused") }
    }

    override func handle(_ input: Input, into actions: inout [Action]) {
        session.handle(input, now: world.now, into: &actions)
    }
    override func pull(_ path: PathID, room: Int, into actions: inout [Action]) {
        session.pull(path, room: room, now: world.now, into: &actions)
    }
    func depends(on path: PathName) -> Bool { session.depends(on: path) }
    override func wantsToSend(_ path: PathID) -> Bool { session.wantsToSend(path) }
    override var sessionDeadline: Instant? { session.deadline }
    override func readable(_ stream: StreamID, into slices: inout [ChunkSlice]) {
        session.readable(stream, into: &slices)
    }
    override func room(_ stream: StreamID) -> SendWindow.Room { session.room(stream) }
    override func filled(_ stream: StreamID, _ count: Int, into actions: inout [Action]) {
        session.filled(stream, count: count, now: world.now, into: &actions)
    }
    override func tellUrgent(_ stream: StreamID, into actions: inout [Action]) {
        session.urgent(stream, into: &actions)
    }
    override func isUrgent(_ stream: StreamID) -> Bool { session.isUrgent(stream) }
    override var isClient: Bool { true }
    override var firstChannel: Int64 { 4 }

    /// Told when a program's connection comes to a point that an ambush may wait at.
    var onMoment: (Ambush.Moment, Int) -> Void = { _, _ in }

    private func reached(_ moment: Ambush.Moment, _ stream: StreamID) {
        if let program = byStream[stream] { onMoment(moment, program.index) }
    }

    private func set(_ option: SocketOption, for stream: StreamID) {
        var list: [Action] = []
        session.setOption(option, for: stream, into: &list)
        perform(list)
    }

    func count(_ change: (inout Coverage) -> Void) { change(&coverage) }

    var report: SessionReport { session.report(now: world.now) }

    // MARK: Programs

    func start(_ program: Program) {
        guard isTaken(program) else { return }
        let (near, far) = SocketEnd.pair(buffer: 212_992)
        var list: [Action] = []
        guard let stream = session.open(
            program.workload.options, restriction: program.workload.restriction, now: world.now,
            into: &list) else {
            return world.fail("client: no stream could be opened")
        }
        world.trace("client opens stream \(stream.value) for \(program.name)")
        starting = program
        defer { starting = nil }
        byStream[stream] = program
        streams[program.index] = stream
        openedAt[program.index] = world.now
        attach(near, to: stream, isConnected: false)
        dialler?.use(streams: locals.count)
        program.connecting(far)
        if program.workload.restriction != .none { coverage.restricted += 1 }
        if program.workload.userTimeout != nil { world.count("user-timeout") }
        program.onMoment = { [weak self, index = program.index] in self?.onMoment($0, index) }
        for (at, option) in program.workload.changes {
            world.after(at) { [weak self] in self?.set(option, for: stream) }
        }
        perform(list)
        world.after(nativeAfter) { [weak self] in self?.checkPending(program, stream) }
    }

    /// A program that bound its socket to an interface is served by that one alone.
    override func opened(_ channel: ChannelID, with slice: ChunkSlice) {
        var reader = ChannelReader(expectsPreface: true)
        var position = 0
        guard case .preface(let preface)? = try? unsafe reader.next(slice.bytes, from: &position),
            let name = dialler?.name(of: channel.path)
        else { return world.fail("client: channel \(channel) begins without a preface") }
        guard let program = byStream[preface.stream] ?? starting else { return }
        if !program.workload.restriction.allows(name) {
            world.fail("\(program.name) is bound to an interface, and served by \(name)")
        }
    }

    /// As the engine decides: a program that can't hope for a path connects natively. Here it tries again
    /// later if any program may hope by then.
    private func isTaken(_ program: Program) -> Bool {
        guard let dialler else { return false }
        dialler.wanted()
        if dialler.isReachable(program.workload.restriction) { return true }
        if dialler.isReachable(.none) {
            world.count("native")
            program.goNative()
        } else {
            world.after(.milliseconds(200)) { [weak self] in self?.start(program) }
        }
        return false
    }

    /// Whoever has no path for so long connects natively, if it is not connected.
    private func checkPending(_ program: Program, _ stream: StreamID) {
        guard program.state == .connecting else { return }
        guard !session.isReachable(program.workload.restriction) else {
            return world.after(.milliseconds(250)) { [weak self] in self?.checkPending(program, stream) }
        }
        world.count("native")
        program.goNative()
        locals.removeValue(forKey: stream)?.socket.onEvent = {}
        give(.localAborted(stream, errno: 0))
    }

    /// What a server opens meets an application on this side.
    private func take(_ stream: StreamID) {
        let (near, far) = SocketEnd.pair(buffer: 212_992)
        backends.append(Backend(world, far, .honest))
        attach(near, to: stream, isConnected: true)
        dialler?.use(streams: locals.count)
        var list: [Action] = []
        if !session.accept(stream, now: world.now, into: &list) {
            world.fail("client: an offer was not there")
        }
        coverage.serverStreams += 1
        perform(list)
    }

    override func carryOutLocal(_ action: Action) {
        if case .offered(let stream, let server) = action {
            record { $0.offers.append((stream, server)) }
            return take(stream)
        }
        guard case .opened(let stream, let errno, _, _) = action else {
            return world.fail("client: an action for gateways: \(action)")
        }
        world.trace("client stream \(stream.value) opened errno \(errno)")
        if errno == 0 {
            locals[stream]?.isConnected = true
            touch(stream)
        }
        byStream[stream]?.connected(errno: errno)
    }

    override func localWrote(_ stream: StreamID, _ count: Int) { delivered += UInt64(count) }

    override func pathIsGone(_ path: PathID) { dialler?.lost(path) }

    override func released(_ stream: StreamID) { dialler?.use(streams: locals.count) }

    // MARK: Channels of servers

    /// At the end of the run.
    func finishRecord() {
        let internals = report.paths.map(\.internalChannels)
        record { [hashed] in
            $0.leftInternal = internals.reduce(0, +)
            $0.hashed = hashed.bytes
        }
    }

    func record(_ body: (inout SecondaryRecord) -> Void) {
        guard var record = secondaries.take() else { return }
        body(&record)
        secondaries = record
    }

    override func noticed(_ item: ChannelReader.Item, on channel: ChannelID) { record(item, on: channel) }

    override func noticedEnd(_ channel: ChannelID, code: UInt64?) {
        record {
            $0.change(channel) { channel in
                channel.isFinished = code == nil
                channel.reset = code
            }
        }
    }

    override func abandoning(_ channel: ChannelID, _ code: ErrorCode) {
        record { $0.change(channel) { $0.abandoned = code } }
    }

    override func ending(_ path: PathID, _ code: ErrorCode) {
        guard let server = dialler?.name(of: path)?.server else { return }
        record { $0.endedPaths.append((server, code)) }
    }

    // MARK: Events

    override func happened(_ event: Event) {
        record(event)
        switch event {
        case .streamOpened(let stream, let server):
            guard let program = byStream[stream] else { return }
            program.isServed(by: network.server(server).character)
            primaries[program.index, default: []].append(server)
            reached(.opened, stream)
        case .promoted(let stream, _, let to, let offset):
            coverage.promoted += 1
            guard let program = byStream[stream] else { return }
            primaries[program.index, default: []].append(to)
            reached(.promoted, stream)
            program.witness?.succeeded(by: [network.server(to).character], at: offset)
        case .quorum(let stream, let one, let other, let offset):
            coverage.quorums += 1
            reached(.promoted, stream)
            guard let program = byStream[stream] else { return }
            // Those before them are of no importance any more.
            primaries[program.index] = [one, other]
            let both = [one, other].map { network.server($0).character }
            program.witness?.succeeded(by: both, at: offset)
        case .quorumDisagreed(let stream, let one, let other, _):
            coverage.disagreed += 1
            if let program = byStream[stream] { disagreed.insert(program.index) }
            if network.server(one).character.isLike(network.server(other).character) {
                world.fail("client: servers that are alike: \(event)")
            }
        case .replicaEngaged(let stream, let server):
            coverage.engaged += 1
            if let program = byStream[stream] { engaged[program.index, default: []].append(server) }
            reached(.engaged, stream)
        case .replicaEnded(let stream, _, let end):
            if let program = byStream[stream] { replicaEnds[program.index, default: []].append(end) }
            coverage.note(end)
        case .replicaQuarantined: coverage.quarantined += 1
        case .replicaShifted: coverage.shifted += 1
        case .blockMismatch: coverage.mismatched += 1
        case .leaseMoved(let stream, _, _, _, _):
            coverage.moved += 1
            reached(.moved, stream)
        case .reattached(let stream, _, _):
            coverage.reattached += 1
            reached(.reattached, stream)
        case .unknownStream: coverage.unknown += 1
        case .pathStateChanged(_, _, _, let state):
            if state == .suspect { coverage.suspected += 1 }
            if state == .failed { coverage.failedPaths += 1 }
        case .malformed, .policyViolation, .integrityFailure:
            if network.servers.allSatisfy({ $0.mischief == nil }) { world.fail("client: \(event)") }
        case .streamClosed(let stream, let end, _, _): closed(stream, end)
        case .belowTarget: coverage.belowTarget += 1
        case .contributed: coverage.contributed += 1
        case .contributionFailed: coverage.contributionsFailed += 1
        case .delegationExpired: coverage.delegationsExpired += 1
        case .serverStreamRefused(_, let server):
            // A gateway that has forgotten its session numbers anew, perhaps like a stream that still ends.
            if network.server(server).losses.isEmpty { world.fail("client: \(event)") }
        case .streamConnected(let stream, _): reached(.connected, stream)
        case .windowUsed, .channelFailed, .nameRefused: break
        }
    }

    private func closed(_ stream: StreamID, _ end: StreamEnd) {
        guard let program = byStream[stream] else { return }
        closedAt[program.index] = world.now
        guard case .aborted(let errno) = end, program.state == .done else { return }
        switch program.workload.ending {
        case .close, .bye, .halfClose: abortedAfter.append((program.index, errno))
        case .abort, .leave, .deafen, .quit: break
        }
    }
}
