// What the backend answers, on its way to the client: the window of it, and what is told of it.

extension GatewaySession {
    // MARK: From the backend

    /// Where the backend's next bytes go. Valid until the session is called again. After `none`,
    /// `Action.accept` says when to ask again.
    public func room(_ id: StreamID) -> Room {
        guard let stream = streams[id], stream.isConnected else { return .none }
        // What is read now shows only that the backend still sends; see `filled`.
        if stream.isClosedByClient { return stream.window.ended ? .none : .discard(Int(Block.size)) }
        let room = stream.window.room(upTo: readLimit(stream))
        if case .none = room { stream.isPaused = true }
        return room
    }

    /// A gateway reads ahead of its own path, up to its window beyond what the client has read.
    private func readLimit(_ stream: GatewayStream) -> UInt64 {
        let share = memory.share(of: stream.demand, most: limits.windowPerSession, now: now)
        let window = min(limits.windowPerStream, max(share, limits.firstWindow))
        return min(stream.window.maximum, stream.window.read + window)
    }

    /// What the stream holds has changed, or what its client may send.
    func weigh(_ stream: GatewayStream) {
        if stream.isReleased { return }
        let produced = stream.window.produced
        let down = produced - min(stream.window.read, produced)
        let up = stream.reassembler.highest - stream.reassembler.read
        // It has one share, for the direction that needs more.
        let read = stream.window.read + stream.reassembler.read
        memory.tell(&stream.demand, produced: read + max(down, up), read: read, now: now)
        let credit = stream.upstreamCredit
        memory.hold(
            down: down, up: up, promised: credit - min(limits.firstWindow, credit), &stream.demand)
    }

    /// So many bytes were read into what `room` showed, or dropped if it said so.
    public func filled(_ id: StreamID, count: Int, now: Instant, into actions: inout [Action]) {
        guard let stream = streams[id], count > 0 else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        self.now = now
        if stream.isClosedByClient {
            giveUp(stream)
            return
        }
        let wasBehind = stream.window.produced < stream.window.read
        stream.window.filled(count)
        weigh(stream)
        stream.activateParts()
        let caughtUp = wasBehind && stream.window.produced >= stream.window.read
        if stream.isReplica ? replicaHasNews(stream) || caughtUp : primaryHasNews(stream) {
            sendProgress(stream)
        }
    }

    /// The next byte that the backend gives is urgent (out-of-band) data. A replica's mark is its own affair.
    public func urgent(_ id: StreamID, into actions: inout [Action]) {
        guard let stream = streams[id], !stream.isReplica, !stream.isClosedByClient, let main = stream.main,
            !main.isFinished
        else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        send(.urgent(offset: stream.window.produced), on: main)
    }

    private func primaryHasNews(_ stream: GatewayStream) -> Bool {
        let produced = stream.window.produced
        return produced >= stream.progressAt + limits.progressStep && produced > stream.next
    }

    private func replicaHasNews(_ stream: GatewayStream) -> Bool {
        let produced = stream.window.produced
        return produced >= stream.progressAt + limits.progressStep && produced >= stream.window.read
    }

    func backendEnded(_ stream: GatewayStream, closed: Bool) {
        guard !stream.window.ended else { return }
        stream.window.end()
        if stream.isReplica || stream.window.produced > stream.next { sendProgress(stream) }
        sendEnd(stream)
        stream.activateParts()
        settle(stream)
    }

    /// What the backend gave before stays on offer, then the client sees the error.
    func backendFailed(_ stream: GatewayStream, errno: Int32) {
        if !stream.isConnected {
            refused(stream, errno: errno)
            return
        }
        guard stream.backendErrno == nil else { return }
        let alreadyEnded = stream.window.ended
        stream.backendErrno = errno
        stream.upstream = .done(final: stream.finalUpstream, closed: stream.isClosedByClient)
        deafen(stream)
        if alreadyEnded, stream.endSent, let main = stream.main {
            // FIN was sent already; the client still has to learn that its own bytes were lost.
            sendReset(stream, errno: errno, on: main)
        }
        stream.window.end()
        sendEnd(stream)
        stream.activateParts()
        settle(stream)
    }

