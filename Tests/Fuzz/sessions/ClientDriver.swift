/// A client's session, its programs, and three servers: the first is every stream's primary, whose bytes are
/// the stream's by definition, the others say of them what they like. All of them are hostile, or all but the
/// primary: then each program gets the whole stream in the end, whatever the others do.
final class ClientDriver: Driver {
    private let client: ClientSession
    private(set) var servers: [PathID: ServerID] = [:]
    /// The third server's bytes stand elsewhere than the primary's.
    let isShifted: Bool
    /// Where streams end; nil: the primary is hostile too.
    let total: UInt64?
    private let policy: ClientSettings.SilentPrimary
    static let primary = ServerID(1)

    init(_ settings: UInt8, _ script: Script) {
        let policies: [ClientSettings.SilentPrimary] = [.fail, .fail, .promote, .quorum]
        policy = policies[Int(settings & 3)]
        isShifted = policy == .fail && settings & 16 != 0
        total = settings & 32 == 0 ? nil : 64 * Block.size + 100
        client = ClientSession(
            settings: ClientSettings(silentPrimary: policy), integrity: Content.integrity,
            memory: MemoryBudget(bytes: settings & 4 == 0 ? 1 << 24 : 1 << 18),
            codec: settings & 8 == 0 ? nil : Content.codec)
        for server in 1...3 {
            unsafe client.setTagger(
                { stream, block, bytes in unsafe Content.tag(stream, block, bytes) },
                for: ServerID(UInt32(server)))
        }
        super.init(client, script, parity: 0)
        expected = total
        call { client.claim([2], by: ServerID(2), bound: [[2]], into: &$0) }
        addServer(0)
        open()
        if settings & 64 != 0 { engage() }
    }

    func addServer(_ drawn: Int) {
        let server = ServerID(UInt32(1 + drawn % 3))
        let roles: Roles = server == Self.primary || policy == .quorum ? [.origin, .replica] : .replica
        let name = PathName(server: server, interface: InterfaceID(UInt32(drawn / 3)))
        var traits = PathTraits(name: name, kind: .direct, roles: roles, resumed: script.flag())
        traits.compresses = script.flag()
        let before = wire.paths.count
        // One path of each name at a time, as drivers have it.
        guard !wire.paths.contains(where: { client.path($0)?.traits.name == name }) else { return }
        addPath(traits)
        guard wire.paths.count > before, let path = wire.paths.last else { return }
        servers[path] = server
        handle(.sample(path, script.sample()))
    }

    private func open() {
        guard sockets.count < 4 else { return }
        call { if let id = client.open([], now: now, into: &$0) { sockets[id] = Socket() } }
    }

    override func place(of stream: StreamID) -> UInt64 {
        guard let socket = sockets[stream] else { return 0 }
        switch script.below(4) {
        case 0: return socket.taken
        case 1: return socket.given
        case 2: return client.find(stream)?.down.front ?? 0
        default:
            let leases = client.find(stream)?.book.leases ?? []
            return leases.isEmpty ? 0 : leases[script.below(leases.count)].range.start
        }
    }

    override func maySayAnything(on channel: ChannelID) -> Bool {
        policy == .fail && servers[channel.path] != Self.primary
    }

    override func isHostile(_ path: PathID) -> Bool { total == nil || servers[path] != Self.primary }

    override func willTick() {
        for path in wire.paths where !isHostile(path) { handle(.heard(path)) }
    }

    override func ownStep() {
        switch script.below(8) {
        case 0, 1, 2: addServer(script.below(6))
        case 3: if let path = wire.path(&script), isHostile(path) { losePath(path) }
        case 4: open()
        case 5: for path in wire.paths { handle(.heard(path)) }
        case 6:
            guard let id = drawSocket() else { return }
            let option = SocketOption(level: 1, name: 7, value: script.array(4))
            call { client.setOption(option, for: id, into: &$0) }
        default: for path in wire.paths { handle(.sample(path, script.sample())) }
        }
    }

    override func obey() {
        if let asked = wire.channel(&script, where: { $0.preface != nil && !$0.hasEnded }) { serve(asked) }
    }

    override func carryOut(_ action: Action) {
        switch action {
        case .opened(let id, let errno, _, _):
            guard sockets[id] != nil else { preconditionFailure("an answer for \(id), which has no socket") }
            if errno == 0 { sockets[id]?.isConnected = true }
        case .offered(let id, _):
            if script.flag() {
                call { client.refuse(id, .refusedByPolicy, into: &$0) }
            } else {
                var socket = Socket()
                socket.isConnected = true
                sockets[id] = socket
                call { if !client.accept(id, now: now, into: &$0) { sockets[id] = nil } }
            }
        case .event: break
        default: preconditionFailure("not the client's to ask: \(action)")
        }
    }

    /// The honest primary goes on until the programs have all of it.
    private func finish(_ total: UInt64) {
        for _ in 0..<3_000 where sockets.values.contains(where: { !$0.isShut }) {
            for channel in wire.channels where !isHostile(channel.id.path) {
                while !channel.hasEnded, serve(channel) {}
            }
            for id in sockets.keys.sorted() { take(id, atMost: .max) }
            tick(after: .milliseconds(100))
        }
        for (id, socket) in sockets {
            require(socket.isShut && socket.taken == total, "stream \(id) stands at \(socket.taken)")
        }
    }

    /// Programs that quit leave nothing behind, whatever the servers said before.
    override func conclude() {
        if let total { finish(total) }
        expected = nil
        for id in sockets.keys.sorted() { handle(.localAborted(id, errno: 0)) }
        tick(after: .seconds(100))
        require(client.streams.isEmpty && sockets.isEmpty, "streams are left")
        for path in wire.paths { losePath(path) }
        tick(after: .seconds(100))
        require(
            client.channels.isEmpty && client.offers.isEmpty && client.waiting.isEmpty, "channels are left")
        require(client.deadline == nil, "something is due and nobody is there")
    }
}
