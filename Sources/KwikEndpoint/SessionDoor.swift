public import KwikCore

/// What the endpoint needs of a session, the client's or the gateway's alike.
public struct SessionDoor {
    public var handle: (Input, Instant, inout [Action]) -> Void
    public var deadline: () -> Instant?
    public var pull: (PathID, _ room: Int, Instant, inout [Action]) -> Void
    public var wantsToSend: (PathID) -> Bool
    public var room: (StreamID) -> SendWindow.Room
    public var filled: (StreamID, _ count: Int, Instant, inout [Action]) -> Void
    public var readable: (StreamID, inout [ChunkSlice]) -> Void
    /// The next byte from the local socket is urgent; the next one for it is.
    public var urgent: (StreamID, inout [Action]) -> Void
    public var isUrgent: (StreamID) -> Bool

    public init(_ session: ClientSession) {
        handle = { session.handle($0, now: $1, into: &$2) }
        deadline = { session.deadline }
        pull = { session.pull($0, room: $1, now: $2, into: &$3) }
        wantsToSend = { session.wantsToSend($0) }
        room = { session.room($0) }
        filled = { session.filled($0, count: $1, now: $2, into: &$3) }
        readable = { session.readable($0, into: &$1) }
        urgent = { session.urgent($0, into: &$1) }
        isUrgent = { session.isUrgent($0) }
    }

    public init(_ session: GatewaySession) {
        handle = { session.handle($0, now: $1, into: &$2) }
        deadline = { session.deadline }
        pull = { session.pull($0, room: $1, now: $2, into: &$3) }
        wantsToSend = { session.wantsToSend($0) }
        room = { session.room($0) }
        filled = { session.filled($0, count: $1, now: $2, into: &$3) }
        readable = { session.readable($0, into: &$1) }
        urgent = { session.urgent($0, into: &$1) }
        isUrgent = { session.isUrgent($0) }
    }
}
