import Testing

@testable import KwikCore

private let start = Instant(nanoseconds: 1_000_000_000)
private let one = ServerID(1)
private let two = ServerID(2)
private let three = ServerID(3)
private let wired = InterfaceID(2)
private let wireless = InterfaceID(3)

private func path(
    _ server: ServerID, _ interface: InterfaceID = wired, via relay: ServerID? = nil
) -> PathName {
    PathName(server: server, interface: interface, relay: relay)
}

/// A path manager by reference, as `#expect` wants it, in use from the start.
private final class Manager {
    var paths: PathManager
    /// Without them a stream would end.
    var needed: Set<PathName> = []

    /// By default every server is an origin and reached by one interface.
    init(
        _ servers: [(ServerID, Roles)] = [(one, .origin)], by interfaces: [InterfaceID] = [wired],
        paths count: Int = 8, seed: UInt64 = 1
    ) {
        paths = PathManager(
            servers: servers.map { PathManager.Server(id: $0.0, roles: $0.1) }, idleTimeout: .seconds(60),
            maximumPaths: count, seed: seed)
        for (server, _) in servers { paths.reach(server, by: interfaces) }
    }

    func commands(_ now: Instant) -> [PathManager.Command] {
        var commands: [PathManager.Command] = []
        paths.advance(now: now, isNeeded: needed.contains, into: &commands)
        return commands
    }

    func connects(_ now: Instant) -> [PathName] {
        commands(now).compactMap { if case .connect(let name) = $0 { name } else { nil } }
    }

    var deadline: Instant? { paths.deadline }
    func isReachable(_ restriction: PathRestriction = .none) -> Bool { paths.isReachable(restriction) }
    func wanted(now: Instant) { paths.wanted(now: now) }
    func use(streams: Int, now: Instant) { paths.use(streams: streams, now: now) }
    func reach(_ server: ServerID, by interfaces: [InterfaceID]) { paths.reach(server, by: interfaces) }
    func shaken(_ name: PathName) { paths.shaken(name) }
    func connected(_ name: PathName, now: Instant = start) { paths.connected(name, now: now) }
    func failed(_ name: PathName, permanent: Bool = false, now: Instant) {
        paths.failed(name, permanent: permanent, now: now)
    }
    /// Handshake and hello, all at this instant.
    func up(_ name: PathName, now: Instant) {
        shaken(name)
        #expect(commands(now).contains(.hello(name)))
        connected(name, now: now)
    }
}

@Suite struct PathManagerTests {
    @Test("Nothing is connected before somebody wants it, then all that may be, the preferred first")
    func wanted() {
        let paths = Manager([(two, .origin), (one, .origin), (three, .origin)], paths: 2)
        #expect(paths.commands(start).isEmpty && paths.deadline == nil)
        #expect(paths.isReachable())
        paths.wanted(now: start)
        #expect(paths.commands(start) == [.connect(path(two)), .connect(path(one))])
        #expect(paths.commands(start).isEmpty)
        paths.failed(path(two), now: start)
        #expect(paths.commands(start) == [.connect(path(three))])
    }

    @Test(
        "Failures are waited for 1, 2, 4 and then 5 s, each within 25 %", arguments: 0..<50 as Range<UInt64>)
    func backOff(seed: UInt64) throws {
        let paths = Manager(seed: seed)
        var now = start
        paths.wanted(now: now)
        paths.use(streams: 1, now: now)
        for seconds in [1, 2, 4, 5, 5, 5] as [Double] {
            #expect(paths.commands(now) == [.connect(path(one))])
            paths.failed(path(one), now: now)
            let due = try #require(paths.deadline)
            let delay = (due - now).seconds
            #expect(delay >= 0.75 * seconds && delay <= 1.25 * seconds)
            #expect(paths.commands(due - .microseconds(1)).isEmpty)
            now = due
        }
    }

    @Test("Clients of a server that failed do not all come back at once")
    func jitter() {
        let delays = (0..<50 as Range<UInt64>).compactMap { seed -> Instant? in
            let paths = Manager(seed: seed)
            paths.use(streams: 1, now: start)
            _ = paths.commands(start)
            paths.failed(path(one), now: start)
            return paths.deadline
        }
        #expect(Set(delays).count > 45)
    }

