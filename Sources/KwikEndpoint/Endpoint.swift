public import KwikCore
public import KwikLinux
public import KwikTransport

/// The loop that engine and gateway share. One turn, always in this order:
///
/// 1. the event loop hands over what arrived: datagrams to links, readiness to local sockets;
/// 2. local sockets get what that brought for them;
/// 3. timers that are due: transports, then sessions;
/// 4. each session ends its turn (samples, tick);
/// 5. bytes are pulled from sessions for paths with room, and datagrams from transports, in batches;
/// 6. the timer is armed for the earliest deadline.
///
/// It holds no policy and parses no bytes.
@safe
public final class Endpoint {
    public let loop: EventLoop
    /// The instant of this turn of the loop, taken when it is first asked for. Other handlers (a program's,
    /// a timer's) run before the endpoint's own: they must not get the last turn's, which may be hours ago.
    public var now: Instant {
        if let instant { return instant }
        let taken = Clock.now()
        instant = taken
        return taken
    }
    private var instant: Instant?
    /// A datagram that no link knows: a client's first one, at a gateway.
    public var onUnknown: (UnsafeRawBufferPointer, SocketAddress, SocketAddress, UDPSocket) -> Void = {
        _, _, _, _ in
    }

    private var links: [PathLink] = []
    private var routes: [ConnectionID: PathLink] = [:]
    private var drivers: [SessionDriver] = []
    private var doors: [Door] = []
    /// Links with something to write.
    private var touched: [PathLink] = []
    /// Local sockets that stopped reading before they were empty, to be fair.
    private var unfinished: [LocalPump] = []
    /// Local sockets for which this turn has brought bytes.
    private var undelivered: [LocalPump] = []
    private var shaper: RateShaper?
    private var workMeter: WorkMeter?
    private var timer: LoopTimer?
    private var nextPath: UInt32 = 1
    /// For the services that compress: one for all, as all are on this thread.
    public lazy var codec: Codec = {
        workMeter = WorkMeter(idle: loop.idle, now: Clock.now())
        return .zstd()
    }()
    private var turnCount = 0
    private var out: UnsafeMutableRawBufferPointer
    let gathering = Gathering()

    /// One UDP socket with what it could not send yet.
    private final class Door {
        let socket: UDPSocket
        var watch: Watch?
        /// A client's path has its socket to itself, and no connection id.
        var link: PathLink?
        /// Datagrams that the socket's buffer had no room for, and where they go.
        var stalled: Stalled?

        init(socket: UDPSocket) { self.socket = socket }
    }

    private struct Stalled {
        var bytes: ChunkSlice
        var segment: Int
        var ecn: UInt8
        var to: SocketAddress
        var from: SocketAddress
    }

    private static let bufferSize = 65_536
    /// Batches received per wake-up and socket, and batches sent per path and turn.
    private static let receiveBatches = 16
    private static let sendBatches = 4

    /// - Parameter maximumRate: bytes per second that all paths together send at most.
    public init(loop: EventLoop, maximumRate: UInt64?) throws(Errno) {
        self.loop = loop
        unsafe out = .allocate(byteCount: Self.bufferSize, alignment: 64)
        shaper = maximumRate.map { RateShaper(rate: $0, now: Clock.now()) }
        timer = try loop.timer { [unowned self] in self.instant = nil }
        try loop.afterEvents { [unowned self] in self.turn() }
    }

    deinit { unsafe out.deallocate() }

    // MARK: Sockets and links

    /// Takes part in the loop from now on.
    public func add(_ socket: UDPSocket) throws(Errno) {
        let door = Door(socket: socket)
        doors.append(door)
        door.watch = try loop.watch(socket.fd, for: .readable) { [unowned self, unowned door] readiness in
            self.instant = nil
            if readiness.contains(.writable) { self.flushStalled(door) }
            self.receive(door)
        }
    }

    public func remove(_ socket: UDPSocket) {
        guard let index = doors.firstIndex(where: { $0.socket === socket }) else { return }
        doors[index].watch?.cancel()
        doors.remove(at: index)
    }

    public func makeDriver(_ door: SessionDoor) -> SessionDriver {
        let driver = SessionDriver(door: door, endpoint: self)
        drivers.append(driver)
        return driver
    }

    public func remove(_ driver: SessionDriver) { drivers.removeAll { $0 === driver } }

