import Glibc
import KwikCore
import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct StreamSocketTests {
        /// Both ends of a TCP connection over loopback; the caller closes them.
        private func connection() throws -> (client: Int32, server: Int32) {
            let listener = Descriptor(taking: try StreamSocket.listen(
                on: try #require(SocketAddress(parsing: "127.0.0.1:0"))))
            let address = try #require(StreamSocket.localAddress(listener.raw))
            let client = try StreamSocket.connect(to: address)
            try wait(listener.raw, POLLIN)
            let server = try #require(try UnixSocket.accept(listener.raw))
            try wait(client, POLLOUT)
            #expect(StreamSocket.pendingError(client) == 0)
            #expect(StreamSocket.peerAddress(client) == address)
            #expect(StreamSocket.peerAddress(server) == StreamSocket.localAddress(client))
            #expect(try UnixSocket.accept(listener.raw) == nil)
            return (client, server)
        }

        @Test func slicesAreWrittenInOrderThroughPartialWrites() throws {
            let (near, far) = try UnixSocket.pair(.stream)
            try StreamSocket.setOption(near, SOL_SOCKET, SO_SNDBUF, 20_000)
            let content = bytes(700_000)
            // Uneven slices, an empty one among them, and more than one call takes.
            var slices: [ChunkSlice] = [slice([])]
            var start = 0
            while start < content.count {
                let end = min(start + 1 + start % 9_973, content.count)
                slices.append(slice(Array(content[start..<end])))
                start = end
            }
            #expect(slices.count > StreamSocket.maximalSlices)
            var received: [UInt8] = []
            var partial = 0
            while received.count < content.count {
                switch StreamSocket.write(near, slices: slices) {
                case .count(var count):
                    let offered = slices.prefix(StreamSocket.maximalSlices).reduce(0) { $0 + $1.count }
                    if count < offered { partial += 1 }
                    while let first = slices.first, count >= first.count {
                        count -= first.count
                        slices.removeFirst()
                    }
                    if count > 0 { slices[0].removeFirst(count) }
                case .wouldBlock:
                    break
                case let other:
                    Issue.record("\(other)")
                    return
                }
                received += read(far, 8_192).1
            }
            expectSame(received, content)
            #expect(partial > 0)
            #expect(StreamSocket.write(near, slices: []) == .count(0))
            #expect(StreamSocket.write(near, slices: [slice([])]) == .count(0))
            StreamSocket.shutdownRead(far)
            #expect(StreamSocket.write(near, slices: [slice([1])]) == .failed(Errno(code: EPIPE)))
            Descriptor.close(far)
            Descriptor.close(near)
        }

        @Test func aFullBufferAndAnEmptyOneWouldBlock() throws {
            let (near, far) = try UnixSocket.pair(.stream)
            #expect(read(near, 10).0 == .wouldBlock)
            let block = slice(bytes(65_536))
            var result = IOResult.count(0)
            for _ in 0..<1_000 {
                result = StreamSocket.write(near, slices: [block])
                if result == .wouldBlock { break }
            }
            #expect(result == .wouldBlock)
            Descriptor.close(near)
            Descriptor.close(far)
        }

        @Test(arguments: [true, false])
        func discardedBytesAreGoneAndTheNextAreNot(tcp: Bool) throws {
            let (near, far) = tcp ? try connection() : try UnixSocket.pair(.stream)
            #expect(StreamSocket.discard(near, count: 10) == .wouldBlock)
            let content = bytes(50_000)
            #expect(StreamSocket.write(far, slices: [slice(content)]) == .count(content.count))
            StreamSocket.shutdownWrite(far)
            var gone = 0
            while gone < 49_990 {
                try wait(near, POLLIN)
                guard case .count(let count) = StreamSocket.discard(near, count: 49_990 - gone) else { break }
                gone += count
            }
            #expect(gone == 49_990)
            #expect(try readAll(near) == Array(content.suffix(10)))
            #expect(StreamSocket.discard(near, count: 10) == .endOfFile)
            Descriptor.close(near)
            Descriptor.close(far)
        }

        @Test func aRefusedConnectShowsAsPendingError() throws {
            let listener = try StreamSocket.listen(on: try #require(SocketAddress(parsing: "127.0.0.1:0")))
            let address = try #require(StreamSocket.localAddress(listener))
            Descriptor.close(listener)
            do throws(Errno) {
                let fd = try StreamSocket.connect(to: address)
                var entry = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                #expect(unsafe poll(&entry, 1, 10_000) == 1)
                #expect(StreamSocket.pendingError(fd) == ECONNREFUSED)
                #expect(StreamSocket.pendingError(fd) == 0)
                Descriptor.close(fd)
            } catch {
                #expect(error.code == ECONNREFUSED)
            }
        }

        @Test func finEndsTheStreamAndResetBreaksIt() throws {
            let (client, server) = try connection()
            #expect(write(client, "bye") == .count(3))
            StreamSocket.shutdownWrite(client)
            #expect(try readAll(server) == Array("bye".utf8))
            StreamSocket.reset(server)
            try wait(client, POLLIN)
            #expect(read(client, 1).0 == .failed(Errno(code: ECONNRESET)))
            Descriptor.close(client)
        }

        @Test func peekingLeavesTheBytes() throws {
            let (near, far) = try UnixSocket.pair(.stream)
            #expect(write(far, "ab") == .count(2))
            #expect(try UnixSocket.unread(near) == 2)
            var space: [UInt8] = [0, 0, 0]
            let peeked = unsafe space.withUnsafeMutableBytes { buffer in
                unsafe StreamSocket.receive(near, into: buffer, flags: Int32(MSG_PEEK))
            }
            #expect(peeked == .count(2))
            #expect(try UnixSocket.unread(near) == 2)
            #expect(read(near, 0).0 == .count(0))
            #expect(read(near, 9).1 == Array("ab".utf8))
            Descriptor.close(near)
            Descriptor.close(far)
        }

        @Test func optionsAreSetAndRead() throws {
            let (client, server) = try connection()
            let level = Int32(IPPROTO_TCP)
            try StreamSocket.setOption(client, level, TCP_NODELAY, 1)
            #expect(try StreamSocket.intOption(client, level, TCP_NODELAY) == 1)
            try StreamSocket.setOption(client, level, TCP_NODELAY, bytes: [0, 0, 0, 0])
            #expect(try StreamSocket.getOption(client, level, TCP_NODELAY, capacity: 64) == [0, 0, 0, 0])
            #expect(throws: Errno(code: ENOPROTOOPT)) {
                try StreamSocket.setOption(client, SOL_SOCKET, 9_999, 1)
            }
            Descriptor.close(client)
            Descriptor.close(server)
        }
    }
}
