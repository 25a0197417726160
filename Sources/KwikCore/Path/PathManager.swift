/// Which paths of a service are connected, and when those that failed are tried again (protocol.md §2): as
/// many as may be while programs use the service, none after it was idle for a while.
///
/// In this order: one to each server; by the primary's further interfaces; through relays to the primary; by
/// the other servers' further interfaces. The first hello to a server is answered before the others are
/// sent: they carry a proof made with what that answer brings. Where there are as many as may be, one that
/// comes before others in this order, or that a stream depends on, takes the place of the last that none
/// depends on.
///
/// After a failure a path waits 1, 2, 4, 5 s with jitter, and so does the server as a whole (its circuit
/// breaker) when none of its paths is up or under way. One that was up for long is made anew at once;
/// failures are forgotten only then, so that one which comes up and is lost again each time waits longer too.
public struct PathManager {
    /// A server of the service, as the configuration has it.
    public struct Server: Sendable {
        public var id: ServerID
        public var roles: Roles

        public init(id: ServerID, roles: Roles) {
            self.id = id
            self.roles = roles
        }
    }

    public enum Command: Hashable, Sendable {
        /// Make the connection; `shaken` when its handshake is done.
        case connect(PathName)
        /// The connection's handshake is done and it may join the session; `connected` when it has.
        case hello(PathName)
        /// Its interface is gone, or a path of more use took its place. It has not failed.
        case close(PathName)
        /// Every path: the service is idle.
        case closeAll
    }

    enum Phase: Equatable {
        case idle
        case connecting
        case shaken
        case greeting(since: Instant)
        case up(since: Instant)
        /// Not before this instant.
        case waiting(until: Instant)

        var isUnderWay: Bool {
            switch self {
            case .connecting, .shaken, .greeting: true
            case .idle, .up, .waiting: false
            }
        }

        var isUp: Bool { if case .up = self { true } else { false } }
    }

    /// A path that may be made.
    struct Entry {
        var name: PathName
        var phase = Phase.idle
        /// Since it was last up for long.
        var failures = 0
    }

    struct ServerState {
        var server: Server
        /// By which it can be reached, the one that the system's routes choose first.
        var interfaces: [InterfaceID] = []
        /// Since any of its paths was last up for long, those that left it with none.
        var failures = 0
        var notBefore: Instant?
    }

    var servers: [ServerState]
    /// In the order of preference.
    var entries: [Entry] = []
    private let idleTimeout: Interval
    private let maximumPaths: Int
    private var jitter: UInt64
    private var streams = 0
    private var idleSince: Instant?
    /// When a program last asked for the service, served or not.
    private var wantedAt: Instant?
    private var advancedAt = Instant(nanoseconds: 0)
    /// Paths that lost their interface or relay.
    private var lost: [PathName] = []

    static let firstDelay = Interval.seconds(1)
    /// Servers that are back are to be in full service within 10 s: this, and a first packet's
    /// retransmission.
    static let longestDelay = Interval.seconds(5)
    /// A path that is up for so long has not come up only to fail: longer than it takes to find out that it
    /// is silent.
    static let settledTime = Interval.seconds(10)
    /// For a refusal that does not pass by itself.
    static let refusedDelay = Interval.seconds(30)
    /// A hello that is not answered by then stops the others no longer.
    static let helloTime = Interval.seconds(2)
    /// Paths to one server, and through relays to one.
    static let pathsPerServer = 8
    static let relayedPaths = 4
    /// Interfaces by which one server is reached.
    public static let interfacesPerServer = 8

    /// - Parameters:
    ///   - servers: the preferred first. None can be reached before `reach` says by which interfaces.
    ///   - seed: of the jitter.
    public init(servers: [Server], idleTimeout: Interval, maximumPaths: Int, seed: UInt64) {
        self.servers = servers.map { ServerState(server: $0) }
        self.idleTimeout = idleTimeout
        self.maximumPaths = maximumPaths
        jitter = seed
    }

    // MARK: What is told

    /// By which interfaces the server can be reached now, the one that the system's routes choose first. A
    /// link that has just come is tried at once.
    public mutating func reach(_ server: ServerID, by interfaces: [InterfaceID]) {
        guard let index = servers.firstIndex(where: { $0.server.id == server }) else { return }
        let before = servers[index].interfaces
        servers[index].interfaces = Array(interfaces.prefix(Self.interfacesPerServer))
        if servers[index].interfaces.contains(where: { !before.contains($0) }) {
            servers[index].notBefore = nil
        }
        arrange()
    }

    /// A program wants the service: paths are made, or made again, as long as this is not too long ago.
    public mutating func wanted(now: Instant) {
        wantedAt = now
        if streams == 0, idleSince == nil { idleSince = now }
    }

