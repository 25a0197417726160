internal import Glibc
public import KwikCore
public import KwikLinux

/// Where programs under the shim ask: engine.sock, one conversation for each call that needs an answer.
///
/// The shim is taken for hostile: it is whatever the program made of it. Only this user's processes are
/// heard; everything they send is limited and checked; they can harm nobody's connections but their own
/// user's.
public final class ProgramDoor {
    public enum Limits {
        /// Open conversations; each lasts microseconds.
        public static let conversations = 256
        public static let conversationsOfProcess = 64
        /// After this a conversation is cut off, unless the door was told otherwise.
        public static let conversationTime = Interval.seconds(1)
        /// More connects than this go native. Each holds two descriptors, three while it is pending.
        public static let connections = 8_192
        /// Failed connects whose errno and socket are kept for the program to ask for, and how long. Beyond
        /// that the program sees ECONNRESET and gets a new socket.
        public static let failed = 256
        public static let failedTime = Interval.seconds(60)
        /// While no descriptor is free, the door waits so long before it accepts again.
        public static let acceptPause = Interval.milliseconds(100)
    }

    let loop: EventLoop
    private let listener: Int32
    private let uid: UInt32
    private let namespace: UInt64
    private let conversationTime: Interval
    private let log: (String) -> Void
    private let decide: (ConnectRequest) -> Verdict
    private let connected: (ProgramConnection) -> Void
    private var watch: Watch?
    private var timer: LoopTimer?
    private var resumeAt: Instant?
    private var conversations: [Int32: Conversation] = [:]
    /// By the cookie of the program's end.
    private var connections: [UInt64: ProgramConnection] = [:]
    /// The cookie of T → that of the program's end.
    private var originals: [UInt64: UInt64] = [:]
    /// Oldest first.
    private var failed: [(until: Instant, id: UInt64)] = []

    /// `listener`: a listening SEQPACKET socket, taken over. `log` is told what is worth a line and never
    /// data. `decide` is asked once for each connect that could be served; `connected` gets each that then
    /// is, pending, and keeps it. A conversation is cut off after `conversationTime`.
    public init(
        loop: EventLoop, listener: Int32, conversationTime: Interval = Limits.conversationTime,
        log: @escaping (String) -> Void,
        decide: @escaping (ConnectRequest) -> Verdict, connected: @escaping (ProgramConnection) -> Void
    ) throws(Errno) {
        self.loop = loop
        self.listener = listener
        self.conversationTime = conversationTime
        self.log = log
        self.decide = decide
        self.connected = connected
        uid = geteuid()
        let probe = try UnixSocket.pair(.stream)
        defer {
            Descriptor.close(probe.0)
            Descriptor.close(probe.1)
        }
        namespace = try UnixSocket.namespaceCookie(probe.0)
        timer = try loop.timer { [unowned self] in self.sweep() }
        watch = try loop.watch(listener, for: .readable) { [unowned self] _ in self.accept() }
    }

    deinit { close() }

    /// Takes no more connects; programs see their connections reset.
    public func close() {
        guard watch != nil else { return }
        watch?.cancel()
        watch = nil
        timer?.cancel()
        timer = nil
        Descriptor.close(listener)
        for conversation in conversations.values { conversation.hangUp() }
        conversations = [:]
        for connection in connections.values { connection.close(.aborted(errno: ECONNRESET)) }
        connections = [:]
        originals = [:]
    }

    /// Connections that programs hold or are about to.
    public var count: Int { connections.count - failed.count }

    // MARK: Conversations

