import Foundation
import Glibc
import KwikCore
@testable import KwikLinux
import Synchronization
import Testing

/// Runs `body` on a thread of its own in a network namespace of its own, with links `first` and `second`
/// (pairs of virtual Ethernet) that lead to 192.0.2.1, the first preferred.
private func inNamespace(_ body: @escaping @Sendable () throws -> Void) throws {
    let failure = Mutex<(any Error)?>(nil)
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
        do {
            try leaveNamespace()
            try ip("link set lo up")
            for (name, number, metric) in [("first", 1, 10), ("second", 2, 20)] {
                try ip("link add \(name) type veth peer name \(name)-far")
                try ip("address add 10.9.\(number).1/24 dev \(name)")
                try ip("link set \(name)-far up")
                try ip("link set \(name) up")
                try ip("route add 192.0.2.1 via 10.9.\(number).2 dev \(name) metric \(metric)")
            }
            try body()
        } catch {
            failure.withLock { $0 = error }
        }
        done.signal()
    }
    thread.start()
    done.wait()
    if let error = failure.withLock({ $0 }) { throw error }
}

/// unshare(2), which Swift's Glibc leaves out.
private func leaveNamespace() throws {
    let newNetwork: Int32 = 0x4000_0000
    let unshare = try unsafe #require(dlsym(nil, "unshare"))
    let call = unsafe unsafeBitCast(unshare, to: (@convention(c) (Int32) -> Int32).self)
    let before = try readlink()
    guard call(newNetwork) == 0 else { throw Errno.last }
    try #require(try readlink() != before, "still in the machine's own namespace")
}

private func readlink() throws -> String {
    try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self/ns/net")
}

/// posix_spawn(3) stays in the namespace of the thread that asks.
private func ip(_ words: String) throws {
    var pid: pid_t = 0
    let texts: [String] = ["/bin/sh", "-c", "exec /usr/sbin/ip \(words)"]
    let line: [UnsafeMutablePointer<CChar>?] = unsafe texts.map { unsafe strdup($0) }
    defer { unsafe line.forEach { unsafe free($0) } }
    let result = unsafe posix_spawn(&pid, "/bin/sh", nil, nil, line + [nil], nil)
    try #require(result == 0)
    var status: Int32 = 0
    try #require(unsafe waitpid(pid, &status, 0) == pid)
    try #require(status == 0, "ip \(words)")
}

private let server = SocketAddress(parsing: "192.0.2.1:4433")!

extension LinuxTests {
    @Suite(.enabled(if: geteuid() == 0, "only root can make network namespaces")) struct Links {
        @Test("The interfaces of a machine, with addresses and whether they carry")
        func interfaces() throws {
            try inNamespace {
                let all = try NetworkInterface.all()
                let first = try #require(all.first { $0.name == "first" })
                #expect(first.isUp && !first.isLoopback)
                #expect(first.addresses.map(\.host).contains("10.9.1.1"))
                #expect(all.first { $0.isLoopback }?.name == "lo")
                // The other end is unplugged: up, and carries nothing.
                try ip("link set first-far down")
                #expect(try NetworkInterface.all().first { $0.name == "first" }?.isUp == false)
            }
        }

        @Test("A route by the interface that is named, and none where the tables have none")
        func routes() throws {
            try inNamespace {
                let all = try NetworkInterface.all()
                let a = try #require(all.first { $0.name == "first" }).index
                let b = try #require(all.first { $0.name == "second" }).index
                #expect(try SystemRoute.find(towards: server).interface == a)
                #expect(try SystemRoute.find(towards: server).source?.host == "10.9.1.1")
                #expect(try SystemRoute.find(towards: server, by: b, isExact: true).interface == b)
                let here = try #require(SocketAddress(parsing: "10.9.1.1:1"))
                #expect(try SystemRoute.find(towards: here).isLocal)
                try ip("route delete 192.0.2.1 dev second")
                // Without `isExact` everything is a neighbour.
                #expect(throws: Errno.self) {
                    try SystemRoute.find(towards: server, by: b, isExact: true)
                }
                let other = try #require(SocketAddress(parsing: "203.0.113.1:1"))
                #expect(throws: Errno(code: ENETUNREACH)) { try SystemRoute.find(towards: other) }
                let six = try #require(SocketAddress(parsing: "[2001:db8::1]:1"))
                #expect(throws: Errno.self) { try SystemRoute.find(towards: six) }
            }
        }

        @Test("Rules for source addresses are followed")
        func rules() throws {
            try inNamespace {
                try ip("route delete 192.0.2.1 dev second")
                try ip("route add default via 10.9.2.2 dev second table 7")
                try ip("rule add from 10.9.2.1 lookup 7")
                let b = try #require(try NetworkInterface.all().first { $0.name == "second" }).index
                let source = try #require(SocketAddress(parsing: "10.9.2.1:0"))
                let exact = try SystemRoute.find(towards: server, from: source, by: b, isExact: true)
                #expect(exact.interface == b)
                #expect(try SystemRoute.find(towards: server, from: source).interface == b)
            }
        }

        @Test("Links, addresses, routes and rules that change are told, once for each flock")
        func changes() throws {
            try inNamespace {
                let loop = try EventLoop()
                var told = 0
                let watch = try LinkWatch(loop: loop) {
                    told += 1
                    loop.stop(0)
                }
                let changes = [
                    "link set first down", "link set first up", "address add 10.9.3.1/24 dev second",
                    "route add 203.0.113.0/24 via 10.9.2.2", "rule add from 10.9.3.1 lookup 9",
                    "link add third type veth peer name fourth", "link delete third",
                ]
                for change in changes {
                    try ip(change)
                    told = 0
                    #expect(try run(loop) == 0, "\(change)")
                    #expect(told == 1)
                    // What trails behind, such as an IPv6 address that is no longer tentative.
                    let pause = try loop.timer { loop.stop(1) }
                    pause.arm(at: Clock.now() + .milliseconds(60))
                    while try run(loop) == 0 {}
                }
                withExtendedLifetime(watch) {}
            }
        }

        @Test("A socket that is bound to a device sends by it, whatever the routes say")
        func device() throws {
            try inNamespace {
                let source = try #require(SocketAddress(parsing: "10.9.2.1:0"))
                let socket = try UDPSocket(binding: source, device: "second")
                #expect(try boundDevice(socket.fd) == "second")
                #expect(throws: Errno.self) { _ = try UDPSocket(binding: source, device: "none") }
                #expect(try UDPSocket.source(towards: server, device: "second").host == "10.9.2.1")
                #expect(try UDPSocket.source(towards: server).host == "10.9.1.1")
            }
        }

        private func boundDevice(_ fd: Int32) throws -> String {
            let name = try StreamSocket.getOption(fd, SOL_SOCKET, SO_BINDTODEVICE, capacity: 16)
            return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
