import KwikCore
import Testing

@testable import KwikTransport

@Suite struct TransferTests {
    /// Each end opens `count` streams of `size` bytes; all must arrive as they were sent.
    private func exchange(_ pair: Pair, streams count: Int, size: Int) throws {
        try pair.handshake()
        var expected: [(End, Int64, [UInt8])] = []
        for number in 0..<count {
            for (from, to) in [(pair.client, pair.server), (pair.server, pair.client)] {
                let bytes = pattern(size, salt: expected.count &+ number)
                let stream = try #require(from.connection).transmit(bytes)
                expected.append((to, stream, bytes))
            }
        }
        let all = try pair.run { expected.allSatisfy { $0.0.finished.contains($0.1) } }
        try #require(all, "\(pair.client.error as Any) \(pair.server.error as Any)")
        for (end, stream, bytes) in expected {
            #expect(end.received[stream] == bytes, "stream \(stream)")
        }
        #expect(pair.client.connection?.unsent == 0 && pair.server.connection?.unsent == 0)
    }

    @Test func `8 MiB each way on four streams arrive byte for byte`() throws {
        try exchange(Pair(), streams: 4, size: 2 << 20)
    }

    @Test(arguments: [1, 2, 3])
    func `loss, duplication and reordering change nothing`(seed: UInt64) throws {
        let pair = try Pair(seed: seed)
        pair.weather = Weather(loss: 3, duplication: 2, reordering: 5)
        try exchange(pair, streams: 3, size: 300_000)
    }

    @Test(arguments: [1, 2, 3])
    func `batches of datagrams bring the same bytes, whatever else happens`(seed: UInt64) throws {
        let pair = try Pair(seed: seed)
        pair.gathering = Gathering()
        pair.weather = Weather(loss: 1, duplication: 2, reordering: 5)
        try exchange(pair, streams: 3, size: 300_000)
    }

    @Test func `what a batch brings for one stream is told at once, and its end with it`() throws {
        let pair = try Pair()
        try pair.handshake()
        pair.gathering = Gathering()
        try exchangeOne(pair, size: 1 << 20)
        let datagrams = pair.server.batches.reduce(0) { $0 + $1.count }
        #expect(datagrams > 700)
        #expect(pair.client.order.count < datagrams / 5)
    }

    private func exchangeOne(_ pair: Pair, size: Int) throws {
        let bytes = pattern(size, salt: 9)
        let stream = try #require(pair.server.connection).transmit(bytes)
        try #require(try pair.run { pair.client.finished.contains(stream) })
        #expect(pair.client.received[stream] == bytes)
    }

    @Test func `a batch of datagrams is cut where another connection's begin`() {
        let own = [UInt8](repeating: 7, count: ConnectionID.ownLength)
        let other: [UInt8] = own.dropLast() + [8]
        func run(_ datagrams: [[UInt8]]) -> Int {
            unsafe datagrams.flatMap { $0 }.withUnsafeBytes { unsafe ServerDoor.run(of: $0, segment: 20) }
        }
        func short(_ id: [UInt8], _ count: Int = 20) -> [UInt8] {
            [0x40] + id + [UInt8](repeating: 1, count: count - 1 - id.count)
        }
        let long: [UInt8] = [0xc0] + short(own).dropFirst()
        #expect(run([short(own), short(own), short(own, 12)]) == 52)
        #expect(run([short(own), short(own), short(other)]) == 40)
        #expect(run([short(own), long, short(own)]) == 20)
        #expect(run([long, short(own)]) == 20)
        #expect(run([short(own), [0x40, 7, 7]]) == 20)
        #expect(run([[0x40, 7, 7]]) == 3)
    }

    @Test func `bbr2 carries as well`() throws {
        var settings = TransportSettings()
        settings.congestionControl = .bbr2
        let pair = try Pair(settings: settings)
        pair.weather.loss = 1
        try exchange(pair, streams: 2, size: 500_000)
    }

    @Test func `streams and connection wait for flow-control credit and go on`() throws {
        var settings = TransportSettings()
        settings.streamWindow = 20_000
        settings.connectionWindow = 50_000
        try exchange(Pair(settings: settings), streams: 5, size: 400_000)
    }

