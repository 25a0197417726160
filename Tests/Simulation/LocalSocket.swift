internal import KwikCore

/// The errnos of Linux that the model speaks of.
enum Errno {
    static let brokenPipe: Int32 = 32
    static let connectionReset: Int32 = 104
    static let timedOut: Int32 = 110
    static let connectionRefused: Int32 = 111
}

/// Bytes in order with a limit.
struct ByteQueue {
    let capacity: Int
    private var bytes: [UInt8] = []
    private var head = 0

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { bytes.count - head }
    var room: Int { capacity - count }

    mutating func append(_ source: UnsafeRawBufferPointer) {
        if head == bytes.count {
            bytes.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 65_536 {
            bytes.removeFirst(head)
            head = 0
        }
        unsafe bytes.append(contentsOf: source)
    }

    mutating func take(into target: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(target.count, self.count)
        guard count > 0 else { return 0 }
        unsafe bytes.withUnsafeBytes { all in
            unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: all[head..<(head + count)]))
        }
        head += count
        return count
    }

    mutating func discard(_ limit: Int) -> Int {
        let count = min(limit, self.count)
        head += count
        return count
    }
}

/// One end of a connected pair of stream sockets: between program and engine, or gateway and backend.
final class SocketEnd {
    private(set) var incoming: ByteQueue
    /// Called when something changed that this end may care for.
    var onEvent: () -> Void = {}
    /// Shut down for writing, or closed.
    private(set) var isFinished = false
    private(set) var isClosed = false
    /// Reads no more (SHUT_RD).
    private(set) var isDeaf = false
    /// What reads and writes fail with: the peer reset the connection.
    private(set) var failure: Int32?
    private(set) weak var peer: SocketEnd?
    /// Bytes that came, and those of them that were read or dropped.
    private var came: UInt64 = 0
    private var taken: UInt64 = 0
    /// Where the urgent byte stands in what came; only the last one counts.
    private var urgent: UInt64?

    private init(capacity: Int) { incoming = ByteQueue(capacity: capacity) }

    /// `buffer`: bytes that wait in each direction at most.
    static func pair(buffer: Int) -> (SocketEnd, SocketEnd) {
        let left = SocketEnd(capacity: buffer)
        let right = SocketEnd(capacity: buffer)
        left.peer = right
        right.peer = left
        return (left, right)
    }

    var isPeerFinished: Bool { peer?.isFinished ?? true }
    var isPeerClosed: Bool { peer?.isClosed ?? true }
    var isPeerDeaf: Bool { peer?.isDeaf ?? true }

    /// Bytes that the peer takes now.
    var room: Int {
        guard let peer, !peer.isClosed, !peer.isDeaf else { return Int.max }
        return max(0, peer.incoming.room)
    }

    /// Returns how many bytes were taken. A peer that is closed answers with a reset.
    func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard failure == nil, !isFinished else { return 0 }
        guard let peer, !peer.isClosed else {
            failure = Errno.connectionReset
            return 0
        }
        if peer.isDeaf { return bytes.count }
        let count = min(bytes.count, peer.incoming.room)
        guard count > 0 else { return 0 }
        unsafe peer.incoming.append(UnsafeRawBufferPointer(rebasing: bytes[0..<count]))
        peer.came += UInt64(count)
        peer.onEvent()
        return count
    }

    /// The last byte that was written is urgent (MSG_OOB).
    func markUrgent() {
        guard let peer, !peer.isDeaf, peer.came > 0 else { return }
        peer.urgent = peer.came - 1
    }

    /// Bytes before the urgent one that is still to be read; nil: there is none.
    var untilUrgent: Int? {
        guard let urgent, urgent >= taken else { return nil }
        return Int(urgent - taken)
    }

    func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        guard failure == nil else { return 0 }
        let count = unsafe incoming.take(into: target)
        taken += UInt64(count)
        if count > 0 { peer?.onEvent() }
        return count
    }

    func discard(_ limit: Int) -> Int {
        guard failure == nil else { return 0 }
        let count = incoming.discard(limit)
        taken += UInt64(count)
        if count > 0 { peer?.onEvent() }
        return count
    }

    func shutdownWrite() {
        guard !isFinished else { return }
        isFinished = true
        peer?.onEvent()
    }

    func shutdownRead() {
        isDeaf = true
        taken += UInt64(incoming.discard(Int.max))
        peer?.onEvent()
    }

    /// As close(2): unread bytes turn it into a reset.
    func close() {
        guard !isClosed else { return }
        if incoming.count > 0 { return reset(Errno.connectionReset) }
        isFinished = true
        isClosed = true
        peer?.onEvent()
    }

    func reset(_ errno: Int32) {
        guard !isClosed else { return }
        isFinished = true
        isClosed = true
        if let peer, !peer.isClosed { peer.failure = errno }
        peer?.onEvent()
    }
}
