// What programs write, on its way to the primary and, replayed, to replicas.

extension ClientSession {
    /// Where the program's next bytes go. Valid until the session is called again.
    public func room(_ id: StreamID) -> SendWindow.Room {
        guard let stream = stream(id), stream.upEnd == nil else { return .none }
        guard case .open = stream.phase else { return .none }
        return stream.up.room(upTo: upstreamLimit(stream))
    }

    /// The program gave `count` bytes into what `room` showed last.
    public func filled(_ id: StreamID, count: Int, now: Instant, into actions: inout [Action]) {
        guard let stream = stream(id), count > 0 else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        reserve(stream)
        stream.up.filled(count)
    }

    /// The next byte that the program gives is urgent (out-of-band) data.
    public func urgent(_ id: StreamID, into actions: inout [Action]) {
        guard let stream = stream(id), !stream.released else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        stream.urgentSent = stream.up.produced
        if let own = stream.own, !stream.ownFinished {
            send(.urgent(offset: stream.up.produced), on: own)
        }
    }

    /// What follows an upstream write stays with the primary: there stand `Date:` and its like.
    private func reserve(_ stream: ClientStream) {
        let start = max(stream.progress, stream.down.highest)
        stream.reserved.insert(ByteRange(start, start + Tuning.primaryAfterWrite))
        if stream.reserved.ranges.count > 64, let first = stream.reserved.first {
            stream.reserved.remove(first)
        }
    }

    /// The credit that the primary gave, and no more than we hold for a primary that dies.
    private func upstreamLimit(_ stream: ClientStream) -> UInt64 {
        min(stream.upMaximum, stream.up.heldFrom + ClientLimit.upstream)
    }

    func upstreamRoom(_ stream: ClientStream) -> UInt64 {
        let limit = upstreamLimit(stream)
        return limit > stream.up.produced ? limit - stream.up.produced : 0
    }

    /// Frees what nobody needs again: acknowledged by the primary and by every engaged replica, and past what
    /// a replica could still be engaged with.
    func dropAcknowledged(_ stream: ClientStream) {
        guard stream.up.produced > Tuning.replayLimit else { return }
        var needed = stream.upAcknowledged
        for part in stream.parts where part.ended == nil { needed = min(needed, part.upAcknowledged) }
        stream.up.grant(read: needed, maximum: .max)
    }

    /// One piece, or the end, on the primary's channel. Returns the bytes emitted.
    func pullOwn(_ stream: ClientStream, path: ClientPath) -> Int {
        guard let own = stream.own, own.path == path.id, stream.hasUpstream else { return 0 }
        let sent = emit(stream, on: own, from: stream.upSent, maximum: stream.upMaximum, path: path)
        stream.upSent += UInt64(sent)
        if let end = stream.upEnd, stream.upSent == stream.up.produced {
            send(
                .fin(base: 0, final: stream.upSent, sum: stream.up.sumToProduced, closed: end.closed), on: own
            )
            stream.finSent = true
            finishOwn(stream)
        }
        return sent
    }

    /// One piece of the replay to the replicas on this path.
    func pullReplay(_ stream: ClientStream, path: ClientPath) -> Int {
        for index in stream.parts.indices where stream.parts[index].channel.path == path.id {
            let part = stream.parts[index]
            guard stream.hasReplay(part) else { continue }
            let sent = emit(stream, on: part.channel, from: part.upSent, maximum: part.upMaximum, path: path)
            stream.parts[index].upSent += UInt64(sent)
            if let end = stream.upEnd, stream.parts[index].upSent == stream.up.produced {
                let sum = stream.up.sumToProduced
                send(.fin(base: 0, final: stream.up.produced, sum: sum, closed: end.closed), on: part.channel)
                stream.parts[index].finSent = true
            }
            return sent
        }
        return 0
    }

    private func emit(
        _ stream: ClientStream, on channel: ChannelID, from offset: UInt64, maximum: UInt64, path: ClientPath
    ) -> Int {
        let end = min(stream.up.produced, maximum, Block.roundDown(offset) + Block.size)
        guard offset < end else { return 0 }
        let slice = stream.up.slice(ByteRange(offset, end))
        let crc = unsafe integrity.crc32c(0, slice.bytes)
        out.append(
            .send(channel, writer.dataHeader(offset: offset, length: slice.count, flags: 0, crc32c: crc)))
        out.append(.send(channel, slice))
        path.sent += UInt64(slice.count)
        return slice.count
    }

    // MARK: The program's end of the stream

    func localEnded(_ id: StreamID, closed: Bool, now: Instant) {
        guard let stream = stream(id), !stream.released else { return }
        guard case .open = stream.phase else {
            abort(stream, errno: ErrorNumber.connectionReset)
            return
        }
        if stream.upEnd == nil || closed { stream.upEnd = ClientStream.UpstreamEnd(closed: closed) }
        if closed, !stream.downDone {
            // Nobody reads any more. What the backend still sends is answered with a reset there (protocol.md
            // §7).
            stream.downDone = true
            deafen(stream, now: now)
        }
        maybeLinger(stream, now: now)
    }

    func localAborted(_ id: StreamID, errno: Int32) {
        guard let stream = stream(id) else { return }
        sendBeforeReset(stream)
        abort(stream, errno: errno)
    }

    /// TCP has sent what its windows allow before the program can reset: the backend reads that, then the
    /// error.
    private func sendBeforeReset(_ stream: ClientStream) {
        guard case .open = stream.phase, stream.upEnd == nil, let own = stream.own, let path = path(own.path)
        else { return }
        var sent = 0
        while sent < Tuning.beforeReset {
            let count = pullOwn(stream, path: path)
            if count == 0 { break }
            sent += count
        }
    }

    func localDeaf(_ id: StreamID, now: Instant) {
        guard let stream = stream(id) else { return }
        deafen(stream, now: now)
    }

    private func deafen(_ stream: ClientStream, now: Instant) {
        stream.deaf = true
        for lease in stream.book.leases { giveBack(lease, of: stream, abandon: true) }
        for index in stream.parts.indices { endPart(index, of: stream, .streamDone, now: now) }
        advanced(stream, now: now)
        updateWindow(stream, now: now)
    }
}
