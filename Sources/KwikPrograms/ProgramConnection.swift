internal import Glibc
public import KwikCore
public import KwikLinux

/// The engine's end of one program's connection.
///
/// It begins pending: the program sees a TCP connect under way. The driver ends that with exactly one of
/// `established`, `refused` and `native`. After `established` it moves bytes with `read` and `write`, and
/// closes with `close` and `release`. After `refused`, `native` and `release` no handler is called any more.
///
/// The program's end A is one end of a Unix stream pair, E the other. One byte always stays unread in E's
/// queue, so that the program sees a reset, not an end of file, however this process ends (the residue,
/// shim.md).
@safe
public final class ProgramConnection {
    enum State: Equatable {
        /// The program has not put its end in place yet.
        case offered
        case pending
        case connected
        /// The connect failed; nil: the program has been told.
        case failed(Int32?)
        case over
    }

    /// As the program named it.
    public let destination: SocketAddress
    public let pid: Int32
    public let uid: UInt32
    /// SO_COOKIE of the program's end: unique while the system is up.
    public let id: UInt64
    /// What the program had set on its socket when it connected, of what matters to the backend's socket.
    public let options: SocketOptions
    /// The port that the program sees as its own.
    public var localPort: UInt16 { shadow.local.port }
    public var binding: SocketBinding { shadow.binding }
    /// Called when the socket may have bytes or room, edge-triggered. While pending: `hangup` when the
    /// program gave up.
    public var onReadiness: (Readiness) -> Void = { _ in }
    /// An option that matters to the backend's socket was changed by the program.
    public var onOption: (SocketOption) -> Void = { _ in }
    /// What TCP_INFO is to show of the connection; nil: nothing is known.
    public var figures: () -> StreamFigures? = { nil }
    /// Bytes written to the program, and where the last urgent one of them stands.
    private var written: UInt64 = 0
    private var urgentAt: UInt64?
    /// What `read` gave last is one byte of urgent (out-of-band) data.
    public private(set) var wasUrgent = false

    /// `read` has given all that the program had written by then.
    public var isDrained: Bool { residue == 1 }

    /// E, non-blocking; -1 when closed.
    public private(set) var descriptor: Int32
    let shadow: Shadow
    private(set) var state: State = .offered
    /// connect() has said "connected" to the program, or will when it returns.
    var isTold: Bool
    private unowned let door: ProgramDoor
    private var watch: Watch?
    private var relay: SocketRelay?
    /// Our copy of A, while pending: its send buffer is to be restored. While it is open, a close by the
    /// program cannot be seen.
    private var programEnd: Int32
    private let fillers: Int
    /// Bytes at the head of E's queue that have been forwarded (or are a filler): 0 or 1 once connected.
    private var residue = 0

    static let sendBuffer: Int32 = 212_992
    /// POLLOUT needs four times what the residue pins (66 kB after sendfile); the kernel doubles this.
    static let leastSendBuffer: Int32 = 139_264
    /// One-byte messages that exhaust the kernel's least send buffer; 6 on Linux 6.
    static let maximalFillers = 64

    init(
        shadow: Shadow, credentials: UnixSocket.Credentials, isBlocking: Bool, door: ProgramDoor
    ) throws(Errno) {
        let pair = try UnixSocket.pair(.stream)
        do throws(Errno) {
            id = try UnixSocket.cookie(pair.0)
            fillers = try Self.prepare(program: pair.0, engine: pair.1, shadow)
        } catch {
            Descriptor.close(pair.0)
            Descriptor.close(pair.1)
            throw error
        }
        (programEnd, descriptor) = pair
        self.shadow = shadow
        self.door = door
        destination = shadow.destination
        pid = credentials.pid
        uid = credentials.uid
        isTold = isBlocking
        options = shadow.snapshot
    }

    deinit { closeDescriptors() }