    /// A path over this connection, whose datagrams go through `socket`.
    public func makeLink(
        _ connection: QUICConnection, socket: UDPSocket, local: SocketAddress, remote: SocketAddress,
        isClient: Bool
    ) -> PathLink {
        let link = PathLink(
            id: PathID(nextPath), connection: connection, socket: socket, local: local, remote: remote,
            isClient: isClient, endpoint: self)
        nextPath += 1
        links.append(link)
        if isClient {
            doors.first { $0.socket === socket }?.link = link
        } else {
            for id in connection.sourceConnectionIDs { routes[id] = link }
            connection.onConnectionID = { [unowned self, unowned link] id, added in
                self.routes[id] = added ? link : nil
            }
        }
        touch(link)
        return link
    }

    /// Routes datagrams for this id to the link as well (a client's first choice of an id).
    public func route(_ id: ConnectionID, to link: PathLink) { routes[id] = link }

    func forget(_ link: PathLink) {
        links.removeAll { $0 === link }
        for door in doors where door.link === link { door.link = nil }
        link.connection.onConnectionID = nil
        for (id, target) in routes where target === link { routes[id] = nil }
    }

    public var linkCount: Int { links.count }

    func touch(_ link: PathLink) {
        if link.isTouched { return }
        link.isTouched = true
        touched.append(link)
    }

    func again(_ pump: LocalPump) { unfinished.append(pump) }

    func deliver(_ pump: LocalPump) { undelivered.append(pump) }

    // MARK: A turn

