public import KwikCore
public import KwikLinux

/// Moves bytes between one stream and its local socket, and tells the session what the socket says. How the
/// socket is read and written is its owner's: a program's end of a pair and a backend's TCP differ in that
/// alone.
public final class LocalPump {
    @safe
    public struct Socket {
        public var read: (UnsafeMutableRawBufferPointer) -> IOResult
        public var discard: (Int) -> IOResult
        public var write: ([ChunkSlice]) -> IOResult
        /// Whether what `read` gave last is one byte of urgent (out-of-band) data.
        public var wasUrgent: () -> Bool
        /// Whether what `read` gave last was all there was: what comes behind it is an event of its own.
        public var isDrained: () -> Bool
        /// Writes one byte as urgent data.
        public var writeUrgent: (ChunkSlice) -> IOResult

        public init(
            read: @escaping (UnsafeMutableRawBufferPointer) -> IOResult, discard: @escaping (Int) -> IOResult,
            write: @escaping ([ChunkSlice]) -> IOResult, wasUrgent: @escaping () -> Bool,
            isDrained: @escaping () -> Bool, writeUrgent: @escaping (ChunkSlice) -> IOResult
        ) {
            unsafe self.read = read
            self.discard = discard
            self.write = write
            self.wasUrgent = wasUrgent
            self.isDrained = isDrained
            self.writeUrgent = writeUrgent
        }
    }

    public let stream: StreamID
    private let socket: Socket
    private unowned let driver: SessionDriver
    private var slices: [ChunkSlice] = []
    /// The socket gave its end, or failed: nothing more is read.
    public private(set) var readDone = false
    private var writeDone = false
    private var stopped = false
    /// The session knows that the whole socket is closed.
    private var isClosedTold = false
    /// The session has bytes that were not offered to the socket yet.
    private var isUndelivered = false
    /// When the socket was read last, and how many short reads are due before it is read on.
    private var readAt = Instant(nanoseconds: 0)
    private var shortReads = 0
    /// How the end of file is to be understood, asked when it comes: whether the whole socket is closed.
    public var isClosed: () -> Bool = { false }

    /// Bytes read from one socket in one turn, so that others have theirs.
    private static let turnBytes = 1 << 20
    /// After so long a silence these are read first, twice: a turn goes on with what was not finished once,
    /// then writes. So what an answer begins with is on its way while the rest is read (0.3 ms for 200 KB).
    private static let silence = Interval.milliseconds(1)
    private static let firstBytes = 16 << 10
    private static let brokenPipe: Int32 = 32

    public init(stream: StreamID, socket: Socket, driver: SessionDriver) {
        self.stream = stream
        self.socket = socket
        self.driver = driver
    }

    /// Nothing is moved any more.
    public func stop() { stopped = true }

    /// The socket may have bytes, or the session has room again. `mayHaveEnded`: false where an event has
    /// told that the socket's end has not come.
    public func readable(mayHaveEnded: Bool = true) {
        let limit = readLimit()
        var moved = 0
        while !stopped, !readDone {
            let result: IOResult
            switch driver.door.room(stream) {
            case .none: return
            case .buffer(let memory): result = unsafe socket.read(memory)
            case .discard(let count): result = socket.discard(count)
            }
            switch result {
            case .count(let count):
                if socket.wasUrgent() { driver.urgent(stream) }
                driver.filled(stream, count: count)
                if !mayHaveEnded, socket.isDrained() { return }
                moved += count
            case .wouldBlock: return
            case .endOfFile:
                readDone = true
                isClosedTold = isClosed()
                driver.input(.localEnded(stream, closed: isClosedTold))
            case .failed(let errno):
                readDone = true
                driver.input(.localAborted(stream, errno: errno.code))
            }
            if moved >= limit {
                driver.endpoint.again(self)
                return
            }
        }
    }

    private func readLimit() -> Int {
        let now = driver.now
        if now - readAt > Self.silence { shortReads = 2 }
        readAt = now
        guard shortReads > 0 else { return Self.turnBytes }
        shortReads -= 1
        return Self.firstBytes
    }

    /// Something happened to the socket: a close that follows a half-close is told by no read.
    public func checkClosed() {
        guard !stopped, readDone, !isClosedTold, isClosed() else { return }
        isClosedTold = true
        driver.input(.localEnded(stream, closed: true))
    }

    /// The session has bytes. They are written when the loop has taken in all that arrived, so that many
    /// pieces make one write.
    public func deliver() {
        if isUndelivered { return }
        isUndelivered = true
        driver.endpoint.deliver(self)
    }

    /// Writes what was to be delivered.
    public func flush() {
        guard isUndelivered else { return }
        isUndelivered = false
        writable()
    }

    /// The socket has room.
    public func writable() {
        while !stopped, !writeDone {
            slices.removeAll(keepingCapacity: true)
            driver.door.readable(stream, &slices)
            guard let first = slices.first else { return }
            let offered = slices.reduce(0) { $0 + $1.count }
            switch driver.door.isUrgent(stream) ? socket.writeUrgent(first) : socket.write(slices) {
            case .count(let count):
                slices.removeAll(keepingCapacity: true)
                driver.input(.localWrote(stream, count: count))
                if count < offered { return }
            case .wouldBlock: return
            case .endOfFile: return
            case .failed(let errno) where errno.code == Self.brokenPipe:
                // It reads no more; what it still writes counts.
                writeDone = true
                driver.input(.localDeaf(stream))
            case .failed(let errno):
                writeDone = true
                driver.input(.localAborted(stream, errno: errno.code))
            }
        }
    }
}
