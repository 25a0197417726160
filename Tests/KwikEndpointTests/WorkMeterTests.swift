import KwikCore
import Testing

@testable import KwikEndpoint

@Suite struct WorkMeterTests {
    private let begun = Instant(nanoseconds: 5_000_000_000)

    @Test("The share is what a loop did not wait, of each while by itself")
    func share() {
        var meter = WorkMeter(idle: .seconds(3), now: begun)
        let soon = meter.share(idle: .seconds(3), now: begun + .milliseconds(99))
        #expect(soon == nil)
        let first = meter.share(idle: .seconds(3) + .milliseconds(50), now: begun + .milliseconds(200))
        #expect(first.map { abs($0 - 0.75) < 1e-9 } == true)
        let early = meter.share(idle: .seconds(4), now: begun + .milliseconds(250))
        #expect(early == nil)
        let second = meter.share(idle: .seconds(3) + .milliseconds(50), now: begun + .milliseconds(300))
        #expect(second == 1)
    }

    @Test("After hours of waiting the share is next to nothing")
    func afterSleep() {
        var meter = WorkMeter(idle: .zero, now: begun)
        let share = meter.share(idle: .seconds(7_200), now: begun + .seconds(7_201))
        #expect(share.map { $0 < 0.001 } == true)
    }
}
