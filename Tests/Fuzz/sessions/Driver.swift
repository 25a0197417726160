/// A stream's local socket: a program's at a client, a backend's at a gateway.
struct Socket {
    /// The session has it connect.
    var isAsked = false
    /// The session may be told of what it does.
    var isConnected = false
    /// It gives no more bytes.
    var hasEnded = false
    /// The session has ended it, or was told that it failed.
    var isShut = false
    var isOver = false
    /// Bytes that it gave, and took.
    var given: UInt64 = 0
    var taken: UInt64 = 0
}

/// What both kinds of session have in common, as a driver sees it.
protocol Driven: AnyObject {
    var deadline: Instant? { get }
    func handle(_ input: Input, now: Instant, into actions: inout [Action])
    func room(_ id: StreamID) -> SendWindow.Room
    func filled(_ id: StreamID, count: Int, now: Instant, into actions: inout [Action])
    func urgent(_ id: StreamID, into actions: inout [Action])
    func readable(_ id: StreamID, into slices: inout [ChunkSlice])
    func wantsToSend(_ path: PathID) -> Bool
    func pull(_ path: PathID, room: Int, now: Instant, into actions: inout [Action])
}

extension ClientSession: Driven {}
extension GatewaySession: Driven {}

/// A driver that carries out what a script says, a hostile peer that writes what it says, and what must hold
/// whatever that is.
class Driver {
    let session: any Driven
    var script: Script
    var wire: Wire
    var sockets: [StreamID: Socket] = [:]
    private(set) var now = Instant(nanoseconds: 1_000_000_000)
    private var writer = FrameWriter()
    /// What each socket gets before its stream is over, as its sockets take all that comes for them and its
    /// server is honest; nil: none need get anything.
    var expected: UInt64?

    init(_ session: any Driven, _ script: Script, parity: Int64) {
        self.session = session
        self.script = script
        wire = Wire(parity: parity)
    }

    func run() {
        while !script.isOver { step(script.byte()) }
        conclude()
    }

    // MARK: For the role

    func ownStep() {}
    /// What an honest one at the far end would do next.
    func obey() {}
    func carryOut(_ action: Action) {}
    func conclude() {}
    /// Where a drawn stream stands.
    func place(of stream: StreamID) -> UInt64 { 0 }
    /// What the peer at the channel's far end may write for the stream's bytes.
    func maySayAnything(on channel: ChannelID) -> Bool { false }
    /// Who is at the path's far end may do anything.
    func isHostile(_ path: PathID) -> Bool { true }
    func willTick() {}

    // MARK: Steps

    private func step(_ drawn: UInt8) {
        switch drawn & 15 {
        case 0: ownStep()
        case 1: obey()
        case 2: preface()
        case 3, 4, 5: frame()
        case 6, 7: data()
        case 8: rubbish()
        case 9: endChannel()
        case 10: give()
        case 11: take()
        case 12: socketEnds()
        case 13: pull()
        case 14:
            if let path = wire.path(&script) {
                handle(.sample(path, script.sample()))
                handle(.heard(path))
            }
        default: tick(after: script.flag() ? script.interval() : .zero)
        }
    }

    /// Mostly the first.
    func drawStream() -> StreamID { StreamID(UInt64(script.below(2) * script.below(6))) }

    /// On a channel of the peer's own.
    private func preface() {
        guard let path = wire.path(&script), isHostile(path), wire.channels.count < 64 else { return }
        let channel = wire.openChannel(on: path)
        let stream = drawStream()
        let preface = script.preface(of: stream, about: place(of: stream))
        unsafe receive(channel, Array(writer.preface(preface).bytes))
        if script.below(4) == 0 { receive(channel, []) }
    }

    private func hostileChannel() -> Channel? {
        wire.channel(&script) { !$0.hasEnded && isHostile($0.id.path) }
    }

    private func frame() {
        guard let channel = hostileChannel() else { return }
        write(script.frame(about: place(of: drawStream())), on: channel)
    }

    private func data() {
        guard let channel = hostileChannel() else { return }
        let start = min(script.offset(about: place(of: drawStream())), WireLimit.maximumOffset - 1)
        let left = min(Block.roundDown(start) + Block.size, WireLimit.maximumOffset) - start
        let count = script.flag() ? left : min(left, 1 + UInt64(script.byte()))
        let range = ByteRange(start, start + count)
        var plain = Content.bytes(range)
        let lies = script.byte() % 4 == 0 && maySayAnything(on: channel.id)
        if lies { plain = plain.map { ~$0 } }
        let isCompressed = !lies && script.byte() % 4 == 0
        let bytes = isCompressed ? Content.compressed(range) : plain
        guard bytes.count <= left else { return }
        let crc = script.byte() == 255 ? 0 : Content.crc(plain)
        write(bytes, at: start, flags: isCompressed ? 1 : 0, crc32c: crc, on: channel)
    }

    private func rubbish() {
        guard let channel = hostileChannel() else { return }
        receive(channel, script.array(1 + script.below(20)))
    }

    private func endChannel() {
        switch script.below(4) {
        case 0:
            guard let channel = hostileChannel() else { return }
            receive(channel, [], finished: true)
        case 1, 2:
            guard let channel = hostileChannel() else { return }
            // With RESET_STREAM, or STOP_SENDING alone.
            if script.flag() { channel.hasEnded = true }
            channel.isFinished = true
            handle(.channelReset(channel.id, code: UInt64(script.below(13))))
        default:
            if let over = wire.channel(&script, where: { $0.hasEnded && $0.isFinished }) {
                wire.close(over)
                handle(.channelClosed(over.id))
            }
        }
    }

    func write(_ frame: Frame, on channel: Channel) {
        unsafe receive(channel, Array(writer.frame(frame).bytes))
    }

