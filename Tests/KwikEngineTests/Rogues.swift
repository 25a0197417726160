import KwikControl
import KwikCore
import KwikLinux
import KwikTransport
import Testing

@testable import KwikEndpoint

/// What no control stream may do after the hello, whichever end does it.
enum ControlFault: CaseIterable {
    case ended
    case reset
    case malformed

    /// A message of five bytes that is none.
    static var garbage: ChunkSlice { slice([5, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]) }

    static func slice(_ bytes: [UInt8]) -> ChunkSlice {
        unsafe bytes.withUnsafeBytes { unsafe ChunkSlice(copying: $0) }
    }

    func commit(on link: PathLink) {
        switch self {
        case .ended: link.finish(PathLink.controlStream)
        case .reset: link.abandon(PathLink.controlStream, .none)
        case .malformed: link.send(PathLink.controlStream, Self.garbage)
        }
    }

    /// As the other end's log has it.
    var told: String { "reason=\"\(reason)\" class=fatal" }

    var reason: String {
        switch self {
        case .ended: "the control stream ended"
        case .reset: "the control stream was reset"
        case .malformed: "malformed control message"
        }
    }
}

/// A client that says on its control stream what the test has it say.
final class RogueClient {
    let link: PathLink
    private let endpoint: Endpoint
    private let world: World
    private(set) var end: PathEnd?
    private(set) var isAdmitted = false

    /// Its handshake is done.
    init(_ world: World, to address: String) throws {
        self.world = world
        endpoint = try Endpoint(loop: world.loop, maximumRate: nil)
        let remote = try #require(SocketAddress(parsing: address))
        let socket = try UDPSocket(binding: #require(SocketAddress(parsing: "127.0.0.1:0")))
        try endpoint.add(socket)
        let connection = try QUICConnection.connect(
            to: "a.test", pin: nil, trust: TrustStore(authorities: Array(Fixture.authority.utf8)),
            local: #require(SocketAddressBytes(socket.localAddress.bytes)),
            remote: #require(SocketAddressBytes(remote.bytes)), settings: TransportSettings(),
            now: Clock.now())
        link = endpoint.makeLink(
            connection, socket: socket, local: socket.localAddress, remote: remote, isClient: true)
        world.guests.append(endpoint)
        var isShaken = false
        link.onHandshake = { isShaken = true }
        link.onClosed = { [weak self] end in self?.end = end }
        link.onControl = { [weak self] message in
            if case .serverHello(let hello) = message.payload { self?.isAdmitted = hello.accepted }
        }
        #expect(try world.turn(until: { isShaken }))
        #expect(link.openControl())
    }

    func sayHello(token: String = "secret") {
        var hello = ClientHello()
        hello.version = 3
        hello.service = world.service
        hello.credential = .bearerToken(token)
        let header = MessageHeader(messageID: 1, session: SessionID(high: 1, low: 1))
        link.sendControl(KCPMessage(.clientHello(hello), header: header))
    }

    /// What only a client whose hello was accepted may ask.
    func command() {
        link.sendControl(KCPMessage(.transportCommand(TransportCommand()), header: MessageHeader()))
    }

    /// The bytes and the end of the connection, in one system call.
    func sendAndClose(_ slice: ChunkSlice) throws {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        link.connection.send(PathLink.controlStream, slice)
        let result = try unsafe buffer.withUnsafeMutableBytes { buffer in
            let first = try unsafe link.connection.write(into: buffer, limit: 65_536, now: Clock.now())
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[first.bytes...])
            let last = unsafe link.connection.close(code: 0, reason: "", into: rest, now: Clock.now())
            #expect(first.count == 1 && last.count == 1 && last.bytes <= first.bytes)
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<(first.bytes + last.bytes)])
            return unsafe link.socket.send(bytes, segment: first.bytes, to: link.remote, ecn: 0)
        }
        #expect(result == .sent)
    }
}

/// A server whose answer to the hello is `answer`.
final class RogueServer {
    let address: SocketAddress
    private let endpoint: Endpoint
    private var links: [PathLink] = []

    init(_ world: World, answer: ChunkSlice) throws {
        endpoint = try Endpoint(loop: world.loop, maximumRate: nil)
        let socket = try UDPSocket(binding: #require(SocketAddress(parsing: "127.0.0.1:0")))
        address = socket.localAddress
        try endpoint.add(socket)
        let identity = try ServerIdentity(
            certificate: Array(Fixture.a.utf8), key: Array(Fixture.key.utf8))
        let door = ServerDoor(secret: [UInt8](repeating: 7, count: 32))
        unsafe endpoint.onUnknown = { [unowned self] datagram, from, to, socket in
            guard let remote = SocketAddressBytes(from.bytes), let local = SocketAddressBytes(to.bytes)
            else { return }
            var buffer = [UInt8](repeating: 0, count: 1_500)
            let verdict = unsafe buffer.withUnsafeMutableBytes { buffer in
                unsafe door.judge(
                    datagram, from: remote, demandRetry: false, into: buffer, now: Clock.now())
            }
            guard case .accept(let initial) = verdict,
                let connection = try? QUICConnection.accept(
                    initial, identity: identity, door: door, local: local, remote: remote, now: Clock.now())
            else { return }
            let link = self.endpoint.makeLink(
                connection, socket: socket, local: to, remote: from, isClient: false)
            self.links.append(link)
            self.endpoint.route(initial.destination, to: link)
            link.onControl = { [unowned link] _ in link.send(PathLink.controlStream, answer) }
            unsafe link.received(
                datagram, segment: datagram.count, from: remote, to: local, ecn: 0, now: Clock.now())
        }
        world.guests.append(self)
    }
}
