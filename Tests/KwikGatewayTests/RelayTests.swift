import Glibc
import KwikConfiguration
import KwikControl
import KwikCore
import KwikEndpoint
import KwikLinux
import KwikTelemetry
import KwikTransport
import Testing

@testable import KwikGateway

/// As in the transport's tests; nothing is ever checked against it.
private let authority = Array(
    """
    -----BEGIN CERTIFICATE-----
    MIIBgTCCASigAwIBAgIUdFZKJZXjjQA/TgjoWSVSMPjbMCYwCgYIKoZIzj0EAwIw
    HjEcMBoGA1UEAxMTS3dpayB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBa
    GA8yMTE5MTIzMTAwMDAwMFowHjEcMBoGA1UEAxMTS3dpayB0ZXN0IGF1dGhvcml0
    eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABM33RXgDqK+O4LPCzDjaXtpKOOCO
    w23/FHVvvyYZBNZg+7aYdatnzQsIBpaYFBvWWnfPyODX8g9xRJADiUj8FhajQjBA
    MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMB0GA1UdDgQWBBTqfsq8
    bXGP5P8fgXd5EEUwpGMgkDAKBggqhkjOPQQDAgNHADBEAiA1KKaLmyadf52KLOa8
    z7khidEp3tTKydRZwRsIoguNdQIgb/Vb4ux1zi4IxllNP5F2RUk9NKOpzk92to2u
    2nycuT4=
    -----END CERTIFICATE-----
    """.utf8)

private let client = "127.0.0.1:4000"

/// A relay with a control connection that comes from 127.0.0.1, and what it may relay to.
private final class Bench {
    let loop: EventLoop
    let endpoint: Endpoint
    let target: UDPSocket
    let relay: Relay
    let link: PathLink
    private var deadline: LoopTimer?

    init(maximumPaths: Int = 2, rate: UInt64 = 125_000_000) throws {
        loop = try EventLoop()
        endpoint = try Endpoint(loop: loop, maximumRate: nil)
        target = try UDPSocket(binding: #require(SocketAddress(parsing: "127.0.0.1:0")))
        var configuration = RelayConfiguration(allow: [
            try #require(AddressAndPort(parsing: "\(target.localAddress)"))
        ])
        configuration.maxPaths = maximumPaths
        configuration.maxRate = rate
        relay = Relay(configuration, endpoint: endpoint, log: Log(level: .error) { _, _, _ in })
        link = try Self.link(endpoint, from: client)
    }

    /// A connection on which nothing is ever sent.
    static func link(_ endpoint: Endpoint, from remote: String) throws -> PathLink {
        let near = try #require(SocketAddress(parsing: "127.0.0.1:0"))
        let socket = try UDPSocket(binding: near)
        let far = try #require(SocketAddress(parsing: remote))
        let connection = try QUICConnection.connect(
            to: "relay.test", pin: nil, trust: try TrustStore(authorities: authority),
            local: #require(SocketAddressBytes(socket.localAddress.bytes)),
            remote: #require(SocketAddressBytes(far.bytes)), settings: TransportSettings(), now: Clock.now())
        return endpoint.makeLink(
            connection, socket: socket, local: socket.localAddress, remote: far, isClient: false)
    }

    func ask(_ id: String, target text: String? = nil, on link: PathLink? = nil) -> TransportResponse {
        var command = TransportCommand()
        command.commandID = id
        command.type = .establishPath
        command.transportData = Array((text ?? "\(target.localAddress)").utf8)
        return relay.answer(command, on: link ?? self.link)
    }

    func establish(_ id: String) throws -> SocketAddress {
        let response = ask(id)
        let text = try #require(response.result?.pathContributions.first?.serverAddress)
        return try #require(SocketAddress(parsing: text))
    }

    func end(_ id: String) -> TransportResponse {
        var command = TransportCommand()
        command.commandID = id
        command.type = .closePath
        return relay.answer(command, on: link)
    }

    /// Turns the loop until `isDone`, which is sure to come: the limit is for what is broken.
    func turn(until isDone: () -> Bool) throws {
        let limit = Clock.now() + .seconds(20)
        while !isDone(), Clock.now() < limit { try turn() }
    }

    /// Turns the loop for 200 ms: what has no reason to come would have by then. `action` runs now and then.
    func settle(_ action: () -> Void) throws {
        let end = Clock.now() + .milliseconds(200)
        while Clock.now() < end {
            try turn()
            action()
        }
    }

    private func turn() throws {
        let ticker = try loop.timer { [unowned self] in self.loop.stop(0) }
        ticker.arm(at: Clock.now() + .milliseconds(5))
        _ = try loop.run()
        ticker.cancel()
    }
}

private final class Peer {
    let socket: UDPSocket
    private(set) var got: [[UInt8]] = []
    private(set) var from: SocketAddress?

    init(_ host: String = "127.0.0.1") throws {
        socket = try UDPSocket(binding: #require(SocketAddress(parsing: "\(host):0")))
    }

    init(_ socket: UDPSocket) { self.socket = socket }

    func send(_ count: Int, segment: Int = 1_200, to address: SocketAddress) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 / segment) }
        let result = unsafe bytes.withUnsafeBytes {
            unsafe socket.send($0, segment: segment, to: address, ecn: 0)
        }
        #expect(result == .sent)
    }

