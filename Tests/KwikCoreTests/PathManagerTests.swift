import Testing

@testable import KwikCore

private let start = Instant(nanoseconds: 1_000_000_000)
private let one = ServerID(1)
private let two = ServerID(2)
private let three = ServerID(3)

/// A path manager by reference, as `#expect` wants it.
private final class Manager {
    var paths: PathManager

    init(_ servers: [ServerID] = [one], paths count: Int = 8, seed: UInt64 = 1) {
        paths = PathManager(servers: servers, idleTimeout: .seconds(60), maximumPaths: count, seed: seed)
    }

    func commands(_ now: Instant) -> [PathManager.Command] {
        var commands: [PathManager.Command] = []
        paths.advance(now: now, into: &commands)
        return commands
    }

    var deadline: Instant? { paths.deadline }
    func isReachable(now: Instant) -> Bool { paths.isReachable(now: now) }
    func wanted(now: Instant) { paths.wanted(now: now) }
    func use(streams: Int, now: Instant) { paths.use(streams: streams, now: now) }
    func connected(_ server: ServerID) { paths.connected(server) }
    func failed(_ server: ServerID, permanent: Bool, now: Instant) {
        paths.failed(server, permanent: permanent, now: now)
    }
}

@Suite struct PathManagerTests {
    @Test("Nothing is connected before somebody wants it, then all that may be, the preferred first")
    func wanted() {
        let paths = Manager([two, one, three], paths: 2)
        #expect(paths.commands(start).isEmpty && paths.deadline == nil)
        #expect(paths.isReachable(now: start))
        paths.wanted(now: start)
        #expect(paths.commands(start) == [.connect(two), .connect(one)])
        #expect(paths.commands(start).isEmpty)
        paths.failed(two, permanent: false, now: start)
        #expect(paths.commands(start) == [.connect(three)])
    }

    @Test(
        "Failures are waited for 1, 2, 4 and then 5 s, each within 25 %", arguments: 0..<50 as Range<UInt64>)
    func backOff(seed: UInt64) throws {
        let paths = Manager(seed: seed)
        var now = start
        paths.wanted(now: now)
        paths.use(streams: 1, now: now)
        for seconds in [1, 2, 4, 5, 5, 5] as [Double] {
            #expect(paths.commands(now) == [.connect(one)])
            paths.failed(one, permanent: false, now: now)
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
            paths.failed(one, permanent: false, now: start)
            return paths.deadline
        }
        #expect(Set(delays).count > 45)
    }

    @Test("A path that was up is made anew at once, and failures are forgotten when it is up")
    func afterUp() throws {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.failed(one, permanent: false, now: start)
        let again = try #require(paths.deadline)
        #expect(paths.commands(again) == [.connect(one)])
        #expect(!paths.isReachable(now: again))
        paths.connected(one)
        #expect(paths.isReachable(now: again))
        paths.failed(one, permanent: false, now: again)
        #expect(paths.commands(again) == [.connect(one)])
    }

    @Test("A refusal that does not pass by itself is waited for longest")
    func refusal() throws {
        let paths = Manager()
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.failed(one, permanent: true, now: start)
        let delay = try #require(paths.deadline) - start
        #expect(delay >= .milliseconds(22_500) && delay <= .milliseconds(37_500))
    }

    @Test("An idle service is closed after its time, not before, and not while programs ask for it")
    func idle() {
        let paths = Manager()
        paths.wanted(now: start)
        paths.use(streams: 1, now: start)
        _ = paths.commands(start)
        paths.connected(one)
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
        paths.connected(one)
        paths.use(streams: 0, now: start)
        let closed = start + .seconds(60)
        #expect(paths.commands(closed) == [.closeAll])
        paths.failed(one, permanent: false, now: closed)
        #expect(paths.isReachable(now: closed))
        paths.wanted(now: closed)
        #expect(paths.commands(closed) == [.connect(one)])
    }
}
