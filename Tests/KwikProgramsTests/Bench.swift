import Glibc
import KwikCore
import KwikLinux
@testable import KwikPrograms

/// A real door on a real socket, and a "program" that speaks the local protocol by hand on the same loop.
final class Bench {
    let loop: EventLoop
    let path: String
    private(set) var door: ProgramDoor?
    /// What `decide` answers.
    var verdict = Verdict.serve
    private(set) var asked: [ConnectRequest] = []
    private(set) var connections: [ProgramConnection] = []
    private(set) var lines: [String] = []
    private var isDone: () -> Bool = { false }
    private var ticker: LoopTimer?

    /// Conversations are not cut off while a test takes its time, unless that is what it is about.
    init(conversationTime: Interval = .seconds(3_600)) throws {
        loop = try EventLoop()
        path = "/tmp/kwik-door-\(getpid())-\(String(RandomBytes.word(), radix: 36)).sock"
        let listener = try UnixSocket.listen(path: path, mode: 0o600, .sequentialPacket)
        try loop.afterEvents { [unowned self] in
            if self.isDone() { self.loop.stop(0) }
        }
        ticker = try loop.timer { [unowned self] in self.loop.stop(1) }
        door = try ProgramDoor(
            loop: loop, listener: listener, conversationTime: conversationTime,
            log: { [unowned self] line in self.lines.append(line) },
            decide: { [unowned self] request in
                self.asked.append(request)
                return self.verdict
            },
            connected: { [unowned self] connection in self.connections.append(connection) })
    }

    deinit {
        door?.close()
        unsafe unlink(path)
    }

    var served: Int { door?.count ?? 0 }

    /// Turns the loop until the condition holds. False: it did not within 10 s.
    func turn(until condition: @escaping () -> Bool) throws -> Bool {
        if condition() { return true }
        isDone = condition
        defer { isDone = { false } }
        ticker?.arm(at: Clock.now() + .seconds(10))
        defer { ticker?.disarm() }
        return try loop.run() == 0
    }

    func closeDoor() { door?.close() }

    func conversation() throws -> Talk { Talk(self, try UnixSocket.connect(path: path, .sequentialPacket)) }

    /// CONNECT and SWAPPED; the result is pending.
    func pending(
        to destination: SocketAddress = SocketAddress(parsing: "127.0.0.1:9")!, blocking: Bool = false
    ) throws -> (program: Int32, connection: ProgramConnection) {
        var request = Request(kind: .connect)
        request.destination = destination
        if blocking { request.flags = .blocking }
        let original = tcp(destination.family)
        let talk = try conversation()
        let answer = try talk.ask(request.encoded, [original])
        close(original)
        guard case .reply(_, let program?) = answer else { throw BenchError.notTaken }
        let before = connections.count
        talk.send(Request(kind: .swapped).encoded)
        guard try turn(until: { self.connections.count > before }) else { throw BenchError.notTaken }
        talk.hangUp()
        return (program, connections[before])
    }

    func ask(
        _ kind: Wire.Kind, _ fd: Int32, _ change: (inout Request) -> Void = { _ in }
    ) throws -> Talk.Answer {
        var request = Request(kind: kind)
        change(&request)
        let talk = try conversation()
        defer { talk.hangUp() }
        return try talk.ask(request.encoded, [fd])
    }
}

enum BenchError: Error { case notTaken, silent }

/// One conversation with the door.
final class Talk {
    enum Answer: Equatable {
        case reply([UInt8], Int32?)
        case hungUp

        var state: Wire.State? {
            guard case .reply(let bytes, _) = self else { return nil }
            return Wire.State(rawValue: UInt16(bytes[6]) | UInt16(bytes[7]) << 8)
        }
        var error: Int32? {
            guard case .reply(let bytes, _) = self else { return nil }
            return Int32(bytes[8]) | Int32(bytes[9]) << 8
        }
        var value: [UInt8]? {
            guard case .reply(let bytes, _) = self else { return nil }
            return Array(bytes.dropFirst(Wire.replyHead))
        }
        var descriptor: Int32? {
            guard case .reply(_, let fd) = self else { return nil }
            return fd
        }
    }

    private let bench: Bench
    private(set) var fd: Int32

    init(_ bench: Bench, _ fd: Int32) {
        self.bench = bench
        self.fd = fd
    }

    deinit { hangUp() }

    func hangUp() {
        if fd >= 0 { close(fd) }
        fd = -1
    }

    func send(_ bytes: [UInt8], _ descriptors: [Int32] = []) {
        _ = UnixSocket.send(fd, bytes, descriptors: descriptors)
    }

    func ask(_ bytes: [UInt8], _ descriptors: [Int32] = []) throws -> Answer {
        send(bytes, descriptors)
        return try answer()
    }

    func answer() throws -> Answer {
        var answer: Answer?
        let watch = try bench.loop.watch(fd, for: .readable) { [unowned self] _ in answer = self.receive() }
        defer { watch.cancel() }
        guard try bench.turn(until: { answer != nil }), let answer else { throw BenchError.silent }
        return answer
    }

    private func receive() -> Answer? {
        var buffer = [UInt8](repeating: 0, count: 2048)
        let received = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe UnixSocket.receive(fd, into: bytes, descriptors: 1)
        }
        switch received {
        case .message(let count, let descriptors, _):
            return .reply(Array(buffer.prefix(count)), descriptors.first)
        case .endOfFile, .failed: return .hungUp
        case .wouldBlock: return nil
        }
    }
}

func tcp(_ family: Int32 = AF_INET) -> Int32 { socket(family, Int32(SOCK_STREAM.rawValue), 0) }

/// What poll(2) says of a descriptor now.
func events(_ fd: Int32) -> Int32 {
    var entry = pollfd(fd: fd, events: Int16(POLLIN | POLLOUT), revents: 0)
    return unsafe poll(&entry, 1, 0) == 1 ? Int32(entry.revents) : 0
}

func readAll(_ fd: Int32, _ count: Int = 4096) -> IOResult {
    var buffer = [UInt8](repeating: 0, count: count)
    return unsafe buffer.withUnsafeMutableBytes { bytes in unsafe StreamSocket.read(fd, into: bytes) }
}

/// What the connection reads, at most `room` bytes at once: the bytes, and how it ended.
func drain(_ connection: ProgramConnection, room: Int = 4096) -> ([UInt8], IOResult) {
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: room)
    while true {
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in unsafe connection.read(into: bytes) }
        guard case .count(let count) = result else { return (all, result) }
        all += buffer.prefix(count)
    }
}