    private func sendReset(_ stream: GatewayStream, errno: Int32, on channel: GatewayChannel) {
        send(.reset(errno: errno, offset: stream.window.produced), on: channel)
    }

    /// FIN or RESET, once the backend has ended: at once, since the client waits for the bytes anyway.
    func sendEnd(_ stream: GatewayStream) {
        guard stream.window.ended, !stream.endSent, let own = stream.own, !own.isFinished else { return }
        if let errno = stream.backendErrno {
            stream.endSent = true
            sendReset(stream, errno: errno, on: own)
            return
        }
        // A replica's end is an event of the replica, told by PROGRESS.
        guard !stream.isReplica, let base = stream.window.sumBase else { return }
        let final = stream.window.produced
        guard base <= final else {
            // Promoted past its own end: its bytes are not those of the stream.
            event(.integrityFailure(stream.id, offset: final))
            fail(stream, .integrity)
            return
        }
        stream.endSent = true
        send(.fin(base: base, final: final, sum: stream.window.sumToProduced, closed: false), on: own)
    }

    // MARK: From the client

    func windowGranted(
        read: UInt64, maximum: UInt64, of stream: GatewayStream
    ) throws(ChannelFault) {
        if stream.window.discarded + stream.window.discardNeeded(toRead: read) > limits.discardBudget {
            fail(stream, .resourceLimit)
            return
        }
        stream.window.grant(read: read, maximum: maximum)
        weigh(stream)
        stream.use.forget(before: stream.window.heldFrom)
        stream.activateParts()
        if stream.isPaused, hasRoom(stream) {
            stream.isPaused = false
            out.append(.accept(stream.id))
        }
        settle(stream)
    }

    private func hasRoom(_ stream: GatewayStream) -> Bool {
        !stream.window.ended && stream.window.produced < max(stream.window.heldFrom, readLimit(stream))
    }

    /// Grants what is whole and not begun, and says so where it was asked; the tags of it follow.
    func carve(
        _ sequence: UInt64, _ ranges: [ByteRange], on channel: GatewayChannel, of stream: GatewayStream
    ) throws(ChannelFault) {
        guard !stream.isReplica else { throw .malformed(.notAllowedHere) }
        // What is not answered is not granted.
        guard !channel.isFinished else { return }
        var granted: [ByteRange] = []
        // Of an older own channel nothing is left to carve.
        for range in ranges where stream.own != nil {
            stream.window.carve(range, begun: stream.next, into: &granted)
        }
        send(.carved(sequence: sequence, granted), on: channel)
        for range in granted { sendTags(of: range, stream, on: channel) }
        settle(stream)
    }

    private func sendTags(of range: ByteRange, _ stream: GatewayStream, on channel: GatewayChannel) {
        var tags: [BlockTag] = []
        var first = Block.index(of: range.start)
        var start = range.start
        while start < range.end {
            let end = min(start + Block.size, range.end)
            let bytes = unsafe stream.window.bytes(ByteRange(start, end))
            tags.append(unsafe tagger(stream.id, Block.index(of: start), bytes))
            start = end
            if tags.count == WireLimit.tags || start == range.end {
                send(.tag(firstBlock: first, tags), on: channel)
                first += UInt64(tags.count)
                tags.removeAll(keepingCapacity: true)
            }
        }
    }

    func sendProgress(_ stream: GatewayStream, applicationLimited: Bool = false) {
        guard let channel = stream.control else { return }
        let produced = stream.window.produced
        stream.progressAt = produced
        stream.saidLimited = applicationLimited
        send(
            .progress(produced: produced, ended: stream.window.ended, applicationLimited: applicationLimited),
            on: channel)
    }
}
