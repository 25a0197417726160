public import KwikControl
public import KwikCore
public import KwikLinux
public import KwikTransport

/// One path as the endpoint drives it: a QUIC connection, the control stream on it, and its channels.
public final class PathLink {
    public let id: PathID
    public let connection: QUICConnection
    /// Where datagrams go. A client's NAT may give it another port (RFC 9000 §9.3).
    public private(set) var remote: SocketAddress
    private var remoteBytes: SocketAddressBytes?
    public let local: SocketAddress
    let socket: UDPSocket
    /// Messages on the control stream but probes, which are answered here.
    public var onControl: (KCPMessage) -> Void = { _ in }
    public var onHandshake: () -> Void = {}
    public var onClosed: (PathEnd) -> Void = { _ in }
    public internal(set) weak var driver: SessionDriver?

    unowned let endpoint: Endpoint
    /// The peer told something since the last turn.
    var heard = false
    /// In the endpoint's list of links with something to write.
    var isTouched = false
    private(set) var isClosed = false
    /// The transport calls us: it can't be ended before it returns.
    private var inTransport = false
    private var pendingClose: (code: ErrorCode, reason: String)?
    private var reader = KCPReader()
    private var nextMessage: UInt64 = 1
    private let isClient: Bool
    /// Channels from this number on wait for stream credit, with what is to happen on them.
    private var waiting: [Step] = []

    private enum Step {
        case open(Int64)
        case send(Int64, ChunkSlice)
        case finish(Int64)
        case abandon(Int64, ErrorCode)

        func isContent(of channel: Int64) -> Bool {
            switch self {
            case .send(channel, _), .finish(channel): true
            case .open, .send, .finish, .abandon: false
            }
        }
    }

    public static let controlStream: Int64 = 0
    /// Bytes that a peer who asks and does not take the answers makes us hold at most.
    private static let controlBacklog = 256 << 10

    init(
        id: PathID, connection: QUICConnection, socket: UDPSocket, local: SocketAddress,
        remote: SocketAddress,
        isClient: Bool, endpoint: Endpoint
    ) {
        self.socket = socket
        self.id = id
        self.connection = connection
        self.local = local
        self.remote = remote
        self.isClient = isClient
        self.endpoint = endpoint
    }

    /// The batch to be sent goes there.
    func follow(_ bytes: SocketAddressBytes) {
        if bytes == remoteBytes { return }
        defer { remoteBytes = bytes }
        guard remoteBytes != nil else { return }
        if let moved = unsafe bytes.withBytes({ unsafe SocketAddress(raw: $0) }) { remote = moved }
    }

    // MARK: Control

    /// Client: opens the control stream. True unless the connection allows no stream at all.
    public func openControl() -> Bool { openStream() == Self.controlStream }

    /// nil: the peer allows no more just now, or the connection is over, which the next write reports.
    private func openStream() -> Int64? {
        do throws(TransportError) { return try connection.openStream() } catch { return nil }
    }

    public func sendControl(_ message: KCPMessage) {
        if connection.unsent(Self.controlStream) > Self.controlBacklog {
            close(.resourceLimit, reason: "control messages are not taken")
            return
        }
        let bytes = message.encode()
        let slice = unsafe bytes.withUnsafeBytes { unsafe ChunkSlice(copying: $0) }
        connection.send(Self.controlStream, slice)
        endpoint.touch(self)
    }

    func probe() {
        var request = HealthCheckRequest()
        request.nonce = nextMessage
        var header = MessageHeader()
        header.messageID = nextMessage
        nextMessage += 1
        sendControl(KCPMessage(.healthCheckRequest(request), header: header))
    }

    /// What comes behind the message for which the path is to end is not listened to.
    private func control(_ bytes: UnsafeRawBufferPointer, finished: Bool) {
        if isEnding { return }
        do throws(KCPError) {
            unsafe reader.append(bytes)
            while let message = try reader.next() {
                switch message.payload {
                case .healthCheckRequest(let request):
                    var answer = HealthCheckResponse()
                    answer.nonce = request.nonce
                    var header = MessageHeader()
                    header.messageID = message.header.messageID
                    sendControl(KCPMessage(.healthCheckResponse(answer), header: header))
                case .healthCheckResponse: break
                default: onControl(message)
                }
                if isEnding { return }
            }
            if finished { close(.protocolViolation, reason: "the control stream ended") }
        } catch {
            close(.protocolViolation, reason: "\(error)")
        }
    }

    // MARK: Channels

