internal import KwikCore

/// What Kwik-aware servers do of their own now and then: contributions within leases, delegations, and what
/// can become of those. Their bytes are those that their backends gave, or else their sums are wrong.
final class Secondary {
    private let world: World
    private let network: Network
    private var chance: Chance
    /// Drawn apart, so that the rest of a seed's run stays as it is.
    private var lies: Chance
    private let keepsDelegations: Bool

    /// Contributions and delegations reach this far back from what the backend has given.
    private static let reach = 24

    init(_ world: World, _ network: Network, _ scenario: Scenario) {
        self.world = world
        self.network = network
        chance = Chance(seed: scenario.seed, purpose: "contributions")
        lies = Chance(seed: scenario.seed, purpose: "false contributions")
        keepsDelegations = scenario.keepsDelegations
    }

    func begin() {
        world.after(Interval(seconds: chance.number(0.005...0.06))) { [weak self] in
            guard let self else { return }
            self.step()
            self.begin()
        }
    }

    private func step() {
        for server in network.servers {
            guard let gateway = server.gateway, !gateway.isOver else { continue }
            for stream in gateway.history.keys.sorted() {
                if chance.chance(0.5) { contribute(stream, from: gateway) }
                if chance.chance(0.3) { delegate(stream, from: gateway) }
            }
        }
    }

    /// A part of what is leased, aligned or not.
    private func contribute(_ stream: StreamID, from gateway: Gateway) {
        for lease in gateway.leased(stream) where chance.chance(0.3) {
            let count = UInt64(gateway.history[stream]?.count ?? 0)
            let end = min(lease.end, count)
            guard lease.start < end else { continue }
            let isAligned = chance.chance(0.7)
            var from = lease.start + UInt64(chance.integer(0...Int(end - lease.start - 1)))
            if isAligned { from = max(lease.start, Block.roundDown(from)) }
            let length = isAligned ? Block.size * UInt64(chance.integer(1...3)) : chance.logarithmicLength
            gateway.contribute(stream, ByteRange(from, min(from + length, end)))
        }
    }

    private func delegate(_ stream: StreamID, from gateway: Gateway) {
        let blocks = UInt64(gateway.history[stream]?.count ?? 0) / Block.size
        guard blocks > 0 else { return }
        let first = blocks - min(blocks, UInt64(chance.integer(1...Secondary.reach)))
        let last = min(blocks, first + UInt64(chance.integer(1...4)))
        // The primary vouches for what it delegates: not to a server whose own bytes are other ones.
        let honest = network.servers.filter { $0.character == .honest }
        let others = honest.filter { $0.gateway !== gateway }
        guard honest.contains(where: { $0.gateway === gateway }), !others.isEmpty else { return }
        let other = chance.pick(others)
        // Now and then to somebody whom the client does not know.
        let name = chance.chance(0.05) && !keepsDelegations ? [0] : Gateway.name(other.id)
        for range in gateway.delegate(stream, ByteRange(first * Block.size, last * Block.size), to: name) {
            guard let bytes = gateway.history[stream]?[Int(range.start)..<Int(range.end)] else { continue }
            if keepsDelegations {
                other.gateway?.contribute(Array(bytes), to: stream, at: range.start)
            } else {
                bring(Array(bytes), range, to: stream, by: other)
            }
        }
    }

    /// In one piece or block by block, late, twice, in part, or not at all.
    private func bring(_ bytes: [UInt8], _ range: ByteRange, to stream: StreamID, by server: Server) {
        if chance.chance(0.1) { return }
        let delay = Interval(seconds: chance.chance(0.1) ? chance.number(0...4) : chance.number(0...0.05))
        let isWhole = chance.chance(0.5)
        let omits = chance.chance(0.1)
        let repeats = chance.chance(0.1)
        let isFalse = lies.chance(0.1)
        world.after(delay) {
            guard let gateway = server.gateway, !gateway.isOver else { return }
            var start = range.start
            while start < range.end {
                let end = isWhole ? range.end : start + Block.size
                var part = Array(bytes[Int(start - range.start)..<Int(end - range.start)])
                if isFalse { gateway.falsify(&part, at: start) }
                if !(omits && end == range.end) {
                    gateway.contribute(part, to: stream, at: start)
                    if repeats { gateway.contribute(part, to: stream, at: start) }
                }
                start = end
            }
        }
    }
}

extension Chance {
    fileprivate var logarithmicLength: UInt64 {
        mutating get { UInt64(logarithmic(1...40_000)) }
    }
}

/// Sums of blocks.
final class Falsehoods {
    var sums: Set<UInt64> = []
}

extension Gateway {
    static func name(_ server: ServerID) -> [UInt8] { Array("server \(server.value)".utf8) }

    func leased(_ stream: StreamID) -> [ByteRange] { session.leased(stream) }

    /// Bytes that its own backend gave.
    func contribute(_ stream: StreamID, _ range: ByteRange) {
        guard let bytes = history[stream]?[Int(range.start)..<Int(range.end)] else { return }
        contribute(Array(bytes), to: stream, at: range.start)
    }

    func contribute(_ bytes: [UInt8], to stream: StreamID, at offset: UInt64) {
        var list: [Action] = []
        _ = unsafe bytes.withUnsafeBytes {
            unsafe session.contribute($0, to: stream, at: offset, now: world.now, into: &list)
        }
        perform(list)
    }

    /// Changes whole blocks, of which FIN will say a wrong sum.
    func falsify(_ bytes: inout [UInt8], at offset: UInt64) {
        for start in stride(from: 0, to: bytes.count, by: Int(Block.size)) {
            bytes[start] ^= 1
            let block = bytes[start..<(start + Int(Block.size))]
            let sum = unsafe block.withUnsafeBytes {
                unsafe SimIntegrity.mix(offset + UInt64(start), $0)
            }
            falsehoods.sums.insert(sum)
        }
        world.count("false-sum")
    }

    func delegate(_ stream: StreamID, _ range: ByteRange, to name: [UInt8]) -> [ByteRange] {
        var list: [Action] = []
        let granted = session.delegate(range, of: stream, to: name, now: world.now, into: &list)
        perform(list)
        return granted
    }

    /// A program at the server connects to the client's side. False: it can't just now.
    func start(_ program: Program) -> Bool {
        var list: [Action] = []
        guard !isOver, let stream = session.openStream(now: world.now, into: &list) else { return false }
        let (near, far) = SocketEnd.pair(buffer: 212_992)
        own[stream] = program
        attach(near, to: stream, isConnected: false)
        program.isServed(by: .honest)
        program.connecting(far)
        perform(list)
        return true
    }
}
