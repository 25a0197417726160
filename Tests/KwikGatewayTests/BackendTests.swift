import Glibc
import KwikConfiguration
import KwikCore
import KwikEndpoint
import KwikLinux
import KwikPrograms
import Testing

@testable import KwikGateway

private let stream = StreamID(0)
private let channel = ChannelID(path: PathID(1), number: 4)
private let tcpLevel = Int32(IPPROTO_TCP)

/// A real session with a real backend socket, and the application that it connects to, on one loop. What the
/// session sends to its client goes nowhere.
private final class Bench {
    let loop: EventLoop
    let endpoint: Endpoint
    let core: GatewaySession
    let driver: SessionDriver
    let listener: Int32
    private(set) var backend: Backend?
    private(set) var application: Int32 = -1
    /// Backend bytes given, and how many had been when an urgent one came.
    private(set) var given = 0
    private(set) var urgent: [Int] = []
    /// The backend's end of file was told.
    private(set) var hasEnded = false
    /// The errno that its failure was told with.
    private(set) var failure: Int32?
    private var isDone: () -> Bool = { false }
    private var ticker: LoopTimer?
    private var writer = FrameWriter()
    private let introduction: Introduction

    init(options: SocketOptions = [], introduction: Introduction = .none, accepts: Bool = true) throws {
        self.introduction = introduction
        loop = try EventLoop()
        endpoint = try Endpoint(loop: loop, maximumRate: nil)
        let checks = unsafe Integrity(crc32c: { _, _ in 0 }, blockSum: { _, _ in 0 })
        let core = unsafe GatewaySession(
            roles: .origin, integrity: checks, tagger: { _, _, _ in BlockTag(high: 0, low: 0) },
            limits: GatewayLimits())
        self.core = core
        var door = SessionDoor(core)
        var tell: (Int?) -> Void = { _ in }
        let filled = door.filled
        door.filled = { stream, count, now, actions in
            tell(count)
            filled(stream, count, now, &actions)
        }
        door.urgent = { _, _ in tell(nil) }
        var ended: () -> Void = {}
        var failed: (Int32) -> Void = { _ in }
        let handle = door.handle
        door.handle = { input, now, actions in
            if case .localEnded = input { ended() }
            if case .localAborted(_, let errno) = input { failed(errno) }
            handle(input, now, &actions)
        }
        driver = endpoint.makeDriver(door)
        listener = try StreamSocket.listen(on: #require(SocketAddress(parsing: "127.0.0.1:0")))
        tell = { [unowned self] count in
            if let count { self.given += count } else { self.urgent.append(self.given) }
        }
        ended = { [unowned self] in self.hasEnded = true }
        failed = { [unowned self] in self.failure = $0 }
        try loop.afterEvents { [unowned self] in
            if self.isDone() { self.loop.stop(0) }
        }
        ticker = try loop.timer { [unowned self] in self.loop.stop(1) }
        driver.role = { [unowned self] action in self.perform(action) }
        let traits = PathTraits(server: ServerID(1), roles: .origin, resumed: false)
        driver.input(.pathUp(channel.path, traits))
        receive([
            writer.preface(Preface(stream: stream, role: .stream)), writer.frame(.open(options)),
        ])
        #expect(try turn(until: { self.isConnected }))
        if accepts { try accept() }
    }

    /// Whether the application could accept now.
    var hasNewcomer: Bool { hasNewcomer(within: 0) }

    /// - Parameter limit: ms.
    func hasNewcomer(within limit: Int32) -> Bool {
        var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&entry, 1, limit) == 1
    }

    /// As recv(2), once there is anything: the kernel may bring it some time after it was sent.
    func receive(_ bytes: inout [UInt8], flags: Int32 = 0) -> Int {
        let wanted = flags & Int32(MSG_OOB) == 0 ? POLLIN : POLLPRI
        var entry = pollfd(fd: application, events: Int16(wanted), revents: 0)
        _ = unsafe poll(&entry, 1, 10_000)
        return unsafe recv(application, &bytes, bytes.count, flags)
    }

