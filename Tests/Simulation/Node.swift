internal import KwikCore

/// What both sides' drivers do alike: one turn after another, as the real driver does (receive, handle, carry
/// out, deadlines, pull, send), and the rules that a session has to keep toward its driver.
class Node {
    let world: World
    let name: String
    private(set) var actions: [Action] = []
    private(set) var paths: [PathID: Port] = [:]
    private(set) var order: [PathID] = []
    private var timer: Timer?
    private var isTurning = false
    private var isScheduled = false
    private var lost: [PathID] = []
    private var tap: Tap?
    private var everKnown: Set<PathID> = []
    var locals: [StreamID: Local] = [:]
    var dirty: [StreamID] = []

    final class Port {
        let connection: Connection
        var nextChannel: Int64
        /// Opened in this turn: bytes have to follow before it ends.
        var fresh: [Int64] = []
        init(_ connection: Connection, first: Int64) {
            self.connection = connection
            nextChannel = first
        }
    }

    init(_ world: World, name: String) {
        self.world = world
        self.name = name
        timer = Timer(world) { [weak self] in self?.turn() }
    }

    // What the session behind it does; each node has its own.

    func handle(_ input: Input, into actions: inout [Action]) {}
    func pull(_ path: PathID, room: Int, into actions: inout [Action]) {}
    func wantsToSend(_ path: PathID) -> Bool { false }
    var sessionDeadline: Instant? { nil }
    func readable(_ stream: StreamID, into slices: inout [ChunkSlice]) {}
    func room(_ stream: StreamID) -> SendWindow.Room { .none }
    func filled(_ stream: StreamID, _ count: Int, into actions: inout [Action]) {}
    func localWrote(_ stream: StreamID, _ count: Int) {}
    /// The next byte that `filled` tells of is urgent.
    func tellUrgent(_ stream: StreamID, into actions: inout [Action]) {}
    /// Whether what `readable` shows is one urgent byte.
    func isUrgent(_ stream: StreamID) -> Bool { false }
    var isClient: Bool { false }
    func carryOutLocal(_ action: Action) {}
    func happened(_ event: Event) {}
    func released(_ stream: StreamID) {}
    func pathIsGone(_ path: PathID) {}
    /// The first bytes of a channel that it opened.
    func opened(_ channel: ChannelID, with slice: ChunkSlice) {}
    /// What goes out in the slice's place; nil: the channel is broken off.
    func outgoing(_ slice: ChunkSlice, on channel: ChannelID) -> ChunkSlice? { slice }
    /// An item of a channel that the other side opened, all of them, or the code that ended it.
    func noticed(_ item: ChannelReader.Item, on channel: ChannelID) {}
    func noticedEnd(_ channel: ChannelID, code: UInt64?) {}
    func abandoning(_ channel: ChannelID, _ code: ErrorCode) {}
    func ending(_ path: PathID, _ code: ErrorCode) {}
    /// The first channel that this side opens on a path.
    var firstChannel: Int64 { 1 }

    /// Whether the far end of a local socket that is closed can be told from one that is shut down.
    var tellsClosed: Bool { true }

    /// What a call of the session's own asked for.
    func perform(_ list: [Action]) {
        actions += list
        carryOut()
        wake()
    }

    func markUrgent(_ stream: StreamID) {
        tellUrgent(stream, into: &actions)
        carryOut()
    }

    func fill(_ stream: StreamID, _ count: Int) {
        filled(stream, count, into: &actions)
        carryOut()
    }

    // MARK: Inputs

    func give(_ input: Input) {
        handle(input, into: &actions)
        carryOut()
        wake()
    }

    func wake() {
        guard !isTurning, !isScheduled else { return }
        isScheduled = true
        world.at(world.now) { [weak self] in
            self?.isScheduled = false
            self?.turn()
        }
    }

    func add(_ path: PathID, _ connection: Connection, _ traits: PathTraits) {
        paths[path] = Port(connection, first: firstChannel)
        order.append(path)
        everKnown.insert(path)
        world.trace(
            "\(name) path \(path.value) up to server \(traits.server.value) resumed=\(traits.resumed)")
        give(.pathUp(path, traits))
        // What the handshake has shown.
        give(.sample(path, connection.sample))
    }

