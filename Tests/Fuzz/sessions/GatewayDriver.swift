/// A gateway's session, its backends, and a hostile client.
final class GatewayDriver: Driver {
    private let gateway: GatewaySession
    private let memory: MemoryBudget

    init(_ settings: UInt8, _ script: Script) {
        var limits = GatewayLimits()
        if settings & 1 == 1 {
            // Within reach of a short script.
            limits.streams = 3
            limits.channelsPerStream = 2
            limits.leasesPerStream = 2
            limits.waitingPerPath = 2
            limits.windowPerStream = 4 * Block.size
            limits.discardBudget = 4 * Block.size
            limits.contributions = 2
            limits.delegations = 2
        }
        memory = MemoryBudget(bytes: settings & 2 == 0 ? 1 << 24 : 1 << 18, keepsPlace: true)
        gateway = unsafe GatewaySession(
            roles: [.origin, .replica], integrity: Content.integrity, memory: memory,
            codec: settings & 4 == 0 ? nil : Content.codec,
            tagger: { stream, block, bytes in unsafe Content.tag(stream, block, bytes) }, limits: limits)
        super.init(gateway, script, parity: 1)
        addPath(traits)
    }

    private var traits: PathTraits {
        var traits = PathTraits(server: ServerID(7), roles: [.origin, .replica], resumed: script.flag())
        traits.compresses = script.flag()
        return traits
    }

    override func place(of stream: StreamID) -> UInt64 {
        guard let socket = sockets[stream] else { return 0 }
        return script.flag() ? socket.given : socket.taken
    }

    override func ownStep() {
        switch script.below(8) {
        case 0: if !gateway.isExpired { addPath(traits) }
        case 1: if let path = wire.path(&script) { losePath(path) }
        case 2:
            call { _ = gateway.openStream(now: now, into: &$0) }
        case 3:
            let bytes = [UInt8](repeating: 1, count: 1 + script.below(200))
            let offset = script.offset(about: 0)
            let stream = drawStream()
            unsafe bytes.withUnsafeBytes { bytes in
                _ = call { unsafe gateway.contribute(bytes, to: stream, at: offset, now: now, into: &$0) }
            }
        case 4:
            let stream = drawStream()
            let range = script.range(about: place(of: stream))
            _ = call { gateway.delegate(range, of: stream, to: [2], now: now, into: &$0) }
        default: obey()
        }
    }

    /// A backend that was connected to answers.
    override func obey() {
        let ids = sockets.keys.filter {
            sockets[$0]?.isAsked == true && sockets[$0]?.isConnected == false
        }.sorted()
        guard !ids.isEmpty else { return }
        let id = ids[script.below(ids.count)]
        if script.below(8) == 0 {
            sockets[id]?.isOver = true
            handle(.backendRefused(id, errno: 111))
        } else {
            sockets[id]?.isConnected = true
            handle(.backendConnected(id, local: [1], peer: [2]))
        }
    }

    override func carryOut(_ action: Action) {
        switch action {
        case .event(.streamOpened(let id, _)): if sockets[id] == nil { sockets[id] = Socket() }
        case .connect(let id, _): sockets[id]?.isAsked = true
        case .opened(let id, let errno, _, _): if errno == 0 { sockets[id]?.isConnected = true }
        case .setOption, .event: break
        default: preconditionFailure("not the gateway's to ask: \(action)")
        }
    }

    override func conclude() {
        for path in wire.paths { losePath(path) }
        tick(after: .seconds(100))
        require(gateway.isExpired, "a session without paths does not expire")
        require(gateway.streams.isEmpty && sockets.isEmpty, "streams are left")
        require(
            gateway.waiting.isEmpty && gateway.offering.isEmpty && gateway.ending.isEmpty, "lists are left")
        require(memory.down == 0 && memory.up == 0 && memory.promised == 0, "memory is left")
    }
}
