public import KwikConfiguration
internal import KwikControl
internal import KwikCore
internal import KwikEndpoint
public import KwikLinux
internal import KwikPrograms
public import KwikTelemetry
internal import KwikTransport

/// A server of Kwik: QUIC towards clients, plain connections towards its own backends. It holds no more than
/// each stream's window, connects only to what is configured, and leaves every decision about paths to the
/// clients.
public final class Gateway {
    private let configuration: GatewayConfiguration
    private let endpoint: Endpoint
    private let log: Log
    private let identity: ServerIdentity
    private let door: ServerDoor
    private let socket: UDPSocket
    private let settings: TransportSettings
    private(set) var sessions: [SessionID: ServedSession] = [:]
    /// Links whose hello has not been accepted yet.
    private var unadmitted: [Newcomer] = []
    private var relay: Relay?
    private var status: StatusServer?
    /// For services whose backends see the client's address.
    private var clients: ClientMap?
    private var sweep: LoopTimer?
    private(set) var counters = Counters()
    private let memory: MemoryBudget
    private let startedAt = Clock.now()
    /// The last reports of each service's streams that are over, oldest first.
    private var finished: [String: [JSON]] = [:]

    private struct Newcomer {
        var link: PathLink
        var since: Instant
        /// What it asked for in vain.
        var service: String?
    }

    /// Handshakes under way before clients must first show that they own their address (RFC 9000 §8.1.2).
    private static let retryThreshold = 1_000
    /// Connections without an accepted hello, in all and from one address.
    private static let newcomers = 4_096
    private static let newcomersPerAddress = 256
    /// Paths of one session.
    private static let pathsPerSession = 32
    /// From the first datagram to the hello.
    private static let helloTime = Interval.seconds(10)

    /// The same after a restart, so that clients learn at once that the former process is gone (RFC 9000
    /// §10.3.2). Of this server alone: another one with its key could be made to give the tokens away.
    private static func doorSecret(_ configuration: GatewayConfiguration) -> [UInt8] {
        let info = "kwik/3 stateless reset \(configuration.serverID) \(configuration.listen)"
        return Cryptography.hkdfSHA256(
            secret: configuration.identity.key.bytes, info: Array(info.utf8), length: 32)
    }

    public init(
        _ configuration: GatewayConfiguration, runtimeDirectory: String?, loop: EventLoop, log: Log
    ) throws(StartError) {
        self.configuration = configuration
        self.log = log
        do throws(TransportError) {
            identity = try ServerIdentity(
                certificate: configuration.identity.certificate.bytes, key: configuration.identity.key.bytes,
                clientAuthorities: configuration.clientAuthorities?.bytes,
                clientCertificate: configuration.clientAuthorities == nil ? .none : .required)
        } catch {
            throw StartError("\(configuration.identity.certificate.path): \(error)")
        }
        door = ServerDoor(secret: Self.doorSecret(configuration))
        memory = MemoryBudget(bytes: configuration.memory, keepsPlace: true)
        var settings = TransportSettings()
        settings.congestionControl = configuration.congestion == .cubic ? .cubic : .bbr2
        self.settings = settings
        let listen = configuration.listen
        do throws(Errno) {
            guard let address = SocketAddress(host: listen.host, port: listen.port) else {
                throw Errno(code: 22)
            }
            socket = try UDPSocket(binding: address)
            endpoint = try Endpoint(loop: loop, maximumRate: configuration.maxRate)
            try endpoint.add(socket)
        } catch {
            throw StartError("can't listen at \(listen) (UDP): \(error)")
        }
        try start(loop: loop, runtimeDirectory: runtimeDirectory)
    }

    private func start(loop: EventLoop, runtimeDirectory: String?) throws(StartError) {
        relay = configuration.relay.map { Relay($0, endpoint: endpoint, log: log) }
        unsafe endpoint.onUnknown = { [unowned self] datagram, from, to, _ in
            unsafe self.unknown(datagram, from: from, to: to)
        }
        do throws(Errno) {
            sweep = try loop.timer { [unowned self] in self.sweepUp() }
            sweep?.arm(at: Clock.now() + .seconds(1))
            if let runtimeDirectory {
                status = try StatusServer(loop: loop, path: runtimeDirectory + "/control.sock") {
                    [unowned self] verb, _ in self.answer(verb)
                }
                if configuration.services.contains(where: { $0.backendSees == .client }) {
                    clients = try ClientMap(directory: runtimeDirectory)
                    log.write(
                        .notice, "backends under libkwik.so see clients",
                        [LogField("file", "\(runtimeDirectory)/\(ClientMap.name)")])
                }
            }
        } catch {
            throw StartError("can't start: \(error)")
        }
        log.write(
            .notice, "listening",
            [
                LogField("address", socket.localAddress), LogField("server", configuration.serverID),
                LogField("services", configuration.services.count),
            ])
    }