    @Test("A path that was up is made anew at once, and failures are forgotten when it is up")
    func afterUp() throws {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.failed(path(one), now: start)
        let again = try #require(paths.deadline)
        #expect(paths.commands(again) == [.connect(path(one))])
        #expect(!paths.isReachable())
        paths.connected(path(one), now: again)
        #expect(paths.isReachable())
        let later = again + PathManager.settledTime
        paths.failed(path(one), now: later)
        #expect(paths.commands(later) == [.connect(path(one))])
    }

    /// A gateway that dies of what it is sent was greeted again at once, each time.
    @Test("A path that comes up and is lost again each time is waited for longer and longer")
    func shortLived() throws {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        var now = start
        for seconds in [0, 2, 4, 5, 5] as [Double] {
            #expect(paths.connects(now) == [path(one)])
            paths.up(path(one), now: now)
            paths.failed(path(one), now: now + .seconds(1))
            now = now + .seconds(1)
            let delay = try #require(paths.deadline) - now
            #expect(delay.seconds >= 0.75 * seconds && delay.seconds <= 1.25 * seconds)
            now = now + delay
        }
        #expect(paths.connects(now) == [path(one)])
    }

    @Test("A path that was closed as nobody wanted it has not failed, however short it was up")
    func shortUse() throws {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.failed(path(one), now: start)
        let again = try #require(paths.deadline)
        #expect(paths.connects(again) == [path(one)])
        let late = again + .seconds(59)
        paths.use(streams: 0, now: again)
        paths.wanted(now: again)
        paths.up(path(one), now: late)
        #expect(paths.commands(again + .seconds(60)) == [.closeAll])
        #expect(paths.isReachable())
    }

    @Test("A refusal that does not pass by itself is waited for longest")
    func refusal() throws {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.failed(path(one), permanent: true, now: start)
        let delay = try #require(paths.deadline) - start
        #expect(delay >= .milliseconds(22_500) && delay <= .milliseconds(37_500))
    }

    @Test("An idle service is closed after its time, not before, and not while programs ask for it")
    func idle() {
        let paths = Manager()
        paths.wanted(now: start)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.connected(path(one))
        #expect(paths.commands(start + .seconds(3_600)).isEmpty)
        let last = start + .seconds(3_600)
        paths.use(streams: 0, now: last)
        #expect(paths.deadline == last + .seconds(60))
        #expect(paths.commands(last + .milliseconds(59_999)).isEmpty)
        paths.wanted(now: last + .seconds(30))
        #expect(paths.commands(last + .seconds(60)).isEmpty)
        #expect(paths.commands(last + .seconds(90)) == [.closeAll])
        #expect(paths.deadline == nil)
    }

    /// The paths that are closed then are reported gone like any other.
    @Test("Paths closed for idleness have not failed: the next program finds the service")
    func idleIsNoFailure() {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.connected(path(one))
        paths.use(streams: 0, now: start)
        let closed = start + .seconds(60)
        #expect(paths.commands(closed) == [.closeAll])
        paths.failed(path(one), now: closed)
        #expect(paths.isReachable())
        paths.wanted(now: closed)
        #expect(paths.commands(closed) == [.connect(path(one))])
    }

    /// It asked to be looked at again at once, for ever.
    @Test("A path that is due and has no room waits for no time")
    func noRoom() {
        let paths = Manager([(one, .origin), (two, .origin)], paths: 1)
        paths.use(streams: 1, now: start)
        #expect(paths.connects(start) == [path(one)])
        paths.failed(path(one), now: start)
        #expect(paths.connects(start) == [path(two)])
        let later = start + .seconds(10)
        #expect(paths.commands(later).isEmpty)
        #expect(paths.deadline.map { $0 > later } ?? true)
    }
}

/// Several paths to one server.
@Suite struct PathNameManagerTests {
    private let both: [InterfaceID] = [wired, wireless]

