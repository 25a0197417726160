internal import KwikConfiguration
internal import KwikControl
internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikTransport

/// The making of one path: a UDP socket of its own, the QUIC connection, the hello.
final class ServerPath {
    let name: PathName
    let kind: PathKind
    let local: LocalRoute
    private(set) var link: PathLink?
    private let server: EngineServer
    private let recipe: Recipe
    private let endpoint: Endpoint
    private var socket: UDPSocket?
    /// The hello was accepted.
    private(set) var isUp = false
    private var isOver = false
    /// What the hello showed; nil: it has not been sent.
    private(set) var shown: Membership?
    /// Why the gateway does not want us; told once the link is closed.
    private var refusal: Failure?
    /// An attempt that is not up by then is over: a gateway that only keeps the connection is no server.
    let helloDue: Instant
    /// What was asked of this server as a relay.
    private var questions = RequestTable<(TransportResponse?) -> Void>(capacity: 16)

    private static let helloTimeout = Interval.seconds(10)
    private static let relayTimeout = Interval.seconds(5)

    /// Why a server can't be used.
    struct Failure: Error {
        var reason: String
        var errorClass: ErrorClass
        /// The gateway does not take our word for the session.
        var isUnauthenticated = false

        /// It does not pass by itself: certificate, token, version.
        var isPermanent: Bool { errorClass.recovery.attempt == .late }
    }

    var onShaken: () -> Void = {}
    var onUp: (PathLink, ServerHello) -> Void = { _, _ in }
    var onFailed: (Failure) -> Void = { _ in }
    /// A path that was up is gone.
    var onDown: (PathEnd) -> Void = { _ in }
    /// The gateway stops on purpose.
    var onRemoval: (String) -> Void = { _ in }
    /// The relay's number of the forwarding, to be told when the path is over.
    var onOver: () -> Void = {}

    /// What a connection is made from.
    struct Recipe {
        var service: String
        var trust: TrustStore
        var settings: TransportSettings
        var token: String?
        var clientID: String
        /// What is offered to gateways.
        var capabilities: [String] = []
    }

    init(
        _ name: PathName, kind: PathKind, to server: EngineServer, by local: LocalRoute, _ recipe: Recipe,
        endpoint: Endpoint
    ) {
        self.name = name
        self.kind = kind
        self.local = local
        self.server = server
        self.recipe = recipe
        self.endpoint = endpoint
        helloDue = Clock.now() + Self.helloTimeout
    }

    // MARK: The connection

    /// - Parameter remote: the server, or the port at which a relay takes datagrams for it.
    func connect(to remote: SocketAddress) throws(Failure) {
        let socket: UDPSocket
        do throws(Errno) {
            let device = local.needsDevice ? local.name : nil
            socket = try UDPSocket(binding: local.source, device: device)
            try endpoint.add(socket)
        } catch {
            throw Failure(reason: "no route: \(error)", errorClass: .path)
        }
        self.socket = socket
        guard let near = SocketAddressBytes(socket.localAddress.bytes),
            let far = SocketAddressBytes(remote.bytes)
        else { throw Failure(reason: "no address", errorClass: .fatal) }
        do throws(TransportError) {
            let connection = try QUICConnection.connect(
                to: server.name, pin: server.pin, trust: recipe.trust, local: near, remote: far,
                settings: recipe.settings, now: endpoint.now)
            let link = endpoint.makeLink(
                connection, socket: socket, local: socket.localAddress, remote: remote, isClient: true)
            self.link = link
            link.onHandshake = { [unowned self] in self.onShaken() }
            link.onControl = { [unowned self, unowned link] message in self.control(message, on: link) }
            link.onClosed = { [unowned self] end in self.closed(end) }
        } catch {
            endpoint.remove(socket)
            throw Failure(reason: "\(error)", errorClass: .fatal)
        }
    }

    /// Joins the session, or begins it where there is no secret to prove it with.
    func hello(_ membership: Membership, serverID: String) {
        guard let link, link.openControl() else {
            link?.close(.protocolViolation, reason: "no stream for the control plane")
            return
        }
        var hello = ClientHello()
        hello.clientID = recipe.clientID
        hello.version = 3
        hello.service = recipe.service
        hello.capabilities = recipe.capabilities
        if let token = recipe.token { hello.credential = .bearerToken(token) }
        shown = membership
        if !membership.joinSecret.isEmpty {
            hello.joinProof =
                Join.proof(
                    secret: membership.joinSecret, connection: link.connection, session: membership.session,
                    server: serverID) ?? []
        }
        var header = MessageHeader(messageID: 1, session: membership.session)
        header.priority = .high
        link.sendControl(KCPMessage(.clientHello(hello), header: header))
    }

