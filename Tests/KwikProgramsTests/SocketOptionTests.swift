import Glibc
import KwikCore
import KwikLinux
import Testing

@testable import KwikPrograms

private let tcpLevel = Int32(IPPROTO_TCP)

private func bytes(_ value: Int32) -> [UInt8] { unsafe withUnsafeBytes(of: value) { unsafe Array($0) } }

private func option(_ level: Int32, _ name: Int32, _ value: Int32) -> SocketOption {
    SocketOption(level: level, name: name, value: bytes(value))
}

private func slice(_ text: String) -> ChunkSlice {
    unsafe Array(text.utf8).withUnsafeBytes { bytes in unsafe ChunkSlice(copying: bytes) }
}

/// A connected program, and what the far end is told of its options.
private final class Told {
    let bench: Bench
    let program: Int32
    let connection: ProgramConnection
    private(set) var options: SocketOptions = []

    init(to destination: String = "127.0.0.1:9") throws {
        bench = try Bench()
        (program, connection) = try bench.pending(to: #require(SocketAddress(parsing: destination)))
        connection.established()
        connection.onOption = { [unowned self] option in self.options.append(option) }
    }

    deinit { close(program) }

    func set(_ level: Int32, _ name: Int32, _ value: [UInt8]) throws -> Int32? {
        options = []
        return try bench.ask(.setOption, program) { request in
            (request.level, request.name) = (level, name)
            (request.length, request.value) = (value.count, value)
        }.error
    }
}

@Suite struct SocketOptionTests {
    // MARK: What the far end is told

    @Test func whatMeansSomethingThereIsToldAsTheKernelHasIt() throws {
        let told = try Told()
        #expect(try told.set(tcpLevel, TCP_NODELAY, bytes(7) + [1, 2, 3]) == 0)
        #expect(told.options == [option(tcpLevel, TCP_NODELAY, 1)])
        #expect(try told.set(tcpLevel, TCP_USER_TIMEOUT, bytes(5_000)) == 0)
        #expect(told.options == [option(tcpLevel, TCP_USER_TIMEOUT, 5_000)])
        #expect(try told.set(SOL_SOCKET, SO_REUSEADDR, bytes(1)) == 0)
        #expect(try told.set(tcpLevel, TCP_USER_TIMEOUT, bytes(-1)) == EINVAL)
        #expect(try told.set(SOL_SOCKET, SO_LINGER, bytes(1) + bytes(0)) == 0)
        #expect(told.options.isEmpty)
    }

    /// Without the kernel's doubling, and only once they are set.
    @Test func buffersAreToldAsTheProgramSetThem() throws {
        let told = try Told()
        #expect(told.connection.options.isEmpty)
        #expect(try told.set(SOL_SOCKET, SO_SNDBUF, bytes(9_000)) == 0)
        #expect(told.options == [option(SOL_SOCKET, SO_SNDBUF, 9_000)])
        #expect(try told.set(SOL_SOCKET, SO_RCVBUF, bytes(7_000)) == 0)
        #expect(told.options == [option(SOL_SOCKET, SO_RCVBUF, 7_000)])
    }

    /// A small one would never become writable again behind a large residue.
    @Test(arguments: [(4_096, 278_528), (150_000, 300_000), (200_000, 400_000)] as [(Int32, Int32)])
    func theSendBufferIsThatOfTheProgramsEnd(_ size: Int32, _ shown: Int32) throws {
        let told = try Told()
        #expect(try StreamSocket.intOption(told.program, SOL_SOCKET, SO_SNDBUF) == 425_984)
        #expect(try told.set(SOL_SOCKET, SO_SNDBUF, bytes(size)) == 0)
        #expect(try StreamSocket.intOption(told.program, SOL_SOCKET, SO_SNDBUF) == shown)
    }

