import KwikCore
import Testing

@testable import KwikTransport

@Suite struct EndTests {
    @Test func `silence ends both ends after the idle timeout`() throws {
        var settings = TransportSettings()
        settings.idleTimeout = .seconds(5)
        let pair = try Pair(settings: settings)
        try pair.handshake()
        let begin = pair.now
        try pair.run(for: .seconds(20))
        #expect(pair.client.error?.kind == .idle && pair.server.error?.kind == .idle)
        #expect(pair.now - begin >= .seconds(5))
        #expect(pair.client.connection?.deadline == nil)
        let sent = pair.client.batches.count
        pair.goodbye(pair.client, code: 0, reason: "", toServer: true)
        #expect(pair.client.batches.count == sent)
    }

    @Test func `the peer learns the code and the reason of a close`() throws {
        let pair = try Pair()
        try pair.handshake()
        pair.goodbye(pair.client, code: ErrorCode.draining.rawValue, reason: "going home", toServer: true)
        try pair.run(for: .seconds(1))
        let close = PeerClose(code: 9, isApplication: true, reason: "going home")
        #expect(pair.server.error?.kind == .closedByPeer(close))
        #expect(pair.server.connection?.peerClose == close)
        #expect(pair.client.connection?.deadline == nil)
        #expect(throws: TransportError.self) {
            try unsafe [UInt8](repeating: 0, count: 50).withUnsafeBytes {
                try unsafe pair.client.connection?.receive(
                    $0, from: pair.server.address, to: pair.client.address, ecn: 0, now: pair.now, { _ in })
            }
        }
    }

    @Test func `garbage harms nobody, at any time`() throws {
        let pair = try Pair()
        var chance = Chance(seed: 4)
        func litter() {
            pair.inject([], toServer: true)
            pair.inject([], toServer: false)
            for length in [1, 5, 20, 21, 43, 100, 1_200, 1_400] {
                for first in [0x00, 0x40, 0x80, 0xc0, 0xff] as [UInt8] {
                    var bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
                    bytes[0] = first
                    // Long headers of version 1 come further.
                    if length > 20, chance.percent(50) {
                        bytes.replaceSubrange(1...4, with: [0, 0, 0, 1])
                        bytes[5] = 8
                    }
                    pair.inject(bytes, toServer: chance.percent(50))
                }
            }
        }
        litter()
        try pair.handshake()
        litter()
        let bytes = pattern(100_000, salt: 0)
        let stream = try #require(pair.client.connection).transmit(bytes)
        litter()
        try #require(try pair.run { pair.server.finished.contains(stream) })
        #expect(pair.server.received[stream] == bytes)
        #expect(pair.client.error == nil && pair.server.error == nil)
    }

    @Test func `only what the peer alone can tell, and only once, is news`() throws {
        let pair = try Pair()
        try pair.handshake()
        try pair.run(for: .seconds(1))
        let server = try #require(pair.server.connection)
        func isNews(_ bytes: [UInt8], to end: End, from other: End) throws -> Bool {
            let connection = try #require(end.connection)
            return try unsafe bytes.withUnsafeBytes { bytes in
                try unsafe connection.receive(
                    bytes, from: other.address, to: end.address, ecn: 0, now: pair.now, end.note)
            }
        }
        // Nothing arrives but what is handed over here.
        pair.weather.loss = 100
        let stream = try #require(try server.openStream())
        server.send(stream, slice([1, 2, 3]))
        try pair.run(for: .milliseconds(5))
        let datagram = pair.server.lastDatagram
        var damaged = datagram
        damaged[damaged.count - 1] ^= 1
        #expect(try !isNews(damaged, to: pair.client, from: pair.server))
        let header = datagram.prefix(1 + ConnectionID.ownLength)
        let junk = header + [UInt8](repeating: 0x5a, count: 60)
        #expect(try !isNews(Array(junk), to: pair.client, from: pair.server))
        #expect(try isNews(datagram, to: pair.client, from: pair.server))
        #expect(pair.client.received[stream] == [1, 2, 3])
        #expect(try !isNews(datagram, to: pair.client, from: pair.server))
        // An acknowledgement is news to the other end.
        pair.client.batches = []
        try pair.run(for: .milliseconds(40)) { !pair.client.batches.isEmpty }
        let answer = pair.client.lastDatagram
        #expect(try isNews(answer, to: pair.server, from: pair.client))
        #expect(try !isNews(answer, to: pair.server, from: pair.client))
    }

    @Test func `a damaged datagram is as good as lost`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let stream = try client.transmit([1, 2, 3])
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let batch = try unsafe buffer.withUnsafeMutableBytes {
            try unsafe client.write(into: $0, limit: .max, now: pair.now)
        }
        try #require(batch.count == 1)
        buffer[batch.bytes - 1] ^= 1
        pair.inject(Array(buffer[..<batch.bytes]), toServer: true)
        try #require(try pair.run { pair.server.finished.contains(stream) })
        #expect(pair.server.received[stream] == [1, 2, 3])
    }

    @Test func `a client that moves to another port is followed`() throws {
        let pair = try Pair()
        try pair.handshake()
        try pair.run(for: .seconds(2))
        // Its NAT forgot it: the server sees another source, the client notices nothing.
        let moved = try Pair.address(2, port: 5_000)
        let client = try #require(pair.client.connection)
        let server = try #require(pair.server.connection)
        let stream = try client.transmit(pattern(50_000, salt: 0))
        pair.rebound = moved
        try #require(try pair.run { pair.server.finished.contains(stream) })
        try #require(try pair.run(for: .seconds(3)) { server.remoteAddress == moved })
        let answer = pattern(50_000, salt: 1)
        server.queue(answer, on: stream)
        try #require(try pair.run { pair.client.finished.contains(stream) })
        #expect(pair.client.received[stream] == answer)
        #expect(pair.server.batches.last?.remote == moved)
    }

    @Test func `every datagram goes to an id that its receiver has announced`() throws {
        let pair = try Pair()
        try pair.handshake()
        try pair.run(for: .seconds(1))
        for (end, other) in [(pair.client, pair.server), (pair.server, pair.client)] {
            #expect(!end.known.isEmpty)
            let current = try #require(end.connection?.sourceConnectionIDs)
            #expect(Set(current).isSubset(of: end.known))
            let isServer = end === pair.server
            #expect(current.allSatisfy { $0.count == (isServer ? ConnectionID.ownLength : 0) })
            guard isServer else { continue }
            let used = unsafe other.lastDatagram.withUnsafeBytes { unsafe ServerDoor.destination(of: $0) }
            #expect(used.map { end.known.contains($0) } == true)
        }
    }

    @Test func `the sample shows the round trip and what is in flight`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let stream = try client.transmit(pattern(200_000, salt: 0))
        try #require(try pair.run { pair.server.received[stream] != nil })
        let sample = client.sample
        #expect(sample.srtt >= .milliseconds(20) && sample.srtt < .milliseconds(30))
        #expect(sample.probeTimeout > sample.srtt)
        #expect(sample.congestionWindow > 10_000 && sample.inFlight > 0)
        #expect(sample.inFlight <= sample.congestionWindow + 1_472)
    }
}