    @Test func `a thousand tiny streams come through and close`() throws {
        var settings = TransportSettings()
        settings.streams = 100
        let pair = try Pair(settings: settings)
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let server = try #require(pair.server.connection)
        var opened: [Int64] = []
        while opened.count < 1_000 {
            while opened.count < 1_000, let stream = try client.openStream() {
                client.send(stream, slice([UInt8(truncatingIfNeeded: stream)]))
                client.finish(stream)
                opened.append(stream)
            }
            let arrived = opened.count
            try #require(try pair.run { pair.server.finished.count == arrived })
            for stream in pair.server.finished.subtracting(pair.server.closed) { server.finish(stream) }
            let credits = pair.client.credits
            try #require(
                try pair.run { pair.client.closed.count == arrived && pair.client.credits > credits })
        }
        #expect(opened.count == 1_000)
        #expect(opened.allSatisfy { pair.server.received[$0] == [UInt8(truncatingIfNeeded: $0)] })
    }

    @Test func `a slice is let go once acknowledged, and not before`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let stream = try #require(try client.openStream())
        weak var weakChunk: Chunk?
        do {
            let piece = slice(pattern(5_000, salt: 0))
            weakChunk = piece.chunk
            client.send(stream, piece)
        }
        try #require(try pair.run { pair.server.received[stream]?.count == 5_000 })
        #expect(weakChunk != nil)
        try #require(try pair.run(for: .seconds(1)) { weakChunk == nil })
        #expect(!pair.client.closed.contains(stream))
    }

    @Test func `slices of a reset stream are let go when it closes`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let stream = try #require(try client.openStream())
        weak var weakChunk: Chunk?
        do {
            let piece = slice(pattern(1 << 20, salt: 0))
            weakChunk = piece.chunk
            client.send(stream, piece)
        }
        try #require(try pair.run { pair.server.received[stream] != nil })
        pair.server.connection?.send(stream, slice(pattern(4 << 20, salt: 1)))
        client.reset(stream, code: 9)
        client.stopSending(stream, code: 9)
        #expect(client.unsent == 0 && weakChunk != nil)
        try #require(try pair.run { pair.server.resets[stream] == 9 && pair.server.stops[stream] != nil })
        #expect(pair.server.connection?.unsent == 0)
        try #require(try pair.run { pair.client.closed.contains(stream) })
        #expect(weakChunk == nil)
    }

    @Test func `the peer's stop ends our half alone`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let server = try #require(pair.server.connection)
        let stream = try #require(try client.openStream())
        client.send(stream, slice(pattern(4 << 20, salt: 0)))
        try #require(try pair.run { pair.server.received[stream] != nil })
        server.stopSending(stream, code: 3)
        server.queue(pattern(1_000, salt: 1), on: stream)
        try #require(
            try pair.run { pair.client.stops[stream] != nil && pair.client.finished.contains(stream) })
        #expect(pair.client.received[stream] == pattern(1_000, salt: 1))
        #expect(client.unsent == 0)
        client.send(stream, slice([1, 2, 3]))
        #expect(client.unsent == 0)
        try #require(
            try pair.run { pair.client.closed.contains(stream) && pair.server.closed.contains(stream) })
    }

    @Test func `the control stream goes first, the others take turns`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let streams = try (0..<4).map { _ in try #require(try client.openStream()) }
        for stream in streams.reversed() { client.queue(pattern(20_000, salt: 0), on: stream) }
        try #require(try pair.run { pair.server.finished.count == 4 })
        let order = pair.server.order
        let control = try #require(order.lastIndex(of: 0))
        let others = try #require(order.firstIndex { $0 != 0 })
        #expect(control <= others + 1)
        // Each of the three has had its turn before any has had three.
        let turns = order[others...].filter { $0 != 0 }.prefix(8)
        #expect(Set(turns) == [4, 8, 12] && turns.first == 12)
    }

    @Test func `small frames of several streams share a datagram`() throws {
        let pair = try Pair()
        try pair.handshake()
        try pair.run(for: .seconds(2))
        let client = try #require(pair.client.connection)
        pair.client.batches = []
        for _ in 0..<10 { _ = try client.transmit([1, 2, 3]) }
        try #require(try pair.run { pair.server.finished.count == 10 })
        #expect(pair.client.batches.first?.count == 1)
    }

    @Test func `the datagrams of a batch have one size, the last may be shorter`() throws {
        let pair = try Pair()
        try pair.handshake()
        _ = try #require(pair.client.connection).transmit(pattern(4 << 20, salt: 0), piece: 70_000)
        try #require(try pair.run { pair.server.finished.count == 1 })
        for batch in pair.client.batches {
            #expect(
                batch.bytes > (batch.count - 1) * batch.segment && batch.bytes <= batch.count * batch.segment)
            #expect(batch.bytes <= 65_507 && batch.segment <= 1_472)
        }
        #expect(pair.client.batches.contains { $0.count > 8 })
        // The probes for a larger size have passed.
        #expect(pair.client.batches.last { $0.count > 8 }?.segment == 1_472)
    }

    @Test func `the byte limit is passed by less than a datagram`() throws {
        let pair = try Pair()
        try pair.handshake()
        pair.limit = 5_000
        pair.client.batches = []
        _ = try #require(pair.client.connection).transmit(pattern(500_000, salt: 0))
        try #require(try pair.run { pair.server.finished.count == 1 })
        #expect(pair.client.batches.allSatisfy { $0.bytes < 5_000 + 1_472 })
        #expect(pair.client.batches.contains { $0.bytes > 5_000 })
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let batch = try unsafe buffer.withUnsafeMutableBytes {
            try unsafe #require(pair.client.connection).write(into: $0, limit: 0, now: pair.now)
        }
        #expect(batch.count == 0)
    }

    @Test func `bytes given after the end are dropped`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let stream = try client.transmit([1, 2, 3])
        client.send(stream, slice([4]))
        client.send(400, slice([4]))
        client.finish(stream)
        #expect(client.unsent == 3 && client.unsent(stream) == 3 && client.unsent(400) == 0)
        try #require(try pair.run { pair.server.finished.contains(stream) })
        #expect(pair.server.received[stream] == [1, 2, 3])
    }

    @Test func `an empty slice sends nothing, an empty stream ends`() throws {
        let pair = try Pair()
        try pair.handshake()
        let client = try #require(pair.client.connection)
        let stream = try #require(try client.openStream())
        client.send(stream, slice([]))
        try pair.run(for: .seconds(1))
        #expect(pair.server.order.isEmpty)
        client.finish(stream)
        try #require(try pair.run { pair.server.finished.contains(stream) })
        #expect(pair.server.received[stream] == [])
    }

    @Test func `no stream can be opened before the handshake, nor beyond the peer's limit`() throws {
        var settings = TransportSettings()
        settings.streams = 2
        let pair = try Pair(settings: settings)
        #expect(try pair.client.connection?.openStream() == nil)
        try pair.handshake()
        #expect(try pair.client.connection?.openStream() == 0)
        #expect(try pair.client.connection?.openStream() == 4)
        #expect(try pair.client.connection?.openStream() == nil)
        #expect(try pair.server.connection?.openStream() == 1)
    }
}
