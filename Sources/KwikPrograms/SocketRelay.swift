internal import Glibc
internal import KwikCore
public import KwikLinux

/// Connects a TCP socket to a program's destination and copies both ways between it and the program.
public final class SocketRelay {
    /// Called once, when both ends are done: the owner closes the socket.
    public var onEnd: () -> Void = {}

    private let loop: EventLoop
    private let connection: ProgramConnection
    private let socket: Int32
    private var watch: Watch?
    private var isConnected = false
    private var isOver = false
    private var up = Direction()
    private var down = Direction()

    /// Bytes copied in one turn, so that others have theirs.
    private static let turnBytes = 1 << 20

    private struct Direction {
        static let size = 65_536
        let chunk = Chunk(capacity: size)
        /// Read and not yet written.
        var held: ChunkSlice?
        /// It is one byte of urgent data.
        var isUrgent = false
        /// The reading side gave its end of file.
        var hasEnded = false
        /// The end of file was passed on, or the writing side takes no more.
        var isDone = false
        var room: UnsafeMutableRawBufferPointer {
            unsafe UnsafeMutableRawBufferPointer(start: chunk.base, count: Self.size)
        }

        mutating func wrote(_ count: Int) {
            held?.removeFirst(count)
            if held?.count == 0 { held = nil }
        }
    }

    /// The socket stays the caller's; it is made non-blocking.
    public init(loop: EventLoop, connection: ProgramConnection, socket: Int32) throws(Errno) {
        self.loop = loop
        self.connection = connection
        self.socket = socket
        let flags = try Descriptor.statusFlags(socket)
        try Descriptor.setStatusFlags(socket, flags | O_NONBLOCK)
    }

    /// Begins to connect; the program's connect gets the outcome.
    public func start() {
        do throws(Errno) {
            try StreamSocket.connect(socket, to: connection.destination)
            watch = try loop.watch(
                socket, for: [.readable, .writable, .peerHangup, .edgeTriggered]
            ) { [unowned self] readiness in self.ready(readiness) }
        } catch {
            fail(error.code)
        }
    }

    /// Ends the copying without a word to either end.
    public func stop() {
        isOver = true
        watch?.cancel()
        watch = nil
    }

    private func finish() {
        guard !isOver else { return }
        stop()
        onEnd()
    }

    private func fail(_ errno: Int32) {
        connection.refused(errno: errno)
        finish()
    }

    private func ready(_ readiness: Readiness) {
        if !isConnected {
            guard !readiness.isDisjoint(with: [.writable, .error, .hangup]) else { return }
            let error = StreamSocket.pendingError(socket)
            if error != 0 { return fail(error) }
            guard StreamSocket.peerAddress(socket) != nil else { return }
            isConnected = true
            connection.onReadiness = { [unowned self] _ in self.pump() }
            connection.established()
        }
        pump()
    }

    private func pump() {
        var moved = 0
        while !isOver {
            let count = pumpUp() + pumpDown()
            if isOver { return }
            if up.isDone && down.isDone {
                connection.release()
                return finish()
            }
            moved += count
            if count == 0 { return }
            if moved >= Self.turnBytes {
                // An edge-triggered watch that is set again reports again.
                watch?.set([.readable, .writable, .peerHangup, .edgeTriggered])
                return
            }
        }
    }

    /// From the program to the socket. Returns the bytes moved.
    private func pumpUp() -> Int {
        guard !up.isDone else { return 0 }
        if up.held == nil, !up.hasEnded {
            switch unsafe connection.read(into: up.room) {
            case .count(let count):
                up.held = ChunkSlice(up.chunk, offset: 0, count: count)
                up.isUrgent = connection.wasUrgent
            case .wouldBlock: return 0
            case .endOfFile: up.hasEnded = true
            case .failed:
                resetSocket()
                return 0
            }
        }
        if let slice = up.held {
            let result = up.isUrgent
                ? StreamSocket.writeUrgent(socket, slice) : StreamSocket.write(socket, slices: [slice])
            switch result {
            case .count(let count):
                up.wrote(count)
                return count
            case .wouldBlock, .endOfFile: return 0
            case .failed(let errno):
                abort(errno)
                return 0
            }
        }
        StreamSocket.shutdownWrite(socket)
        up.isDone = true
        return 0
    }

    /// From the socket to the program. Returns the bytes moved.
    private func pumpDown() -> Int {
        guard !down.isDone, !isOver else { return 0 }
        if down.held == nil, !down.hasEnded {
            switch readSocket() {
            case .count(let count): down.held = ChunkSlice(down.chunk, offset: 0, count: count)
            case .wouldBlock: return 0
            case .endOfFile: down.hasEnded = true
            case .failed(let errno):
                abort(errno)
                return 0
            }
        }
        if let slice = down.held {
            switch down.isUrgent ? connection.writeUrgent(slice) : connection.write([slice]) {
            case .count(let count):
                down.wrote(count)
                return count
            case .wouldBlock, .endOfFile: return 0
            case .failed(let errno) where errno.code == EPIPE && !(up.isDone && connection.isClosedByProgram):
                let count = slice.count
                down.wrote(count)
                return count
            case .failed:
                resetSocket()
                return 0
            }
        }
        connection.close(.finished(closed: false))
        down.isDone = true
        return 0
    }

    private func readSocket() -> IOResult {
        down.isUrgent = StreamSocket.isAtMark(socket)
        guard down.isUrgent else { return unsafe StreamSocket.read(socket, into: down.room) }
        // The socket is the program's: it may have chosen to have urgent bytes in their place.
        let isInline = (try? StreamSocket.intOption(socket, SOL_SOCKET, SO_OOBINLINE)) ?? 0 != 0
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: down.room.prefix(1))
        if isInline { return unsafe StreamSocket.read(socket, into: room) }
        let urgent = unsafe StreamSocket.receive(socket, into: room, flags: Int32(MSG_OOB))
        guard case .failed = urgent else { return urgent }
        // It was read before, and the next read passes it over.
        down.isUrgent = false
        return unsafe StreamSocket.read(socket, into: down.room)
    }

    /// The socket failed: what it gave before has been read.
    private func abort(_ errno: Errno) {
        connection.close(.aborted(errno: errno.code))
        finish()
    }

    /// The program is gone: the far end is to see it as it would without us.
    private func resetSocket() {
        try? StreamSocket.setOption(socket, SOL_SOCKET, SO_LINGER, bytes: [1, 0, 0, 0, 0, 0, 0, 0])
        connection.release()
        finish()
    }
}