@Suite struct ServerDoorTests {
    private let door = ServerDoor(secret: [UInt8](repeating: 7, count: 32))
    private let now = Instant(nanoseconds: 1 << 40)

    private func judge(
        _ datagram: [UInt8], retry: Bool = false
    ) throws -> (verdict: ServerDoor.Verdict, answer: [UInt8]) {
        var buffer = [UInt8](repeating: 0, count: 1_500)
        let from = try Pair.address(2, port: 4_000)
        let verdict = unsafe buffer.withUnsafeMutableBytes { buffer in
            unsafe datagram.withUnsafeBytes {
                unsafe door.judge($0, from: from, demandRetry: retry, into: buffer, now: now)
            }
        }
        if case .reply(let count) = verdict { return (verdict, Array(buffer[..<count])) }
        return (verdict, [])
    }

    @Test func `a version that is not ours is answered with ours`() throws {
        let head: [UInt8] = [0xc0, 0xba, 0xba, 0xba, 0xba, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9]
        let answer = try judge(head + [UInt8](repeating: 0, count: 1_200 - head.count)).answer
        // RFC 8999 §6: version 0, the two ids the other way round, the versions.
        #expect(Array(answer[1...]) == [0, 0, 0, 0, 4, 9, 9, 9, 9, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1])
        guard case .ignore = try judge(head).verdict else {
            Issue.record("a small datagram was answered")
            return
        }
    }

    @Test func `a packet for nobody is answered by a shorter reset, always with the same token`() throws {
        let packet: [UInt8] = [0x40, 1, 2, 3, 4, 5, 6, 7, 8] + [UInt8](repeating: 0, count: 100)
        let first = try judge(packet).answer
        let second = try judge(packet).answer
        #expect(first.count == 42 && first[0] & 0xc0 == 0x40)
        #expect(first.suffix(16) == second.suffix(16) && first != second)
        #expect(try judge(Array(packet[..<42])).answer.isEmpty)
    }

    @Test func `what is no packet is ignored`() throws {
        for datagram in [[], [0], [0xc0, 0, 0, 0, 1], [0xc0, 0, 0, 0, 1, 200, 1, 2], [0x40, 1, 2]]
            as [[UInt8]]
        {
            guard case .ignore = try judge(datagram).verdict else {
                Issue.record("answered \(datagram)")
                return
            }
        }
    }

    @Test func `the destination is found in both forms of header`() {
        func destination(_ bytes: [UInt8]) -> [UInt8]? {
            unsafe bytes.withUnsafeBytes { unsafe ServerDoor.destination(of: $0) }?.bytes
        }
        #expect(destination([0x40, 1, 2, 3, 4, 5, 6, 7, 8, 99]) == [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(destination([0xc0, 0, 0, 0, 1, 3, 7, 8, 9, 0, 0]) == [7, 8, 9])
        #expect(destination([0xc0, 0, 0, 0, 1, 21] + [UInt8](repeating: 0, count: 30)) == nil)
        #expect(destination([0xc0, 0, 0, 0, 1, 9, 7, 8, 9]) == nil)
        #expect(destination([0x40, 1, 2, 3]) == nil)
    }

    @Test func `a client whose server lost its state hears of it`() throws {
        let pair = try Pair()
        try pair.handshake()
        try pair.run(for: .seconds(1))
        pair.server.connection = nil
        _ = try #require(pair.client.connection).transmit(pattern(3_000, salt: 0))
        try pair.run(for: .seconds(5))
        guard case .closedByPeer(let close) = pair.client.error?.kind else {
            Issue.record("\(pair.client.error as Any)")
            return
        }
        #expect(close.reason.contains("stateless reset"))
    }
}
