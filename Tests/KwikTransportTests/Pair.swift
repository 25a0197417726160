import KwikCore
import Testing

@testable import KwikTransport

/// Reproducible randomness (SplitMix64).
struct Chance {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
    mutating func percent(_ share: Int) -> Bool { Int(next() % 100) < share }
}

/// What the network between the two does, in percent of the datagrams.
struct Weather {
    var delay = Interval.milliseconds(10)
    var loss = 0
    var duplication = 0
    /// Held up for another delay.
    var reordering = 0
    /// UDP payload bytes of the largest datagrams that come through.
    var largest = Int.max
}

/// One end and what it was told.
final class End {
    var connection: QUICConnection?
    var address: SocketAddressBytes
    var received: [Int64: [UInt8]] = [:]
    /// The streams in the order in which their bytes came.
    var order: [Int64] = []
    var finished: Set<Int64> = []
    var resets: [Int64: UInt64] = [:]
    var stops: [Int64: UInt64] = [:]
    var closed: Set<Int64> = []
    var credits = 0
    var handshakeDone = false
    var error: TransportError?
    var batches: [Batch] = []
    /// Bytes by the instant at which they left.
    var sent: [Instant: Int] = [:]
    var known: Set<ConnectionID> = []
    var lastDatagram: [UInt8] = []

    init(_ address: SocketAddressBytes) { self.address = address }

    func note(_ event: TransportEvent) {
        switch event {
        case .handshakeDone: handshakeDone = true
        case .received(let stream, let bytes, let last):
            unsafe received[stream, default: []].append(contentsOf: bytes)
            order.append(stream)
            if last { finished.insert(stream) }
        case .streamReset(let stream, let code): resets[stream] = code
        case .stopSending(let stream, let code): stops[stream] = code
        case .streamClosed(let stream): closed.insert(stream)
        case .streamCredit: credits += 1
        }
    }

    func learnIDs() {
        guard let connection else { return }
        known.formUnion(connection.sourceConnectionIDs)
        connection.onConnectionID = { [weak self] id, added in
            if added { self?.known.insert(id) } else { self?.known.remove(id) }
        }
    }
}

/// A client and a server with a network between them, under a time of their own.
final class Pair {
    let client: End
    let server: End
    let door = ServerDoor(secret: [UInt8](repeating: 7, count: 32))
    var now = Instant(nanoseconds: 1_000_000_000)
    var weather = Weather()
    var demandRetry = false
    var retries = 0
    /// Where the server sees the client come from, once its NAT has changed its mind.
    var rebound: SocketAddressBytes?
    /// Bytes in each direction and turn.
    var limit = Int.max
    /// What arrives at once is taken as one batch, as the kernel joins datagrams.
    var gathering: Gathering?
    private var chance: Chance
    private let identity: ServerIdentity
    private let serverSettings: TransportSettings
    private var flying: [Datagram] = []
    private var sequence = 0
    private var buffer = [UInt8](repeating: 0, count: 65_536)

    struct Datagram {
        var arrival: Instant
        var sequence: Int
        var toServer: Bool
        var bytes: [UInt8]
        var ecn: UInt8
        /// More than the first of several datagrams: as many bytes as each has but the last.
        var segment: Int?
    }

    static func address(_ last: UInt8, port: UInt16) throws -> SocketAddressBytes {
        let bytes =
            [2, 0, UInt8(port >> 8), UInt8(port & 0xff), 192, 0, 2, last] + [UInt8](repeating: 0, count: 8)
        return try #require(SocketAddressBytes(bytes))
    }

    init(
        trust: TrustStore? = nil, identity: ServerIdentity? = nil, name: String = "gateway.test",
        pin: [UInt8]? = nil, settings: TransportSettings = TransportSettings(),
        serverSettings: TransportSettings? = nil, seed: UInt64 = 1
    ) throws {
        client = End(try Pair.address(2, port: 4_000))
        server = End(try Pair.address(1, port: 443))
        self.identity =
            try identity
            ?? ServerIdentity(
                certificate: Fixture.gateway, key: Fixture.gatewayKey)
        self.serverSettings = serverSettings ?? settings
        chance = Chance(seed: seed)
        let trust = try trust ?? TrustStore(authorities: Fixture.authority)
        client.connection = try QUICConnection.connect(
            to: name, pin: pin, trust: trust, local: client.address, remote: server.address,
            settings: settings, now: now)
        client.learnIDs()
    }

    /// Runs until `done`, both ends have nothing left to do, or `duration` is over.
    @discardableResult
    func run(for duration: Interval = .seconds(60), until done: () -> Bool = { false }) throws -> Bool {
        let end = now + duration
        while true {
            flush(client, toServer: true)
            flush(server, toServer: false)
            if done() { return true }
            flying.sort { ($0.arrival, $0.sequence) > ($1.arrival, $1.sequence) }
            let next = [flying.last?.arrival, client.connection?.deadline, server.connection?.deadline]
                .compactMap { $0 }.min()
            guard let next, next <= end else {
                now = end
                return done()
            }
            now = max(now, next)
            while let datagram = flying.last, datagram.arrival <= now {
                flying.removeLast()
                try deliver(gathering == nil ? datagram : joined(datagram))
            }
            expire(client, toServer: true)
            expire(server, toServer: false)
        }
    }

    func handshake() throws {
        try #require(try run { client.handshakeDone && server.handshakeDone })
    }