    // MARK: New connections

    private func unknown(_ datagram: UnsafeRawBufferPointer, from: SocketAddress, to: SocketAddress) {
        let now = endpoint.now
        guard let remote = SocketAddressBytes(from.bytes), let local = SocketAddressBytes(to.bytes) else {
            return
        }
        let verdict = unsafe withUnsafeTemporaryAllocation(byteCount: 1_500, alignment: 16) { buffer in
            let verdict = unsafe door.judge(
                datagram, from: remote, demandRetry: unadmitted.count >= Self.retryThreshold, into: buffer,
                now: now)
            if case .reply(let count) = verdict {
                unsafe endpoint.reply(
                    UnsafeRawBufferPointer(rebasing: buffer[..<count]), to: from, from: to, through: socket)
            }
            return verdict
        }
        guard case .accept(let initial) = verdict else { return }
        let same = unadmitted.count { $0.link.remote.host == from.host }
        guard unadmitted.count < Self.newcomers, same < Self.newcomersPerAddress else {
            counters.refusedHellos += 1
            return
        }
        do throws(TransportError) {
            let connection = try QUICConnection.accept(
                initial, identity: identity, door: door, local: local, remote: remote, settings: settings,
                now: now)
            let link = endpoint.makeLink(connection, socket: socket, local: to, remote: from, isClient: false)
            endpoint.route(initial.destination, to: link)
            unadmitted.append(Newcomer(link: link, since: now))
            link.onControl = { [unowned self, unowned link] message in self.control(message, on: link) }
            link.onClosed = { [unowned self, unowned link] end in self.closed(link, end) }
            unsafe link.received(
                datagram, segment: datagram.count, from: remote, to: local, ecn: 0, now: now)
        } catch {
            log.write(.warning, "connection refused", [LogField("client", from), LogField("reason", error)])
        }
    }

    private func closed(_ link: PathLink, _ end: PathEnd) {
        let newcomer = unadmitted.first { $0.link === link }
        unadmitted.removeAll { $0.link === link }
        relay?.closed(link)
        guard let fault = end.fault else { return }
        var level = end.errorClass.recovery.isAlert ? Log.Level.warning : .notice
        switch end {
        case .closed: if newcomer != nil { counters.refusedHellos += 1 }
        // That admitted clients go is an everyday thing.
        case .failed: if newcomer != nil { level = .warning } else if level > .warning { level = .info }
        }
        var fields = [LogField("client", link.remote)]
        if let service = newcomer?.service { fields.append(LogField("service", service)) }
        fields += [LogField("reason", fault), LogField("class", end.errorClass.rawValue)]
        log.write(level, newcomer == nil ? "path closed" : "path refused", fields)
    }

    private func control(_ message: KCPMessage, on link: PathLink) {
        guard case .clientHello(let hello) = message.payload else {
            link.close(.protocolViolation, reason: "the hello comes first")
            return
        }
        do throws(HelloRefusal) {
            try admit(hello, message.header, on: link)
        } catch {
            for index in unadmitted.indices where unadmitted[index].link === link {
                unadmitted[index].service = hello.service
            }
            link.close(error.code, reason: error.reason)
        }
    }