    /// A piece within a block.
    func write(
        _ bytes: [UInt8], at offset: UInt64, flags: UInt8 = 0, crc32c: UInt32? = nil, on channel: Channel
    ) {
        let header = writer.dataHeader(
            offset: offset, length: bytes.count, flags: flags, crc32c: crc32c ?? Content.crc(bytes))
        unsafe receive(channel, Array(header.bytes) + bytes)
    }

    func receive(_ channel: Channel, _ bytes: [UInt8], finished: Bool = false) {
        // Its path may have been ended meanwhile.
        guard !channel.hasEnded, wire.channels.contains(where: { $0 === channel }) else { return }
        if finished { channel.hasEnded = true }
        unsafe bytes.withUnsafeBytes { unsafe handle(.received(channel.id, $0, finished: finished)) }
    }

    // MARK: Local sockets

    func drawSocket() -> StreamID? {
        let ids = sockets.keys.filter { sockets[$0]?.isConnected == true && sockets[$0]?.isOver == false }
            .sorted()
        return ids.isEmpty ? nil : ids[script.below(ids.count)]
    }

    private func give() {
        guard let id = drawSocket(), sockets[id]?.hasEnded == false else { return }
        let most = 1 << script.below(18)
        let count: Int
        switch session.room(id) {
        case .none: return
        case .discard(let room): count = min(most, room)
        case .buffer(let buffer):
            count = min(most, buffer.count)
            let start = sockets[id]?.given ?? 0
            unsafe buffer.copyBytes(from: Content.bytes(ByteRange(start, start + UInt64(count))))
        }
        if script.byte() == 255 { call { session.urgent(id, into: &$0) } }
        sockets[id]?.given += UInt64(count)
        call { session.filled(id, count: count, now: now, into: &$0) }
    }

    private func take() {
        guard let id = drawSocket() else { return }
        take(id, atMost: script.flag() ? .max : 1 << script.below(16))
    }

    func take(_ id: StreamID, atMost most: Int) {
        var slices: [ChunkSlice] = []
        session.readable(id, into: &slices)
        let all = slices.reduce(0) { $0 + $1.count }
        require(all == 0 || sockets[id]?.isShut == false, "bytes for a socket that was shut")
        let count = min(all, most)
        guard count > 0, let taken = sockets[id]?.taken else { return }
        var left = count
        for slice in slices {
            let part = unsafe UnsafeRawBufferPointer(rebasing: slice.bytes.prefix(left))
            let isRight = unsafe Content.isContent(part, at: taken + UInt64(count - left))
            require(isRight, "wrong bytes of stream \(id) behind \(taken)")
            left -= part.count
        }
        sockets[id]?.taken += UInt64(count)
        handle(.localWrote(id, count: count))
    }

    private func socketEnds() {
        guard let id = drawSocket() else { return }
        switch expected != nil ? 0 : script.below(4) {
        case 0, 1:
            guard sockets[id]?.hasEnded == false else { return }
            sockets[id]?.hasEnded = true
            handle(.localEnded(id, closed: false))
        case 2: handle(.localDeaf(id))
        default:
            sockets[id]?.isOver = true
            handle(.localAborted(id, errno: Int32(script.byte() & 1) * 104))
        }
    }

    // MARK: The turn

    private func pull() {
        guard let path = wire.path(&script) else { return }
        // A turn before it, as a loop has it.
        tick(after: .zero)
        for _ in 0...script.below(4) where wire.paths.contains(path) && session.wantsToSend(path) {
            let room = 1 << script.below(18)
            call { session.pull(path, room: room, now: now, into: &$0) }
        }
    }

    func tick(after interval: Interval) {
        now = now + interval
        willTick()
        handle(.tick)
        var spins = 0
        while let deadline = session.deadline, deadline <= now {
            spins += 1
            require(spins < 20, "a deadline stays in the past")
            now = now + .microseconds(100)
            handle(.tick)
        }
    }

    func addPath(_ traits: PathTraits) {
        guard wire.paths.count < 4 else { return }
        handle(.pathUp(wire.addPath(), traits))
    }

    func losePath(_ path: PathID) {
        if wire.removePath(path) { handle(.pathDown(path)) }
    }

    func handle(_ input: Input) { call { session.handle(input, now: now, into: &$0) } }

    @discardableResult
    func call<Result>(_ body: (inout [Action]) -> Result) -> Result {
        var actions: [Action] = []
        let result = body(&actions)
        var lost: [PathID] = []
        for action in actions {
            switch action {
            case .open(let id): wire.opened(id)
            case .send(let id, let slice): wire.sent(id, slice)
            case .finish(let id): wire.finished(id)
            case .abandon(let id, _): wire.abandoned(id)
            case .endPath(let path, _): lost.append(path)
            case .endLocal(let id, let end): endLocal(id, end)
            case .release(let id): release(id)
            case .stop, .probe, .deliver, .accept: break
            case .opened, .offered, .connect, .setOption, .event: carryOut(action)
            }
        }
        for path in lost { losePath(path) }
        return result
    }

    private func endLocal(_ id: StreamID, _ end: StreamEnd) {
        guard sockets[id] != nil else { preconditionFailure("the end of stream \(id), which has no socket") }
        switch end {
        case .finished:
            require(sockets[id]?.isShut == false, "stream \(id) is shut twice")
            sockets[id]?.isShut = true
        case .aborted: sockets[id]?.isOver = true
        }
    }

    private func release(_ id: StreamID) {
        guard let socket = sockets.removeValue(forKey: id) else {
            preconditionFailure("stream \(id) is released, and there is none")
        }
        let isWhole = expected.map { socket.isShut && socket.taken == $0 } ?? true
        require(isWhole, "stream \(id) is released at \(socket.taken)")
    }
}
