internal import KwikConfiguration
internal import KwikControl
internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikTransport

/// One configured server of a service.
struct ServerEntry {
    let id: ServerID
    let configuration: EngineServer
    /// What its gateway made known of the session; kept for joining with further paths.
    var joinSecret: [UInt8] = []
    /// How the gateway calls itself.
    var name = ""
    /// Why the last attempt failed; nil after one that did not.
    var refused: String?
}

/// The making of one path: a UDP socket of its own, the QUIC connection, the hello.
final class ServerPath {
    let server: ServerID
    private(set) var link: PathLink?
    private let socket: UDPSocket
    private let endpoint: Endpoint
    /// The hello was accepted.
    private(set) var isUp = false
    /// Why the gateway does not want us; told once the link is closed.
    private var refusal: Failure?
    /// An attempt that is not up by then is over: a gateway that only keeps the connection is no server.
    let helloDue: Instant

    private static let helloTimeout = Interval.seconds(10)

    /// Why a server can't be used.
    struct Failure: Error {
        var reason: String
        /// It does not pass by itself: certificate, token, version.
        var isPermanent: Bool
    }

    var onUp: (PathLink, ServerHello) -> Void = { _, _ in }
    var onFailed: (Failure) -> Void = { _ in }
    /// A path that was up is gone.
    var onDown: (TransportError?) -> Void = { _ in }
    /// The gateway stops on purpose.
    var onRemoval: (String) -> Void = { _ in }

    /// What a connection is made from.
    struct Recipe {
        var service: String
        var trust: TrustStore
        var settings: TransportSettings
        var token: String?
        var clientID: String
        var session: SessionID
    }

    init(_ entry: ServerEntry, _ recipe: Recipe, endpoint: Endpoint) throws(Failure) {
        server = entry.id
        self.endpoint = endpoint
        helloDue = Clock.now() + Self.helloTimeout
        let target = entry.configuration.address
        guard let remote = SocketAddress(host: target.host, port: target.port) else {
            throw Failure(reason: "no address", isPermanent: true)
        }
        do throws(Errno) {
            socket = try UDPSocket(binding: try UDPSocket.source(towards: remote))
        } catch {
            throw Failure(reason: "no route: \(error)", isPermanent: false)
        }
        try connect(entry, recipe, remote)
    }

    private func connect(_ entry: ServerEntry, _ recipe: Recipe, _ remote: SocketAddress) throws(Failure) {
        guard let local = SocketAddressBytes(socket.localAddress.bytes),
            let far = SocketAddressBytes(remote.bytes)
        else { throw Failure(reason: "no address", isPermanent: true) }
        do throws(Errno) {
            try endpoint.add(socket)
        } catch {
            throw Failure(reason: "\(error)", isPermanent: false)
        }
        do throws(TransportError) {
            let connection = try QUICConnection.connect(
                to: entry.configuration.name, pin: entry.configuration.pin, trust: recipe.trust, local: local,
                remote: far, settings: recipe.settings, now: endpoint.now)
            let link = endpoint.makeLink(
                connection, socket: socket, local: socket.localAddress, remote: remote, isClient: true)
            self.link = link
            link.onHandshake = { [unowned self, unowned link] in self.hello(on: link, entry, recipe) }
            link.onControl = { [unowned self, unowned link] message in self.control(message, on: link) }
            link.onClosed = { [unowned self] error in self.closed(error) }
        } catch {
            endpoint.remove(socket)
            throw Failure(reason: "\(error)", isPermanent: true)
        }
    }

    private func hello(on link: PathLink, _ entry: ServerEntry, _ recipe: Recipe) {
        guard link.openControl() else {
            link.close(.protocolViolation, reason: "no stream for the control plane")
            return
        }
        var hello = ClientHello()
        hello.clientID = recipe.clientID
        hello.version = 3
        hello.service = recipe.service
        if let token = recipe.token { hello.credential = .bearerToken(token) }
        if !entry.joinSecret.isEmpty {
            hello.joinProof =
                Join.proof(
                    secret: entry.joinSecret, connection: link.connection, session: recipe.session,
                    server: entry.name)
                ?? []
        }
        var header = MessageHeader(messageID: 1, session: recipe.session)
        header.priority = .high
        link.sendControl(KCPMessage(.clientHello(hello), header: header))
    }

    private func control(_ message: KCPMessage, on link: PathLink) {
        switch message.payload {
        case .serverHello(let hello) where !isUp:
            guard hello.accepted else {
                // The link ends when the transport has returned, and tells us: we must be there.
                refusal = Failure(reason: hello.errorMessage, isPermanent: true)
                link.close(.none, reason: "refused")
                return
            }
            isUp = true
            onUp(link, hello)
        case .removePath(let command): onRemoval(command.reason)
        default: break
        }
    }

    private func closed(_ error: TransportError?) {
        endpoint.remove(socket)
        if isUp {
            onDown(error)
        } else {
            let ours = Failure(reason: "no answer to the hello, or a malformed one", isPermanent: false)
            onFailed(refusal ?? error.map(Self.failure) ?? ours)
        }
    }

    /// A failed handshake or refused hello, for people.
    static func failure(_ error: TransportError) -> Failure {
        switch error.kind {
        case .certificate(let text): return Failure(reason: text, isPermanent: true)
        case .closedByPeer(let close):
            guard close.isApplication, !close.reason.isEmpty else {
                return Failure(reason: "\(close)", isPermanent: true)
            }
            return Failure(reason: close.reason, isPermanent: close.code != ErrorCode.draining.rawValue)
        case .idle, .handshake: return Failure(reason: "no answer", isPermanent: false)
        case .tls(let text): return Failure(reason: text, isPermanent: true)
        case .fatal(_, let text): return Failure(reason: text, isPermanent: false)
        case .badArgument(let text): return Failure(reason: text, isPermanent: true)
        }
    }

    func close(_ reason: String) { link?.close(.none, reason: reason) }
}