    private func admit(_ hello: ClientHello, _ header: MessageHeader, on link: PathLink) throws(HelloRefusal)
    {
        let service = try Admission.service(for: hello, in: configuration.services)
        guard let id = header.session else {
            throw HelloRefusal(code: .protocolViolation, reason: "no session id")
        }
        let known = sessions[id]
        if let known {
            guard known.driver.links.count < Self.pathsPerSession else {
                throw HelloRefusal(code: .resourceLimit, reason: "too many paths in the session")
            }
            try Admission.join(
                known, hello, service: service, connection: link.connection, server: configuration.serverID)
        } else if sessions.count >= configuration.maxSessions {
            throw HelloRefusal(code: .resourceLimit, reason: "too many sessions")
        }
        let session = known ?? makeSession(id, service)
        unadmitted.removeAll { $0.link === link }
        var answer = ServerHello()
        answer.accepted = true
        answer.serverID = configuration.serverID
        answer.roles = service.roles
        answer.joinSecret = session.joinSecret
        answer.resumed = known != nil
        answer.version = Admission.version
        let compresses = service.compression == .zstd && hello.capabilities.contains(Capability.zstd)
        if compresses { answer.capabilities = [Capability.zstd] }
        var limits = SessionLimits()
        limits.maxStreams = UInt32(clamping: service.maxStreams)
        limits.maxWindowBytes = service.maxWindow
        limits.maxPaths = UInt32(Self.pathsPerSession)
        answer.limits = limits
        var reply = MessageHeader(messageID: header.messageID, session: id)
        reply.priority = .high
        link.sendControl(KCPMessage(.serverHello(answer), header: reply))
        log.write(
            .info, "path accepted",
            [
                LogField("client", link.remote), LogField("service", service.name),
                LogField("session", id.hexadecimal),
            ])
        link.onControl = { [unowned self, unowned link] message in
            self.command(message, on: link, of: service)
        }
        var traits = PathTraits(server: ServerID(0), roles: service.roles, resumed: known != nil)
        traits.compresses = compresses
        session.driver.adopt(link, traits: traits)
    }

    /// After the hello.
    private func command(_ message: KCPMessage, on link: PathLink, of service: GatewayService) {
        switch message.payload {
        case .clientHello: link.close(.protocolViolation, reason: "a second hello")
        case .transportCommand(let command):
            var response = TransportResponse()
            if let relay, service.roles.contains(.relay) {
                response = relay.answer(command, on: link)
            } else {
                response.commandID = command.commandID
                response.status = .failure
                response.errorMessage = "this server does not relay"
            }
            let header = MessageHeader(messageID: message.header.messageID, session: message.header.session)
            link.sendControl(KCPMessage(.transportResponse(response), header: header))
        // Messages of later versions and reports are for those who understand them.
        default: break
        }
    }

    private func makeSession(_ id: SessionID, _ service: GatewayService) -> ServedSession {
        let session = ServedSession(
            id: id, service: service, endpoint: endpoint, memory: memory, clients: clients)
        session.onEvent = { [unowned self] event in
            self.counters.count(event)
            self.log.write(describe(event))
        }
        session.onFinished = { [unowned self] report in self.keep(report, of: service.name) }
        sessions[id] = session
        counters.sessions += 1
        return session
    }

    private func keep(_ report: StreamReport, of service: String) {
        finished[service, default: []].append(StatusShape.stream(report, program: nil) { "\($0.value)" })
        if finished[service, default: []].count > StatusShape.finishedLimit {
            finished[service]?.removeFirst()
        }
    }

    // MARK: Time and the end

    private func sweepUp() {
        let now = Clock.now()
        sweep?.arm(at: now + .seconds(1))
        for newcomer in unadmitted where now > newcomer.since + Self.helloTime {
            newcomer.link.close(.protocolViolation, reason: "no hello in time")
        }
        relay?.sweep(now: now)
        for (id, session) in sessions where session.core.isExpired {
            session.close()
            endpoint.remove(session.driver)
            sessions[id] = nil
        }
    }

    /// Tells every client that this process stops, and closes all.
    public func stop() {
        relay?.close()
        endpoint.closeAll(.draining, reason: "the gateway stops")
        for session in sessions.values { session.close() }
        sessions = [:]
        status?.close()
        clients = nil
    }

    private func answer(_ verb: String) -> JSON {
        guard verb == "status" else { return .object([("error", .string("unknown verb"))]) }
        let now = Clock.now()
        let services = configuration.services.map { service in
            let own = sessions.values.filter { $0.service.name == service.name }
            let list = own.map { StatusShape.Session(report: $0.core.report(now: now)) }
            return StatusShape.service(
                name: service.name, policy: nil, servers: [], sessions: list,
                finished: finished[service.name] ?? [], now: now)
        }
        var shown = counters
        shown.relayedPaths = UInt64(relay?.count ?? 0)
        shown.relayedBytes = relay?.bytes ?? 0
        return StatusShape.document(
            pid: Environment.processID, uptime: now - startedAt, version: Version.text, counters: shown,
            services: services)
    }
}