    /// How many streams use the service.
    public mutating func use(streams count: Int, now: Instant) {
        if count == 0, streams > 0 { idleSince = now }
        if count > 0 { idleSince = nil }
        streams = count
    }

    public mutating func shaken(_ name: PathName) {
        change(name) { if $0.phase == .connecting { $0.phase = .shaken } }
    }

    public mutating func connected(_ name: PathName, now: Instant) {
        change(name) { $0.phase = .up(since: now) }
        guard let index = servers.firstIndex(where: { $0.server.id == name.server }) else { return }
        // What failed together with the server has a new chance with it.
        if servers[index].failures > 0 {
            for entry in entries.indices where entries[entry].name.server == name.server {
                if case .waiting = entries[entry].phase { entries[entry].phase = .idle }
            }
        }
        servers[index].notBefore = nil
        arrange()
    }

    /// Forgets the failures of what is up for long.
    private mutating func settle(now: Instant) {
        for index in entries.indices {
            if case .up(let since) = entries[index].phase, now >= since + Self.settledTime {
                forgetFailures(of: index)
            }
        }
    }

    private mutating func forgetFailures(of index: Int) {
        entries[index].failures = 0
        let server = entries[index].name.server
        if let state = servers.firstIndex(where: { $0.server.id == server }) { servers[state].failures = 0 }
    }

    /// The attempt failed, or the path is gone. `permanent`: the server refused us for a reason that does not
    /// pass by itself (certificate, token): the longest delay at once.
    public mutating func failed(_ name: PathName, permanent: Bool, now: Instant) {
        let random = nextJitter()
        settle(now: now)
        guard let index = entries.firstIndex(where: { $0.name == name }), entries[index].phase != .idle,
            let server = servers.firstIndex(where: { $0.server.id == name.server })
        else { return }
        let wasUp = entries[index].phase.isUp
        entries[index].phase = .idle
        // What a relay can't do says nothing about the server.
        let isAlone =
            name.relay == nil
            && !entries.contains {
                $0.name.server == name.server && ($0.phase.isUp || $0.phase.isUnderWay)
            }
        let failures = isAlone ? servers[server].failures : entries[index].failures
        let delay = backOff(failures: failures, wasUp: wasUp, permanent: permanent, random)
        entries[index].failures += 1
        entries[index].phase = .waiting(until: now + delay)
        if isAlone {
            servers[server].failures += 1
            servers[server].notBefore = now + delay
        }
        arrange()
    }

    private func backOff(failures: Int, wasUp: Bool, permanent: Bool, _ random: UInt64) -> Interval {
        var delay = Self.firstDelay * (1 << Int64(min(failures, 5)))
        if failures == 0, wasUp { delay = .zero }
        delay = permanent ? Self.refusedDelay : min(delay, Self.longestDelay)
        // ± 25 %, so that clients of a server that restarts do not all come back at once.
        let swing = delay.nanoseconds / 2
        return delay + Interval(nanoseconds: swing > 0 ? Int64(random % UInt64(swing)) - swing / 2 : 0)
    }

    // MARK: What is asked

    /// Whether a program that connects now can hope for a server: a path to an origin that it may use is up,
    /// or is being made for the first time. A server that has failed before is tried again behind the
    /// programs' backs, who connect natively.
    public func isReachable(_ restriction: PathRestriction = .none) -> Bool {
        // Paths that are there already, or are made before this one.
        var ahead = 0
        for entry in entries {
            if isHopeful(entry, ahead: ahead), restriction.allows(entry.name) { return true }
            if case .waiting = entry.phase { continue }
            ahead += 1
        }
        return false
    }

    private func isHopeful(_ entry: Entry, ahead: Int) -> Bool {
        guard let state = servers.first(where: { $0.server.id == entry.name.server }),
            state.server.roles.contains(.origin)
        else { return false }
        switch entry.phase {
        case .up: return true
        case .idle where ahead >= maximumPaths: return false
        case .idle, .connecting, .shaken, .greeting: return state.failures == 0 && entry.failures == 0
        case .waiting: return false
        }
    }

    /// Whether programs use the service, or wanted to not too long ago: paths are made.
    public func isInUse(now: Instant) -> Bool {
        streams > 0 || wantedAt.map { now < $0 + idleTimeout } ?? false
    }

    public var deadline: Instant? {
        var earliest = idleSince.map { max($0, wantedAt ?? $0) + idleTimeout } ?? .never
        guard streams > 0 || idleSince != nil else { return nil }
        for entry in entries {
            var due = Instant.never
            switch entry.phase {
            case .idle: due = opening(entry.name.server)
            case .waiting(let until): due = max(until, opening(entry.name.server))
            case .greeting(let since): due = since + Self.helloTime
            case .connecting, .shaken, .up: break
            }
            // What was due at the last look and not done waits for something else than time.
            if due > advancedAt { earliest = min(earliest, due) }
        }
        return earliest == .never ? nil : earliest
    }