    func accept() throws {
        while !hasNewcomer { #expect(try turn(until: { self.hasNewcomer })) }
        application = try #require(try UnixSocket.accept(listener))
    }

    deinit {
        backend?.close()
        close(listener)
        if application >= 0 { close(application) }
    }

    private var isConnected: Bool {
        if case .none = core.room(stream) { false } else { true }
    }

    private func perform(_ action: Action) {
        switch action {
        case .connect(_, let options):
            guard let port = StreamSocket.localAddress(listener)?.port,
                let address = AddressAndPort(host: "127.0.0.1", port: port)
            else { return }
            let backend = Backend(stream: stream, driver: driver)
            self.backend = backend
            backend.connect(to: .tcp(address), options: options, introduction: introduction, loop: loop)
        case .deliver: backend?.deliver()
        case .accept: backend?.accept()
        case .setOption(_, let option): backend?.set(option)
        default: break
        }
    }

    func receive(_ slices: [ChunkSlice]) {
        let bytes = slices.flatMap { unsafe Array($0.bytes) }
        unsafe bytes.withUnsafeBytes { unsafe driver.input(.received(channel, $0, finished: false)) }
        endTurn()
    }

    /// Of the loop: what came is written to the application.
    private func endTurn() {
        let end = try? loop.timer { [unowned self] in self.loop.stop(0) }
        end?.arm(at: Clock.now())
        _ = try? loop.run()
    }

    func receive(_ frame: Frame) { receive([writer.frame(frame)]) }

    func receive(_ text: String, at offset: UInt64) {
        let bytes = Array(text.utf8)
        let body = unsafe bytes.withUnsafeBytes { unsafe ChunkSlice(copying: $0) }
        receive([writer.dataHeader(offset: offset, length: bytes.count, flags: 0, crc32c: 0), body])
    }

    func turn(until condition: @escaping () -> Bool) throws -> Bool {
        if condition() { return true }
        isDone = condition
        defer { isDone = { false } }
        ticker?.arm(at: Clock.now() + .seconds(10))
        defer { ticker?.disarm() }
        return try loop.run() == 0
    }

    /// Blocks until the gateway has sent so much, or an end.
    func read(_ count: Int, flags: Int32 = 0) -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count {
            var bytes = [UInt8](repeating: 0, count: count - all.count)
            let got = receive(&bytes, flags: flags)
            if got <= 0 { break }
            all += bytes.prefix(got)
        }
        return all
    }

    func closeApplication() {
        close(application)
        application = -1
    }

    func resetApplication() {
        var abort = linger(l_onoff: 1, l_linger: 0)
        unsafe setsockopt(
            application, SOL_SOCKET, SO_LINGER, &abort, socklen_t(MemoryLayout<linger>.size))
        closeApplication()
    }

    func option(_ level: Int32, _ name: Int32) throws -> Int32 {
        try StreamSocket.intOption(#require(backend).descriptor, level, name)
    }
}

private func option(_ level: Int32, _ name: Int32, _ value: Int32, _ more: [UInt8] = []) -> SocketOption {
    let bytes = unsafe withUnsafeBytes(of: value) { unsafe Array($0) }
    return SocketOption(level: level, name: name, value: bytes + more)
}

@Suite struct BackendTests {
    @Test func optionsOfTheProgramAreTheBackendSockets() throws {
        let bench = try Bench(options: [
            option(tcpLevel, TCP_NODELAY, 1), option(SOL_SOCKET, SO_KEEPALIVE, 1),
            option(tcpLevel, TCP_KEEPIDLE, 33),
        ])
        #expect(try bench.option(tcpLevel, TCP_NODELAY) == 1)
        #expect(try bench.option(SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(try bench.option(tcpLevel, TCP_KEEPIDLE) == 33)
        bench.receive(.option(option(tcpLevel, TCP_NODELAY, 0)))
        bench.receive(.option(option(SOL_SOCKET, SO_PRIORITY, 4)))
        #expect(try bench.option(tcpLevel, TCP_NODELAY) == 0)
        #expect(try bench.option(SOL_SOCKET, SO_PRIORITY) == 4)
        bench.receive(.option(option(SOL_SOCKET, SO_SNDBUF, 9_000)))
        bench.receive(.option(option(SOL_SOCKET, SO_RCVBUF, 7_000)))
        #expect(try bench.option(SOL_SOCKET, SO_SNDBUF) == 18_000)
        #expect(try bench.option(SOL_SOCKET, SO_RCVBUF) == 14_000)
    }

    /// A close that lingers would stop the loop; what is not on the list does not reach the socket.
    @Test func otherOptionsAreNot() throws {
        let bench = try Bench(options: [option(SOL_SOCKET, SO_LINGER, 1, [60, 0, 0, 0])])
        #expect(try bench.option(SOL_SOCKET, SO_LINGER) == 0)
        bench.receive(.option(option(SOL_SOCKET, SO_OOBINLINE, 0)))
        bench.receive(.option(option(tcpLevel, TCP_NODELAY, 1, [0, 0, 0, 0])))
        #expect(try bench.option(SOL_SOCKET, SO_OOBINLINE) == 1)
        #expect(try bench.option(tcpLevel, TCP_NODELAY) == 0)
    }

    /// With the kernel's own 4 MiB besides ours a program would write far more than TCP takes.
    @Test func theKernelHoldsLittleForABackendThatDoesNotRead() throws {
        #expect(try Bench().option(tcpLevel, TCP_NOTSENT_LOWAT) == Backend.unsent)
    }

    /// As with TCP: connect() returns at the client before accept() does at the server.
    @Test func theApplicationGetsItsConnectionAfterTheClient() throws {
        let began = Clock.now()
        let bench = try Bench(accepts: false)
        // By 200 ms the kernel itself would have ended the handshake.
        #expect(!bench.hasNewcomer || Clock.now() > began + .milliseconds(100))
        try bench.accept()
    }