    func open(_ number: Int64) {
        endpoint.touch(self)
        if waiting.isEmpty, let opened = openStream() {
            precondition(opened == number, "channels are opened in the order of their ids")
        } else {
            waiting.append(.open(number))
        }
    }

    func send(_ number: Int64, _ slice: ChunkSlice) {
        endpoint.touch(self)
        if isWaiting(number) { waiting.append(.send(number, slice)) } else { connection.send(number, slice) }
    }

    func finish(_ number: Int64) {
        endpoint.touch(self)
        if isWaiting(number) { waiting.append(.finish(number)) } else { connection.finish(number) }
    }

    func abandon(_ number: Int64, _ code: ErrorCode) {
        endpoint.touch(self)
        if isWaiting(number) {
            // Its number is used up, so it is opened all the same; what was to go on it is not sent.
            waiting.removeAll { $0.isContent(of: number) }
            waiting.append(.abandon(number, code))
        } else {
            connection.reset(number, code: code.rawValue)
            connection.stopSending(number, code: code.rawValue)
        }
    }

    func stop(_ number: Int64, _ code: ErrorCode) {
        endpoint.touch(self)
        if !isWaiting(number) { connection.stopSending(number, code: code.rawValue) }
    }

    private func isWaiting(_ number: Int64) -> Bool {
        guard case .open(let first)? = waiting.first else { return false }
        return number >= first && number & 1 == first & 1
    }

    private func openWaiting() {
        let steps = waiting
        waiting = []
        for step in steps {
            switch step {
            case .open(let number): open(number)
            case .send(let number, let slice): send(number, slice)
            case .finish(let number): finish(number)
            case .abandon(let number, let code): abandon(number, code)
            }
        }
    }

    // MARK: From the transport

    /// Datagrams of `segment` bytes behind each other, the last of which may be shorter.
    public func received(
        _ datagrams: UnsafeRawBufferPointer, segment: Int, from: SocketAddressBytes, to: SocketAddressBytes,
        ecn: UInt8, now: Instant
    ) {
        if isClosed { return }
        guarded { () throws(TransportError) in
            let hasNews = unsafe try connection.receive(
                datagrams, segment: segment, gathering: endpoint.gathering, from: from, to: to, ecn: ecn,
                now: now
            ) { handle($0) }
            if hasNews { heard = true }
        }
    }

    func expire(now: Instant) {
        if isClosed { return }
        guarded { () throws(TransportError) in try connection.expire(now: now) { handle($0) } }
    }

    private func guarded(_ body: () throws(TransportError) -> Void) {
        inTransport = true
        var failure: TransportError?
        do throws(TransportError) { try body() } catch { failure = error }
        inTransport = false
        // Who breaks a rule and then closes has broken it.
        if let (code, reason) = pendingClose {
            close(code, reason: reason)
        } else if let failure {
            ended(failure)
        }
    }

    private func handle(_ event: TransportEvent) {
        switch event {
        case .handshakeDone: onHandshake()
        case .received(Self.controlStream, let bytes, let finished):
            unsafe control(bytes, finished: finished)
        case .received(let stream, let bytes, let finished):
            unsafe driver?.input(.received(channel(stream), bytes, finished: finished))
        case .streamReset(Self.controlStream, _), .stopSending(Self.controlStream, _):
            close(.protocolViolation, reason: "the control stream was reset")
        case .streamReset(let stream, let code), .stopSending(let stream, let code):
            driver?.input(.channelReset(channel(stream), code: code))
        case .streamClosed(let stream):
            driver?.input(.channelClosed(channel(stream)))
        case .streamCredit: openWaiting()
        }
    }

    private func channel(_ number: Int64) -> ChannelID { ChannelID(path: id, number: number) }

    // MARK: The end

    private var isEnding: Bool { isClosed || pendingClose != nil }

    /// Ends the connection with this code; the peer is told once.
    public func close(_ code: ErrorCode, reason: String) {
        if isClosed { return }
        if inTransport {
            pendingClose = pendingClose ?? (code, reason)
        } else {
            endpoint.sendClose(self, code: code, reason: reason)
            leave(.closed(code, reason: reason))
        }
    }

    func ended(_ error: TransportError) {
        if isClosed { return }
        endpoint.sendClose(self, code: .none, reason: "")
        leave(.failed(error))
    }

    private func leave(_ end: PathEnd) {
        isClosed = true
        endpoint.forget(self)
        let driver = driver
        self.driver = nil
        driver?.lost(self)
        onClosed(end)
    }
}