    @Test func whileAConnectIsPendingTheFillersKeepTheirBuffer() throws {
        let bench = try Bench()
        let (program, connection) = try bench.pending(to: #require(SocketAddress(parsing: "127.0.0.1:9")))
        defer { close(program) }
        let before = try StreamSocket.intOption(program, SOL_SOCKET, SO_SNDBUF)
        let answer = try bench.ask(.setOption, program) { request in
            (request.level, request.name) = (SOL_SOCKET, SO_SNDBUF)
            (request.length, request.value) = (4, bytes(150_000))
        }
        #expect(answer.error == 0)
        #expect(try StreamSocket.intOption(program, SOL_SOCKET, SO_SNDBUF) == before)
        connection.established()
        #expect(try StreamSocket.intOption(program, SOL_SOCKET, SO_SNDBUF) == 300_000)
    }

    @Test func keepAliveTimesGoWithKeepAlive() throws {
        let told = try Told()
        #expect(try told.set(tcpLevel, TCP_KEEPIDLE, bytes(11)) == 0)
        #expect(told.options == [option(tcpLevel, TCP_KEEPIDLE, 11)])
        #expect(try told.set(SOL_SOCKET, SO_KEEPALIVE, bytes(1)) == 0)
        #expect(told.options.first == option(SOL_SOCKET, SO_KEEPALIVE, 1))
        #expect(told.options.contains(option(tcpLevel, TCP_KEEPIDLE, 11)))
        #expect(told.options.count == 4)
    }

    @Test(arguments: [
        (0x10, 6), (0x08, 2), (0xB8, 6), (0x48, 6), (0x20, 1), (0x04, 1), (0x28, 2), (0x88, 4), (0, 0),
    ] as [(Int32, Int32)])
    func theServiceFieldIsAPriority(_ service: Int32, priority: Int32) throws {
        for (destination, level, name) in [
            ("127.0.0.1:9", Int32(IPPROTO_IP), 1), ("[::1]:9", Int32(IPPROTO_IPV6), 67),
        ] as [(String, Int32, Int32)] {
            let told = try Told(to: destination)
            #expect(try told.set(level, name, bytes(service)) == 0)
            #expect(told.options == [option(SOL_SOCKET, SO_PRIORITY, priority)])
        }
    }

    @Test func aPriorityThatTheProgramSetsGoesBeforeTheServiceField() throws {
        let told = try Told()
        #expect(try told.set(Int32(IPPROTO_IP), 1, bytes(0x10)) == 0)
        #expect(try told.set(SOL_SOCKET, SO_PRIORITY, bytes(1)) == 0)
        #expect(told.options == [option(SOL_SOCKET, SO_PRIORITY, 1)])
    }

    // MARK: Urgent data

    /// What `read` gives, piece by piece; urgent ones in angle brackets.
    private func pieces(_ connection: ProgramConnection, room: Int = 100) -> [String] {
        var pieces: [String] = []
        var buffer = [UInt8](repeating: 0, count: room)
        while true {
            let result = unsafe buffer.withUnsafeMutableBytes { bytes in unsafe connection.read(into: bytes) }
            guard case .count(let count) = result else { return pieces }
            let text = String(decoding: buffer.prefix(count), as: UTF8.self)
            pieces.append(connection.wasUrgent ? "<\(text)>" : text)
        }
    }

    private func send(_ fd: Int32, _ text: String, urgent: Bool = false) {
        let bytes = Array(text.utf8)
        _ = unsafe Glibc.send(fd, bytes, bytes.count, urgent ? Int32(MSG_OOB) : 0)
    }

    @Test(arguments: [1, 2, 3, 100]) func urgentBytesOfTheProgramAreGivenAlone(room: Int) throws {
        let told = try Told()
        let program = told.program
        var all = ""
        func came() -> String {
            all = pieces(told.connection, room: room).joined()
            #expect((try? UnixSocket.unread(told.connection.descriptor)) == 1)
            return all
        }
        send(program, "abX", urgent: true)
        #expect(came() == "ab<X>")
        send(program, "Y", urgent: true)
        #expect(came() == "<Y>")
        send(program, "Z", urgent: true)
        send(program, "cd")
        #expect(came() == "<Z>cd")
        send(program, "e")
        send(program, "W", urgent: true)
        send(program, "f")
        #expect(came() == "e<W>f")
        // Only the last of several counts.
        send(program, "1", urgent: true)
        send(program, "2", urgent: true)
        #expect(came() == "1<2>")
        send(program, "g")
        #expect(came() == "g")
    }

    @Test func urgentBytesForTheProgramAreOutOfBandUnlessItWantsThemInline() throws {
        let told = try Told()
        #expect(told.connection.write([slice("ab")]) == .count(2))
        #expect(told.connection.writeUrgent(slice("X")) == .count(1))
        #expect(told.connection.write([slice("c")]) == .count(1))
        var byte: UInt8 = 0
        #expect(unsafe recv(told.program, &byte, 1, Int32(MSG_OOB)) == 1)
        #expect(byte == UInt8(ascii: "X"))
        var rest: [UInt8] = []
        while unsafe recv(told.program, &byte, 1, Int32(MSG_DONTWAIT)) == 1 { rest.append(byte) }
        #expect(rest == Array("abc".utf8))
    }

    /// The kernel says that a program is at the mark as long as it has read one urgent byte and not what lies
    /// before the next.
    @Test func aProgramIsAtTheMarkWhenItHasReadWhatLiesBeforeTheLastUrgentByte() throws {
        let told = try Told()
        var byte: UInt8 = 0
        func isAtMark() throws -> Bool {
            guard case .reply(let reply, _) = try told.bench.ask(.status, told.program, { $0.flags = .mark })
            else { return false }
            return reply[16] == 1
        }
        #expect(try !isAtMark())
        for _ in 0..<2 {
            #expect(told.connection.write([slice("ab")]) == .count(2))
            #expect(told.connection.writeUrgent(slice("X")) == .count(1))
            #expect(try !isAtMark())
            #expect(unsafe recv(told.program, &byte, 1, Int32(MSG_OOB)) == 1)
            #expect(try !isAtMark())
            #expect(unsafe recv(told.program, &byte, 1, 0) == 1)
            #expect(try !isAtMark())
            #expect(unsafe recv(told.program, &byte, 1, 0) == 1)
            #expect(try isAtMark())
        }
        #expect(told.connection.write([slice("cd")]) == .count(2))
        #expect(try isAtMark())
        #expect(unsafe recv(told.program, &byte, 1, 0) == 1)
        #expect(try !isAtMark())
        // Before the urgent byte was read.
        #expect(told.connection.writeUrgent(slice("Y")) == .count(1))
        #expect(try !isAtMark())
        #expect(unsafe recv(told.program, &byte, 1, 0) == 1)
        #expect(try isAtMark())
    }

    @Test func aProgramThatAskedForItBeforeItsConnectReadsThemInline() throws {
        let bench = try Bench()
        var request = Request(kind: .connect)
        request.destination = SocketAddress(parsing: "127.0.0.1:9")
        let original = tcp()
        defer { close(original) }
        try StreamSocket.setOption(original, SOL_SOCKET, SO_OOBINLINE, 1)
        let answer = try bench.conversation().ask(request.encoded, [original])
        let program = try #require(answer.descriptor)
        #expect(try StreamSocket.intOption(program, SOL_SOCKET, SO_OOBINLINE) == 1)
        close(program)
    }

    // MARK: TCP_INFO

    private func info(_ told: Told, length: Int = 512) throws -> [UInt8] {
        try #require(try told.bench.ask(.getOption, told.program) { request in
            (request.level, request.name, request.length) = (tcpLevel, TCP_INFO, length)
        }.value)
    }

    private func number(_ info: [UInt8], _ offset: Int, _ size: Int) -> UInt64 {
        info[offset..<offset + size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    @Test func tcpInfoShowsTheStreamsFigures() throws {
        let told = try Told()
        let path = PathSample(
            srtt: .microseconds(1_234), rttVariation: .microseconds(56), probeTimeout: .milliseconds(9),
            congestionWindow: 120_000, inFlight: 0, received: 0)
        told.connection.figures = {
            StreamFigures(path: path, produced: 5_000, sent: 4_000, acknowledged: 1_000, received: 1 << 40)
        }
        let info = try info(told)
        #expect(info[0] == 1)
        #expect(number(info, 68, 4) == 1_234)
        #expect(number(info, 72, 4) == 56)
        #expect(number(info, 80, 4) * number(info, 16, 4) == 120_000)
        #expect(number(info, 120, 8) == 1_000)
        #expect(number(info, 128, 8) == 1 << 40)
        #expect(number(info, 144, 4) == 1_000)
        #expect(number(info, 200, 8) == 4_000)
        #expect(try self.info(told, length: 70).count == 70)
        told.connection.figures = { nil }
        #expect(number(try self.info(told), 120, 8) == 0)
    }
}
