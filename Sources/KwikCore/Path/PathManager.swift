/// Which servers of a service are connected, and when the others are tried again (protocol.md §2): all while
/// programs use the service, none after it was idle for a while; after a failure 1, 2, 4 … 30 s with jitter,
/// per server.
public struct PathManager {
    public enum Command: Hashable, Sendable {
        case connect(ServerID)
        /// Every path: the service is idle.
        case closeAll
    }

    private enum State {
        case idle
        case connecting
        case up
        /// Not before this instant.
        case waiting(until: Instant)
    }

    private struct Server {
        var id: ServerID
        var state = State.idle
        /// Failures since it was last up.
        var failures = 0
    }

    private var servers: [Server]
    private let idleTimeout: Interval
    private let maximumPaths: Int
    private var jitter: UInt64
    private var streams = 0
    private var idleSince: Instant?
    /// When a program last asked for the service, served or not.
    private var wantedAt: Instant?

    static let firstDelay = Interval.seconds(1)
    /// Servers that are back are to be in full service within 10 s: this, and a first packet's
    /// retransmission.
    static let longestDelay = Interval.seconds(5)
    /// For a refusal that does not pass by itself.
    static let refusedDelay = Interval.seconds(30)

    /// - Parameters:
    ///   - servers: the preferred first.
    ///   - seed: of the jitter.
    public init(servers: [ServerID], idleTimeout: Interval, maximumPaths: Int, seed: UInt64) {
        self.servers = servers.map { Server(id: $0) }
        self.idleTimeout = idleTimeout
        self.maximumPaths = maximumPaths
        jitter = seed
    }

    /// Whether a program that connects now can hope for a server: some path is up, or is being made for the
    /// first time. A server that has failed before is tried again behind the programs' backs, who connect
    /// natively.
    public func isReachable(now: Instant) -> Bool {
        servers.contains { server in
            switch server.state {
            case .up: return true
            case .idle, .connecting: return server.failures == 0
            case .waiting: return false
            }
        }
    }

    /// A program wants the service: paths are made, or made again, as long as this is not too long ago.
    public mutating func wanted(now: Instant) {
        wantedAt = now
        if streams == 0, idleSince == nil { idleSince = now }
    }

    private func isInUse(now: Instant) -> Bool {
        streams > 0 || wantedAt.map { now < $0 + idleTimeout } ?? false
    }

    public var deadline: Instant? {
        var earliest = idleSince.map { max($0, wantedAt ?? $0) + idleTimeout } ?? .never
        guard streams > 0 || idleSince != nil else { return nil }
        for server in servers {
            if case .waiting(let until) = server.state { earliest = min(earliest, until) }
        }
        return earliest == .never ? nil : earliest
    }

    /// How many streams use the service.
    public mutating func use(streams count: Int, now: Instant) {
        if count == 0, streams > 0 { idleSince = now }
        if count > 0 { idleSince = nil }
        streams = count
    }

    public mutating func connected(_ server: ServerID) {
        change(server) {
            $0.state = .up
            $0.failures = 0
        }
    }

    /// The attempt failed, or the path is gone. `permanent`: the server refused us for a reason that does not
    /// pass by itself (certificate, token): the longest delay at once.
    public mutating func failed(_ server: ServerID, permanent: Bool, now: Instant) {
        let random = nextJitter()
        change(server) { entry in
            // Closed when the service became idle: no failure.
            if case .idle = entry.state { return }
            var delay = Self.firstDelay * (1 << Int64(min(entry.failures, 5)))
            if entry.failures == 0, case .up = entry.state { delay = .zero }
            delay = permanent ? Self.refusedDelay : min(delay, Self.longestDelay)
            // ± 25 %, so that clients of a server that restarts do not all come back at once.
            let swing = delay.nanoseconds / 2
            let offset = swing > 0 ? Int64(random % UInt64(swing)) - swing / 2 : 0
            entry.failures += 1
            entry.state = .waiting(until: now + delay + Interval(nanoseconds: offset))
        }
    }

    /// What is due now.
    public mutating func advance(now: Instant, into commands: inout [Command]) {
        if let since = idleSince, now >= max(since, wantedAt ?? since) + idleTimeout {
            idleSince = nil
            wantedAt = nil
            for index in servers.indices { servers[index].state = .idle }
            commands.append(.closeAll)
        }
        guard isInUse(now: now) else { return }
        var count = 0
        for server in servers {
            switch server.state {
            case .connecting, .up: count += 1
            case .idle, .waiting: break
            }
        }
        for index in servers.indices where count < maximumPaths {
            switch servers[index].state {
            case .idle: break
            case .waiting(let until) where now >= until: break
            default: continue
            }
            servers[index].state = .connecting
            commands.append(.connect(servers[index].id))
            count += 1
        }
    }

    private mutating func change(_ server: ServerID, _ body: (inout Server) -> Void) {
        guard let index = servers.firstIndex(where: { $0.id == server }) else { return }
        body(&servers[index])
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    private mutating func nextJitter() -> UInt64 {
        jitter &+= 0x9E37_79B9_7F4A_7C15
        var mixed = jitter
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