    func receive() {
        unsafe socket.receive(batches: 64) { bytes, segment, from, _, _ in
            for start in stride(from: 0, to: bytes.count, by: segment) {
                unsafe self.got.append(Array(bytes[start..<min(start + segment, bytes.count)]))
            }
            self.from = from
        }
    }

    var bytes: Int { got.reduce(0) { $0 + $1.count } }
}

@Suite struct RelayTests {
    @Test("Datagrams go both ways, each as it was, and the target sees the relay")
    func bothWays() throws {
        let bench = try Bench()
        let port = try bench.establish("a")
        let near = try Peer()
        let far = Peer(bench.target)
        near.send(3_000, to: port)
        try bench.turn {
            far.receive()
            return far.got.count == 3
        }
        #expect(far.got.map(\.count) == [1_200, 1_200, 600] && far.got.map(\.first) == [0, 1, 2])
        let seen = try #require(far.from)
        #expect(seen != near.socket.localAddress && seen != port)
        far.send(2_400, to: seen)
        try bench.turn {
            near.receive()
            return near.got.count == 2
        }
        #expect(near.bytes == 2_400 && near.from == port)
        #expect(bench.relay.bytes == 5_400)
    }

    @Test("Nothing is relayed to whom the configuration does not name")
    func allowList() throws {
        let bench = try Bench()
        let other = try Peer()
        let texts = ["\(other.socket.localAddress)", "127.0.0.1", "localhost:80", "", "\u{0}", "127.0.0.1:0"]
        for text in texts {
            let response = bench.ask("a", target: text)
            #expect(response.status == .failure && response.result == nil, "\(text)")
        }
        #expect(bench.relay.count == 0)
    }