    @Test("One to each server first, then the primary's other interfaces, then those of the others")
    func order() {
        let paths = Manager([(one, .origin), (two, .replica)], by: both)
        paths.use(streams: 1, now: start)
        #expect(
            paths.connects(start) == [
                path(one), path(two), path(one, wireless), path(two, wireless),
            ])
    }

    @Test("The first hello to a server is answered before the others join with its secret")
    func hellos() {
        let paths = Manager(by: both)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.shaken(path(one, wireless))
        #expect(paths.commands(start) == [.hello(path(one, wireless))])
        paths.shaken(path(one))
        #expect(paths.commands(start).isEmpty)
        paths.connected(path(one, wireless))
        #expect(paths.commands(start) == [.hello(path(one))])
    }

    @Test("A hello that nobody answers does not stop the others")
    func silentHello() throws {
        let paths = Manager(by: both)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.shaken(path(one))
        #expect(paths.commands(start) == [.hello(path(one))])
        paths.shaken(path(one, wireless))
        let due = try #require(paths.deadline)
        #expect(due == start + .seconds(2))
        #expect(paths.commands(due) == [.close(path(one)), .hello(path(one, wireless))])
    }

    @Test("An interface that fails is tried again by itself, and the server stays in service")
    func oneInterface() throws {
        let paths = Manager(by: both)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.up(path(one), now: start)
        paths.failed(path(one, wireless), now: start)
        #expect(paths.isReachable() && paths.commands(start).isEmpty)
        let due = try #require(paths.deadline)
        #expect(paths.connects(due) == [path(one, wireless)])
    }

    @Test("A server that is back is in full service: what failed with it is made at once")
    func backTogether() throws {
        let paths = Manager(by: both)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.failed(path(one), now: start)
        paths.failed(path(one, wireless), now: start)
        #expect(!paths.isReachable())
        // The breaker is the server's: until its time is over nothing is tried.
        #expect(paths.commands(start + .milliseconds(700)).isEmpty)
        let due = start + .milliseconds(1_300)
        let tried = paths.connects(due)
        #expect(!tried.isEmpty)
        paths.connected(try #require(tried.first))
        #expect(tried.count + paths.connects(due).count == 2)
    }

    @Test("A link that goes has its paths closed, one that comes has them made, without waiting")
    func links() {
        let paths = Manager(by: both)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.up(path(one), now: start)
        paths.up(path(one, wireless), now: start)
        paths.reach(one, by: [wireless])
        #expect(paths.commands(start) == [.close(path(one))])
        paths.reach(one, by: [])
        #expect(paths.commands(start) == [.close(path(one, wireless))])
        #expect(!paths.isReachable())
        paths.reach(one, by: both)
        #expect(paths.connects(start) == [path(one), path(one, wireless)])
    }

    @Test("A link that comes ends the wait of a server that could not be reached")
    func newLink() {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        for _ in 0..<4 {
            _ = paths.commands(start)
            paths.failed(path(one), permanent: true, now: start)
        }
        paths.reach(one, by: both)
        #expect(paths.connects(start) == [path(one, wireless)])
    }

    @Test("A program that is bound to an interface finds the service only where that interface leads to it")
    func restricted() {
        let paths = Manager(by: [wired])
        #expect(paths.isReachable(PathRestriction(interfaces: [wired])))
        #expect(!paths.isReachable(PathRestriction(interfaces: [wireless])))
    }

    /// It waited until its patience was over.
    @Test("No program waits for a path for which there is no room")
    func noRoomForIt() {
        let paths = Manager([(one, .origin), (two, .replica)], by: [wired, wireless], paths: 2)
        let bound = PathRestriction(interfaces: [wireless])
        #expect(!paths.isReachable(bound))
        paths.use(streams: 1, now: start)
        for name in paths.connects(start) { paths.up(name, now: start) }
        #expect(paths.isReachable() && !paths.isReachable(bound))
    }

    @Test("No program waits for a service of which only a replica or a relay answers")
    func originOnly() {
        let paths = Manager([(one, .origin), (two, .replica), (three, .relay)])
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.up(path(two), now: start)
        paths.up(path(three), now: start)
        paths.failed(path(one), now: start)
        #expect(!paths.isReachable())
    }

    /// Two paths at most; the first server's has failed, the two others' are up.
    private func withoutTheFirst() -> Manager {
        let paths = Manager([(one, .origin), (two, .origin), (three, .replica)], paths: 2)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.up(path(two), now: start)
        paths.failed(path(one), now: start)
        _ = paths.commands(start)
        paths.up(path(three), now: start)
        return paths
    }

    @Test("A path of more use that is back takes the place of one of less")
    func takesPlace() {
        let paths = withoutTheFirst()
        let later = start + .seconds(2)
        #expect(paths.connects(later) == [path(one)])
        // Nothing is closed for an attempt.
        #expect(paths.commands(later).isEmpty)
        paths.up(path(one), now: later)
        #expect(paths.commands(later) == [.close(path(three))])
        #expect(paths.commands(later + .seconds(60)).isEmpty)
    }

    @Test("No path takes the place of one that a stream depends on, and none is tried for it")
    func needed() {
        let paths = withoutTheFirst()
        paths.needed = [path(two), path(three)]
        let later = start + .seconds(2)
        #expect(paths.commands(later).isEmpty)
        // The last one alone is needed now: the one before it makes room.
        paths.needed = [path(three)]
        #expect(paths.connects(later) == [path(one)])
        paths.up(path(one), now: later)
        #expect(paths.commands(later) == [.close(path(two))])
        #expect(paths.commands(later + .seconds(60)).isEmpty)
    }

    @Test("A path that a stream depends on takes another's place, be that preferred to it")
    func needsRoom() {
        let paths = Manager([(one, .origin), (two, .origin), (three, .origin)], paths: 2)
        paths.use(streams: 1, now: start)
        for name in paths.connects(start) { paths.up(name, now: start) }
        paths.needed = [path(one), path(three)]
        #expect(paths.connects(start) == [path(three)])
        #expect(paths.commands(start).isEmpty)
        paths.up(path(three), now: start)
        #expect(paths.commands(start) == [.close(path(two))])
        #expect(paths.commands(start + .seconds(60)).isEmpty)
        // Nor does it wait for an attempt that goes on.
        paths.failed(path(three), now: start + .seconds(60))
        #expect(paths.connects(start + .seconds(60)) == [path(two), path(three)])
    }
}