    private func receive(_ door: Door) {
        unsafe door.socket.receive(batches: Self.receiveBatches) { batch, segment, from, to, ecn in
            guard let remote = bytes(of: from), let local = bytes(of: to) else { return }
            if let link = door.link {
                unsafe link.received(batch, segment: segment, from: remote, to: local, ecn: ecn, now: now)
                touch(link)
                return
            }
            // The datagrams of a batch are nearly always of one connection.
            var rest = unsafe batch
            while rest.count > 0 {
                let first = unsafe UnsafeRawBufferPointer(rebasing: rest.prefix(segment))
                var taken = first.count
                if let id = unsafe ServerDoor.destination(of: first) {
                    if let link = routes[id] {
                        taken = unsafe ServerDoor.run(of: rest, segment: segment)
                        let run = unsafe UnsafeRawBufferPointer(rebasing: rest.prefix(taken))
                        unsafe link.received(
                            run, segment: segment, from: remote, to: local, ecn: ecn, now: now)
                        touch(link)
                    } else {
                        unsafe onUnknown(first, from, to, door.socket)
                    }
                }
                unsafe rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(taken))
            }
        }
    }

    private func bytes(of address: SocketAddress) -> SocketAddressBytes? {
        unsafe address.withSockaddr { pointer, length in
            unsafe SocketAddressBytes(UnsafeRawBufferPointer(start: pointer, count: Int(length)))
        }
    }

    private func turn() {
        instant = nil
        deliver()
        let pumps = unfinished
        unfinished = []
        for pump in pumps { pump.readable() }
        for link in links {
            if let due = link.connection.deadline, due <= now {
                link.expire(now: now)
                touch(link)
            }
        }
        if let share = workMeter?.share(idle: loop.idle, now: now) {
            for driver in drivers { driver.worked = share }
        }
        for driver in drivers { driver.turn(now: now) }
        deliver()
        write()
        arm()
        instant = nil
    }

    private func deliver() {
        while !undelivered.isEmpty {
            let pumps = undelivered
            undelivered = []
            for pump in pumps { pump.flush() }
        }
    }

    private func write() {
        instant = nil
        // Taking turns, so that with a rate limit no path starves the others.
        var round = touched
        touched = []
        for driver in drivers {
            for link in driver.links where !link.isTouched && driver.door.wantsToSend(link.id) {
                link.isTouched = true
                round.append(link)
            }
        }
        for link in round { link.isTouched = false }
        turnCount &+= 1
        for offset in round.indices {
            let link = round[(offset + turnCount) % round.count]
            if !link.isClosed, !write(link) { touch(link) }
        }
    }

    /// Returns whether the link has nothing more to write now.
    private func write(_ link: PathLink) -> Bool {
        for _ in 0..<Self.sendBatches {
            if let driver = link.driver { driver.pull(link, room: room(link)) }
            guard !link.isClosed, isOpen(link.socket) else { return link.isClosed }
            let limit = shaper?.available(now: now) ?? Int.max
            guard limit > 0 else { return false }
            do throws(TransportError) {
                let batch = try unsafe link.connection.write(into: out, limit: limit, now: now)
                if batch.count == 0 { return true }
                unsafe send(UnsafeRawBufferPointer(rebasing: out[..<batch.bytes]), batch, link)
            } catch {
                link.ended(error)
                return true
            }
        }
        return false
    }

    /// What a session may queue on a path now: what the congestion window has room for, and 20 ms more, so
    /// that later blocks are not begun and there is something to carve (protocol.md §5).
    private func room(_ link: PathLink) -> Int {
        let sample = link.connection.sample
        var rate = Double(sample.congestionWindow) / max(sample.srtt.seconds, 0.000_1)
        var window = Double(sample.congestionWindow - min(sample.inFlight, sample.congestionWindow))
        if let shaper {
            rate = min(rate, Double(shaper.rate))
            window = min(window, rate * RateShaper.burst.seconds)
        }
        let ahead = min(max(rate * Self.queueTime.seconds, 16_384), 131_072)
        return Int(window + ahead) - link.connection.unsent
    }

    private static let queueTime = Interval.milliseconds(20)

    private func arm() {
        var earliest = Instant.never
        for link in links {
            guard var due = link.connection.deadline else { continue }
            // With nothing to send, the pacer's next instant is of no use, and the other timers are not that
            // exact: without this every packet would wake the loop once more.
            if link.connection.unsent == 0 { due = max(due, now + Self.timerSlack) }
            earliest = min(earliest, due)
        }
        for driver in drivers {
            if let due = driver.door.deadline() { earliest = min(earliest, due) }
        }
        if !unfinished.isEmpty { earliest = now }
        let ready = touched.contains { isOpen($0.socket) }
        if ready { earliest = min(earliest, shaper?.instant(for: Self.shapedBatch) ?? now) }
        timer?.arm(at: earliest)
    }

    private static let timerSlack = Interval.milliseconds(1)

    /// Under a rate limit, so many bytes are waited for, rather than waking up for each datagram.
    private static let shapedBatch = 6_000

    // MARK: Sending

    private func isOpen(_ socket: UDPSocket) -> Bool {
        doors.first { $0.socket === socket }.map { $0.stalled == nil } ?? false
    }

    private func send(_ bytes: UnsafeRawBufferPointer, _ batch: Batch, _ link: PathLink) {
        shaper?.spend(batch.bytes)
        link.follow(batch.remote)
        let result = unsafe link.socket.send(
            bytes, segment: batch.segment, to: link.remote, ecn: batch.ecn, from: link.local)
        guard case .wouldBlock(let sent) = result,
            let door = doors.first(where: { $0.socket === link.socket })
        else { return }
        let rest = unsafe ChunkSlice(copying: UnsafeRawBufferPointer(rebasing: bytes[sent...]))
        door.stalled = Stalled(
            bytes: rest, segment: batch.segment, ecn: batch.ecn, to: link.remote, from: link.local)
        door.watch?.set([.readable, .writable])
    }

    private func flushStalled(_ door: Door) {
        guard var stalled = door.stalled else { return }
        let result = unsafe door.socket.send(
            stalled.bytes.bytes, segment: stalled.segment, to: stalled.to, ecn: stalled.ecn,
            from: stalled.from)
        if case .wouldBlock(let sent) = result {
            stalled.bytes.removeFirst(sent)
            door.stalled = stalled
        } else {
            door.stalled = nil
            door.watch?.set(.readable)
        }
    }

    /// One datagram outside any connection (version negotiation, Retry, reset).
    public func reply(
        _ bytes: UnsafeRawBufferPointer, to remote: SocketAddress, from local: SocketAddress,
        through socket: UDPSocket
    ) {
        shaper?.spend(bytes.count)
        _ = unsafe socket.send(bytes, segment: bytes.count, to: remote, ecn: 0, from: local)
    }

    // MARK: What others send from this process

    /// Bytes that may be sent now under the process's rate limit.
    public var allowance: Int { shaper?.available(now: now) ?? .max }

    public func spend(_ bytes: Int) { shaper?.spend(bytes) }

    /// When so many bytes may be sent at once.
    public func instant(for bytes: Int) -> Instant { shaper?.instant(for: bytes) ?? now }

    func sendClose(_ link: PathLink, code: ErrorCode, reason: String) {
        let batch = unsafe link.connection.close(code: code.rawValue, reason: reason, into: out, now: now)
        guard batch.count > 0, isOpen(link.socket) else { return }
        unsafe send(UnsafeRawBufferPointer(rebasing: out[..<batch.bytes]), batch, link)
    }

    /// Ends every connection with this code; for a process that stops.
    public func closeAll(_ code: ErrorCode, reason: String) {
        for link in links { link.close(code, reason: reason) }
    }
}
