import Testing

@testable import KwikCore

private let start = Instant(nanoseconds: 10_000_000_000)
private let srtt = Interval.milliseconds(20)

/// A path that brings `rate` bytes per second, in pieces of `piece` bytes.
private struct Flow {
    var estimator = RateEstimator()
    var now = start

    mutating func run(
        _ rate: Double, for time: Interval, outstanding: UInt64 = 1 << 30, limited: Bool = false,
        srtt: Interval = srtt
    ) {
        let piece: UInt64 = 1_200
        let step = Interval(seconds: Double(piece) / rate)
        let end = now + time
        while now < end {
            now = now + step
            estimator.received(piece, srtt: srtt, outstanding: outstanding, limited: limited, now: now)
        }
    }

    var estimate: Double { estimator.rate(srtt: srtt) }
}

private func near(_ value: Double, _ expected: Double, _ share: Double = 0.1) -> Bool {
    abs(value - expected) <= share * expected
}

@Suite struct RateEstimatorTests {
    @Test("Before the first sample: two initial windows per round trip")
    func unknown() {
        let estimator = RateEstimator()
        #expect(near(estimator.rate(srtt: .milliseconds(100)), 240_000))
        #expect(estimator.rate(srtt: .zero).isFinite)
        #expect(estimator.estimate == nil && estimator.startingUp)
    }

    @Test("Up at once: a path that became faster is known within a window")
    func up() {
        var flow = Flow()
        flow.run(1e6, for: .milliseconds(300))
        #expect(near(flow.estimate, 1e6))
        flow.run(4e6, for: .milliseconds(110))
        #expect(near(flow.estimate, 4e6))
    }

    @Test("Down with time: a path that became slower while it had work")
    func down() {
        var flow = Flow()
        flow.run(4e6, for: .milliseconds(300))
        flow.run(1e6, for: .milliseconds(60))
        #expect(flow.estimate > 2.5e6)
        flow.run(1e6, for: .seconds(2))
        #expect(near(flow.estimate, 1e6))
    }

    @Test("A path that was dark has the rate that it had before")
    func dark() {
        var flow = Flow()
        flow.run(4e6, for: .milliseconds(300))
        flow.now = flow.now + .seconds(3)
        flow.run(4e6, for: .milliseconds(5))
        #expect(flow.estimate > 3.5e6)
    }

    /// algorithm.md, trap 7: what a path brings while it is not asked for more says nothing of what it can.
    @Test("Samples limited by leases, window or application do not lower the estimate")
    func limited() {
        var flow = Flow()
        flow.run(4e6, for: .milliseconds(300))
        let before = flow.estimate
        flow.run(1e5, for: .seconds(3), outstanding: 1_000)
        #expect(flow.estimate == before)
        flow.run(1e5, for: .seconds(3), limited: true)
        #expect(flow.estimate == before)
        #expect(flow.estimator.current(srtt: srtt, since: flow.now, now: flow.now) == before)
    }

    @Test("The first bytes after a time without work do not lower the estimate; a path that is slow does")
    func resumed() {
        var flow = Flow()
        flow.run(4e6, for: .milliseconds(300))
        let before = flow.estimate
        flow.now = flow.now + .seconds(3)
        flow.estimator.resumes()
        flow.run(4e6, for: .milliseconds(5))
        #expect(flow.estimate == before)
        flow.run(1e6, for: .seconds(2))
        #expect(near(flow.estimate, 1e6))
    }

    @Test("The rate just now is below the estimate only where the path had work for long enough")
    func current() {
        var flow = Flow()
        flow.run(4e6, for: .milliseconds(300))
        let before = flow.estimate
        let busy = flow.now
        let soon = busy + .milliseconds(50)
        #expect(flow.estimator.current(srtt: srtt, since: busy, now: soon) == before)
        flow.run(4e6, for: .milliseconds(200))
        let silent = flow.now + .milliseconds(200)
        #expect(flow.estimator.current(srtt: srtt, since: busy, now: silent) == 0)
        #expect(flow.estimator.recent(srtt: srtt, now: flow.now) <= flow.estimate)
    }

    @Test("Starting up ends after three rounds without growth")
    func startUp() {
        var flow = Flow()
        flow.run(1e6, for: .milliseconds(30))
        #expect(flow.estimator.startingUp)
        flow.run(1e6, for: .milliseconds(400))
        #expect(!flow.estimator.startingUp)
    }

    /// The round trip is what the peer makes of it.
    @Test("A round trip without end does not make the window endless")
    func longRoundTrip() {
        var flow = Flow()
        flow.run(4e6, for: .milliseconds(100), srtt: .seconds(3_600))
        flow.run(1e5, for: .seconds(6), outstanding: 1 << 40, srtt: .seconds(3_600))
        // With an endless window it would never be slow for long enough to count.
        #expect(near(flow.estimate, 1e5))
        // What came three seconds ago is in no window any more.
        let recent = flow.estimator.recent(srtt: .seconds(3_600), now: flow.now)
        #expect(near(recent, 1e5))
    }
}