    private func flush(_ end: End, toServer: Bool) {
        guard let connection = end.connection, end.error == nil else { return }
        unsafe buffer.withUnsafeMutableBytes { buffer in
            do throws(TransportError) {
                for _ in 0..<4 {
                    let batch = try unsafe connection.write(into: buffer, limit: limit, now: now)
                    if batch.count == 0 { return }
                    end.batches.append(batch)
                    end.sent[now, default: 0] += batch.bytes
                    unsafe launch(batch, UnsafeRawBufferPointer(buffer), toServer)
                }
            } catch {
                fail(end, error, toServer)
            }
        }
    }

    private func launch(_ batch: Batch, _ buffer: UnsafeRawBufferPointer, _ toServer: Bool) {
        for start in stride(from: 0, to: batch.bytes, by: batch.segment) {
            let bytes = unsafe [UInt8](buffer[start..<min(start + batch.segment, batch.bytes)])
            (toServer ? client : server).lastDatagram = bytes
            inject(bytes, toServer: toServer, ecn: batch.ecn)
        }
    }

    func inject(_ bytes: [UInt8], toServer: Bool, ecn: UInt8 = 0) {
        if bytes.count > weather.largest { return }
        for _ in 0..<(chance.percent(weather.duplication) ? 2 : 1) where !chance.percent(weather.loss) {
            let delay = chance.percent(weather.reordering) ? weather.delay * 2 : weather.delay
            sequence += 1
            flying.append(
                Datagram(
                    arrival: now + delay, sequence: sequence, toServer: toServer, bytes: bytes, ecn: ecn))
        }
    }

    /// The datagram with those behind it that the kernel would join to it.
    private func joined(_ first: Datagram) -> Datagram {
        var batch = first
        let segment = first.bytes.count
        batch.segment = segment
        while segment > 0, let next = flying.last, next.arrival <= now, next.toServer == first.toServer,
            next.ecn == first.ecn, next.bytes.count <= segment, batch.bytes.count % segment == 0,
            batch.bytes.count + next.bytes.count <= 65_536
        {
            batch.bytes += next.bytes
            flying.removeLast()
        }
        return batch
    }

    private func deliver(_ datagram: Datagram) throws {
        let end = datagram.toServer ? server : client
        let other = datagram.toServer ? client : server
        if datagram.toServer, end.connection == nil, try !admit(datagram) { return }
        guard let connection = end.connection, end.error == nil else { return }
        let source = datagram.toServer ? rebound ?? other.address : other.address
        unsafe datagram.bytes.withUnsafeBytes { bytes in
            do throws(TransportError) {
                try unsafe connection.receive(
                    bytes, segment: datagram.segment, gathering: gathering, from: source,
                    to: end.address, ecn: datagram.ecn, now: now, end.note)
            } catch {
                fail(end, error, !datagram.toServer)
            }
        }
    }

    private func admit(_ datagram: Datagram) throws -> Bool {
        var answer = [UInt8](repeating: 0, count: 1_500)
        let verdict = unsafe answer.withUnsafeMutableBytes { answer in
            unsafe datagram.bytes.withUnsafeBytes {
                unsafe door.judge($0, from: client.address, demandRetry: demandRetry, into: answer, now: now)
            }
        }
        switch verdict {
        case .ignore: return false
        case .reply(let count):
            retries += 1
            inject(Array(answer[..<count]), toServer: false)
            return false
        case .accept(let initial):
            server.connection = try QUICConnection.accept(
                initial, identity: identity, door: door, local: server.address, remote: client.address,
                settings: serverSettings, now: now)
            server.learnIDs()
            return true
        }
    }

    private func expire(_ end: End, toServer: Bool) {
        guard let connection = end.connection, end.error == nil, let deadline = connection.deadline,
            deadline <= now
        else { return }
        do throws(TransportError) { try connection.expire(now: now, end.note) } catch {
            fail(end, error, toServer)
        }
    }

    /// Says goodbye as the endpoint does.
    private func fail(_ end: End, _ error: TransportError, _ toServer: Bool) {
        end.error = error
        goodbye(end, code: 0, reason: "", toServer: toServer)
    }

    func goodbye(_ end: End, code: UInt64, reason: String, toServer: Bool) {
        guard let connection = end.connection else { return }
        unsafe buffer.withUnsafeMutableBytes { buffer in
            let batch = unsafe connection.close(code: code, reason: reason, into: buffer, now: now)
            if batch.count > 0 { unsafe launch(batch, UnsafeRawBufferPointer(buffer), toServer) }
        }
    }
}

/// Bytes that tell streams and offsets apart.
func pattern(_ count: Int, salt: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) &+ salt &* 17) }
}

func slice(_ bytes: some Sequence<UInt8>) -> ChunkSlice {
    unsafe Array(bytes).withUnsafeBytes { unsafe ChunkSlice(copying: $0) }
}

extension QUICConnection {
    /// Opens a stream and queues all of `bytes` in pieces of uneven sizes, and the end.
    func transmit(_ bytes: [UInt8], piece: Int = 10_000) throws -> Int64 {
        let stream = try #require(try openStream())
        queue(bytes, on: stream, piece: piece)
        return stream
    }

    func queue(_ bytes: [UInt8], on stream: Int64, piece: Int = 10_000) {
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + 1 + (start &* 7919) % piece)
            send(stream, slice(bytes[start..<end]))
            start = end
        }
        finish(stream)
    }
}