    /// Names and fills A. Returns the number of fillers.
    private static func prepare(program: Int32, engine: Int32, _ shadow: Shadow) throws(Errno) -> Int {
        var attempts = 0
        while true {
            let name = ProgramName.encode(
                id: RandomBytes.bytes(16), peer: shadow.destination, local: shadow.local)
            attempts += 1
            do throws(Errno) {
                try UnixSocket.bind(program, abstract: name)
                break
            } catch {
                guard error.code == EADDRINUSE, attempts < 3 else { throw error }
            }
        }
        // Urgent bytes keep their place in the stream; where the program reads them is as it has chosen.
        try StreamSocket.setOption(engine, SOL_SOCKET, SO_OOBINLINE, 1)
        if shadow.readsUrgentInline { try StreamSocket.setOption(program, SOL_SOCKET, SO_OOBINLINE, 1) }
        try StreamSocket.setOption(program, SOL_SOCKET, SO_SNDBUF, 0)
        for count in 0..<maximalFillers {
            switch UnixSocket.send(program, [0]) {
            case .count: continue
            case .wouldBlock where count > 0: return count
            case .failed(let errno): throw errno
            case .wouldBlock, .endOfFile: throw Errno(code: ENOBUFS)
            }
        }
        throw Errno(code: ENOBUFS)
    }

    /// For the message that hands A over.
    var handedOver: Int32 { programEnd }

    func swapped() {
        precondition(state == .offered, "put in place twice")
        state = .pending
    }

    private func closeDescriptors() {
        watch?.cancel()
        watch = nil
        if programEnd >= 0 { Descriptor.close(programEnd) }
        if descriptor >= 0 { Descriptor.close(descriptor) }
        programEnd = -1
        descriptor = -1
    }

    /// Closes with the residue: the program sees a reset. T stays for options and for a program that gives
    /// up.
    private func drop(_ state: State) {
        self.state = state
        closeDescriptors()
        onReadiness = { _ in }
        onOption = { _ in }
        figures = { nil }
    }

    // MARK: The connect's outcome