    /// Before this the server's circuit breaker lets nothing through.
    private func opening(_ server: ServerID) -> Instant {
        servers.first { $0.server.id == server }?.notBefore ?? advancedAt
    }

    /// What is due now. `isNeeded`: whether a stream ends without the path (`ClientSession.depends`).
    public mutating func advance(
        now: Instant, isNeeded: (PathName) -> Bool, into commands: inout [Command]
    ) {
        advancedAt = now
        settle(now: now)
        for name in lost { commands.append(.close(name)) }
        lost = []
        if let since = idleSince, now >= max(since, wantedAt ?? since) + idleTimeout {
            idleSince = nil
            wantedAt = nil
            for index in entries.indices {
                if entries[index].phase.isUp { forgetFailures(of: index) }
                entries[index].phase = .idle
            }
            commands.append(.closeAll)
        }
        guard isInUse(now: now) else { return }
        greet(now: now, into: &commands)
        if entries.count(where: { $0.phase.isUp }) > maximumPaths,
            let index = replaceable(isNeeded: isNeeded)
        {
            commands.append(.close(entries[index].name))
            entries[index].phase = .idle
            arrange()
        }
        connect(now: now, isNeeded: isNeeded, into: &commands)
    }

    /// The last of those that are up and may be closed for another one, if it comes behind `index`.
    private func replaceable(behind index: Int = -1, isNeeded: (PathName) -> Bool) -> Int? {
        entries.indices.last { $0 > index && entries[$0].phase.isUp && !isNeeded(entries[$0].name) }
    }

    /// Whether the path may take another's place, once it is up too. One that is needed does not wait until
    /// an attempt that is under way has failed, either.
    private func mayReplace(_ index: Int, isNeeded: (PathName) -> Bool) -> Bool {
        guard isNeeded(entries[index].name) else {
            return replaceable(behind: index, isNeeded: isNeeded) != nil
        }
        return entries.contains { ($0.phase.isUp || $0.phase.isUnderWay) && !isNeeded($0.name) }
    }

    private mutating func greet(now: Instant, into commands: inout [Command]) {
        for index in entries.indices {
            if case .greeting(let since) = entries[index].phase, now >= since + Self.helloTime,
                entries.contains(where: {
                    $0.name.server == entries[index].name.server && $0.phase == .shaken
                })
            {
                commands.append(.close(entries[index].name))
                let delay = backOff(
                    failures: entries[index].failures, wasUp: false, permanent: false, nextJitter())
                entries[index].failures += 1
                entries[index].phase = .waiting(until: now + delay)
            }
        }
        for index in entries.indices where entries[index].phase == .shaken {
            let others = entries.filter { $0.name.server == entries[index].name.server }
            let isGreeting = others.contains {
                if case .greeting = $0.phase { true } else { false }
            }
            guard others.contains(where: { $0.phase.isUp }) || !isGreeting else { continue }
            entries[index].phase = .greeting(since: now)
            commands.append(.hello(entries[index].name))
        }
    }

    private mutating func connect(
        now: Instant, isNeeded: (PathName) -> Bool, into commands: inout [Command]
    ) {
        var count = entries.count { $0.phase.isUp || $0.phase.isUnderWay }
        for index in entries.indices where count <= maximumPaths {
            switch entries[index].phase {
            case .idle: break
            case .waiting(let until) where now >= until: break
            default: continue
            }
            guard now >= opening(entries[index].name.server) else { continue }
            guard count < maximumPaths || mayReplace(index, isNeeded: isNeeded) else { continue }
            entries[index].phase = .connecting
            commands.append(.connect(entries[index].name))
            count += 1
        }
    }

    private mutating func change(_ name: PathName, _ body: (inout Entry) -> Void) {
        guard let index = entries.firstIndex(where: { $0.name == name }) else { return }
        body(&entries[index])
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    private mutating func nextJitter() -> UInt64 {
        jitter &+= 0x9E37_79B9_7F4A_7C15
        var mixed = jitter
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Makes the list of paths anew after something changed on which it rests. What is there keeps its state.
    private mutating func arrange() {
        let wanted = preferences()
        for entry in entries where !wanted.contains(entry.name) {
            if entry.phase.isUp || entry.phase.isUnderWay { lost.append(entry.name) }
        }
        let before = entries
        entries = wanted.map { name in before.first { $0.name == name } ?? Entry(name: name) }
    }
}
