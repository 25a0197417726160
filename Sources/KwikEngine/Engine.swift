public import KwikConfiguration
internal import KwikCore
internal import KwikEndpoint
public import KwikLinux
internal import KwikPrograms
public import KwikTelemetry

/// One user's engine: takes the connections that programs make to configured services.
public final class Engine {
    private let endpoint: Endpoint
    private let log: Log
    private let directory: String
    private var services: [Service] = []
    private var door: ProgramDoor?
    private var status: StatusServer?
    private var links: LinkWatch?
    private(set) var counters = Counters()
    private let startedAt = Clock.now()
    /// What programs connect to, and whose service it is.
    private var served: [SocketAddress: Service] = [:]
    /// What the windows of all services' streams may hold together, in bytes.
    private static let memory: UInt64 = 64 << 20

    /// - Parameters:
    ///   - directory: the runtime directory, already checked.
    ///   - listener: a listening socket that the service manager passed; -1: the engine makes its own.
    public init(
        _ configuration: EngineConfiguration, directory: String, listener: Int32, loop: EventLoop, log: Log
    ) throws(StartError) {
        self.log = log
        self.directory = directory
        do throws(Errno) {
            endpoint = try Endpoint(loop: loop, maximumRate: nil)
        } catch {
            throw StartError("no event loop: \(error)")
        }
        let clientID = configuration.clientID ?? String(RandomBytes.word(), radix: 16)
        let memory = MemoryBudget(bytes: Self.memory)
        for entry in configuration.services {
            let service = try Service(
                entry, engine: configuration, clientID: clientID, endpoint: endpoint, memory: memory,
                log: log)
            services.append(service)
            for address in entry.addresses {
                if let address = SocketAddress(host: address.host, port: address.port) {
                    served[address] = service
                }
            }
        }
        try open(listener: listener, loop: loop)
    }

    private func open(listener: Int32, loop: EventLoop) throws(StartError) {
        for service in services {
            service.onEvent = { [unowned self, unowned service] event in
                self.counters.count(event)
                self.log.write(describe(event, name: { service.name($0) }))
            }
        }
        do throws(Errno) {
            let fd =
                listener >= 0
                ? listener
                : try UnixSocket.listen(
                    path: directory + "/engine.sock", mode: 0o600, .sequentialPacket)
            door = try ProgramDoor(
                loop: loop, listener: fd,
                log: { [unowned self] line in self.log.write(.notice, line) },
                decide: { [unowned self] request in self.decide(request) },
                connected: { [unowned self] connection in self.connected(connection) })
            status = try StatusServer(loop: loop, path: directory + "/control.sock") {
                [unowned self] verb, _ in
                self.answer(verb)
            }
            watchLinks(loop)
            try ServedMap.write(directory + "/served", Array(served.keys))
        } catch {
            throw StartError("\(directory): \(error)")
        }
        log.write(
            .notice, "engine started",
            [
                LogField("directory", directory), LogField("services", services.count),
            ])
    }

    private func decide(_ request: ConnectRequest) -> Verdict {
        guard let service = served[request.destination.unmapped] else { return .native }
        return service.wants(request) ? .serve : .native
    }

    /// Without netlink every path leaves by what the routes choose, and links that go are noticed by silence.
    private func watchLinks(_ loop: EventLoop) {
        do throws(Errno) {
            links = try LinkWatch(loop: loop) { [unowned self] in self.linksChanged() }
            linksChanged()
        } catch {
            log.write(
                .warning, "links can't be watched, the system's routes decide", [LogField("reason", error)])
        }
    }

    private func linksChanged() {
        let local = try? LocalRoutes()
        for service in services { service.linksChanged(local) }
    }

    private func connected(_ connection: ProgramConnection) {
        guard let service = served[connection.destination.unmapped] else {
            connection.native()
            return
        }
        service.connected(connection)
    }

    private func answer(_ verb: String) -> JSON {
        guard verb == "status" else { return .object([("error", .string("unknown verb"))]) }
        let now = Clock.now()
        var shown = counters
        for service in services {
            shown.connects += service.counters.connects
            shown.served += service.counters.served
            shown.native += service.counters.native
        }
        return StatusShape.document(
            pid: Environment.processID, uptime: now - startedAt, version: Version.text, counters: shown,
            services: services.map { $0.status(now: now) })
    }

    /// Removes what programs look for, ends every stream and path.
    public func stop() {
        ServedMap.remove(directory + "/served")
        for service in services { service.stop() }
        status?.close()
        door?.close()
    }
}
