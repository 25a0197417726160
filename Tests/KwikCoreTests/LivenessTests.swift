import Testing

@testable import KwikCore

private let start = Instant(nanoseconds: 5_000_000_000)
/// Its patience is 35 + 4·5 + 10 = 65 ms.
private let sample = PathSample(
    srtt: .milliseconds(35), rttVariation: .milliseconds(5), probeTimeout: .milliseconds(65),
    congestionWindow: 100_000, inFlight: 0, received: 0)
private let every = Interval.milliseconds(25)
private let patience = Interval.milliseconds(65)

/// A path's liveness by reference, as `#expect` wants it.
private final class Path {
    var liveness = Liveness(now: start)

    var state: PathState { liveness.state }

    func step(
        _ now: Instant, every: Interval = every, sample: PathSample = sample
    ) -> Liveness.Step {
        liveness.check(every: every, sample: sample, now: now)
    }

    func heard(now: Instant) -> Bool { liveness.heard(now: now) }
    var deadline: Instant { liveness.deadline(every: every, sample: sample) }
}

@Suite struct LivenessTests {
    @Test("Silence calls for a probe, an unanswered probe makes a path suspect, five seconds of that end it")
    func course() {
        let path = Path()
        #expect(path.deadline == start + every)
        #expect(path.step(start + .milliseconds(24)) == .none)
        let probed = start + every
        #expect(path.step(probed) == .probe)
        #expect(path.step(probed + patience) == .none)
        let late = path.deadline
        #expect(late > probed + patience && late < probed + patience + .milliseconds(1))
        #expect(path.step(late) == .suspect)
        #expect(path.state == .suspect && path.liveness.suspectSince == late)
        #expect(path.liveness.silentSince(now: late + every) == late - patience)
        #expect(path.step(late + .milliseconds(12)) == .none)
        #expect(path.deadline == late + every / 2)
        #expect(path.step(late + every / 2) == .probe)
        #expect(path.step(late + .milliseconds(4_999)) == .probe)
        #expect(path.step(late + .seconds(5)) == .none)
        #expect(path.step(late + .seconds(5) + .microseconds(1)) == .failed)
        #expect(path.step(late + .seconds(9)) == .none && path.state == .failed)
    }

    @Test("Any packet revives a suspect path, and it is not late again at once")
    func revival() {
        let path = Path()
        _ = path.step(start + every)
        let late = start + every + patience + .milliseconds(1)
        #expect(path.step(late) == .suspect)
        #expect(path.heard(now: late + .milliseconds(200)))
        #expect(path.state == .active && path.liveness.suspectSince == .never)
        #expect(path.liveness.silentSince(now: late + .milliseconds(200)) == late + .milliseconds(200))
        #expect(!path.heard(now: late + .milliseconds(201)))
        #expect(path.step(late + .milliseconds(202)) == .none)
    }

    /// algorithm.md, trap 1: loss stalls the bytes of a stream, not the packets.
    @Test("Packets without stream bytes keep a path alive")
    func packetsCount() {
        let path = Path()
        for turn in 1..<200 as Range<Int64> {
            let now = start + .milliseconds(20 * turn)
            _ = path.heard(now: now)
            #expect(path.step(now + .milliseconds(19)) == .none)
        }
        #expect(path.state == .active)
    }

    /// Trap 1 as a session has it, with leases outstanding on both paths.
    @Test("Ten seconds of packets that bring no stream byte make no path suspect, and the stream goes on")
    func packetsCountInSession() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        #expect(try !scene.state.book.leases.isEmpty)
        let before = world.events.count
        let paths = [ClientWorld.path, ClientWorld.mirrorPath]
        for _ in 0..<100 {
            world.now = world.now + .milliseconds(100)
            for path in paths { world.handle(.heard(path)) }
            world.tick()
        }
        let changes = world.events[before...].filter {
            if case .pathStateChanged = $0 { true } else { false }
        }
        #expect(changes.isEmpty)
        #expect(world.endedPaths.isEmpty && world.ends.isEmpty)
        let next = try scene.state.down.front
        world.data(scene.own, ByteRange(next, next + Block.size))
        #expect(try scene.state.down.front > next)
        // The same without packets.
        world.now = world.now + .milliseconds(200)
        world.tick()
        world.now = world.now + .milliseconds(200)
        world.tick()
        #expect(world.session.paths.allSatisfy { !$0.isActive })
    }

    /// algorithm.md, trap 2: what was idle is not late.
    @Test("Work that begins after an idle time does not find the path late")
    func idleIsNotLate() {
        let path = Path()
        #expect(path.step(start + .seconds(2), every: .seconds(3)) == .none)
        // A lease is granted: silence now calls for a probe sooner, and the probe is what is waited for.
        let granted = start + .milliseconds(2_001)
        #expect(path.step(granted) == .probe)
        #expect(path.step(granted + patience) == .none)
        #expect(path.state == .active)
        _ = path.heard(now: granted + .milliseconds(21))
        #expect(path.step(granted + .milliseconds(22)) == .none)
    }

    @Test("A path with a long and varying round trip is given its time")
    func patienceGrows() {
        var slow = sample
        #expect(Liveness.patience(slow) == patience)
        slow.srtt = .milliseconds(600)
        slow.rttVariation = .milliseconds(100)
        #expect(Liveness.patience(slow) == .milliseconds(1_010))
        slow.srtt = .microseconds(100)
        slow.rttVariation = .microseconds(50)
        #expect(Liveness.patience(slow) == .milliseconds(50))
    }

    @Test("A peer that acknowledges late makes no time of its path longer than ten seconds")
    func latePeer() {
        let hour = Interval.seconds(3_600)
        let late = PathSample(
            srtt: hour, rttVariation: hour, probeTimeout: hour, congestionWindow: 1, inFlight: 0, received: 0)
        #expect(Liveness.patience(late) == .milliseconds(50_010))
        let path = Path()
        #expect(path.step(start + every, sample: late) == .probe)
        let suspected = start + every + .milliseconds(50_011)
        #expect(path.step(suspected, sample: late) == .suspect)
        #expect(path.step(suspected + .milliseconds(30_001), sample: late) == .failed)
    }

    @Test("A silence that nobody looked at is no longer than what a path is given")
    func slept() {
        let path = Path()
        _ = path.step(start + every)
        let late = start + .seconds(40)
        #expect(path.step(late) == .suspect)
        #expect(path.liveness.silentSince(now: late) == late - patience)
    }

    @Test("A long probe timeout makes failing slower than five seconds")
    func slowFailure() {
        var slow = sample
        slow.probeTimeout = .milliseconds(1_700)
        let path = Path()
        _ = path.step(start + every, sample: slow)
        let late = start + .milliseconds(200)
        #expect(path.step(late, sample: slow) == .suspect)
        #expect(path.step(late + .milliseconds(5_100), sample: slow) == .probe)
        #expect(path.step(late + .milliseconds(5_101), sample: slow) == .failed)
    }
}
