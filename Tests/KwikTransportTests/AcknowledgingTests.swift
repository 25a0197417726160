import KwikCore
import Testing

@testable import KwikTransport

/// How long acknowledgements wait for further datagrams.
@Suite struct AcknowledgingTests {
    private static let srtt = Interval.milliseconds(20)

    /// As many datagrams as an acknowledgement waited for, one after the other until `end`. One comes each
    /// `gap`.
    private func waits(
        _ acknowledging: inout Acknowledging, every gap: Interval, from start: Instant, until end: Instant,
        srtt: Interval = srtt
    ) -> [Int] {
        var counts: [Int] = []
        var count = 0
        var now = start
        while now < end {
            acknowledging.came(1, now: now)
            count += 1
            if count >= Acknowledging.least, !acknowledging.wait(srtt: srtt, now: now) {
                acknowledging.stopWaiting()
                counts.append(count)
                count = 0
            }
            now = now + gap
        }
        return counts
    }

    private func fresh() -> Acknowledging { Acknowledging(most: 8, longest: .milliseconds(10)) }

    @Test func `an eighth of what comes in a round trip is waited for, two to begin with`() {
        var acknowledging = fresh()
        let start = Instant(nanoseconds: 1_000_000_000)
        let (second, third) = (start + Self.srtt, start + Self.srtt * 2)
        // 10 in the first round trip, 40 in the second, 100 in each of those that follow.
        let first = waits(&acknowledging, every: .milliseconds(2), from: start, until: second)
        #expect(first == [2, 2, 2, 2, 2])
        let then = waits(&acknowledging, every: .microseconds(500), from: second, until: third)
        #expect(then.first == 2 && then.max() == 4)
        _ = waits(&acknowledging, every: .microseconds(200), from: third, until: third + Self.srtt)
        let bulk = waits(
            &acknowledging, every: .microseconds(200), from: third + Self.srtt, until: third + Self.srtt * 5)
        #expect(bulk.dropFirst().allSatisfy { $0 == 8 })
        let later = start + .seconds(1)
        let again = waits(&acknowledging, every: .milliseconds(2), from: later, until: later + Self.srtt)
        #expect(again == [2, 2, 2, 2, 2])
    }

    @Test func `nothing waits for longer than an eighth of the round trip or than was promised`() {
        for (srtt, longest) in [(Self.srtt, Interval.microseconds(2_500)), (.seconds(1), .milliseconds(10))] {
            var acknowledging = fresh()
            let now = Instant(nanoseconds: 1_000_000_000)
            acknowledging.came(100, now: now)
            let many = acknowledging.wait(srtt: srtt, now: now)
            acknowledging.stopWaiting()
            acknowledging.came(2, now: now)
            let few = acknowledging.wait(srtt: srtt, now: now)
            #expect(!many && few)
            #expect(acknowledging.due == now + longest)
            let later = acknowledging.wait(srtt: srtt, now: now + longest)
            #expect(!later && acknowledging.due == nil)
        }
    }

    @Test func `a datagram that the library lets wait is counted with the next`() {
        var acknowledging = fresh()
        let now = Instant(nanoseconds: 1_000_000_000)
        acknowledging.came(64, now: now)
        acknowledging.stopWaiting()
        for count in 1...8 {
            acknowledging.came(1, now: now)
            let isHeld = acknowledging.wait(srtt: Self.srtt, now: now)
            if !isHeld { acknowledging.stopWaiting() }
            #expect(isHeld == (2..<8).contains(count))
        }
    }

    @Test func `the shortest paths wait for what comes in a millisecond`() {
        var acknowledging = fresh()
        let start = Instant(nanoseconds: 1_000_000_000)
        let counts = waits(
            &acknowledging, every: .microseconds(2), from: start, until: start + .milliseconds(10),
            srtt: .microseconds(160))
        #expect(counts.dropFirst(20).allSatisfy { $0 >= 8 })
    }

    private func sent(_ end: End) -> Int { end.batches.reduce(0) { $0 + $1.count } }

    @Test func `the first datagrams are acknowledged at once and those of a long answer by eights`() throws {
        let pair = try Pair()
        try pair.handshake()
        let server = try #require(pair.server.connection)
        try pair.run(for: .seconds(1))
        _ = try server.transmit(pattern(40 << 20, salt: 0))
        try #require(try pair.run { !pair.client.order.isEmpty })
        #expect(pair.client.sent[pair.now] != nil)
        try pair.run(for: .milliseconds(100))
        pair.server.batches = []
        pair.client.batches = []
        try pair.run(for: .milliseconds(100))
        #expect(sent(pair.server) > 500)
        #expect(sent(pair.client) <= sent(pair.server) / 7)
    }

    @Test func `what a program asks for does not wait with the acknowledgements`() throws {
        let pair = try Pair()
        try pair.handshake()
        let (client, server) = try (#require(pair.client.connection), #require(pair.server.connection))
        let stream = try server.transmit(pattern(40 << 20, salt: 0))
        try pair.run(for: .milliseconds(100))
        try #require(try pair.run(for: .milliseconds(100)) { client.acknowledging.due != nil })
        let now = pair.now
        let before = pair.client.sent[now, default: 0]
        client.stopSending(stream, code: 7)
        try pair.run(for: .zero)
        #expect(pair.client.sent[now, default: 0] > before)
    }
}
