import Glibc
import KwikCore
@testable import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct UDPSocketTests {
        private struct Datagram: Equatable {
            var bytes: [UInt8]
            var from: SocketAddress
            var to: SocketAddress
            var ecn: UInt8
        }

        private func collect(_ socket: UDPSocket, _ count: Int) throws -> [Datagram] {
            var all: [Datagram] = []
            while all.count < count {
                try wait(socket.fd, POLLIN)
                let before = all.count
                let told = unsafe socket.receive(batches: 16) { bytes, segment, from, to, ecn in
                    for start in stride(from: 0, to: max(bytes.count, 1), by: segment) {
                        let datagram = unsafe bytes[start..<min(start + segment, bytes.count)]
                        all.append(Datagram(bytes: unsafe Array(datagram), from: from, to: to, ecn: ecn))
                    }
                }
                #expect(told > 0 && told <= all.count - before)
            }
            return all
        }

        private func send(
            _ socket: UDPSocket, _ content: [UInt8], segment: Int, to: SocketAddress, ecn: UInt8 = 0,
            from: SocketAddress? = nil
        ) -> SendResult {
            unsafe content.withUnsafeBytes { buffer in
                unsafe socket.send(buffer, segment: segment, to: to, ecn: ecn, from: from)
            }
        }

        @Test(arguments: ["127.0.0.1:0", "[::1]:0"], [true, false])
        func aBatchOf64SegmentsKeepsItsBoundaries(literal: String, segmented: Bool) throws {
            let address = try #require(SocketAddress(parsing: literal))
            let sender = try UDPSocket(binding: address)
            let receiver = try UDPSocket(binding: address)
            sender.segments = segmented
            let segment = 1_000
            let content = bytes(63 * segment + 417)
            #expect(send(sender, content, segment: segment, to: receiver.localAddress, ecn: 2) == .sent)
            let received = try collect(receiver, 64)
            #expect(sender.segments == segmented)
            let expected = stride(from: 0, to: content.count, by: segment).map { start in
                Datagram(bytes: Array(content[start..<min(start + segment, content.count)]),
                         from: sender.localAddress, to: receiver.localAddress, ecn: 2)
            }
            #expect(received.map(\.bytes.count) == expected.map(\.bytes.count))
            expectSame(received, expected)
            #expect(unsafe receiver.receive(batches: 16) { _, _, _, _, _ in } == 0)
        }

        @Test func moreThanTheKernelSegmentsAtOnceIsSentInSeveralCalls() throws {
            let address = try #require(SocketAddress(parsing: "127.0.0.1:0"))
            let sender = try UDPSocket(binding: address)
            let receiver = try UDPSocket(binding: address)
            let content = bytes(150 * 400)
            #expect(send(sender, content, segment: 400, to: receiver.localAddress) == .sent)
            let received = try collect(receiver, 150)
            #expect(received.allSatisfy { datagram in datagram.bytes.count == 400 && datagram.ecn == 0 })
            expectSame(received.flatMap(\.bytes), content)
        }

        @Test(arguments: [UInt8(0), 1, 2, 3], ["127.0.0.1:0", "[::1]:0"])
        func eachECNValueArrives(ecn: UInt8, literal: String) throws {
            let address = try #require(SocketAddress(parsing: literal))
            let sender = try UDPSocket(binding: address)
            let receiver = try UDPSocket(binding: address)
            #expect(send(sender, [1, 2, 3], segment: 1_200, to: receiver.localAddress, ecn: ecn) == .sent)
            #expect(try collect(receiver, 1).map(\.ecn) == [ecn])
        }

        @Test func anAnswerFromAWildcardSocketLeavesFromTheAddressThatWasAsked() throws {
            let server = try UDPSocket(binding: try #require(SocketAddress(parsing: "[::]:0")))
            let client = try UDPSocket(binding: try #require(SocketAddress(parsing: "127.0.0.1:0")))
            let port = server.localAddress.port
            let asked = try #require(SocketAddress(host: "127.0.0.2", port: port))
            #expect(send(client, [1], segment: 1_200, to: asked, ecn: 1) == .sent)
            let request = try #require(try collect(server, 1).first)
            #expect(request.from == SocketAddress(host: "::ffff:127.0.0.1", port: client.localAddress.port))
            #expect(request.to == SocketAddress(host: "::ffff:127.0.0.2", port: port))
            #expect(request.ecn == 1)
            let content = bytes(3_000)
            let (asker, own) = (request.from, request.to)
            #expect(send(server, content, segment: 1_000, to: asker, ecn: 2, from: own) == .sent)
            let answers = try collect(client, 3)
            #expect(answers.map(\.from) == [asked, asked, asked])
            #expect(answers.map(\.ecn) == [2, 2, 2])
            expectSame(answers.flatMap(\.bytes), content)
        }

        @Test func aRefusedDestinationDoesNotHarmTheSocket() throws {
            let address = try #require(SocketAddress(parsing: "127.0.0.1:0"))
            let sender = try UDPSocket(binding: address)
            let receiver = try UDPSocket(binding: address)
            let broadcast = try #require(SocketAddress(parsing: "255.255.255.255:9"))
            guard case .failed = send(sender, [1], segment: 1_200, to: broadcast) else {
                Issue.record("a broadcast was let out")
                return
            }
            // Nobody listens there; the ICMP error must not reach a later send.
            let closed = try UDPSocket(binding: address).localAddress
            #expect(send(sender, [1], segment: 1_200, to: closed) == .sent)
            #expect(send(sender, [2], segment: 1_200, to: receiver.localAddress) == .sent)
            #expect(try collect(receiver, 1).map(\.bytes) == [[2]])
        }

        @Test func emptyDatagramsAreDatagrams() throws {
            let address = try #require(SocketAddress(parsing: "127.0.0.1:0"))
            let receiver = try UDPSocket(binding: address)
            let plain = Descriptor(taking: socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0))
            let sent = unsafe receiver.localAddress.withSockaddr { pointer, length in
                unsafe sendto(plain.raw, nil, 0, 0, pointer, length)
            }
            #expect(sent == 0)
            #expect(try collect(receiver, 1).map(\.bytes) == [[]])
        }

        @Test func aTakenAddressIsRefused() throws {
            let first = try UDPSocket(binding: try #require(SocketAddress(parsing: "127.0.0.1:0")))
            #expect(throws: Errno(code: EADDRINUSE)) { _ = try UDPSocket(binding: first.localAddress) }
        }

        @Test func theRouteTellsTheSource() throws {
            let remote = try #require(SocketAddress(parsing: "127.0.0.9:53"))
            #expect(try UDPSocket.source(towards: remote) == SocketAddress(host: "127.0.0.1", port: 0))
        }
    }
}
