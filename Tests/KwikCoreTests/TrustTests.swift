import Testing

@testable import KwikCore

private let one = ServerID(1)
private let two = ServerID(2)
private let start = Instant(nanoseconds: 1_000_000_000)

/// A record by reference, as `#expect` wants it.
private final class Record {
    var trust = Trust()

    /// Three streams end by mismatches. Returns the quarantine that the third brought.
    func spoil(_ server: ServerID, now: Instant) -> Interval? {
        let early = [trust.endedByMismatch(server, now: now), trust.endedByMismatch(server, now: now)]
        #expect(early == [nil, nil])
        return trust.endedByMismatch(server, now: now)
    }

    func isQuarantined(_ server: ServerID, now: Instant) -> Bool { trust.isQuarantined(server, now: now) }
}

@Suite struct TrustTests {
    @Test("The third stream that ends by mismatches quarantines, for a minute, and that server alone")
    func quarantine() {
        let trust = Record()
        #expect(trust.spoil(one, now: start) == .seconds(60))
        #expect(trust.isQuarantined(one, now: start + .milliseconds(59_999)))
        #expect(!trust.isQuarantined(one, now: start + .seconds(60)))
        #expect(!trust.isQuarantined(two, now: start))
    }

    @Test("Each further quarantine is twice as long, up to a day")
    func doubling() {
        let trust = Record()
        var now = start
        for minutes in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 1_440, 1_440] as [Int64] {
            #expect(trust.spoil(one, now: now) == .seconds(60 * minutes))
            now = now + .seconds(60 * minutes)
            #expect(!trust.isQuarantined(one, now: now))
        }
        for _ in 0..<80 { #expect(trust.spoil(one, now: now) == .seconds(86_400)) }
    }

    @Test("The score falls by a quarter, never below nothing, and comes back slowly, never above one")
    func score() throws {
        var trust = Trust()
        trust.servedWell(two)
        _ = trust.endedByMismatch(one, now: start)
        #expect(trust.report(now: start).map(\.score) == [1, 0.75])
        for _ in 0..<9 { _ = trust.endedByMismatch(one, now: start) }
        let fallen = try #require(trust.report(now: start).last)
        #expect(fallen.score == 0 && fallen.quarantinedUntil == start + .seconds(240))
        for _ in 0..<50 { trust.servedWell(one) }
        let risen = try #require(trust.report(now: start + .seconds(240)).last)
        #expect(abs(risen.score - 0.5) < 0.001 && risen.quarantinedUntil == nil)
    }
}