    private func control(_ message: KCPMessage, on link: PathLink) {
        switch message.payload {
        case .serverHello(let hello) where !isUp:
            guard hello.accepted else {
                // The link ends when the transport has returned, and tells us: we must be there.
                refusal = Failure(reason: hello.errorMessage, errorClass: hello.error.errorClass)
                link.close(.none, reason: "refused")
                return
            }
            isUp = true
            onUp(link, hello)
        case .removePath(let command): onRemoval(command.reason)
        case .transportResponse(let response): questions.take(replyTo: message)?(response)
        default: break
        }
    }

    private func closed(_ end: PathEnd) {
        guard !isOver else { return }
        isOver = true
        if let socket { endpoint.remove(socket) }
        for answer in questions.expire(now: .never) { answer(nil) }
        onOver()
        if isUp {
            onDown(end)
        } else {
            onFailed(refusal ?? Self.failure(end))
        }
    }

    private static func failure(_ end: PathEnd) -> Failure {
        switch end {
        case .failed(let error): failure(error)
        case .closed:
            if let fault = end.fault {
                Failure(reason: fault, errorClass: end.errorClass)
            } else {
                Failure(reason: "no answer to the hello", errorClass: .path)
            }
        }
    }

    /// A failed handshake or refused hello, for people.
    static func failure(_ error: TransportError) -> Failure {
        switch error.kind {
        case .closedByPeer(let close):
            return Failure(
                reason: close.isApplication && !close.reason.isEmpty ? close.reason : "\(close)",
                errorClass: error.errorClass,
                isUnauthenticated: close.isApplication && ErrorCode(told: close.code) == .unauthenticated)
        case .idle, .handshake: return Failure(reason: "no answer", errorClass: error.errorClass)
        case .tls(let text), .fatal(_, let text), .badArgument(let text), .certificate(let text):
            return Failure(reason: text, errorClass: error.errorClass)
        }
    }

    func close(_ reason: String) {
        if let link { link.close(.none, reason: reason) } else { closed(.closed(.none, reason: reason)) }
    }

    // MARK: The server as a relay

    /// Asks the server to forward datagrams to `target`; `id` names the forwarding. The answer is the address
    /// to send them to.
    func relay(
        to target: AddressAndPort, id: String, _ answer: @escaping (Result<SocketAddress, Failure>) -> Void
    ) {
        guard let link, isUp else {
            answer(.failure(Failure(reason: "the relay is gone", errorClass: .path)))
            return
        }
        var command = TransportCommand()
        command.commandID = id
        command.type = .establishPath
        command.transportData = Array("\(target)".utf8)
        let host = link.remote.host
        let request = questions.request(
            .transportCommand(command),
            context: { response in answer(Self.address(in: response, at: host)) },
            timeout: Self.relayTimeout, now: Clock.now())
        guard let request else {
            answer(.failure(Failure(reason: "too many requests to the relay", errorClass: .resource)))
            return
        }
        link.sendControl(request)
    }

    /// Only the port is taken from the answer: a relay is reached where it is known to be, and can't make us
    /// send to others.
    private static func address(
        in response: TransportResponse?, at host: String
    ) -> Result<SocketAddress, Failure> {
        guard let response else {
            return .failure(Failure(reason: "no answer from the relay", errorClass: .transient))
        }
        guard response.status == .success else {
            return .failure(Failure(reason: "the relay: \(response.errorMessage)", errorClass: .server))
        }
        guard let text = response.result?.pathContributions.first?.serverAddress,
            let told = SocketAddress(parsing: text), told.port > 0,
            let address = SocketAddress(host: host, port: told.port)
        else { return .failure(Failure(reason: "the relay gives no address", errorClass: .server)) }
        return .success(address)
    }

    /// The forwarding is needed no longer.
    func endRelay(id: String) {
        guard let link, isUp, !isOver else { return }
        var command = TransportCommand()
        command.commandID = id
        command.type = .closePath
        let request = questions.request(
            .transportCommand(command), context: { _ in }, timeout: Self.relayTimeout, now: Clock.now())
        if let request { link.sendControl(request) }
    }

    /// When an answer is overdue.
    var questionsDue: Instant? { questions.deadline }

    func expireQuestions(now: Instant) {
        for answer in questions.expire(now: now) { answer(nil) }
    }
}
