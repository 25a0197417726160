internal import KwikCore

/// One unmodified program at the far end of the engine's local socket.
final class Program {
    enum State: Equatable {
        case idle
        case connecting
        case running
        /// It did all it wanted.
        case done
        /// It was never served.
        case native
        /// The connection failed with this errno.
        case failed(Int32)
    }

    let index: Int
    let workload: Workload
    private let world: World
    private(set) var state = State.idle
    /// Set when the engine names the stream's primary.
    private(set) var witness: Witness?
    private(set) var socket: SocketEnd?
    /// When the last byte of the last answer was read.
    private(set) var finishedAt: Instant?
    private(set) var firstByteAt: Instant?
    private(set) var longestGap = Interval.zero
    private var lastReadAt: Instant?
    /// How long each answer took.
    private(set) var latencies: [Interval] = []
    private var askedAt: Instant?

    /// Told when the connection comes to a point.
    var onMoment: (Ambush.Moment) -> Void = { _ in }
    /// No byte of the answer has come.
    private var awaitsAnswer = false

    private var timer: Timer?
    private var nextExchange = 0
    private var request: [UInt8] = []
    private var requestSent = 0
    private var body: (seed: UInt64, size: UInt64, sent: UInt64)?
    private var readAgainAt = Instant(nanoseconds: 0)
    private var pauses: [(at: UInt64, for: Interval)]
    private var hasFinished = false
    private var scratch = [UInt8](repeating: 0, count: 65_536)

    init(_ world: World, index: Int, _ workload: Workload) {
        self.world = world
        self.index = index
        self.workload = workload
        pauses = workload.pauses
        timer = Timer(world) { [weak self] in self?.run() }
    }

    var name: String { "program \(index)" }

    var isOver: Bool {
        switch state {
        case .done, .native, .failed: true
        case .idle, .connecting, .running: false
        }
    }

    /// It left nothing behind: neither bytes to be sent nor bytes to be read.
    var hasReadEverything: Bool {
        switch workload.ending {
        case .close, .halfClose, .bye: state == .done
        case .abort, .leave, .deafen, .quit: false
        }
    }

    var report: String {
        "\(state) read \(witness?.read ?? 0) of \(witness?.total ?? 0) wrote \(witness?.written ?? 0)"
            + " exchange \(nextExchange)/\(workload.exchanges.count)"
    }

    func connecting(_ socket: SocketEnd) {
        state = .connecting
        self.socket = socket
        socket.onEvent = { [weak self] in self?.wake() }
    }

    func goNative() { state = .native }

    func isServed(by character: Character) { witness = Witness(world, name: name, character: character) }

    func connected(errno: Int32) {
        guard state == .connecting else { return }
        if errno != 0 { return fail(errno) }
        state = .running
        lastReadAt = world.now
        begin()
    }

    private func wake() { timer?.arm(at: world.now) }

    private func fail(_ errno: Int32) {
        state = .failed(errno)
        socket?.close()
    }

    private func run() {
        guard state == .running, let socket, let witness else { return }
        if let failure = socket.failure { return fail(failure) }
        read(socket, witness)
        guard state == .running else { return }
        write(socket, witness)
        guard state == .running else { return }
        if socket.isDeaf, !isSending { return over() }
        if nextExchange == workload.exchanges.count, !isSending, witness.read == witness.total { finish() }
    }

    // MARK: Writing

    private var isSending: Bool { requestSent < request.count || body != nil }

    /// The next exchange begins, after its thinking time.
    private func begin() {
        guard nextExchange < workload.exchanges.count else { return wake() }
        let think = workload.exchanges[nextExchange].think
        if think == .zero { return prepare() }
        world.after(think) { [weak self] in self?.prepare() }
    }

    private func prepare() {
        guard state == .running, nextExchange < workload.exchanges.count else { return }
        let exchange = workload.exchanges[nextExchange]
        nextExchange += 1
        askedAt = world.now
        request = Array(exchange.request.utf8)
        requestSent = 0
        body = exchange.upload > 0 ? (exchange.seed, exchange.size, 0) : nil
        if nextExchange == workload.exchanges.count, case .bye = workload.ending, body == nil {
            request += Array("BYE\n".utf8)
        }
        awaitsAnswer = true
        onMoment(.asked)
        wake()
    }

