internal import KwikConfiguration
internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikPrograms
internal import KwikTelemetry

/// One client's session with one service: its core, the driver of its paths, and a backend for each stream.
final class ServedSession {
    let id: SessionID
    let service: GatewayService
    let joinSecret: [UInt8]
    let core: GatewaySession
    let driver: SessionDriver
    private let taggers: BlockTaggers
    private let clients: ClientMap?
    private let loop: EventLoop
    private var backends: [StreamID: Backend] = [:]
    /// Every event, for log and counters.
    var onEvent: (Event) -> Void = { _ in }
    /// The last report of a stream that is over.
    var onFinished: (StreamReport) -> Void = { _ in }

    /// - Parameter clients: for a backend that sees the client's address.
    init(
        id: SessionID, service: GatewayService, endpoint: Endpoint, memory: MemoryBudget, clients: ClientMap?
    ) {
        self.id = id
        self.service = service
        self.clients = clients
        loop = endpoint.loop
        joinSecret = RandomBytes.bytes(Join.secretLength)
        taggers = BlockTaggers(joinSecret: joinSecret)
        var limits = GatewayLimits()
        limits.windowPerStream = service.maxWindow
        limits.upstreamPerStream = service.maxWindow
        limits.windowPerSession = memory.bytes
        limits.streams = service.maxStreams
        core = unsafe GatewaySession(
            roles: service.roles, integrity: .standard, memory: memory,
            codec: service.compression == .zstd ? endpoint.codec : nil, tagger: taggers.tagger,
            limits: limits)
        driver = endpoint.makeDriver(SessionDoor(core))
        driver.role = { [unowned self] action in self.perform(action) }
    }

    private static let refused: Int32 = 111

    private func perform(_ action: Action) {
        switch action {
        case .connect(let stream, let options):
            guard let target = service.backend else {
                // The core opens no stream where there is no origin and no replica.
                driver.input(.backendRefused(stream, errno: Self.refused))
                return
            }
            let backend = Backend(stream: stream, driver: driver)
            backends[stream] = backend
            guard let introduction = introduction(stream, options) else {
                return driver.input(.backendRefused(stream, errno: Self.inputOutput))
            }
            backend.connect(to: target, options: options, introduction: introduction, loop: loop)
        case .deliver(let stream): backends[stream]?.deliver()
        case .accept(let stream): backends[stream]?.accept()
        case .endLocal(let stream, let end): backends[stream]?.end(end)
        case .setOption(let stream, let option): backends[stream]?.set(option)
        case .release(let stream):
            if let report = core.report(of: stream) { onFinished(report) }
            backends.removeValue(forKey: stream)?.close()
            taggers.forget(stream)
        case .event(let event): onEvent(event)
        case .opened, .offered, .open, .send, .finish, .abandon, .stop, .probe, .endPath:
            preconditionFailure("not a gateway's part")
        }
    }

    private static let inputOutput: Int32 = 5

    /// Tells who opened the stream: the far end of the path that it was opened on, with the port that the
    /// program has there. Nil: it cannot be told, and the backend would take somebody else for the client.
    private func introduction(_ stream: StreamID, _ options: SocketOptions) -> Introduction? {
        let path = core.path(of: stream)
        let link = driver.links.first { $0.id == path }
        var client = link?.remote
        if let port = options.port { client?.port = port }
        if service.backendSees == .client {
            guard let client, let clients else { return nil }
            return .address(client, clients)
        }
        guard service.proxyProtocol != nil else { return Introduction.none }
        guard let client, let link else { return .header(ProxyHeader.local) }
        return .header(ProxyHeader.v2(from: client, to: link.local))
    }

    /// The gateway stops: every backend is closed.
    func close() {
        for backend in backends.values { backend.close() }
        backends = [:]
    }
}
