public import KwikCore

/// Pairs requests with their replies by message id, and gives up on those that stay unanswered.
///
/// `Context` is what the asker wants back with the reply or the time-out.
public struct RequestTable<Context> {
    private struct Pending {
        var id: UInt64
        var context: Context
        var deadline: Instant
    }

    /// In the order of sending; few at a time, hence an array.
    private var pending: [Pending] = []
    private var nextID: UInt64 = 1
    private let capacity: Int

    /// `capacity`: requests that may be unanswered at once.
    public init(capacity: Int = 256) {
        precondition(capacity > 0, "a table that holds nothing")
        self.capacity = capacity
    }

    public var count: Int { pending.count }

    /// The message to send, with the next id filled in; nil when too many are unanswered. It waits for its
    /// reply for `timeout`, or the header's time to live if that is shorter.
    public mutating func request(
        _ payload: KCPPayload, header: MessageHeader = MessageHeader(), context: Context, timeout: Interval,
        now: Instant
    ) -> KCPMessage? {
        precondition(!payload.isReply, "a reply is not a request")
        guard pending.count < capacity else { return nil }
        var header = header
        header.messageID = nextID
        nextID += 1
        var wait = timeout
        if header.timeToLiveSeconds > 0 { wait = min(wait, .seconds(Int64(header.timeToLiveSeconds))) }
        pending.append(Pending(id: header.messageID, context: context, deadline: now + wait))
        return KCPMessage(payload, header: header)
    }

    /// What the request that `message` answers was sent with; nil if it answers none (it came too late,
    /// twice, or is no reply).
    public mutating func take(replyTo message: KCPMessage) -> Context? {
        guard message.payload.isReply,
            let index = pending.firstIndex(where: { $0.id == message.header.messageID })
        else { return nil }
        return pending.remove(at: index).context
    }

    /// When the first request times out.
    public var deadline: Instant? { pending.map(\.deadline).min() }

    /// Removes and returns, in the order of sending, what has timed out.
    public mutating func expire(now: Instant) -> [Context] {
        let late = pending.filter { $0.deadline <= now }.map(\.context)
        if !late.isEmpty { pending.removeAll { $0.deadline <= now } }
        return late
    }
}

/// Received messages that wait for their turn: the most urgent first, equals as they came; one whose time to
/// live passes while it waits is dropped.
public struct MessageQueue {
    private struct Waiting {
        var message: KCPMessage
        var expiry: Instant
    }

    private var waiting: [Waiting] = []
    private let capacity: Int

    public init(capacity: Int = 256) {
        precondition(capacity > 0, "a queue that holds nothing")
        self.capacity = capacity
    }

    public var isEmpty: Bool { waiting.isEmpty }

    /// False when the queue is full: the peer asks faster than it is served.
    public mutating func push(_ message: KCPMessage, now: Instant) -> Bool {
        guard waiting.count < capacity else { return false }
        let seconds = message.header.timeToLiveSeconds
        let expiry = seconds == 0 ? Instant.never : now + .seconds(Int64(seconds))
        waiting.append(Waiting(message: message, expiry: expiry))
        return true
    }

    public mutating func pop(now: Instant) -> KCPMessage? {
        waiting.removeAll { $0.expiry <= now }
        var best: Int?
        for index in waiting.indices {
            guard let leader = best else {
                best = index
                continue
            }
            if waiting[leader].message.header.priority < waiting[index].message.header.priority {
                best = index
            }
        }
        return best.map { waiting.remove(at: $0).message }
    }
}