    /// The far end has connected: the program's descriptor becomes writable. The addresses that the program
    /// sees were fixed when it connected (its own by the routes, the peer's by its request), as TCP's are.
    public func established(local: SocketAddress? = nil, peer: SocketAddress? = nil) {
        guard state == .pending else { return }
        state = .connected
        // First, for the shim takes a small buffer for "not connected". It cannot fail but by a seccomp
        // filter, and then the program has a slow connection.
        obeyBuffers(of: programEnd)
        unsafe withUnsafeTemporaryAllocation(byteCount: Self.maximalFillers, alignment: 1) { buffer in
            let drained = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[0..<fillers - 1])
            if fillers > 1 { _ = unsafe StreamSocket.read(descriptor, into: drained) }
        }
        residue = 1
        Descriptor.close(programEnd)
        programEnd = -1
        let all: Readiness = [.readable, .writable, .peerHangup, .edgeTriggered]
        do throws(Errno) {
            watch = try door.loop.watch(descriptor, for: all) { [unowned self] readiness in
                self.onReadiness(readiness)
            }
        } catch {
            drop(.over)
            door.forget(self)
        }
    }

    /// What the program has set of SO_SNDBUF and SO_RCVBUF, for the bytes that wait between us.
    func obeyBuffers(of programEnd: Int32) {
        guard state == .connected else { return }
        let size = max(shadow.sendBuffer ?? Self.sendBuffer, Self.leastSendBuffer)
        try? StreamSocket.setOption(programEnd, SOL_SOCKET, SO_SNDBUF, size)
        if let size = shadow.receiveBuffer {
            try? StreamSocket.setOption(descriptor, SOL_SOCKET, SO_SNDBUF, size)
        }
    }

    /// The far end could not be connected to: the program's connect fails with this errno.
    public func refused(errno: Int32) {
        guard state == .pending else { return }
        drop(.failed(errno == 0 ? ECONNREFUSED : errno))
        door.keepFailed(self)
    }

    /// No server answers: connects the program's own socket in its stead and copies both ways until both ends
    /// have closed. The connection keeps itself alive from here on.
    public func native() {
        guard state == .pending, relay == nil else { return }
        onReadiness = { _ in }
        do throws(Errno) {
            let relay = try SocketRelay(loop: door.loop, connection: self, socket: shadow.descriptor)
            self.relay = relay
            relay.onEnd = { [unowned self] in
                // After a refusal the program may want its socket back.
                if case .failed = self.state { self.shadow.disconnect() } else { self.shadow.close() }
                self.relay = nil
            }
            relay.start()
        } catch {
            refused(errno: error.code)
        }
    }

    // MARK: Bytes

    /// Reads what the program wrote. EOF: it has shut down its writing, or closed (`isClosedByProgram`).
    /// ECONNRESET: it closed with unread data or with SO_LINGER 0.
    ///
    /// All but the last byte is taken from the queue and that one is only looked at, unless `buffer` is full
    /// before. Urgent data is given alone.
    public func read(into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        wasUrgent = false
        guard state == .connected else { return .failed(Errno(code: ECONNRESET)) }
        if unsafe buffer.isEmpty { return .count(0) }
        while true {
            guard let queued = try? UnixSocket.unread(descriptor) else { return .failed(Errno.last) }
            let fresh = queued - residue
            if fresh <= 0 {
                guard let end = end() else { return .wouldBlock }
                // Bytes may have come between the two questions.
                guard let again = try? UnixSocket.unread(descriptor), again > queued else { return end }
                continue
            }
            if residue == 0, StreamSocket.isAtMark(descriptor) {
                return unsafe readUrgent(into: buffer, isLast: fresh == 1)
            }
            var count = 0
            let taken = min(fresh - 1, buffer.count)
            if residue + taken > 0 {
                switch unsafe readPastResidue(buffer, taken) {
                case .success(let moved): count = moved
                case .failure(let errno): return errno.code == EAGAIN ? .wouldBlock : .failed(errno)
                }
            }
            // A read stops early before urgent data: then the queue holds unforwarded bytes still, and there
            // is no residue.
            if StreamSocket.isAtMark(descriptor) {
                if count == 0 { continue }
            } else if count == fresh - 1, count < buffer.count {
                let last = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count..<count + 1])
                let result = unsafe StreamSocket.receive(
                    descriptor, into: last, flags: Int32(MSG_PEEK))
                if case .count(1) = result {
                    residue = 1
                    count += 1
                }
            }
            return count > 0 ? .count(count) : .wouldBlock
        }
    }

    /// The urgent byte, which is next in the queue. Stays there as the residue if it is the last.
    private func readUrgent(into buffer: UnsafeMutableRawBufferPointer, isLast: Bool) -> IOResult {
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(1))
        let result = unsafe StreamSocket.receive(
            descriptor, into: room, flags: isLast ? Int32(MSG_PEEK) : 0)
        if case .count(1) = result {
            residue = isLast ? 1 : 0
            wasUrgent = true
        }
        return result
    }

    /// Consumes the residue, if any, and up to `count` bytes behind it.
    private func readPastResidue(
        _ buffer: UnsafeMutableRawBufferPointer, _ count: Int
    ) -> Result<Int, Errno> {
        var old: UInt8 = 0
        let moved = unsafe withUnsafeMutableBytes(of: &old) { old in
            let first = unsafe iovec(iov_base: old.baseAddress, iov_len: residue)
            let second = unsafe iovec(iov_base: buffer.baseAddress, iov_len: count)
            return unsafe withUnsafeBytes(of: (first, second)) { vectors in
                unsafe readv(descriptor, vectors.baseAddress?.assumingMemoryBound(to: iovec.self), 2)
            }
        }
        if moved < 0 { return .failure(Errno.last) }
        let behind = moved - residue
        residue = 0
        return .success(max(0, behind))
    }

    /// How the program's half ended; nil: it has not.
    private func end() -> IOResult? {
        let readiness = Readiness(polling: descriptor)
        if readiness.contains(.error) {
            let code = StreamSocket.pendingError(descriptor)
            if code != 0 { return .failed(Errno(code: code)) }
        }
        if readiness.contains(.hangup) && shadow.resetsAtClose { return .failed(Errno(code: ECONNRESET)) }
        return readiness.isDisjoint(with: [.peerHangup, .hangup]) ? nil : .endOfFile
    }

    /// The program's whole socket is closed (or shut down both ways), not only its writing half.
    public var isClosedByProgram: Bool {
        descriptor < 0 || Readiness(polling: descriptor).contains(.hangup)
    }

    /// Bytes that the program wrote and `read` has not given out.
    var unread: Int {
        guard state == .connected, let queued = try? UnixSocket.unread(descriptor) else { return 0 }
        return max(0, queued - residue)
    }

    /// Writes to the program. EPIPE: it takes no more (SHUT_RD, or it is closed): discard what comes, its own
    /// bytes still count.
    public func write(_ slices: [ChunkSlice]) -> IOResult {
        guard state == .connected else { return .failed(Errno(code: ECONNRESET)) }
        let result = StreamSocket.write(descriptor, slices: slices)
        if case .count(let count) = result { written += UInt64(count) }
        return result
    }

    /// Writes one byte, which the program sees as out-of-band data.
    public func writeUrgent(_ slice: ChunkSlice) -> IOResult {
        guard state == .connected else { return .failed(Errno(code: ECONNRESET)) }
        let result = StreamSocket.writeUrgent(descriptor, slice)
        if case .count(1) = result {
            urgentAt = written
            written += 1
        }
        return result
    }

    /// Whether the program, whose end this is, has read all that lies before the last urgent byte, and no
    /// byte behind it. Asked where the kernel says so, which it does too early.
    func isAtMark(_ programEnd: Int32) -> Bool {
        if shadow.readsUrgentInline { return true }
        guard let urgentAt, let unread = try? UnixSocket.unread(programEnd) else { return false }
        var byte: UInt8 = 0
        let isWaiting = unsafe withUnsafeMutableBytes(of: &byte) { room in
            unsafe StreamSocket.receive(programEnd, into: room, flags: Int32(MSG_OOB) | Int32(MSG_PEEK))
        } == .count(1)
        return UInt64(unread) == written - urgentAt - (isWaiting ? 0 : 1)
    }

    // MARK: Ends

    /// `finished`: the program reads the end of file after what was written. `aborted`: it reads ECONNRESET
    /// after what was written, whatever the errno, since that is all that TCP shows.
    public func close(_ end: StreamEnd) {
        switch end {
        case .finished:
            if state == .connected { StreamSocket.shutdownWrite(descriptor) }
        case .aborted:
            guard state == .connected else { return release() }
            leave()
        }
    }

    /// Both halves are done: closes without a trace. A program that has written since sees a reset.
    public func release() {
        switch state {
        case .connected:
            if residue > 0, unread == 0 {
                _ = unsafe readPastResidue(UnsafeMutableRawBufferPointer(start: nil, count: 0), 0)
            }
            leave()
        case .pending:
            refused(errno: ECONNRESET)
        case .offered:
            leave()
        case .failed, .over:
            break
        }
    }

    private func leave() {
        drop(.over)
        // Its watch must end before the socket is closed.
        relay?.stop()
        relay = nil
        shadow.close()
        door.forget(self)
    }

    /// The program disconnects, or gives up a connect that is under way. T goes back to it, so it stays open.
    func undone() {
        let handler = onReadiness
        if state == .pending || state == .connected { drop(.over) }
        if let relay {
            relay.stop()
            self.relay = nil
            shadow.disconnect()
        } else {
            handler([.hangup, .error])
        }
    }

    func takeError() -> Int32 {
        guard case .failed(let errno) = state else { return 0 }
        state = .failed(nil)
        return errno ?? 0
    }
}

extension Readiness {
    /// What poll(2) says now.
    fileprivate init(polling fd: Int32) {
        let peerHangup: Int16 = 0x2000  // POLLRDHUP, which Glibc shows only to GNU sources
        var entry = pollfd(fd: fd, events: Int16(POLLIN) | peerHangup, revents: 0)
        let ready = unsafe poll(&entry, 1, 0)
        self.init(rawValue: ready == 1 ? UInt32(UInt16(bitPattern: entry.revents)) : 0)
    }
}