    private func write(_ socket: SocketEnd, _ witness: Witness) {
        while isSending {
            let sent: Int
            if requestSent < request.count {
                sent = unsafe request.withUnsafeBytes { bytes in
                    let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[requestSent...])
                    return unsafe put(rest, socket, witness)
                }
                requestSent += sent
            } else if let part = body {
                let count = Int(min(UInt64(scratch.count), part.size - part.sent))
                sent = unsafe scratch.withUnsafeMutableBytes { buffer in
                    let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[0..<count])
                    unsafe Pattern.fill(bytes, seed: part.seed, offset: part.sent)
                    return unsafe put(UnsafeRawBufferPointer(bytes), socket, witness)
                }
                body?.sent += UInt64(sent)
                if part.sent + UInt64(sent) == part.size { endBody() }
            } else {
                sent = 0
            }
            if let failure = socket.failure { return fail(failure) }
            if sent == 0 { return }
        }
        if case .halfClose = workload.ending, nextExchange == workload.exchanges.count, !hasFinished,
            !request.isEmpty || workload.exchanges.isEmpty
        {
            hasFinished = true
            socket.shutdownWrite()
            witness.finishedWriting()
            onMoment(.shut)
        }
        if case .quit = workload.ending, nextExchange == workload.exchanges.count, !request.isEmpty {
            world.count("quit")
            return over()
        }
        let isAnswered = witness.read == witness.total
        if nextExchange < workload.exchanges.count, workload.isPipelined || isAnswered, !request.isEmpty {
            request = []
            begin()
        }
    }

    private func endBody() {
        body = nil
        onMoment(.sent)
        if nextExchange == workload.exchanges.count, case .bye = workload.ending {
            request = Array("BYE\n".utf8)
            requestSent = 0
        }
    }

    private func put(_ bytes: UnsafeRawBufferPointer, _ socket: SocketEnd, _ witness: Witness) -> Int {
        let sent = unsafe socket.write(bytes)
        if sent > 0, workload.marksUrgent { socket.markUrgent() }
        if sent > 0 { unsafe witness.wrote(UnsafeRawBufferPointer(rebasing: bytes[0..<sent])) }
        return sent
    }

    // MARK: Reading

    private func read(_ socket: SocketEnd, _ witness: Witness) {
        while readAgainAt <= world.now {
            var limit =
                workload.readRate > 0 ? min(scratch.count, max(1, workload.readRate / 50)) : scratch.count
            if let pause = pauses.first {
                limit = min(limit, Int(max(1, pause.at - min(pause.at, witness.read))))
            }
            if leavesNow(socket, witness) { return }
            let count = unsafe scratch.withUnsafeMutableBytes { buffer in
                let count = unsafe socket.read(
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer[0..<limit]))
                unsafe witness.check(
                    UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[0..<count]))
                return count
            }
            if count == 0 { break }
            note(witness)
            if workload.readRate > 0 {
                readAgainAt = world.now + Interval(seconds: Double(count) / Double(workload.readRate))
            }
            if let pause = pauses.first, witness.read >= pause.at {
                pauses.removeFirst()
                readAgainAt = max(readAgainAt, world.now) + pause.for
            }
        }
        if readAgainAt > world.now { timer?.arm(at: readAgainAt) }
        if socket.incoming.count == 0, socket.isPeerFinished, socket.failure == nil, !socket.isDeaf {
            witness.endOfFile()
            over()
        }
    }

    private func note(_ witness: Witness) {
        if firstByteAt == nil { firstByteAt = world.now }
        if let lastReadAt { longestGap = max(longestGap, world.now - lastReadAt) }
        lastReadAt = world.now
        finishedAt = world.now
        if awaitsAnswer {
            awaitsAnswer = false
            onMoment(.answered)
        }
        if let askedAt, witness.read == witness.total, !isSending {
            latencies.append(world.now - askedAt)
            self.askedAt = nil
            onMoment(.whole)
        }
    }

    private func leavesNow(_ socket: SocketEnd, _ witness: Witness) -> Bool {
        switch workload.ending {
        case .abort(let after) where witness.read >= after:
            state = .done
            socket.reset(Errno.connectionReset)
            return true
        case .leave(let after) where witness.read >= after:
            over()
            return true
        case .deafen(let after) where witness.read >= after && !socket.isDeaf:
            socket.shutdownRead()
            return false
        default:
            return false
        }
    }

    private func finish() {
        switch workload.ending {
        case .halfClose, .bye: break
        case .close, .abort, .leave, .deafen, .quit: over()
        }
    }

    private func over() {
        state = .done
        if isSending { world.hasBrokenOff = true }
        onMoment(.closed)
        socket?.close()
    }
}
