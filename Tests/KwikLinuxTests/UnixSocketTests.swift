import Glibc
import KwikCore
@testable import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct UnixSocketTests {
        private func receive(
            _ fd: Int32, capacity: Int = 100, descriptors: Int
        ) -> (UnixSocket.Received, [UInt8]) {
            var space = [UInt8](repeating: 0, count: capacity)
            let received = unsafe space.withUnsafeMutableBytes { buffer in
                unsafe UnixSocket.receive(fd, into: buffer, descriptors: descriptors)
            }
            guard case .message(let count, _, _) = received else { return (received, []) }
            return (received, Array(space.prefix(count)))
        }

        @Test func descriptorsArePassedAsDuplicatesOfTheSameFile() throws {
            let (near, far) = try UnixSocket.pair(.sequentialPacket)
            let passed = try Pair()
            let sent = UnixSocket.send(near, Array("take".utf8), descriptors: [passed.near, passed.far])
            #expect(sent == .count(4))
            let (received, text) = receive(far, descriptors: 2)
            guard case .message(4, let descriptors, false) = received, descriptors.count == 2 else {
                Issue.record("\(received)")
                return
            }
            #expect(text == Array("take".utf8))
            #expect(Set(descriptors).isDisjoint(with: [passed.near, passed.far]))
            #expect(try UnixSocket.cookie(descriptors[0]) == UnixSocket.cookie(passed.near))
            #expect(try UnixSocket.cookie(descriptors[0]) != UnixSocket.cookie(passed.far))
            #expect(fcntl(descriptors[0], F_GETFD) == FD_CLOEXEC)
            #expect(write(descriptors[0], "through") == .count(7))
            #expect(read(passed.far, 100).1 == Array("through".utf8))
            for fd in descriptors + [near, far] { Descriptor.close(fd) }
        }

        @Test func descriptorsThatNobodyAskedForAreClosed() throws {
            let (near, far) = try UnixSocket.pair(.sequentialPacket)
            let passed = try UnixSocket.pair(.stream)
            #expect(UnixSocket.send(near, [1], descriptors: [passed.0, passed.0, passed.0]) == .count(1))
            Descriptor.close(passed.0)
            let (received, _) = receive(far, descriptors: 1)
            guard case .message(1, let descriptors, true) = received, descriptors.count == 1 else {
                Issue.record("\(received)")
                return
            }
            // The end of the file shows that no duplicate is left once the one received is closed.
            #expect(read(passed.1, 1).0 == .wouldBlock)
            Descriptor.close(descriptors[0])
            try wait(passed.1, POLLIN)
            #expect(read(passed.1, 1).0 == .endOfFile)
            for fd in [near, far, passed.1] { Descriptor.close(fd) }
        }

        @Test func packetsKeepTheirBoundariesAndSayIfTheyWereCut() throws {
            let (near, far) = try UnixSocket.pair(.sequentialPacket)
            #expect(receive(far, descriptors: 0).0 == .wouldBlock)
            #expect(UnixSocket.send(near, [1, 2, 3]) == .count(3))
            #expect(UnixSocket.send(near, [4, 5, 6, 7]) == .count(4))
            #expect(receive(far, descriptors: 0).1 == [1, 2, 3])
            let cut = receive(far, capacity: 2, descriptors: 0)
            #expect(cut.0 == .message(count: 2, descriptors: [], isTruncated: true))
            #expect(cut.1 == [4, 5])
            let many = [Int32](repeating: near, count: UnixSocket.maximalDescriptors + 1)
            #expect(UnixSocket.send(near, [1], descriptors: many) == .failed(Errno(code: E2BIG)))
            Descriptor.close(near)
            try wait(far, POLLIN)
            #expect(receive(far, descriptors: 0).0 == .endOfFile)
            Descriptor.close(far)
        }

        @Test func thePeerIsKnown() throws {
            let pair = try Pair()
            let peer = try UnixSocket.peerCredentials(pair.near)
            #expect(peer == .init(pid: getpid(), uid: geteuid(), gid: getegid()))
            let file = Descriptor(taking: unsafe open("/dev/null", O_RDONLY | O_CLOEXEC))
            let raw = file.raw
            #expect(throws: Errno(code: ENOTSOCK)) { _ = try UnixSocket.peerCredentials(raw) }
        }

        @Test func oneEndOfAPairCanBeNamed() throws {
            let (pair, other) = (try Pair(), try Pair())
            let name = Array("kwik-test|".utf8) + [0, 255] + bytes(16, seed: RandomBytes.word())
            #expect(UnixSocket.abstractName(pair.near) == nil)
            try UnixSocket.bind(pair.near, abstract: name)
            #expect(UnixSocket.abstractName(pair.near) == name)
            #expect(StreamSocket.peerAddress(pair.far)?.abstractName == name)
            #expect(StreamSocket.peerAddress(pair.near)?.bytes.count == 2)
            #expect(throws: Errno(code: EADDRINUSE)) { try UnixSocket.bind(other.near, abstract: name) }
            #expect(write(pair.near, "on") == .count(2))
            #expect(read(pair.far, 9).1 == Array("on".utf8))
        }

        @Test func socketsOfOneNamespaceShareItsCookie() throws {
            let listener = Descriptor(taking: try StreamSocket.listen(
                on: try #require(SocketAddress(parsing: "127.0.0.1:0"))))
            let socket = Descriptor(taking: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
            let cookie = try UnixSocket.namespaceCookie(listener.raw)
            #expect(cookie != 0)
            #expect(try UnixSocket.namespaceCookie(socket.raw) == cookie)
        }

        @Test func queuesAreCounted() throws {
            let pair = try Pair()
            #expect(try UnixSocket.unsent(pair.near) == 0)
            #expect(write(pair.near, "12345") == .count(5))
            #expect(try UnixSocket.unread(pair.far) == 5)
            #expect(try UnixSocket.unsent(pair.near) > 0)
            _ = read(pair.far, 5)
            #expect(try UnixSocket.unread(pair.far) == 0)
            #expect(try UnixSocket.unsent(pair.near) == 0)
        }

        @Test(arguments: [UnixSocket.Kind.stream, .sequentialPacket])
        func aListenerIsReachedByItsPathAndItsFileHasTheMode(kind: UnixSocket.Kind) throws {
            let directory = try TemporaryDirectory()
            let path = directory.path + "/sock"
            let listener = Descriptor(taking: try UnixSocket.listen(path: path, mode: 0o666, kind))
            var status = stat()
            #expect(unsafe lstat(path, &status) == 0)
            #expect(status.st_mode == S_IFSOCK | 0o666)
            #expect(try UnixSocket.accept(listener.raw) == nil)
            let client = Descriptor(taking: try UnixSocket.connect(path: path, kind))
            let server = Descriptor(taking: try #require(try UnixSocket.accept(listener.raw)))
            #expect(UnixSocket.send(client.raw, [9]) == .count(1))
            #expect(receive(server.raw, descriptors: 0).1 == [9])
            withExtendedLifetime(directory) {}
        }

        @Test func onlyAnAbandonedSocketFileIsReplaced() throws {
            let directory = try TemporaryDirectory()
            let path = directory.path + "/sock"
            let first = try UnixSocket.listen(path: path, mode: 0o600)
            #expect(throws: Errno(code: EADDRINUSE)) { _ = try UnixSocket.listen(path: path, mode: 0o600) }
            Descriptor.close(first)
            #expect(throws: Errno(code: ECONNREFUSED)) { _ = try UnixSocket.connect(path: path) }
            Descriptor.close(try UnixSocket.listen(path: path, mode: 0o600))
            let plain = directory.path + "/plain"
            try Files.write(plain, [1])
            #expect(throws: Errno(code: EADDRINUSE)) { _ = try UnixSocket.listen(path: plain, mode: 0o600) }
            #expect(try Files.read(plain, limit: 1) == [1])
            let long = directory.path + "/" + String(repeating: "l", count: 100)
            #expect(throws: Errno(code: ENAMETOOLONG)) { _ = try UnixSocket.listen(path: long, mode: 0o600) }
        }
    }
}