    @Test("A stranger's datagrams, or another port's, are not forwarded")
    func strangers() throws {
        let bench = try Bench()
        let port = try bench.establish("a")
        let far = Peer(bench.target)
        let stranger = try Peer("127.0.0.2")
        let near = try Peer()
        let other = try Peer()
        stranger.send(100, to: port)
        near.send(101, to: port)
        other.send(102, to: port)
        try bench.turn {
            far.receive()
            return !far.got.isEmpty
        }
        try bench.settle { far.receive() }
        #expect(far.got.map(\.count) == [101])
        // Only the target is heard on the other side.
        other.send(103, to: try #require(far.from))
        try bench.settle { near.receive() }
        #expect(near.got.isEmpty)
    }

    @Test("A target that shouts at a client that has not answered is no amplifier")
    func amplification() throws {
        let bench = try Bench()
        let port = try bench.establish("a")
        let far = Peer(bench.target)
        let near = try Peer()
        near.send(1_200, to: port)
        try bench.turn {
            far.receive()
            return far.got.count == 1
        }
        far.send(12_000, to: try #require(far.from))
        try bench.turn {
            near.receive()
            return near.bytes == 3_600
        }
        try bench.settle { near.receive() }
        #expect(near.bytes == 3_600)
        near.send(50, to: port)
        try bench.turn {
            far.receive()
            return far.got.count == 2
        }
        far.send(12_000, to: try #require(far.from))
        try bench.turn {
            near.receive()
            return near.bytes == 15_600
        }
        #expect(near.bytes == 15_600)
    }

    @Test("A client has so many paths and no more, on whichever connections; ended ones count no longer")
    func limit() throws {
        let bench = try Bench()
        let second = try Bench.link(bench.endpoint, from: "127.0.0.1:4001")
        let other = try Bench.link(bench.endpoint, from: "127.0.0.2:4000")
        #expect(bench.ask("a").status == .success)
        #expect(bench.ask("a").status == .failure)
        #expect(bench.ask("b", on: second).status == .success)
        #expect(bench.ask("c").status == .failure)
        #expect(bench.ask("c", on: other).status == .success)
        #expect(bench.end("b").status == .success && bench.relay.count == 3)
        #expect(bench.end("a").status == .success && bench.relay.count == 2)
        #expect(bench.ask("c").status == .success)
        bench.relay.closed(bench.link)
        #expect(bench.relay.count == 2)
        bench.relay.sweep(now: Clock.now() + .seconds(61))
        #expect(bench.relay.count == 0)
    }

    @Test("A path that is idle for a minute ends: its port is silent, and another takes its place")
    func expiry() throws {
        let bench = try Bench(maximumPaths: 1)
        let port = try bench.establish("a")
        let far = Peer(bench.target)
        let near = try Peer()
        near.send(100, to: port)
        try bench.turn {
            far.receive()
            return far.bytes == 100
        }
        bench.relay.sweep(now: Clock.now() + .seconds(50))
        #expect(bench.relay.count == 1 && bench.ask("b").status == .failure)
        bench.relay.sweep(now: Clock.now() + .seconds(61))
        #expect(bench.relay.count == 0)
        near.send(101, to: port)
        try bench.settle { far.receive() }
        #expect(far.bytes == 100 && bench.relay.bytes == 100)
        let next = try bench.establish("a")
        near.send(50, to: next)
        try bench.turn {
            far.receive()
            return far.bytes == 150
        }
        #expect(bench.relay.count == 1 && far.bytes == 150)
    }

    @Test("What is forwarded for a client keeps to its rate: a bit waits, what is more is lost")
    func rate() throws {
        let bench = try Bench(rate: 1_000_000)
        let port = try bench.establish("a")
        let far = Peer(bench.target)
        let near = try Peer()
        let begun = Clock.now()
        for _ in 0..<20 { near.send(60_000, to: port) }
        try bench.turn {
            far.receive()
            return far.bytes >= 100_000
        }
        try bench.settle { far.receive() }
        let microseconds = Int((Clock.now() - begun).nanoseconds / 1_000)
        // 8 ms are sent at once, the queue holds 128 KiB, and each microsecond brings a byte.
        #expect(far.bytes >= 100_000 && far.bytes <= 8_000 + 131_072 + 60_000 + microseconds)
    }

    @Test("Commands that a relay does not know are answered so")
    func otherCommands() throws {
        let bench = try Bench()
        for type in [TransportCommand.CommandType.scaleBandwidth, .syncState, .healthCheck] {
            var command = TransportCommand()
            command.commandID = "x"
            command.type = type
            let response = bench.relay.answer(command, on: bench.link)
            #expect(response.status == .failure && response.commandID == "x")
        }
    }
}