/// Servers that forward datagrams to others.
@Suite struct RelayManagerTests {
    private func manager() -> Manager {
        let paths = Manager([(one, .origin), (two, [.replica, .relay]), (three, .relay)])
        paths.use(streams: 1, now: start)
        #expect(paths.connects(start) == [path(one), path(two), path(three)])
        return paths
    }

    @Test("Relays are asked once their own paths are up, and only for the primary")
    func asked() {
        let paths = manager()
        paths.up(path(two), now: start)
        #expect(paths.connects(start) == [path(one, via: two)])
        paths.up(path(three), now: start)
        #expect(paths.connects(start) == [path(one, via: three)])
    }

    @Test("A relay whose own path goes takes the path through it along")
    func gone() {
        let paths = manager()
        paths.up(path(one), now: start)
        paths.up(path(two), now: start)
        _ = paths.commands(start)
        paths.up(path(one, via: two), now: start)
        paths.failed(path(two), now: start)
        #expect(paths.commands(start).contains(.close(path(one, via: two))))
    }

    @Test("A relay that refuses is no failure of the server behind it")
    func refused() {
        let paths = manager()
        paths.up(path(two), now: start)
        _ = paths.commands(start)
        paths.failed(path(one), now: start)
        paths.failed(path(one, via: two), permanent: true, now: start)
        #expect(paths.connects(start + .milliseconds(1_300)).contains(path(one)))
    }

    @Test("A primary that is reached through a relay alone serves")
    func onlyThroughRelay() {
        let paths = manager()
        paths.up(path(two), now: start)
        _ = paths.commands(start)
        paths.failed(path(one), now: start)
        paths.up(path(one, via: two), now: start)
        #expect(paths.isReachable())
    }

    @Test("No more paths go through relays than the limit allows")
    func limit() {
        let relays = (2..<12 as Range<UInt32>).map { (ServerID($0), Roles.relay) }
        let paths = Manager([(one, .origin)] + relays, paths: 64)
        paths.use(streams: 1, now: start)
        for name in paths.connects(start) { paths.up(name, now: start) }
        #expect(paths.connects(start).count <= PathManager.relayedPaths)
        #expect(paths.paths.entries.count { $0.name.relay != nil } == PathManager.relayedPaths)
    }
}
