/// Which session the next path to a server joins, and what shows that it comes from the same client
/// (protocol.md §2).
///
/// The first hello begins the session, and its answer brings the join secret that every further one is proved
/// with. A gateway that has lost the session, as one that was started anew, begins it again under its id with
/// a new secret. Where the answer that brings a secret is lost, the session is of no more use: the gateway
/// has it, and we have no proof to show.
///
/// A value: what a hello shows is a copy, which its answer is compared with.
public struct Membership: Sendable {
    public private(set) var session: SessionID
    /// Empty: the next hello begins the session. Secret: never logged.
    public private(set) var joinSecret: [UInt8] = []
    /// A hello that begins it is sent.
    private var isBegun = false

    public init(session: SessionID) { self.session = session }

    /// What the next hello shows.
    /// - Parameter draw: a session id that was never used before.
    public mutating func hello(draw: () -> SessionID) -> Membership {
        if joinSecret.isEmpty {
            if isBegun { self = Membership(session: draw()) }
            isBegun = true
        }
        return self
    }

    /// The gateway has accepted a hello that showed `shown`.
    /// - Parameter secret: the session's, of which it tells.
    /// - Returns: false where it speaks of another session than was learnt of since: by a process that is no
    ///   more, or under an id that was given up. Its path leads nowhere.
    public mutating func accepted(_ shown: Membership, secret: [UInt8]) -> Bool {
        guard shown.session == session, secret == joinSecret || shown.joinSecret == joinSecret else {
            return false
        }
        joinSecret = secret
        return true
    }

    /// The gateway does not take the proof of a hello that showed `shown`.
    /// - Parameters:
    ///   - isUp: another path to the server is up. It knows better, or is found dead soon.
    ///   - draw: a session id that was never used before.
    /// - Returns: whether another hello may do better. One without a proof is refused for another reason.
    public mutating func refused(_ shown: Membership, isUp: Bool, draw: () -> SessionID) -> Bool {
        if shown.joinSecret.isEmpty { return false }
        let isLatest = shown.session == session && shown.joinSecret == joinSecret
        if isLatest, !isUp { self = Membership(session: draw()) }
        return true
    }
}
