import Foundation
import Glibc
import KwikCore
import KwikLinux
import Testing

@testable import KwikPrograms

private let anywhere = SocketAddress(parsing: "127.0.0.1:9")!

private func connectRequest(to destination: SocketAddress = anywhere) -> [UInt8] {
    var request = Request(kind: .connect)
    request.destination = destination
    return request.encoded
}

@Suite struct DoorTests {
    // MARK: A shim that breaks the rules

    @Test func rubbishEndsTheConversation() throws {
        let bench = try Bench()
        for bytes in [[0], [UInt8](repeating: 0xff, count: 48), [UInt8](repeating: 7, count: 1_500)] {
            #expect(try bench.conversation().ask(bytes) == .hungUp)
        }
        #expect(bench.lines.count == 3)
        #expect(bench.asked.isEmpty)
    }

    @Test func descriptorsMustBeWhatTheMessageNeeds() throws {
        let bench = try Bench()
        let socket = tcp()
        defer { close(socket) }
        #expect(try bench.conversation().ask(connectRequest()) == .hungUp)
        #expect(try bench.conversation().ask(connectRequest(), [socket, socket]) == .hungUp)
        let many = [Int32](repeating: socket, count: 9)
        #expect(try bench.conversation().ask(connectRequest(), many) == .hungUp)
        #expect(try bench.conversation().ask(Request(kind: .swapped).encoded, [socket]) == .hungUp)
        #expect(try bench.conversation().ask(Request(kind: .status).encoded) == .hungUp)
        #expect(bench.asked.isEmpty)
    }

    @Test func noDescriptorOfAHostileMessageStaysOpen() throws {
        let bench = try Bench()
        let pair = try UnixSocket.pair(.stream)
        _ = try bench.conversation().ask([1, 2, 3], [pair.0])
        _ = try bench.conversation().ask(connectRequest(), [pair.0])
        _ = try bench.ask(.status, pair.0)
        close(pair.0)
        // With every copy of its peer closed, the other end sees the end of file.
        #expect(readAll(pair.1) == .endOfFile)
        close(pair.1)
    }

    @Test func messagesOutOfOrderEndTheConversation() throws {
        let bench = try Bench()
        let socket = tcp()
        defer { close(socket) }
        #expect(try bench.conversation().ask(Request(kind: .swapped).encoded) == .hungUp)
        let talk = try bench.conversation()
        guard case .reply(_, let program?) = try talk.ask(connectRequest(), [socket]) else {
            throw BenchError.notTaken
        }
        #expect(try talk.ask(connectRequest(), [socket]) == .hungUp)
        // What was offered is gone with the conversation.
        #expect(bench.served == 0)
        #expect(readAll(program) == .failed(Errno(code: ECONNRESET)))
        close(program)
    }

    @Test func aConversationHasSoManyMessages() throws {
        let bench = try Bench()
        let socket = tcp()
        defer { close(socket) }
        let talk = try bench.conversation()
        for _ in 0..<Conversation.maximalMessages {
            #expect(try talk.ask(Request(kind: .status).encoded, [socket]).state == .unknown)
        }
        #expect(try talk.ask(Request(kind: .status).encoded, [socket]) == .hungUp)
    }

    @Test func aProcessHasSoManyConversations() throws {
        let bench = try Bench()
        let talks = try (0..<ProgramDoor.Limits.conversationsOfProcess).map { _ in try bench.conversation() }
        #expect(try bench.conversation().answer() == .hungUp)
        #expect(bench.lines.count == 1)
        for talk in talks { talk.hangUp() }
        let socket = tcp()
        defer { close(socket) }
        #expect(try bench.ask(.status, socket).state == .unknown)
    }