    func receive(_ packet: Packet, on path: PathID) {
        guard let port = paths[path], port.connection.isOpen else { return }
        give(.heard(path))
        port.connection.receive(packet, now: world.now) { report($0, on: path) }
        if paths[path] != nil { give(.sample(path, port.connection.sample)) }
    }

    private func report(_ report: Connection.Report, on path: PathID) {
        switch report {
        case .received(let number, let slice, let finished):
            let channel = ChannelID(path: path, number: number)
            tapped(channel, slice, finished)
            unsafe give(.received(channel, slice.bytes, finished: finished))
        case .reset(let number, let code):
            world.trace("\(name) <- \(path.value)/\(number) reset \(code)")
            noticedEnd(ChannelID(path: path, number: number), code: code)
            give(.channelReset(ChannelID(path: path, number: number), code: code))
        case .closed(let number):
            tap?.closed(ChannelID(path: path, number: number))
            give(.channelClosed(ChannelID(path: path, number: number)))
        case .ended: lose(path)
        }
    }

    private func tapped(_ channel: ChannelID, _ slice: ChunkSlice, _ finished: Bool) {
        let tap =
            tap
            ?? Tap(world, name: name, parity: firstChannel & 1) { [weak self] in self?.noticed($0, on: $1) }
        self.tap = tap
        unsafe tap.received(channel, slice.bytes, finished: finished)
        if finished { noticedEnd(channel, code: nil) }
    }

    /// The connection is over: the session hears of it once.
    func lose(_ path: PathID) {
        guard let port = paths.removeValue(forKey: path) else { return }
        port.connection.vanish()
        order.removeAll { $0 == path }
        world.trace("\(name) path \(path.value) down")
        lost.append(path)
        pathIsGone(path)
        wake()
    }

    func close(_ path: PathID) {
        paths[path]?.connection.close(code: 0)
        lose(path)
    }

    /// The process ends: nothing is sent, nothing is heard.
    func vanish() {
        for path in order { paths[path]?.connection.vanish() }
        paths = [:]
        order = []
        lost = []
        for local in locals.values { local.socket.onEvent = {} }
        locals = [:]
        dirty = []
        timer?.arm(at: nil)
    }

    // MARK: The turn

    private func turn() {
        guard !isTurning, world.violation == nil else { return }
        isTurning = true
        for path in order { expire(path) }
        var again = true
        while again {
            again = false
            while !lost.isEmpty {
                give(.pathDown(lost.removeFirst()))
                again = true
            }
            if serveSockets() { again = true }
        }
        give(.tick)
        _ = serveSockets()
        for path in order { fill(path) }
        checkFresh()
        isTurning = false
        rearm()
        if !lost.isEmpty || !dirty.isEmpty { wake() }
    }

    private func expire(_ path: PathID) {
        guard let port = paths[path] else { return }
        port.connection.expire(now: world.now) { report($0, on: path) }
    }

    /// Sends what waits, and asks the session for more while the path has room.
    private func fill(_ path: PathID) {
        guard let port = paths[path] else { return }
        port.connection.flush(now: world.now)
        while port.connection.isOpen, wantsToSend(path) {
            let sample = port.connection.sample
            let rate = Double(sample.congestionWindow) / max(sample.srtt.seconds, 1e-6)
            let target = min(max(Int(rate * 0.020), 16_384), 131_072)
            let room = target - port.connection.unsent
            guard room > 0 else { return }
            let before = port.connection.unsent
            pull(path, room: room, into: &actions)
            carryOut()
            guard paths[path] != nil else { return }
            if port.connection.unsent - before > room + 40_000 {
                world.fail(
                    "\(name): pull gave \(port.connection.unsent - before) bytes for a room of \(room)")
            }
            let unsent = port.connection.unsent
            port.connection.flush(now: world.now)
            if unsent == before, port.connection.unsent == unsent { return }
        }
        port.connection.flush(now: world.now)
    }