    private func accept() {
        do throws(Errno) {
            while let fd = try UnixSocket.accept(listener) { welcome(fd) }
        } catch {
            guard [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(error.code) else { return }
            watch?.set([])
            resumeAt = Clock.now() + Limits.acceptPause
            armTimer()
        }
    }

    private func welcome(_ fd: Int32) {
        guard let credentials = try? UnixSocket.peerCredentials(fd), credentials.uid == uid else {
            log("a process of another user knocked")
            return Descriptor.close(fd)
        }
        let ofProcess = conversations.values.count { other in other.credentials.pid == credentials.pid }
        guard conversations.count < Limits.conversations, ofProcess < Limits.conversationsOfProcess else {
            log("too many conversations, the last of process \(credentials.pid)")
            return Descriptor.close(fd)
        }
        do throws(Errno) {
            let until = Clock.now() + conversationTime
            conversations[fd] = try Conversation(
                door: self, descriptor: fd, credentials: credentials, until: until)
            armTimer()
        } catch {
            Descriptor.close(fd)
        }
    }

    func ended(_ conversation: Conversation) {
        conversations[conversation.descriptor] = nil
        conversation.hangUp()
    }

    func malformed(_ conversation: Conversation, _ error: ProtocolError) {
        log("process \(conversation.credentials.pid) breaks the local protocol: \(error)")
        ended(conversation)
    }

    // MARK: Time

    private func armTimer() {
        let next = conversations.values.map(\.until).min() ?? .never
        timer?.arm(at: min(next, failed.first?.until ?? .never, resumeAt ?? .never))
    }

    private func sweep() {
        let now = Clock.now()
        for conversation in conversations.values where conversation.until <= now { ended(conversation) }
        while let oldest = failed.first, oldest.until <= now { forgetOldestFailed() }
        if let resume = resumeAt, resume <= now {
            resumeAt = nil
            watch?.set(.readable)
        }
        armTimer()
    }

    private func forgetOldestFailed() {
        let id = failed.removeFirst().id
        if let connection = connections[id] { remove(connection) }
    }

    // MARK: Connections

    func forget(_ connection: ProgramConnection) { remove(connection) }

    func keepFailed(_ connection: ProgramConnection) {
        if failed.count >= Limits.failed { forgetOldestFailed() }
        failed.append((Clock.now() + Limits.failedTime, connection.id))
        armTimer()
    }

    private func remove(_ connection: ProgramConnection) {
        connections[connection.id] = nil
        if originals[connection.shadow.cookie] == connection.id { originals[connection.shadow.cookie] = nil }
        failed.removeAll { entry in entry.id == connection.id }
    }

    /// A reply and the descriptor that goes with it.
    struct Answer {
        var reply: Reply
        /// Stays its connection's.
        var lent: Int32?
        /// The receiver of the answer closes it.
        var surrendered: Int32?
    }

    private enum Offer {
        case native(NativeReason?)
        case busy(Int32)
        case taken(ProgramConnection)
    }

    /// CONNECT. Takes T over.
    func connect(_ conversation: Conversation, _ request: Request, original: Int32) -> Answer {
        guard let destination = request.destination else {
            Descriptor.close(original)
            return Answer(reply: Reply(kind: .connect, state: .native))
        }
        switch offer(conversation, request, destination, original) {
        case .busy(let errno):
            return Answer(reply: Reply(kind: .connect, state: .busy, error: errno))
        case .native(let reason):
            let pid = conversation.credentials.pid
            if let reason { log("native: \(destination) for process \(pid): \(reason)") }
            return Answer(reply: Reply(kind: .connect, state: .native))
        case .taken(let connection):
            connections[connection.id] = connection
            originals[connection.shadow.cookie] = connection.id
            conversation.offered = connection
            return Answer(reply: Reply(kind: .connect, state: .taken), lent: connection.handedOver)
        }
    }

    private func offer(
        _ conversation: Conversation, _ request: Request, _ destination: SocketAddress, _ original: Int32
    ) -> Offer {
        if let cookie = try? UnixSocket.cookie(original), let id = originals[cookie],
            let other = connections[id]
        {
            Descriptor.close(original)
            return .busy(other.state == .connected ? EISCONN : EALREADY)
        }
        guard connections.count < Limits.connections else {
            Descriptor.close(original)
            return .native(.tooMany)
        }
        do throws(NativeReason) {
            let shadow = try Shadow(taking: original, destination: destination, namespace: namespace)
            let credentials = conversation.credentials
            let question = ConnectRequest(
                destination: destination, pid: credentials.pid, uid: credentials.uid,
                options: shadow.snapshot, binding: shadow.binding)
            guard decide(question) == .serve else { return .native(nil) }
            do throws(Errno) {
                return .taken(try ProgramConnection(
                    shadow: shadow, credentials: credentials, isBlocking: request.flags.contains(.blocking),
                    door: self))
            } catch {
                throw .noDescriptors(error)
            }
        } catch {
            return .native(error)
        }
    }

    /// SWAPPED: only now may a backend be opened.
    func swapped(_ connection: ProgramConnection) {
        connection.swapped()
        connected(connection)
    }

    /// The conversation ended before SWAPPED: the program went native.
    func declined(_ connection: ProgramConnection) { connection.release() }

    /// Everything else is about a descriptor that the program sent along, which we close.
    func answer(_ request: Request, about descriptor: Int32) -> Answer {
        defer { Descriptor.close(descriptor) }
        let cookie = try? UnixSocket.cookie(descriptor)
        guard let connection = cookie.flatMap({ connections[$0] }), connection.state != .offered else {
            return Answer(reply: Reply(kind: request.kind, state: .unknown))
        }
        switch request.kind {
        case .status:
            var reply = status(connection, request.flags)
            if request.flags.contains(.mark) { reply.queued = connection.isAtMark(descriptor) ? 1 : 0 }
            return Answer(reply: reply)
        case .getOption: return Answer(reply: getOption(connection, request))
        case .setOption:
            let reply = setOption(connection, request)
            if request.level == SOL_SOCKET, [SO_SNDBUF, SO_RCVBUF].contains(request.name), reply.error == 0 {
                connection.obeyBuffers(of: descriptor)
            }
            return Answer(reply: reply)
        case .undo: return undo(connection)
        case .connect, .swapped: preconditionFailure("not about a descriptor of ours")
        }
    }

    private func status(_ connection: ProgramConnection, _ flags: Wire.Flags) -> Reply {
        var reply = Reply(kind: .status, state: .unknown, queued: connection.unread)
        if flags.contains(.left) { connection.isTold = false }
        switch connection.state {
        case .pending:
            reply.state = .pending
        case .connected:
            reply.state = connection.isTold ? .connected : .news
            if flags.contains(.consume) { connection.isTold = true }
        case .failed(let errno):
            reply.state = .failed
            reply.error = errno ?? 0
            if flags.contains(.takeError) { _ = connection.takeError() }
        case .offered, .over:
            break
        }
        return reply
    }

    private static let tcpEstablished: UInt8 = 1
    private static let tcpSynSent: UInt8 = 2
    private static let tcpClose: UInt8 = 7

    private func getOption(_ connection: ProgramConnection, _ request: Request) -> Reply {
        var reply = Reply(kind: .getOption, state: .done)
        let shown: UInt8
        switch connection.state {
        case .pending: shown = Self.tcpSynSent
        case .connected: shown = Self.tcpEstablished
        case .offered, .failed, .over: shown = Self.tcpClose
        }
        do throws(Errno) {
            reply.value = try connection.shadow.read(
                level: request.level, name: request.name, capacity: request.length, state: shown)
            if request.level == Int32(IPPROTO_TCP), request.name == TCP_INFO,
                let figures = connection.figures()
            {
                TCPInfo.show(figures, in: &reply.value)
            }
        } catch {
            reply.error = error.code
        }
        return reply
    }

    private func setOption(_ connection: ProgramConnection, _ request: Request) -> Reply {
        var reply = Reply(kind: .setOption, state: .done)
        do throws(Errno) {
            try connection.shadow.write(level: request.level, name: request.name, request.value)
            for option in connection.shadow.carried(after: request.level, request.name) {
                connection.onOption(option)
            }
        } catch {
            reply.error = error.code
        }
        return reply
    }

    private func undo(_ connection: ProgramConnection) -> Answer {
        let reply = Reply(kind: .undo, state: .done, error: connection.takeError())
        connection.undone()
        remove(connection)
        return Answer(reply: reply, surrendered: connection.shadow.surrender())
    }
}
