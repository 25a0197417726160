// DATA leaves only when a path asks for it: what is queued in a transport can't be carved out any more.

extension GatewaySession {
    /// Whether `pull` would find anything on this path. May be true once too often, never false too often.
    public func wantsToSend(_ path: PathID) -> Bool {
        paths[path].map { $0.current != nil || !$0.contributions.isEmpty } ?? false
    }

    /// Emits about `room` bytes of DATA for this path: of each stream the lowest offset first, be it the own
    /// sender's or a lease's; among streams by deficit round robin, weighted by
    /// priority.
    public func pull(_ path: PathID, room: Int, now: Instant, into actions: inout [Action]) {
        guard let path = paths[path] else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        self.now = now
        var room = room
        while room > 0, let part = path.current {
            if part.deficit <= 0 {
                part.deficit += StreamWeight.quantum(limits.quantum, weight: part.stream.weight)
            }
            guard part.deficit > 0 else {
                path.passTurn()
                continue
            }
            let sent = sendPiece(part, room: room)
            if sent == 0 {
                path.deactivate(part)
                continue
            }
            room -= sent
            part.deficit -= sent
            if part.deficit <= 0, path.current === part { path.passTurn() }
        }
        while room > 0, let contribution = path.contributions.first {
            room -= send(contribution, on: path, room: room)
        }
        if room <= 0, path.current != nil || !path.contributions.isEmpty { path.pressure.full(now: now) }
    }

    /// One DATA frame, and the ends of leases that have nothing left. Returns the payload bytes as they stand
    /// on the wire; 0: nothing to send.
    private func sendPiece(_ part: GatewayPart, room: Int) -> Int {
        let stream = part.stream
        while let lease = firstLease(part) {
            if let own = ownRange(part), own.start <= lease.next { return sendOwn(own, part, room: room) }
            let range = leaseRange(lease)
            let sent =
                range.isEmpty
                ? nil : send(range, on: lease.channel, of: part, room: room, leasedAt: lease.produced)
            lease.next += sent?.plain ?? 0
            if lease.next == lease.end || (stream.window.ended && lease.next >= stream.window.produced) {
                complete(lease)
            }
            if let sent { return Int(sent.wire) }
        }
        guard !stream.isReleased, let own = ownRange(part) else { return 0 }
        return sendOwn(own, part, room: room)
    }

    // MARK: Leases

    /// The lowest lease that can go on. Those that the client has read past are given up on the way.
    private func firstLease(_ part: GatewayPart) -> GatewayLease? {
        let stream = part.stream
        while let lease = part.leases.first(where: { $0.end <= stream.window.heldFrom }) {
            abandon(lease.channel, .flowControl)
            drop(lease)
        }
        var first: GatewayLease?
        for lease in part.leases {
            lease.next = max(lease.next, stream.window.heldFrom)
            let canGoOn = lease.next < stream.window.produced || stream.window.ended
            if canGoOn, lease.next < first?.next ?? .max { first = lease }
        }
        return first
    }

    private func leaseRange(_ lease: GatewayLease) -> ByteRange {
        let end = min(lease.end, lease.stream.window.produced, Block.roundDown(lease.next) + Block.size)
        return ByteRange(min(lease.next, end), end)
    }

    private func complete(_ lease: GatewayLease) {
        if lease.next < lease.end { send(.end, on: lease.channel) }
        finish(lease.channel)
        lease.channel.use = .ignored
        drop(lease)
    }

    // MARK: The own sender

    /// What the own sender sends next on this path.
    private func ownRange(_ part: GatewayPart) -> ByteRange? {
        let stream = part.stream
        guard !stream.isReplica, let own = stream.own, own.id.path == part.path.id, !own.isFinished else {
            return nil
        }
        if case .resetting = stream.upstream { return nil }
        stream.next = stream.window.nextOwn(from: stream.next)
        let end = min(
            stream.window.produced, stream.window.maximum, Block.roundDown(stream.next) + Block.size)
        return stream.next < end ? ByteRange(stream.next, end) : nil
    }

    private func sendOwn(_ range: ByteRange, _ part: GatewayPart, room: Int) -> Int {
        let stream = part.stream
        guard let own = stream.own else { return 0 }
        if stream.windowDelayed { sendWindow(stream) }
        // A piece counts once it is whole: the first ones of an answer are short, as the congestion window
        // may not have room for a long one.
        let answered = range.start < stream.answer ? UInt64.max : range.start - stream.answer
        let sent = send(range, on: own, of: part, room: Int(min(UInt64(room), answered)))
        stream.next = stream.window.nextOwn(from: range.start + sent.plain)
        if stream.next >= stream.window.produced, !stream.window.ended, !stream.saidLimited {
            sendProgress(stream, applicationLimited: true)
        }
        settle(stream)
        return Int(sent.wire)
    }

    // MARK: DATA

    /// Sends what the room allows of `range`, which lies within one block and is not empty; all of it where
    /// that can be compressed. `leasedAt`: see `WindowUse`.
    private func send(
        _ range: ByteRange, on channel: GatewayChannel, of part: GatewayPart, room: Int,
        leasedAt produced: UInt64? = nil
    ) -> SentPiece {
        let stream = part.stream
        let whole = stream.window.slice(range)
        let sent =
            sendCompressed(whole, at: range.start, on: channel, path: part.path, &stream.compressibility)
            ?? sendPlain(
                whole.prefix(max(room, limits.leastPiece)), at: range.start, on: channel, path: part.path,
                &stream.compressibility)
        stream.use.sent(ByteRange(range.start, range.start + sent.plain), leasedAt: produced)
        return sent
    }
}
