import Testing

@testable import KwikCore

/// A membership by reference, with session ids of its own.
private final class Client {
    private var membership = Membership(session: SessionID(high: 0, low: 0))
    private(set) var drawn: UInt64 = 0

    var session: UInt64 { membership.session.low }
    var secret: [UInt8] { membership.joinSecret }

    private func draw() -> SessionID {
        drawn += 1
        return SessionID(high: 0, low: drawn)
    }
    func hello() -> Membership { membership.hello(draw: draw) }
    func accepted(_ shown: Membership, _ secret: [UInt8]) -> Bool {
        membership.accepted(shown, secret: secret)
    }
    func refused(_ shown: Membership, isUp: Bool = false) -> Bool {
        membership.refused(shown, isUp: isUp, draw: draw)
    }
}

@Suite struct MembershipTests {
    @Test("The first answer's secret is what further hellos show")
    func join() {
        let client = Client()
        let first = client.hello()
        #expect(first.joinSecret.isEmpty)
        #expect(client.accepted(first, [1]))
        let second = client.hello()
        #expect(second.session == first.session)
        #expect(second.joinSecret == [1])
        #expect(client.accepted(second, [1]))
        #expect(client.drawn == 0)
    }

    @Test("A session that was begun, and the answer lost, is given up")
    func lostAnswer() {
        let client = Client()
        let first = client.hello()
        let second = client.hello()
        #expect(second.session != first.session)
        #expect(!client.accepted(first, [1]))
        #expect(client.accepted(second, [2]))
        #expect(client.secret == [2])
    }

    @Test("A gateway started anew begins the session again under its id")
    func restart() {
        let client = Client()
        _ = client.accepted(client.hello(), [1])
        #expect(client.accepted(client.hello(), [2]))
        #expect(client.session == 0)
        #expect(client.hello().joinSecret == [2])
    }

    @Test("Where it has, and the answer is lost, the session is given up once no path is up")
    func restartUnheard() {
        let client = Client()
        _ = client.accepted(client.hello(), [1])
        #expect(client.refused(client.hello(), isUp: true))
        #expect(client.session == 0)
        #expect(client.refused(client.hello()))
        #expect(client.session == 1)
        #expect(client.secret.isEmpty)
    }

    @Test("A proof made before the session was begun again says nothing against it")
    func refusedLate() {
        let client = Client()
        _ = client.accepted(client.hello(), [1])
        let (one, other) = (client.hello(), client.hello())
        #expect(client.accepted(one, [2]))
        #expect(client.refused(other))
        #expect(client.session == 0)
        #expect(client.secret == [2])
    }

    @Test("An answer for a session that was given up since is not taken")
    func answerForWhatWasGivenUp() {
        let client = Client()
        _ = client.accepted(client.hello(), [1])
        let (one, other) = (client.hello(), client.hello())
        #expect(client.refused(other))
        #expect(!client.accepted(one, [2]))
        #expect(client.secret.isEmpty)
    }

    @Test("Nor is one by the process before, when the next has answered")
    func answerOfTheProcessBefore() {
        let client = Client()
        _ = client.accepted(client.hello(), [1])
        let (one, other) = (client.hello(), client.hello())
        #expect(client.accepted(one, [2]))
        #expect(!client.accepted(other, [1]))
        #expect(client.secret == [2])
    }

    @Test("A hello without a proof is refused for another reason")
    func noProof() {
        let client = Client()
        #expect(!client.refused(client.hello()))
        #expect(client.drawn == 0)
    }
}
