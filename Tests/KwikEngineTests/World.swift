import Foundation
import KwikConfiguration
import KwikCore
import KwikLinux
import KwikTelemetry
import Testing

@testable import KwikEngine
@testable import KwikGateway
@testable import KwikPrograms

/// A real engine, real gateways with a backend, and a program, all on one loop and on loopback.
final class World {
    let loop: EventLoop
    let directory: String
    private(set) var gateways: [Gateway] = []
    private(set) var engine: Engine?
    /// Warnings of the engine's log.
    private(set) var warnings: [String] = []
    /// The gateways' logs.
    private(set) var gatewayLines: [String] = []
    /// What the program has read, and whether that is all.
    private(set) var read: [UInt8] = []
    private(set) var hasEnded = false
    /// What is done every 2 ms.
    var onTick: () -> Void = {}

    /// Whether the backend answers; it never reads.
    var backendAnswers = true

    private let listener: Int32
    private let backend: SocketAddress
    private var accepting: Watch?
    private var answers: [Answer] = []
    private var program: Int32 = -1
    private var reading: Watch?
    private var ticker: LoopTimer?
    private var isDone: () -> Bool = { false }
    private var expiry: LoopTimer?
    /// Strangers on the same loop, which calls them.
    var guests: [AnyObject] = []

