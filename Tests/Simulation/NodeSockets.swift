internal import KwikCore

/// The engine's or the gateway's end of one local socket.
final class Local {
    let stream: StreamID
    let socket: SocketEnd
    var isDirty = false
    /// Whether bytes flow yet.
    var isConnected = false
    var wasEndTold = false
    var wasCloseTold = false
    var wasAbortTold = false
    var wasDeafTold = false
    /// Bytes that the session gave, and took.
    var delivered: UInt64 = 0
    var fetched: UInt64 = 0

    init(_ stream: StreamID, _ socket: SocketEnd) {
        self.stream = stream
        self.socket = socket
    }
}

extension Node {
    func attach(_ socket: SocketEnd, to stream: StreamID, isConnected: Bool) {
        if locals[stream] != nil { world.fail("\(name): stream \(stream.value) has a local socket already") }
        let local = Local(stream, socket)
        local.isConnected = isConnected
        locals[stream] = local
        socket.onEvent = { [weak self] in self?.touch(stream) }
    }

    func touch(_ stream: StreamID) {
        guard let local = locals[stream], !local.isDirty else { return }
        local.isDirty = true
        dirty.append(stream)
        wake()
    }

    /// True if anything was done.
    func serveSockets() -> Bool {
        var worked = false
        var rounds = 0
        while !dirty.isEmpty, world.violation == nil {
            let list = dirty
            dirty = []
            for stream in list {
                guard let local = locals[stream] else { continue }
                local.isDirty = false
                serve(local)
                worked = true
            }
            rounds += 1
            if rounds > 10_000 { world.fail("\(name): a local socket keeps the loop busy") }
        }
        return worked
    }

    private func serve(_ local: Local) {
        guard local.isConnected, !local.socket.isClosed, !local.wasAbortTold else { return }
        if let failure = local.socket.failure {
            local.wasAbortTold = true
            return give(.localAborted(local.stream, errno: failure))
        }
        deliver(local)
        fetch(local)
        guard locals[local.stream] === local, !local.socket.isClosed else { return }
        if local.socket.failure != nil { return touch(local.stream) }
        guard local.socket.incoming.count == 0, local.socket.isPeerFinished else { return }
        let closed = local.socket.isPeerClosed && tellsClosed
        if closed ? !local.wasCloseTold : !local.wasEndTold {
            local.wasEndTold = true
            local.wasCloseTold = closed
            give(.localEnded(local.stream, closed: closed))
        }
    }

    /// From the session into the local socket.
    private func deliver(_ local: Local) {
        let socket = local.socket
        if socket.isPeerDeaf || (socket.isPeerClosed && tellsClosed) {
            guard !local.wasDeafTold, !socket.isFinished else { return }
            local.wasDeafTold = true
            return give(.localDeaf(local.stream))
        }
        while !socket.isFinished, locals[local.stream] === local {
            var slices: [ChunkSlice] = []
            readable(local.stream, into: &slices)
            let isMarked = !slices.isEmpty && isUrgent(local.stream)
            if isMarked { checkUrgent(local, slices) }
            var count = 0
            for slice in slices {
                let written = unsafe socket.write(slice.bytes)
                count += written
                if written < slice.count { break }
            }
            guard count > 0 else { return }
            if isMarked { world.count(tellsUrgent) }
            local.delivered += UInt64(count)
            localWrote(local.stream, count)
            give(.localWrote(local.stream, count: count))
        }
    }

    /// From the local socket into the session.
    private func fetch(_ local: Local) {
        while locals[local.stream] === local, !local.wasEndTold, local.socket.incoming.count > 0 {
            let count: Int
            let mark = local.socket.untilUrgent
            // A read stops before the urgent byte, and takes that alone.
            let most = mark.map { max($0, 1) } ?? Int.max
            switch room(local.stream) {
            case .none: return
            case .buffer(let buffer):
                let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(most))
                count = unsafe local.socket.read(into: part)
            case .discard(let limit): count = local.socket.discard(min(limit, most))
            }
            guard count > 0 else { return }
            if mark == 0 {
                world.urgent.insert(World.Mark(stream: local.stream, isUp: isClient, offset: local.fetched))
                markUrgent(local.stream)
            }
            local.fetched += UInt64(count)
            fill(local.stream, count)
        }
    }

    /// What is shown as urgent is one byte, and somebody marked it.
    private func checkUrgent(_ local: Local, _ slices: [ChunkSlice]) {
        let count = slices.reduce(0) { $0 + $1.count }
        let mark = World.Mark(stream: local.stream, isUp: !isClient, offset: local.delivered)
        if count != 1 || !world.urgent.contains(mark) {
            world.fail(
                "\(name): \(count) bytes of stream \(local.stream.value) at \(local.delivered) are urgent")
        }
    }

    private var tellsUrgent: String { isClient ? "urgent-down" : "urgent-up" }

    // MARK: What the session asks

    func endLocal(_ stream: StreamID, _ end: StreamEnd) {
        world.trace("\(name) stream \(stream.value) endLocal \(end)")
        guard let local = locals[stream] else {
            return world.fail("\(name): endLocal of stream \(stream.value), which has no socket")
        }
        switch end {
        case .finished:
            var slices: [ChunkSlice] = []
            readable(stream, into: &slices)
            if !slices.isEmpty {
                world.fail("\(name): endLocal of stream \(stream.value) before its last bytes")
            }
            if local.socket.isFinished, !local.socket.isClosed {
                world.fail("\(name): stream \(stream.value) was ended twice")
            }
            local.socket.shutdownWrite()
        case .aborted(let errno):
            local.socket.reset(errno)
        }
    }

    func release(_ stream: StreamID) {
        world.trace("\(name) stream \(stream.value) released")
        let local = locals.removeValue(forKey: stream)
        released(stream)
        guard let local else { return }
        local.socket.onEvent = {}
        local.socket.close()
    }
}
