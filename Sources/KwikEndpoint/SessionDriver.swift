public import KwikCore
internal import KwikTransport

/// Carries out what one session asks for, on its paths; what concerns local sockets goes to its role.
public final class SessionDriver {
    public let door: SessionDoor
    public private(set) var links: [PathLink] = []
    /// Actions about streams and events: the role's part.
    public var role: (Action) -> Void = { _ in }
    unowned let endpoint: Endpoint
    private var queue: [Action] = []
    private var draining = false
    /// Something happened since the last turn.
    private(set) var touched = true
    /// The share of the last while in which the loop had work to do, until the session is told.
    var worked: Double?

    init(door: SessionDoor, endpoint: Endpoint) {
        self.door = door
        self.endpoint = endpoint
    }

    public var now: Instant { endpoint.now }

    /// The hello on this link was accepted: its channels are the session's.
    public func adopt(_ link: PathLink, traits: PathTraits) {
        links.append(link)
        link.driver = self
        input(.pathUp(link.id, traits))
        input(.sample(link.id, link.connection.sample))
    }

    /// The link is gone.
    func lost(_ link: PathLink) {
        links.removeAll { $0 === link }
        input(.pathDown(link.id))
    }

    /// Inputs that come while actions are carried out add to the same queue, so that order is kept.
    public func input(_ input: Input) {
        touched = true
        door.handle(input, endpoint.now, &queue)
        drain()
    }

    /// The local socket gave `count` bytes into `room`.
    public func filled(_ stream: StreamID, count: Int) {
        touched = true
        door.filled(stream, count, endpoint.now, &queue)
        drain()
    }

    /// The next byte that the local socket gives is urgent.
    func urgent(_ stream: StreamID) {
        touched = true
        door.urgent(stream, &queue)
        drain()
    }

    /// Lets the role call the session with the queue.
    public func call<Result>(_ body: (Instant, inout [Action]) -> Result) -> Result {
        touched = true
        let result = body(endpoint.now, &queue)
        drain()
        return result
    }

    private func drain() {
        if draining { return }
        draining = true
        var index = 0
        while index < queue.count {
            let action = queue[index]
            index += 1
            perform(action)
        }
        queue.removeAll(keepingCapacity: true)
        draining = false
    }

    private func perform(_ action: Action) {
        switch action {
        case .open(let channel): link(channel.path)?.open(channel.number)
        case .send(let channel, let slice): link(channel.path)?.send(channel.number, slice)
        case .finish(let channel): link(channel.path)?.finish(channel.number)
        case .abandon(let channel, let code): link(channel.path)?.abandon(channel.number, code)
        case .stop(let channel, let code): link(channel.path)?.stop(channel.number, code)
        case .probe(let path): link(path)?.probe()
        case .endPath(let path, let code): link(path)?.close(code, reason: "ended by the session")
        case .deliver, .accept, .opened, .offered, .connect, .endLocal, .release, .setOption, .event:
            role(action)
        }
    }

    private func link(_ id: PathID) -> PathLink? { links.first { $0.id == id } }

    /// The end of a turn: samples, time-driven decisions.
    func turn(now: Instant) {
        guard touched || (door.deadline().map { $0 <= now } ?? false) else { return }
        touched = false
        if let share = worked {
            worked = nil
            input(.worked(share))
        }
        for link in links where link.heard {
            link.heard = false
            input(.sample(link.id, link.connection.sample))
            input(.heard(link.id))
        }
        input(.tick)
        touched = false
    }

    /// Bytes for one path.
    func pull(_ link: PathLink, room: Int) {
        guard room > 0, door.wantsToSend(link.id) else { return }
        door.pull(link.id, room, endpoint.now, &queue)
        drain()
    }
}