    @Test func theClientsFirstBytesEndTheHandshake() throws {
        let bench = try Bench(accepts: false)
        bench.receive("hello", at: 0)
        // By 200 ms the kernel itself would have.
        #expect(bench.hasNewcomer(within: 100))
        try bench.accept()
        #expect(bench.read(5) == Array("hello".utf8))
    }

    @Test func theProxyHeaderGoesFirst() throws {
        let client = try #require(SocketAddress(parsing: "192.0.2.7:258"))
        let gateway = try #require(SocketAddress(parsing: "[::ffff:198.51.100.1]:443"))
        let header = ProxyHeader.v2(from: client, to: gateway)
        #expect(header.count == 28)
        #expect(header[12...] == [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 1, 187])
        let bench = try Bench(introduction: .header(header))
        bench.receive("hello", at: 0)
        #expect(bench.read(33) == header + Array("hello".utf8))
    }

    @Test func theProxyHeaderOfIPv6() throws {
        let client = try #require(SocketAddress(parsing: "[2001:db8::1]:1"))
        let header = ProxyHeader.v2(from: client, to: try #require(SocketAddress(parsing: "192.0.2.1:2")))
        #expect(header[12..<16] == [0x21, 0x21, 0, 36])
        #expect(header.count == 52)
        #expect(Array(header[16..<20]) == [0x20, 0x01, 0x0D, 0xB8])
        #expect(Array(header[42..<48]) == [0xFF, 0xFF, 192, 0, 2, 1])
        #expect(Array(header[48...]) == [0, 1, 0, 2])
    }

    @Test func aClientsUrgentByteIsOutOfBand() throws {
        let bench = try Bench()
        bench.receive(.urgent(offset: 2))
        bench.receive("abXcd", at: 0)
        #expect(bench.read(1, flags: Int32(MSG_OOB)) == Array("X".utf8))
        #expect(bench.read(4) == Array("abcd".utf8))
    }

    @Test func anApplicationsUrgentByteIsToldAtItsPlace() throws {
        let bench = try Bench()
        #expect(unsafe send(bench.application, "abX", 3, Int32(MSG_OOB)) == 3)
        #expect(unsafe send(bench.application, "cd", 2, 0) == 2)
        #expect(try bench.turn(until: { bench.given == 5 }))
        #expect(bench.urgent == [2])
    }

    @Test func aBackendThatIsToSeeTheClientIsConnectedFromAPlaceOfItsOwn() throws {
        let directory = "/tmp/kwik-backend-\(getpid())-\(String(RandomBytes.word(), radix: 36))"
        try #require(unsafe mkdir(directory, 0o755) == 0)
        defer {
            unsafe unlink("\(directory)/\(ClientMap.name)")
            unsafe rmdir(directory)
        }
        let clients = try ClientMap(directory: directory)
        let client = try #require(SocketAddress(parsing: "192.0.2.7:258"))
        let bench = try Bench(introduction: .address(client, clients))
        #expect(StreamSocket.peerAddress(bench.application)?.host == "127.75.0.0")
        bench.receive("hello", at: 0)
        #expect(bench.read(5) == Array("hello".utf8))
        // A place that is given back twice is a fault that stops the process.
        bench.backend?.end(.aborted(errno: ECONNRESET))
        bench.backend?.close()
    }

    /// What has come of a stream that is cut off must not pass for all of it.
    @Test func aConnectionThatIsClosedBeforeItsEndIsReset() throws {
        let bench = try Bench()
        bench.receive("hello", at: 0)
        #expect(bench.read(5) == Array("hello".utf8))
        bench.backend?.close()
        var byte: [UInt8] = [0]
        #expect(bench.receive(&byte) == -1 && errno == ECONNRESET)
    }

    @Test func aConnectionThatHasEndedBothWaysIsNot() throws {
        let bench = try Bench()
        shutdown(bench.application, Int32(SHUT_WR))
        #expect(try bench.turn(until: { bench.hasEnded }))
        bench.backend?.end(.finished(closed: true))
        bench.backend?.close()
        var byte: [UInt8] = [0]
        #expect(bench.receive(&byte) == 0)
    }

    /// No read tells it any more, and the client's bytes would be swallowed.
    @Test func aResetAfterTheEndOfFileResetsTheStream() throws {
        let bench = try Bench()
        shutdown(bench.application, Int32(SHUT_WR))
        #expect(try bench.turn(until: { bench.hasEnded }))
        #expect(bench.failure == nil)
        bench.resetApplication()
        #expect(try bench.turn(until: { bench.failure != nil }))
        #expect(bench.failure == ECONNRESET)
    }

    /// An application that closed answers what still comes with a reset.
    @Test func bytesForAnApplicationThatClosedResetTheStream() throws {
        let bench = try Bench()
        bench.closeApplication()
        #expect(try bench.turn(until: { bench.hasEnded }))
        bench.receive("hello", at: 0)
        bench.receive("again", at: 5)
        #expect(try bench.turn(until: { bench.failure != nil }))
        #expect(bench.failure == ECONNRESET)
    }
}
