import Testing

@testable import KwikCore

@Suite struct ErrorClassTests {
    @Test("Every code has the class that protocol.md §9 means")
    func classes() {
        let table: [(ErrorCode, ErrorClass)] = [
            (.none, .transient), (.protocolViolation, .fatal), (.internalError, .path),
            (.refusedByPolicy, .security), (.unauthenticated, .security), (.unknownService, .server),
            (.backendUnreachable, .server), (.flowControl, .path), (.integrity, .security),
            (.draining, .transient), (.resourceLimit, .resource), (.reattached, .transient),
        ]
        #expect(table.map(\.0.rawValue) == Array(0...11))
        for (code, errorClass) in table { #expect(code.errorClass == errorClass) }
    }

    @Test("What passes by itself is tried again soon; what does not is left alone for long")
    func attempts() {
        let soon = ErrorClass.allCases.filter { $0.recovery.attempt == .backingOff }
        #expect(soon == [.transient, .path, .resource])
    }

    @Test("Only where another channel may fare better is a stream asked for again")
    func askedAgain() {
        #expect(ErrorClass.allCases.filter(\.recovery.asksAgain) == [.transient, .path])
    }

    @Test("Security and misfits are somebody's to look at")
    func alerts() {
        #expect(ErrorClass.allCases.filter(\.recovery.isAlert) == [.security, .fatal])
    }

    @Test("A number from a later version is the peer's own affair")
    func unknown() {
        #expect(ErrorCode(told: 4) == .unauthenticated)
        #expect(ErrorCode(told: 12) == .internalError && ErrorCode(told: .max) == .internalError)
    }

    @Test("A stream that is refused by policy is not asked for again, one on a bad channel is")
    func refusals() throws {
        for (code, again) in [(ErrorCode.refusedByPolicy, false), (.none, true), (.internalError, true)] {
            let world = ClientWorld()
            world.up()
            let stream = try world.open()
            let own = try world.main()
            world.handle(.channelReset(own, code: code.rawValue))
            #expect((world.answers[stream] == nil) == again)
            #expect(world.released.isEmpty == again)
            let told = world.events.contains(.channelFailed(own, stream, code))
            #expect(told == (code != .none))
        }
    }
}
