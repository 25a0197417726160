import KwikCore
import Testing

@testable import KwikTransport

/// How large datagrams may be.
@Suite struct PathMTUTests {
    private func pair(carrying payload: Int, seed: UInt64 = 1) throws -> Pair {
        let pair = try Pair(seed: seed)
        pair.weather.largest = payload
        try pair.handshake()
        return pair
    }

    private func payloads(_ pair: Pair) throws -> [Int] {
        [try #require(pair.client.connection).mtu.payload, try #require(pair.server.connection).mtu.payload]
    }

    @Test func `one round trip finds what a link of Ethernet's size carries`() throws {
        let pair = try pair(carrying: 1_472)
        try pair.run(for: .milliseconds(25))
        #expect(try payloads(pair) == [1_472, 1_472])
    }

    @Test(arguments: [(1_464, 1_464), (1_471, 1_464), (1_400, 1_392), (1_300, 1_252), (1_251, 1_200)])
    func `a smaller path is found, and what was lost of probes is no congestion`(
        carried: Int, found: Int
    ) throws {
        let pair = try pair(carrying: carried)
        let window = try #require(pair.server.connection).sample.congestionWindow
        try pair.run(for: .seconds(2))
        #expect(try payloads(pair) == [found, found])
        #expect(try #require(pair.server.connection).sample.congestionWindow >= window)
        let sent = pair.client.batches.count
        try pair.run(for: .seconds(20))
        let later = pair.client.batches.dropFirst(sent)
        #expect(later.allSatisfy { $0.segment <= found })
    }

    @Test func `probes and answers may be lost`() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            let pair = try pair(carrying: 1_472, seed: seed)
            pair.weather.loss = 10
            // Each size is asked three times, both ways, 100 ms apart.
            try pair.run(for: .milliseconds(400))
            #expect(try payloads(pair).allSatisfy { $0 > PathMTUDiscovery.base })
        }
    }

    @Test func `a path that carries less than before is used with what passes`() throws {
        let pair = try pair(carrying: 1_472)
        _ = try #require(pair.server.connection).transmit(pattern(40 << 20, salt: 0))
        try pair.run(for: .milliseconds(200))
        #expect(try payloads(pair) == [1_472, 1_472])
        pair.weather.largest = 1_300
        #expect(try pair.run(for: .seconds(30)) { pair.client.finished.count == 1 })
        try pair.run(for: .seconds(1))
        #expect(try payloads(pair)[1] == 1_252)
    }

    @Test func `after a blackout datagrams become large again`() throws {
        let pair = try pair(carrying: 1_472)
        _ = try #require(pair.server.connection).transmit(pattern(40 << 20, salt: 0))
        try pair.run(for: .milliseconds(200))
        pair.weather.loss = 100
        try pair.run(for: .seconds(2))
        #expect(try payloads(pair)[1] == PathMTUDiscovery.base)
        pair.weather.loss = 0
        #expect(try pair.run(for: .seconds(30)) { pair.client.finished.count == 1 })
        #expect(try payloads(pair)[1] == 1_472)
    }

    @Test func `an answer with another token, or to what was not asked, counts for nothing`() throws {
        var discovery = PathMTUDiscovery(mtu: 1_500, headers: 28, token: 1)
        discovery.answered(1_472)
        #expect(discovery.payload == PathMTUDiscovery.base)
        discovery.start()
        discovery.answered(9_000)
        #expect(discovery.payload == PathMTUDiscovery.base)
        let pair = try pair(carrying: 1_300)
        try pair.run(for: .milliseconds(50))
        let client = try #require(pair.client.connection)
        for token in [client.mtu.token &+ 1, client.mtu.token] {
            var bytes = [UInt8](repeating: 0, count: 100)
            let answer = PathMTUProbe(isAnswer: true, token: token, size: 1_472)
            let count = unsafe bytes.withUnsafeMutableBytes { unsafe answer.write(to: .none, into: $0) }
            pair.inject(Array(bytes[..<count]), toServer: false)
            try pair.run(for: .milliseconds(20))
            #expect(client.mtu.payload == (token == client.mtu.token ? 1_472 : 1_252))
        }
    }

    @Test func `a probe from elsewhere is not answered`() throws {
        let pair = try pair(carrying: 1_472)
        try pair.run(for: .seconds(1))
        let server = try #require(pair.server.connection)
        let id = try #require(pair.client.connection).peerID
        for address in [try Pair.address(9, port: 9), pair.client.address] {
            var bytes = [UInt8](repeating: 0, count: 1_300)
            let probe = PathMTUProbe(isAnswer: false, token: 7, size: 1_300)
            #expect(unsafe bytes.withUnsafeMutableBytes { unsafe probe.write(to: id, into: $0) } == 1_300)
            try unsafe bytes.withUnsafeBytes {
                _ = try unsafe server.receive(
                    $0, from: address, to: pair.server.address, ecn: 0, now: pair.now, { _ in })
            }
            #expect(server.probesHeard.count == (address == pair.client.address ? 1 : 0))
        }
    }

    @Test func `any bytes are a whole probe or none`() {
        var chance = Chance(seed: 5)
        for _ in 0..<20_000 {
            var bytes = (0..<Int(chance.next() % 64)).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
            if !bytes.isEmpty { bytes[0] &= 7 }
            for idLength in [0, ConnectionID.ownLength] {
                let probe = unsafe bytes.withUnsafeBytes { unsafe PathMTUProbe($0, idLength: idLength) }
                guard let probe else { continue }
                #expect(probe.isAnswer && probe.size > PathMTUDiscovery.base)
                #expect(bytes.count == 11 + idLength)
            }
        }
        var written = [UInt8](repeating: 255, count: 1_472)
        let probe = PathMTUProbe(isAnswer: false, token: 0x0102_0304_0506_0708, size: 1_472)
        let count = unsafe written.withUnsafeMutableBytes { unsafe probe.write(to: .none, into: $0) }
        #expect(count == 1_472)
        #expect(Array(written[..<12]) == [4, 1, 2, 3, 4, 5, 6, 7, 8, 5, 0xc0, 0])
        #expect(unsafe written.withUnsafeBytes { unsafe PathMTUProbe($0, idLength: 0) } == probe)
    }

    @Test func `the headers are those of the packets that carry the datagram`() throws {
        let ipv4 = try Pair.address(1, port: 443)
        var bytes: [UInt8] = [10, 0, 1, 187] + [UInt8](repeating: 0, count: 24)
        let ipv6 = try #require(SocketAddressBytes(bytes))
        bytes[18] = 0xff
        bytes[19] = 0xff
        let mapped = try #require(SocketAddressBytes(bytes))
        #expect([ipv4, ipv6, mapped].map { PathMTUDiscovery.headers(to: $0) } == [28, 48, 28])
    }
}