    @Test func aConversationThatSaysNothingIsCutOff() throws {
        let bench = try Bench(conversationTime: .milliseconds(20))
        let talks = try (0..<3).map { _ in try bench.conversation() }
        for talk in talks.reversed() { #expect(try talk.answer() == .hungUp) }
    }

    // MARK: What is not for Kwik

    @Test func onlyAFreshTCPSocketOfTheRightFamilyIsTaken() throws {
        let bench = try Bench()
        let pair = try UnixSocket.pair(.stream)
        var pipes: [Int32] = [0, 0]
        #expect(unsafe pipe(&pipes) == 0)
        let listening = try StreamSocket.listen(on: SocketAddress(parsing: "127.0.0.1:0")!)
        let connected = try StreamSocket.connect(to: #require(StreamSocket.localAddress(listening)))
        let datagrams = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        let zeroCopy = tcp()
        try StreamSocket.setOption(zeroCopy, SOL_SOCKET, SO_ZEROCOPY, 1)
        let others = [
            pair.0, pair.1, pipes[0], pipes[1], listening, connected, datagrams, zeroCopy,
            tcp(AF_INET6),
        ]
        defer { for fd in others { close(fd) } }
        for fd in others {
            let answer = try bench.conversation().ask(connectRequest(), [fd])
            #expect(answer.state == .native)
            #expect(answer.descriptor == nil)
        }
        #expect(bench.asked.isEmpty)
        #expect(bench.lines.count == others.count)
        #expect(bench.served == 0)
    }

    @Test func whatASocketIsBoundToIsTold() throws {
        let bench = try Bench()
        let bound = tcp()
        try StreamSocket.bind(bound, to: SocketAddress(parsing: "127.0.0.1:0")!)
        let portless = tcp()
        try StreamSocket.setOption(portless, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1)
        try StreamSocket.bind(portless, to: SocketAddress(parsing: "127.0.0.1:0")!)
        #expect(StreamSocket.localAddress(portless)?.port == 0)
        let device = tcp()
        try StreamSocket.setOption(device, SOL_SOCKET, SO_BINDTODEVICE, bytes: Array("lo".utf8))
        let free = tcp()
        defer { for fd in [bound, portless, device, free] { close(fd) } }
        for fd in [bound, portless, device, free] { _ = try bench.conversation().ask(connectRequest(), [fd]) }
        #expect(bench.asked.map(\.binding) == [
            SocketBinding(address: StreamSocket.localAddress(bound)),
            SocketBinding(address: SocketAddress(parsing: "127.0.0.1:0")), SocketBinding(device: "lo"), .none,
        ])
    }

    @Test func theEngineDecides() throws {
        let bench = try Bench()
        bench.verdict = .native
        let socket = tcp()
        try StreamSocket.setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        #expect(try bench.conversation().ask(connectRequest(), [socket]).state == .native)
        #expect(bench.asked.map(\.destination) == [anywhere])
        #expect(bench.asked.map(\.pid) == [getpid()])
        let noDelay = SocketOption(level: Int32(IPPROTO_TCP), name: TCP_NODELAY, value: [1, 0, 0, 0])
        #expect(bench.asked.map(\.options) == [[noDelay]])
        // The socket is as good as new: it is not bound to an address.
        #expect(StreamSocket.localAddress(socket)?.isWildcard == true)
        close(socket)
    }

    @Test func withoutSWAPPEDNobodyIsConnected() throws {
        let bench = try Bench()
        let socket = tcp()
        let talk = try bench.conversation()
        guard case .reply(_, let program?) = try talk.ask(connectRequest(), [socket]) else {
            throw BenchError.notTaken
        }
        #expect(bench.served == 1)
        talk.hangUp()
        #expect(try bench.turn(until: { bench.served == 0 }))
        #expect(bench.connections.isEmpty)
        #expect(readAll(program) == .failed(Errno(code: ECONNRESET)))
        close(program)
        close(socket)
    }

    // MARK: Questions

    @Test func anotherCopyOfTheSameSocketIsBusy() throws {
        let bench = try Bench()
        let socket = tcp()
        let talk = try bench.conversation()
        guard case .reply(_, let program?) = try talk.ask(connectRequest(), [socket]) else {
            throw BenchError.notTaken
        }
        talk.send(Request(kind: .swapped).encoded)
        #expect(try bench.turn(until: { bench.connections.count == 1 }))
        var answer = try bench.conversation().ask(connectRequest(), [socket])
        #expect(answer.state == .busy && answer.error == EALREADY)
        bench.connections[0].established()
        answer = try bench.conversation().ask(connectRequest(), [socket])
        #expect(answer.state == .busy && answer.error == EISCONN)
        close(program)
        close(socket)
    }

    @Test func aStrangerIsUnknown() throws {
        let bench = try Bench()
        let (program, _) = try bench.pending()
        // The same name as ours, but another socket.
        let name = try #require(UnixSocket.abstractName(program))
        let pair = try UnixSocket.pair(.stream)
        for kind in [Wire.Kind.status, .getOption, .undo] {
            #expect(try bench.ask(kind, pair.0).state == .unknown)
        }
        #expect(!name.isEmpty)
        #expect(try bench.ask(.status, program).state == .pending)
        for fd in [program, pair.0, pair.1] { close(fd) }
    }

    @Test func successIsToldOnceUnlessTheCallerWaited() throws {
        let bench = try Bench()
        let (program, connection) = try bench.pending()
        connection.established()
        #expect(try bench.ask(.status, program).state == .news)
        #expect(try bench.ask(.status, program) { $0.flags = .consume }.state == .news)
        #expect(try bench.ask(.status, program) { $0.flags = .consume }.state == .connected)
        let (waited, other) = try bench.pending(blocking: true)
        other.established()
        #expect(try bench.ask(.status, waited).state == .connected)
        // It was interrupted after all.
        #expect(try bench.ask(.status, waited) { $0.flags = .left }.state == .news)
        close(program)
        close(waited)
    }

