internal import KwikConfiguration
internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikPrograms

/// What a backend is to know of the client, whose stream a connection carries.
enum Introduction {
    case none
    /// Goes before the client's bytes.
    case header([UInt8])
    /// The client's address in the place of the gateway's.
    case address(SocketAddress, ClientMap)
}

/// One stream's connection to the unmodified application.
final class Backend {
    let stream: StreamID
    private let driver: SessionDriver
    private var socket: Descriptor?
    /// -1: there is none (any more).
    var descriptor: Int32 { socket?.raw ?? -1 }
    private var watch: Watch?
    private var pump: LocalPump?
    private var isTCP = true
    /// Runs while the backend does not know of its connection yet.
    private var handshake: LoopTimer?
    private var header: [UInt8] = []
    /// Takes the connection's place among those that show their client.
    private var giveBack: () -> Void = {}
    /// The end of file that goes to the backend has been sent.
    private var writeDone = false
    /// The last read gave the urgent byte alone.
    private var wasUrgent = false
    /// It took all that there was.
    private var isDrained = false
    /// There has been urgent data: where it stands is asked before each read from then on.
    private var usesUrgent = false

    init(stream: StreamID, driver: SessionDriver) {
        self.stream = stream
        self.driver = driver
    }

    /// Connects to the configured backend, never to an address that a client sends.
    func connect(
        to target: GatewayService.Backend, options: SocketOptions, introduction: Introduction, loop: EventLoop
    ) {
        do throws(Errno) {
            guard let address = Self.address(of: target) else { throw Errno(code: Self.invalid) }
            if case .unix = target { isTCP = false }
            let fd = try open(address, introduction)
            // Urgent bytes keep their place in the stream.
            try StreamSocket.setOption(fd, BackendOption.socket, BackendOption.urgentInline, 1)
            for option in options { set(option) }
            // Not by a Unix socket, which queues no more than its buffer.
            try? StreamSocket.setOption(fd, BackendOption.tcp, BackendOption.unsentLimit, Self.unsent)
            if header.isEmpty, StreamSocket.deferHandshake(fd) {
                handshake = try loop.timer { [unowned self] in self.finishHandshake() }
            }
            try StreamSocket.connect(fd, to: address)
            let all: Readiness = [.readable, .writable, .urgent, .peerHangup, .edgeTriggered]
            watch = try loop.watch(fd, for: all) {
                [unowned self] readiness in self.ready(readiness)
            }
        } catch {
            close()
            driver.input(.backendRefused(stream, errno: error.code))
        }
    }

    /// Bytes that the kernel takes for a backend that does not read, beyond what the backend's own buffer
    /// holds. The session holds as many as it may already (`GatewayLimits.upstreamPerStream`): with the
    /// kernel's 4 MiB besides, a program would write far more than TCP takes before it has to wait.
    static let unsent: Int32 = 262_144

    /// With TCP a client's connect() returns before its server's accept() does, and programs that connect to
    /// themselves know it. So the backend gets its connection after the client has been told: with the
    /// client's first bytes, or after this long, which is several times what telling takes on one machine.
    static let acceptDelay = Interval.milliseconds(1)

    private func finishHandshake() {
        handshake = nil
        if let fd = socket?.raw { StreamSocket.finishHandshake(fd) }
    }

    /// A socket that is not connected yet.
    private func open(_ address: SocketAddress, _ introduction: Introduction) throws(Errno) -> Int32 {
        let fd: Int32
        switch introduction {
        case .none:
            fd = try StreamSocket.make(family: address.family)
        case .header(let header):
            self.header = header
            fd = try StreamSocket.make(family: address.family)
        case .address(let client, let clients):
            let connection = try clients.socket(showing: client)
            giveBack = { clients.release(connection) }
            fd = connection.descriptor
        }
        socket = Descriptor(taking: fd)
        return fd
    }

    private static let invalid: Int32 = 22
    private static let inputOutput: Int32 = 5
    private static let brokenPipe: Int32 = 32
    private static let connectionReset: Int32 = 104

    private static func address(of target: GatewayService.Backend) -> SocketAddress? {
        switch target {
        case .tcp(let address): SocketAddress(host: address.host, port: address.port)
        case .unix(let path): SocketAddress.unix(path: path)
        }
    }

    /// Options that mean something to a backend's socket; the others are left alone (protocol.md §8).
    func set(_ option: SocketOption) {
        guard let fd = socket?.raw, BackendOption.isAccepted(option) else { return }
        do throws(Errno) {
            try StreamSocket.setOption(fd, option.level, option.name, bytes: option.value)
        } catch {
            // A Unix socket has no TCP options: the backend is served without.
        }
    }

    private func ready(_ readiness: Readiness) {
        guard let fd = socket?.raw else { return }
        if readiness.contains(.urgent) { usesUrgent = true }
        guard let pump else {
            connected(fd)
            return
        }
        if readiness.contains(.writable) { pump.writable() }
        let mayHaveEnded = !readiness.isDisjoint(with: [.peerHangup, .hangup, .error])
        if mayHaveEnded || readiness.contains(.readable) { pump.readable(mayHaveEnded: mayHaveEnded) }
        // A reset that comes after the end of file is told by no read.
        if readiness.contains(.error), pump.readDone, self.pump != nil, StreamSocket.pendingError(fd) != 0 {
            driver.input(.localAborted(stream, errno: Self.connectionReset))
        }
    }