    private func rearm() {
        var deadline = sessionDeadline ?? .never
        if deadline <= world.now {
            // A deadline that a tick leaves in the past would spin a real loop.
            deadline = world.now + .microseconds(100)
            spins += 1
            if spins > 10_000 { world.fail("\(name): a deadline stays in the past") }
        } else {
            spins = 0
        }
        for path in order {
            if let due = paths[path]?.connection.deadline { deadline = min(deadline, due) }
        }
        timer?.arm(at: deadline)
    }

    private var spins = 0

    private func checkFresh() {
        for path in order {
            guard let port = paths[path] else { continue }
            for number in port.fresh where !port.connection.hasBytes(number) {
                world.fail("\(name): channel \(number) was opened on path \(path.value) and nothing was sent")
            }
            port.fresh = []
        }
    }

    // MARK: Actions

    private func carryOut() {
        while !actions.isEmpty {
            let list = actions
            actions = []
            for action in list { carryOut(action) }
        }
    }

    private func carryOut(_ action: Action) {
        switch action {
        case .open(let channel): open(channel)
        case .send(let channel, let slice):
            guard let connection = sending(channel, "send") else { return }
            if slice.count == 0 { world.fail("\(name): an empty send on \(channel)") }
            let isOurs = channel.number & 1 == firstChannel & 1
            if isOurs, !connection.hasBytes(channel.number) { opened(channel, with: slice) }
            guard let slice = isOurs ? outgoing(slice, on: channel) : slice else {
                return connection.abandon(channel.number, code: ErrorCode.resourceLimit.rawValue)
            }
            connection.send(channel.number, slice)
        case .finish(let channel): sending(channel, "finish")?.finish(channel.number)
        case .abandon(let channel, let code):
            world.trace("\(name) abandon \(channel.path.value)/\(channel.number) \(code)")
            abandoning(channel, code)
            known(channel, "abandon")?.abandon(channel.number, code: code.rawValue)
        case .stop(let channel, let code): known(channel, "stop")?.stop(channel.number, code: code.rawValue)
        case .probe(let path): port(path, "probe")?.connection.probe()
        case .endPath(let path, let code):
            world.trace("\(name) endPath \(path.value) \(code)")
            ending(path, code)
            port(path, "endPath")?.connection.close(code: code.rawValue)
            lose(path)
        case .deliver(let stream), .accept(let stream): touch(stream)
        case .endLocal(let stream, let end): endLocal(stream, end)
        case .release(let stream): release(stream)
        case .event(let event):
            world.trace("\(name) \(event)")
            happened(event)
        case .opened, .offered, .connect, .setOption: carryOutLocal(action)
        }
    }

    private func open(_ channel: ChannelID) {
        guard let port = port(channel.path, "open") else { return }
        if channel.number != port.nextChannel {
            world.fail("\(name): opened channel \(channel.number), the next is \(port.nextChannel)")
        }
        port.nextChannel += 4
        port.fresh.append(channel.number)
        port.connection.open(channel.number)
    }

    /// Nil for a path that has gone in this very turn.
    private func port(_ path: PathID, _ what: String) -> Port? {
        if !everKnown.contains(path) { world.fail("\(name): \(what) on path \(path.value), which never was") }
        return paths[path]
    }

    private func known(_ channel: ChannelID, _ what: String) -> Connection? {
        guard let connection = port(channel.path, what)?.connection else { return nil }
        if !connection.knows(channel.number), !connection.wasClosed(channel.number) {
            world.fail(
                "\(name): \(what) on channel \(channel.number) of path \(channel.path.value), never opened")
        }
        return connection
    }

    private func sending(_ channel: ChannelID, _ what: String) -> Connection? {
        guard let connection = known(channel, what) else { return nil }
        if connection.wasClosed(channel.number) {
            world.fail("\(name): \(what) on channel \(channel.number), which is closed")
        } else if !connection.isReset(channel.number), connection.isFinished(channel.number) {
            world.fail("\(name): \(what) on channel \(channel.number) after its end")
        }
        return connection
    }
}