    /// The backend's answer to whatever it is asked.
    static func content(_ range: Range<UInt64>) -> [UInt8] {
        range.map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 13) }
    }

    /// One connection of the backend's.
    private final class Answer {
        let fd: Int32
        var sent = 0
        var watch: Watch?
        init(_ fd: Int32) { self.fd = fd }
        deinit {
            watch?.cancel()
            close(fd)
        }
    }

    private let answer: [UInt8]

    init(answer size: UInt64) throws {
        loop = try EventLoop()
        answer = World.content(0..<size)
        directory = NSTemporaryDirectory() + "kwik-engine-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        listener = try StreamSocket.listen(on: #require(SocketAddress(parsing: "127.0.0.1:0")))
        backend = try #require(StreamSocket.localAddress(listener))
        try loop.afterEvents { [unowned self] in
            if self.isDone() { self.loop.stop(0) }
        }
        expiry = try loop.timer { [unowned self] in self.loop.stop(1) }
        ticker = try loop.timer { [unowned self] in
            self.ticker?.arm(at: Clock.now() + .milliseconds(2))
            self.onTick()
        }
        accepting = try loop.watch(listener, for: .readable) { [unowned self] _ in self.accept() }
        for (name, text) in [
            ("ca.pem", Fixture.authority), ("a.pem", Fixture.a), ("b.pem", Fixture.b), ("key", Fixture.key),
        ] {
            try write(name, text)
        }
    }

    deinit {
        reading?.cancel()
        accepting?.cancel()
        engine?.stop()
        for gateway in gateways { gateway.stop() }
        for fd in [program, listener] where fd >= 0 { close(fd) }
        try? FileManager.default.removeItem(atPath: directory)
    }

    private func write(_ name: String, _ text: String) throws {
        try text.write(toFile: "\(directory)/\(name)", atomically: true, encoding: .utf8)
    }

    /// The service is named by its backend's address.
    var service: String { "\(backend)" }

    // MARK: Servers

    /// Returns the address at which it listens.
    func addGateway(
        _ certificate: String, id: String, roles: String, maxRate: String, memory: String = "64 MiB",
        window: String = "16 MiB"
    ) throws -> String {
        let free = try UDPSocket(binding: #require(SocketAddress(parsing: "127.0.0.1:0"))).localAddress
        try write(
            "\(certificate).toml",
            """
            [gateway]
            listen = "\(free)"
            server_id = "\(id)"
            certificate = "\(certificate).pem"
            key = "key"
            max_rate = "\(maxRate)"
            memory = "\(memory)"
            [[service]]
            name = "\(service)"
            backend = "\(backend)"
            backend_sees = "gateway"
            roles = [\(roles)]
            tokens = ["secret"]
            max_window = "\(window)"
            """)
        let configuration = try GatewayConfiguration.load("\(directory)/\(certificate).toml")
        let log = Log(level: .info) { [unowned self] level, message, fields in
            self.gatewayLines.append(Log.line(level, message, fields))
        }
        gateways.append(try Gateway(configuration, runtimeDirectory: nil, loop: loop, log: log))
        return "\(free)"
    }

    /// - Parameter servers: tables of the configuration, one for each server.
    func startEngine(_ servers: [String]) throws {
        try write(
            "kwik.toml",
            """
            [[service]]
            name = "\(service)"
            token = "secret"
            ca = "ca.pem"
            replicas = "never"

            """ + servers.map { "[[service.server]]\n\($0)\n" }.joined())
        let configuration = try EngineConfiguration.load("\(directory)/kwik.toml")
        let log = Log(level: .warning) { [unowned self] level, message, fields in
            self.warnings.append(Log.line(level, message, fields))
        }
        engine = try Engine(configuration, directory: directory, listener: -1, loop: loop, log: log)
        ticker?.arm(at: Clock.now())
    }

    private func accept() {
        guard let fd = try? UnixSocket.accept(listener) else { return }
        let connection = Answer(fd)
        answers.append(connection)
        guard backendAnswers else { return }
        connection.watch = try? loop.watch(fd, for: .writable) { [unowned self, unowned connection] _ in
            self.send(on: connection)
        }
    }

    private func send(on connection: Answer) {
        while connection.sent < answer.count {
            let rest = answer[connection.sent...].prefix(65_536)
            let result = unsafe rest.withUnsafeBytes { unsafe StreamSocket.write(connection.fd, $0) }
            guard case .count(let count) = result else { break }
            connection.sent += count
        }
        if connection.sent == answer.count { answers.removeAll { $0 === connection } }
    }

    // MARK: The program

    /// Turns the loop until the condition holds. False: it did not within 30 s.
    func turn(until condition: @escaping () -> Bool) throws -> Bool {
        if condition() { return true }
        isDone = condition
        defer { isDone = { false } }
        expiry?.arm(at: Clock.now() + .seconds(30))
        defer { expiry?.disarm() }
        return try loop.run() == 0
    }

    /// Turns the loop for so long.
    func pass(_ time: Interval) throws {
        let until = Clock.now() + time
        _ = try turn(until: { Clock.now() >= until })
    }

    /// Connects as the shim does, as soon as the engine has a path.
    func connect(reads: Bool = true) throws {
        var taken = -1 as Int32
        while taken < 0 {
            taken = try ask()
            if taken < 0 { try pass(.milliseconds(50)) }
        }
        program = taken
        guard reads else { return }
        reading = try loop.watch(program, for: .readable) { [unowned self] _ in self.readMore() }
    }

    /// Begins to connect, and thinks better of it.
    func want() throws {
        let end = try ask(goesOn: false)
        if end >= 0 { close(end) }
    }

    /// The program's end of the connection; -1: the engine leaves it to the system.
    private func ask(goesOn: Bool = true) throws -> Int32 {
        let talk = try UnixSocket.connect(path: directory + "/engine.sock", .sequentialPacket)
        let original = try StreamSocket.make(family: AF_INET)
        defer {
            close(talk)
            close(original)
        }
        var request = Request(kind: .connect)
        request.destination = backend
        _ = UnixSocket.send(talk, request.encoded, descriptors: [original])
        var reply: (Int, [Int32])?
        let watch = try loop.watch(talk, for: .readable) { _ in
            var buffer = [UInt8](repeating: 0, count: 2_048)
            let received = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe UnixSocket.receive(talk, into: bytes, descriptors: 1)
            }
            if case .message(let count, let descriptors, _) = received { reply = (count, descriptors) }
            if case .endOfFile = received { reply = (0, []) }
        }
        defer { watch.cancel() }
        #expect(try turn(until: { reply != nil }))
        guard let end = reply?.1.first else { return -1 }
        guard goesOn else { return end }
        _ = UnixSocket.send(talk, Request(kind: .swapped).encoded, descriptors: [])
        #expect(try turn(until: { (self.engine?.counters.streamsOpened ?? 0) > 0 }))
        return end
    }

    /// The program writes until it would have to wait.
    func write() {
        let bytes = [UInt8](repeating: 7, count: 65_536)
        while true {
            let result = unsafe bytes.withUnsafeBytes { unsafe StreamSocket.write(program, $0) }
            guard case .count = result else { return }
        }
    }

    private func readMore() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let result = unsafe buffer.withUnsafeMutableBytes { unsafe StreamSocket.read(program, into: $0) }
            switch result {
            case .count(let count): read += buffer[..<count]
            case .endOfFile, .failed:
                hasEnded = true
                reading?.cancel()
                return
            case .wouldBlock: return
            }
        }
    }
}
