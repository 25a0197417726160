import Glibc
import KwikCore
@testable import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct EventLoopTests {
        private let loop: EventLoop
        private let pair: Pair

        init() throws {
            loop = try EventLoop()
            pair = try Pair()
        }

        @Test func timersFireInTheOrderOfTheirTurnsAndNeverEarly() throws {
            // Those that are due in one turn may fire in any order.
            var turn = 0
            try loop.afterEvents { turn += 1 }
            var fired: [(due: Instant, turn: Int)] = []
            let start = Clock.now()
            let delays: [Int64] = [3_000, 1_000, 2_000, 2_001]
            var timers: [LoopTimer] = []
            for delay in delays {
                let due = start + .microseconds(delay) + Interval(nanoseconds: 1)
                let timer = try loop.timer {
                    #expect(Clock.now() >= due)
                    fired.append((due, turn))
                    if fired.count == delays.count { loop.stop(0) }
                }
                timer.arm(at: due)
                timers.append(timer)
            }
            _ = try run(loop)
            let turns = fired.sorted { $0.due < $1.due }.map(\.turn)
            #expect(turns.count == delays.count && turns == turns.sorted())
        }

        @Test func timersAreNotCoalesced() throws {
            let start = Clock.now()
            var left = 40
            var timer: LoopTimer?
            timer = try loop.timer {
                left -= 1
                if left == 0 { loop.stop(0) } else { timer?.arm(at: Clock.now() + .microseconds(100)) }
            }
            timer?.arm(at: start)
            _ = try run(loop)
            timer = nil
            #expect(Clock.now() - start < .seconds(5))
        }

        @Test func aTimerFiresOncePerArmAndCanBeArmedInItsHandler() throws {
            var count = 0
            var timer: LoopTimer?
            timer = try loop.timer {
                count += 1
                if count < 3 { timer?.arm(at: Clock.now()) } else { loop.stop(0) }
            }
            timer?.arm(at: Instant(nanoseconds: 0))
            _ = try run(loop)
            #expect(count == 3)
            let idle = try loop.timer { loop.stop(0) }
            idle.arm(at: Clock.now() + .milliseconds(2))
            _ = try run(loop)
            #expect(count == 3)
            timer = nil
        }

        @Test func aDisarmedOrReplacedTimeDoesNotFire() throws {
            var fired: [String] = []
            let first = try loop.timer { fired.append("disarmed") }
            first.arm(at: Clock.now())
            first.disarm()
            let second = try loop.timer { fired.append("replaced") }
            second.arm(at: Clock.now())
            second.arm(at: .never)
            let due = Clock.now() + .milliseconds(1)
            let victim = try loop.timer { fired.append("disarmed by a handler") }
            let killer = try loop.timer { victim.disarm() }
            killer.arm(at: due)
            victim.arm(at: due + .microseconds(1))
            let end = try loop.timer { loop.stop(0) }
            end.arm(at: due + .milliseconds(2))
            // All of them are due by the time the loop looks.
            while Clock.now() < due + .microseconds(10) { sched_yield() }
            _ = try run(loop)
            #expect(fired == [])
        }

        @Test func aSignalIsHandledOnTheLoop() throws {
            var handled = 0
            try loop.signal(SIGUSR2) { [unowned loop] in
                handled += 1
                loop.stop(7)
            }
            pthread_kill(pthread_self(), SIGUSR2)
            #expect(handled == 0)
            #expect(try run(loop) == 7)
            #expect(handled == 1)
            #expect(throws: Errno(code: EBUSY)) { try loop.signal(SIGUSR2) {} }
        }

        @Test func afterEventsRunsOnceForAllThatWasReady() throws {
            let others = [try Pair(), try Pair()]
            var log: [String] = []
            var watches: [Watch] = []
            for pair in others {
                #expect(write(pair.far, "x") == .count(1))
                watches.append(try loop.watch(pair.near, for: .readable) { _ in
                    log.append("read")
                    _ = read(pair.near, 16)
                })
            }
            try loop.afterEvents { [unowned loop] in
                log.append("after")
                loop.stop(0)
            }
            _ = try run(loop)
            #expect(log == ["read", "read", "after"])
            for watch in watches { watch.cancel() }
        }

        @Test func afterEventsDoesNotRunWithoutAnEventAndIsNotStarvedByABusySource() throws {
            var log: [String] = []
            try loop.afterEvents { log.append("after") }
            loop.stop(1)
            #expect(try run(loop) == 1)
            #expect(log == [])
            #expect(write(pair.far, "never read") == .count(10))
            var busy = 0
            let watch = try loop.watch(pair.near, for: .readable) { _ in
                busy += 1
                log.append("busy")
                if busy == 3 { loop.stop(2) }
            }
            #expect(try run(loop) == 2)
            #expect(log == ["busy", "after", "busy", "after", "busy", "after"])
            watch.cancel()
        }

        @Test func aWatchCancelledInItsHandlerIsSilentAndDropsWhatItHeld() throws {
            final class Held {}
            weak var weakly: Held?
            var calls = 0
            var watch: Watch?
            do {
                let held = Held()
                weakly = held
                watch = try loop.watch(pair.near, for: .readable) { _ in
                    withExtendedLifetime(held) { calls += 1 }
                    watch?.cancel()
                    watch = nil
                }
            }
            #expect(weakly != nil)
            #expect(write(pair.far, "x") == .count(1))
            let end = try loop.timer { loop.stop(0) }
            end.arm(at: Clock.now() + .milliseconds(2))
            _ = try run(loop)
            #expect(calls == 1)
            #expect(watch == nil)
            #expect(weakly == nil)
        }

        @Test func cancellingDropsTheHandlerOfAWatchThatIsKept() throws {
            final class Held {}
            weak var weakly: Held?
            let watch: Watch
            do {
                let held = Held()
                weakly = held
                watch = try loop.watch(pair.near, for: .readable) { _ in withExtendedLifetime(held) {} }
            }
            #expect(weakly != nil)
            watch.cancel()
            #expect(weakly == nil)
            watch.cancel()
        }

        @Test func aWatchCancelledByAnotherOneOfTheSameTurnIsSilent() throws {
            let other = try Pair()
            var calls = 0
            var watches: [Watch] = []
            for fd in [pair.near, other.near] {
                watches.append(try loop.watch(fd, for: .readable) { _ in
                    calls += 1
                    for watch in watches { watch.cancel() }
                })
            }
            #expect(write(pair.far, "x") == .count(1))
            #expect(write(other.far, "x") == .count(1))
            try loop.afterEvents { [unowned loop] in loop.stop(0) }
            _ = try run(loop)
            #expect(calls == 1)
        }

        @Test func anEdgeTriggeredWatchReportsChangesOnlyUntilItIsSetAgain() throws {
            var reports: [Readiness] = []
            let watch = try loop.watch(pair.near, for: [.readable, .edgeTriggered]) { reports.append($0) }
            let end = try loop.timer { loop.stop(0) }
            func turn() throws {
                end.arm(at: Clock.now() + .milliseconds(1))
                _ = try run(loop)
            }
            #expect(write(pair.far, "x") == .count(1))
            try turn()
            try turn()
            #expect(reports == [.readable])
            #expect(write(pair.far, "y") == .count(1))
            try turn()
            #expect(reports == [.readable, .readable])
            watch.set([.readable, .edgeTriggered])
            try turn()
            #expect(reports == [.readable, .readable, .readable])
            watch.cancel()
        }

        @Test func hangupsAreToldButNotToAnEmptyWatch() throws {
            var reports: [Readiness] = []
            let watch = try loop.watch(pair.near, for: []) {
                reports.append($0)
                loop.stop(0)
            }
            #expect(shutdown(pair.far, Int32(SHUT_WR)) == 0)
            let end = try loop.timer { loop.stop(0) }
            end.arm(at: Clock.now() + .milliseconds(1))
            _ = try run(loop)
            #expect(reports == [])
            watch.set(.peerHangup)
            _ = try run(loop)
            #expect(reports == [.peerHangup])
            #expect(shutdown(pair.near, Int32(SHUT_WR)) == 0)
            watch.set(.writable)
            _ = try run(loop)
            #expect(reports.last?.contains([.hangup, .writable]) == true)
            watch.set([])
            let told = reports.count
            end.arm(at: Clock.now() + .milliseconds(1))
            _ = try run(loop)
            #expect(reports.count == told)
            watch.cancel()
        }

        @Test func whatCannotBePolledIsRefused() throws {
            let directory = try TemporaryDirectory()
            let path = directory.path + "/file"
            let file = Descriptor(taking: unsafe open(path, O_CREAT | O_RDWR, 0o600))
            let raw = file.raw
            #expect(throws: Errno(code: EPERM)) { _ = try loop.watch(raw, for: .readable) { _ in } }
            withExtendedLifetime(directory) {}
        }

        @Test func sourcesMayOutliveTheirLoop() throws {
            var mortal: EventLoop? = try EventLoop()
            let watch = try mortal?.watch(pair.near, for: .readable) { _ in }
            let timer = try mortal?.timer {}
            mortal = nil
            timer?.arm(at: Clock.now())
            watch?.set(.writable)
            watch?.cancel()
            timer?.cancel()
            timer?.arm(at: Clock.now())
        }
    }
}
