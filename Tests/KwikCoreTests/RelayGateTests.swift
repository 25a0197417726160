import Testing

@testable import KwikCore

private let start = Instant(nanoseconds: 1_000_000_000)

/// A gate by reference, as `#expect` wants it.
private final class Gate {
    private var gate = RelayGate(now: start)

    func admits(_ bytes: Int, isItsHost: Bool, port: UInt16, now: Instant) -> Bool {
        gate.admits(bytes, isItsHost: isItsHost, port: port, now: now)
    }
    func returns(_ bytes: Int, segment: Int, now: Instant) -> Int {
        gate.returns(bytes, segment: segment, now: now)
    }
    func isIdle(now: Instant) -> Bool { gate.isIdle(now: now) }
}

@Suite struct RelayGateTests {
    @Test("Only the control connection's host is heard, and of it only the first port")
    func port() {
        let gate = Gate()
        #expect(!gate.admits(1_200, isItsHost: false, port: 1, now: start))
        #expect(gate.admits(1_200, isItsHost: true, port: 2, now: start))
        #expect(!gate.admits(1_200, isItsHost: true, port: 1, now: start))
        #expect(!gate.admits(1_200, isItsHost: false, port: 2, now: start))
        #expect(gate.admits(1_200, isItsHost: true, port: 2, now: start))
    }

    @Test("Nothing goes to a client that has sent nothing")
    func silentClient() {
        let gate = Gate()
        #expect(gate.returns(1_200, segment: 1_200, now: start) == 0)
        #expect(!gate.admits(1_200, isItsHost: false, port: 1, now: start))
        #expect(gate.returns(1_200, segment: 1_200, now: start) == 0)
    }

    @Test("Three times of what came goes back, in whole datagrams, until the client answers")
    func amplification() {
        let gate = Gate()
        #expect(gate.admits(1_000, isItsHost: true, port: 1, now: start))
        #expect(gate.returns(1_200, segment: 1_200, now: start) == 1_200)
        #expect(gate.returns(6_000, segment: 600, now: start) == 1_800)
        #expect(gate.returns(1, segment: 1, now: start) == 0)
        #expect(gate.admits(40, isItsHost: true, port: 1, now: start))
        #expect(gate.returns(65_000, segment: 1_200, now: start) == 65_000)
    }

    @Test("Datagrams that repeat the first flight are no answer")
    func noAnswer() {
        let gate = Gate()
        #expect(gate.admits(1_200, isItsHost: true, port: 1, now: start))
        #expect(gate.admits(1_200, isItsHost: true, port: 1, now: start))
        #expect(gate.returns(100_000, segment: 1_200, now: start) == 7_200)
    }

    @Test("Sixty seconds without a datagram end it; those that are refused do not count")
    func expiry() {
        let gate = Gate()
        #expect(!gate.isIdle(now: start + .milliseconds(59_999)))
        let later = start + .seconds(30)
        #expect(gate.admits(1, isItsHost: true, port: 1, now: later))
        #expect(!gate.admits(1, isItsHost: true, port: 2, now: later + .seconds(59)))
        #expect(!gate.isIdle(now: later + .milliseconds(59_999)))
        #expect(gate.isIdle(now: later + .seconds(60)))
    }
}
