import KwikCore
import Testing

@testable import KwikTransport

/// When datagrams leave, apart from whether they may.
@Suite struct PacingTests {
    /// A pair in the middle of a download that will take a while, the client's window of the server's known.
    private func downloading() throws -> Pair {
        let pair = try Pair()
        try pair.handshake()
        let server = try #require(pair.server.connection)
        _ = try server.transmit(pattern(40 << 20, salt: 0))
        try pair.run(for: .milliseconds(100))
        return pair
    }

    @Test func `a window that was lost is not sent again at once`() throws {
        let pair = try downloading()
        let server = try #require(pair.server.connection)
        pair.weather.loss = 100
        try pair.run(for: .milliseconds(30))
        pair.weather.loss = 0
        pair.server.sent = [:]
        let before = server.sample.congestionWindow
        try pair.run(for: .milliseconds(400))
        let window = Int(max(before, server.sample.congestionWindow))
        // A millisecond of twice the window in a round trip of 20, and the datagram that exceeds it.
        let most = window / 10 + server.mtu.payload
        #expect(pair.server.sent.count > 100)
        #expect(pair.server.sent.values.allSatisfy { $0 <= most })
    }

    @Test func `a blackout is over when the peer is heard, not when the probe's timer says so`() throws {
        let pair = try downloading()
        let client = try #require(pair.client.connection)
        func received() -> Int { pair.client.received.values.reduce(0) { $0 + $1.count } }
        let control = try #require(try client.openStream())
        func pinging(for count: Int) throws {
            for _ in 0..<count {
                client.send(control, slice([1]))
                try pair.run(for: .milliseconds(50))
            }
        }
        pair.weather.loss = 100
        // The server's probes leave after about 0.1, 0.3, 0.6 and 1.3 s; the next would after 2.6 s.
        try pinging(for: 28)
        let before = received()
        pair.weather.loss = 0
        try pinging(for: 4)
        #expect(received() > before + 100_000)
    }

    /// What was said before is lost, so what the first datagram says can't be told yet.
    @Test(arguments: [8, 20, 56])
    func `the first datagram after a blackout lets the probe go`(pings: Int) throws {
        let pair = try downloading()
        let client = try #require(pair.client.connection)
        func received() -> Int { pair.client.received.values.reduce(0) { $0 + $1.count } }
        let control = try #require(try client.openStream())
        func ping(for time: Interval) throws {
            client.send(control, slice([1]))
            try pair.run(for: time)
        }
        pair.weather.loss = 100
        for _ in 0..<pings { try ping(for: .milliseconds(25)) }
        pair.weather.loss = 0
        let before = received()
        // There, the probe, its acknowledgement, and a fourth way for what was lost.
        try ping(for: .milliseconds(50))
        #expect(received() > before + 10_000)
    }
}