    /// A backend that was closed after its last byte answers ours with a reset, which Linux tells as EPIPE
    /// (tcp_reset in CLOSE_WAIT), a Unix socket with EPIPE at once: the client has to learn that its bytes
    /// are lost. Before the end of file EPIPE means that the backend takes no more but still writes.
    private func write(_ fd: Int32, _ slices: [ChunkSlice]) -> IOResult {
        let result = StreamSocket.write(fd, slices: slices)
        if case .failed(let errno) = result, errno.code == Self.brokenPipe, isTCP || pump?.readDone == true {
            return .failed(Errno(code: Self.connectionReset))
        }
        return result
    }

    private func connected(_ fd: Int32) {
        let errno = StreamSocket.pendingError(fd)
        guard errno == 0 else {
            close()
            driver.input(.backendRefused(stream, errno: errno))
            return
        }
        guard StreamSocket.peerAddress(fd) != nil else { return }
        guard sendHeader(fd) else {
            close()
            driver.input(.backendRefused(stream, errno: Self.inputOutput))
            return
        }
        let door = unsafe LocalPump.Socket(
            read: { [unowned self] in unsafe self.read(fd, into: $0) },
            discard: { StreamSocket.discard(fd, count: $0) },
            write: { [unowned self] in self.write(fd, $0) },
            wasUrgent: { [unowned self] in self.wasUrgent },
            isDrained: { [unowned self] in self.isDrained },
            writeUrgent: { StreamSocket.writeUrgent(fd, $0) })
        pump = LocalPump(stream: stream, socket: door, driver: driver)
        let local = StreamSocket.localAddress(fd)
        let peer = StreamSocket.peerAddress(fd)
        driver.input(.backendConnected(stream, local: Self.inet(local), peer: Self.inet(peer)))
        pump?.readable()
        handshake?.arm(at: Clock.now() + Self.acceptDelay)
    }

    /// A socket that has just connected has room for it; without it the backend would take somebody else's
    /// address for the client's.
    private func sendHeader(_ fd: Int32) -> Bool {
        if header.isEmpty { return true }
        let result = unsafe header.withUnsafeBytes { unsafe StreamSocket.write(fd, $0) }
        return result == .count(header.count)
    }

    private func read(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        // A read ends before the urgent byte; behind it the stream goes on as if it were any other.
        wasUrgent = usesUrgent && StreamSocket.isAtMark(fd)
        let room = unsafe wasUrgent ? UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(1)) : buffer
        let result = unsafe StreamSocket.read(fd, into: room)
        if case .count(let count) = result { isDrained = !usesUrgent && count < room.count }
        return result
    }

    /// Programs ask for internet addresses; a Unix backend has none.
    private static func inet(_ address: SocketAddress?) -> [UInt8] {
        guard let address, address.port != 0 else { return [] }
        return address.bytes
    }

    func deliver() { pump?.deliver() }
    func accept() { pump?.readable() }

    func end(_ end: StreamEnd) {
        guard let fd = socket?.raw else { return }
        pump?.flush()
        switch end {
        case .finished:
            StreamSocket.shutdownWrite(fd)
            writeDone = true
        case .aborted: reset()
        }
    }

    /// A connection that has not come to its end both ways is reset: its bytes would pass for complete. And
    /// its address is free only when the backend has it no more.
    func close() {
        let isOver = writeDone && pump?.readDone == true
        guard isOver else { return reset() }
        drop()
        socket = nil
        free()
    }

    private func reset() {
        drop()
        if let socket = socket.take() { StreamSocket.reset(socket.release()) }
        free()
    }

    private func drop() {
        pump?.stop()
        watch?.cancel()
        watch = nil
        handshake = nil
    }

    private func free() {
        giveBack()
        giveBack = {}
    }
}

/// What a client may set on a backend's socket (protocol.md §8), by Linux's numbers.
enum BackendOption {
    static let tcp: Int32 = 6
    static let socket: Int32 = 1
    /// TCP_NOTSENT_LOWAT.
    static let unsentLimit: Int32 = 25
    /// SO_OOBINLINE.
    static let urgentInline: Int32 = 10
    /// NODELAY, KEEPIDLE, KEEPINTVL, KEEPCNT, USER_TIMEOUT.
    private static let tcpNames: [Int32] = [1, 4, 5, 6, 18]
    /// SNDBUF, RCVBUF, KEEPALIVE, PRIORITY. Not LINGER: the client's resets come as RESET, and a close that
    /// lingers would stop the loop. Not OOBINLINE, which is always on.
    private static let socketNames: [Int32] = [7, 8, 9, 12]

    static func isAccepted(_ option: SocketOption) -> Bool {
        switch option.level {
        case tcp: tcpNames.contains(option.name) && option.value.count == 4
        case socket: socketNames.contains(option.name) && option.value.count == 4
        default: false
        }
    }
}
