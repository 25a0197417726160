// What programs write, on its way to the primary and, replayed, to replicas.

extension ClientSession {
    /// Where the program's next bytes go. Valid until the session is called again.
    public func room(_ id: StreamID) -> SendWindow.Room {
        guard let stream = stream(id), stream.upEnd == nil else { return .none }
        guard case .open = stream.phase else { return .none }
        let room = stream.up.room(upTo: upstreamLimit(stream))
        if case .none = room { stream.isPaused = true }
        return room
    }

    /// The program gave `count` bytes into what `room` showed last.
    public func filled(_ id: StreamID, count: Int, now: Instant, into actions: inout [Action]) {
        guard let stream = stream(id), count > 0 else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        reserve(stream)
        stream.up.filled(count)
        activate(stream)
    }

    /// The next byte that the program gives is urgent (out-of-band) data.
    public func urgent(_ id: StreamID, into actions: inout [Action]) {
        guard let stream = stream(id) else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        stream.urgentSent = stream.up.produced
        if let own = stream.own, !stream.ownFinished {
            send(.urgent(offset: stream.up.produced), on: own)
        }
        tellSecond(of: stream, .urgent(offset: stream.up.produced))
    }

    /// What follows an upstream write stays with the primary: there stand `Date:` and its like.
    private func reserve(_ stream: ClientStream) {
        let start = max(stream.progress, stream.down.highest)
        stream.reserved.insert(ByteRange(start, start + Tuning.primaryAfterWrite))
        if stream.reserved.ranges.count > 64, let first = stream.reserved.first {
            stream.reserved.remove(first)
        }
    }

    /// The credit that the primary gave, and no more than we hold for a primary that dies: enough to keep
    /// the paths busy, for what a program has written looks sent to it.
    private func upstreamLimit(_ stream: ClientStream) -> UInt64 {
        var rate = 0.0
        var longest = Interval.zero
        for path in upstreamPaths(stream) {
            rate += path.sendRate
            longest = max(longest, path.sample.srtt + Tuning.upstreamHorizon)
        }
        // A congestion window counts bytes on the wire.
        let wanted = UInt64(2 * rate * stream.compressibility.ratio * longest.seconds)
        let held = min(max(wanted, Tuning.minimumWindow), ClientLimit.upstream)
        let limit = min(stream.upMaximum, stream.up.heldFrom + held)
        guard let buffer = stream.options.sendBuffer else { return limit }
        return min(limit, stream.upTaken + buffer)
    }

    /// The driver found no room, and asks again when it is told.
    func resume(_ stream: ClientStream) {
        guard stream.isPaused, upstreamLimit(stream) > stream.up.produced else { return }
        stream.isPaused = false
        out.append(.accept(stream.id))
    }

    /// Frees what nobody needs again: acknowledged by the primary and by every engaged replica, and past what
    /// a replica could still be engaged with.
    func dropAcknowledged(_ stream: ClientStream) {
        guard stream.up.produced > Tuning.replayLimit else { return }
        var needed = stream.upAcknowledged
        for part in stream.parts where part.ended == nil { needed = min(needed, part.upAcknowledged) }
        stream.up.grant(read: needed, maximum: .max)
    }

    // MARK: The program's end of the stream

    func localEnded(_ id: StreamID, closed: Bool, now: Instant) {
        guard let stream = stream(id) else { return }
        guard case .open = stream.phase else {
            abort(stream, errno: ErrorNumber.connectionReset)
            return
        }
        if stream.upEnd == nil || closed { stream.upEnd = ClientStream.UpstreamEnd(closed: closed) }
        activate(stream)
        if closed, !stream.downDone {
            // Nobody reads any more. What the backend still sends is answered with a reset there (protocol.md
            // §7).
            stream.downDone = true
            deafen(stream, now: now)
        }
        maybeLinger(stream, now: now)
    }

    func localAborted(_ id: StreamID, errno: Int32, now: Instant) {
        guard let stream = stream(id) else { return }
        sendBeforeReset(stream, now: now)
        abort(stream, errno: errno)
    }

    /// TCP has sent what its windows allow before the program can reset: the backend reads that, then the
    /// error.
    private func sendBeforeReset(_ stream: ClientStream, now: Instant) {
        guard case .open = stream.phase, stream.upEnd == nil, let own = stream.own, let path = path(own.path)
        else { return }
        var sent = 0
        while sent < Tuning.beforeReset {
            let count = pullUpstream(stream, path: path, now: now)
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
        stream.isSpread = false
        endContributions(stream)
        for lease in stream.book.leases { giveBack(lease, of: stream, abandon: true) }
        for index in stream.parts.indices { endPart(index, of: stream, .streamDone, now: now) }
        dissolveQuorum(stream)
        advanced(stream, now: now)
    }
}