    @Test func optionsGoToTheProgramsOwnSocket() throws {
        let bench = try Bench()
        let (program, connection) = try bench.pending()
        var told: [SocketOption] = []
        connection.onOption = { option in told.append(option) }
        func set(_ level: Int32, _ name: Int32, _ value: [UInt8]) throws -> Int32? {
            try bench.ask(.setOption, program) { request in
                request.level = level
                request.name = name
                request.value = value
                request.length = value.count
            }.error
        }
        func get(_ level: Int32, _ name: Int32, _ length: Int) throws -> Talk.Answer {
            try bench.ask(.getOption, program) { request in
                request.level = level
                request.name = name
                request.length = length
            }
        }
        let tcpLevel = Int32(IPPROTO_TCP)
        #expect(try set(tcpLevel, TCP_KEEPIDLE, [42, 0, 0, 0]) == 0)
        #expect(try get(tcpLevel, TCP_KEEPIDLE, 4).value == [42, 0, 0, 0])
        #expect(told == [SocketOption(level: tcpLevel, name: TCP_KEEPIDLE, value: [42, 0, 0, 0])])
        #expect(try set(tcpLevel, TCP_KEEPIDLE, [0, 0, 0, 0x70]) == EINVAL)
        #expect(told.count == 1)
        // TCP_REPAIR, a filter with a pointer in it, a mark: not for the engine to set.
        #expect(try set(tcpLevel, 19, [1, 0, 0, 0]) == ENOPROTOOPT)
        #expect(try set(SOL_SOCKET, 26, [UInt8](repeating: 0, count: 16)) == ENOPROTOOPT)
        #expect(try set(SOL_SOCKET, SO_MARK, [1, 0, 0, 0]) == ENOPROTOOPT)
        // TCP_ZEROCOPY_RECEIVE would write where it is told to.
        #expect(try get(tcpLevel, 35, 64).error == ENOPROTOOPT)
        #expect(try get(tcpLevel, TCP_INFO, 8).value?.first == 2)
        connection.established()
        #expect(try get(tcpLevel, TCP_INFO, 8).value?.first == 1)
        close(program)
    }

    @Test func afterAFailureTheSocketComesBack() throws {
        let bench = try Bench()
        let (program, connection) = try bench.pending()
        connection.refused(errno: EHOSTUNREACH)
        #expect(try bench.ask(.status, program).error == EHOSTUNREACH)
        #expect(try bench.ask(.status, program) { $0.flags = .takeError }.error == EHOSTUNREACH)
        #expect(try bench.ask(.status, program) { $0.flags = .takeError }.error == 0)
        let answer = try bench.ask(.undo, program)
        let original = try #require(answer.descriptor)
        #expect(answer.error == 0)
        #expect(StreamSocket.localAddress(original)?.family == AF_INET)
        #expect(try bench.ask(.undo, program).state == .unknown)
        close(original)
        close(program)
    }

    @Test func aProgramThatGivesUpIsReported() throws {
        let bench = try Bench()
        let (program, connection) = try bench.pending()
        var seen: Readiness = []
        connection.onReadiness = { readiness in seen = readiness }
        let answer = try bench.ask(.undo, program)
        #expect(answer.descriptor != nil)
        #expect(seen.contains(.hangup))
        #expect(bench.served == 0)
        answer.descriptor.map { _ = close($0) }
        close(program)
    }

    @Test func failedConnectsAreKeptUpToALimit() throws {
        let bench = try Bench()
        let (first, connection) = try bench.pending()
        connection.refused(errno: ECONNREFUSED)
        #expect(try bench.ask(.status, first).state == .failed)
        for _ in 0..<ProgramDoor.Limits.failed {
            let (program, connection) = try bench.pending()
            connection.refused(errno: ECONNREFUSED)
            close(program)
        }
        #expect(try bench.ask(.status, first).state == .unknown)
        #expect(bench.served == 0)
        close(first)
    }

    // MARK: Strangers

    /// Root can open any directory: only the credentials tell.
    @Test(.enabled(if: geteuid() == 0)) func anotherUserIsNotHeard() throws {
        let bench = try Bench()
        // The test's own directory is open, and so is the socket for this once.
        #expect(unsafe chmod(bench.path, 0o666) == 0)
        let program = try compile("""
            #include <string.h>
            #include <sys/socket.h>
            #include <sys/un.h>
            #include <unistd.h>
            int main(int count, char **arguments) {
                struct sockaddr_un address = {.sun_family = AF_UNIX};
                char byte;
                int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
                if (count != 2 || setuid(65534) != 0)
                    return 2;
                strncpy(address.sun_path, arguments[1], sizeof(address.sun_path) - 1);
                if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
                    return 3;
                return recv(fd, &byte, 1, 0) == 0 ? 0 : 4;
            }
            """)
        defer { program.remove() }
        let stranger = try program.start([bench.path])
        #expect(try bench.turn(until: { !bench.lines.isEmpty }))
        stranger.waitUntilExit()
        #expect(stranger.terminationStatus == 0)
        #expect(bench.lines == ["a process of another user knocked"])
    }
}
