// How streams, and what carries them, begin and end.

extension GatewaySession {
    func openStream(
        _ id: StreamID, isReplica: Bool, on channel: GatewayChannel
    ) throws(ChannelFault) {
        // The client numbers its streams evenly.
        guard id.value & 1 == 0 else { throw .malformed(.notAllowedHere) }
        if isReplica {
            // Engaged anew: what is left of an earlier part in the stream is of no more use.
            if let stream = streams[id] { fail(stream, .none) }
        } else if let stream = streams[id] {
            try reopen(stream, on: channel)
            return
        } else if closed.contains(id, now: now) {
            throw .stale
        }
        guard streams.count < limits.streams else { throw .tooMany }
        let stream = GatewayStream(id: id, isReplica: isReplica, limits: limits, integrity: integrity)
        add(stream)
        isPrimary = isPrimary || !isReplica
        stream.own = channel
        channel.use = .stream(stream)
        channel.awaitsOpen = true
        if let path = paths[channel.id.path] {
            _ = stream.part(on: path)
            event(.streamOpened(id, path.traits.server))
        }
    }

    func add(_ stream: GatewayStream) {
        streams[stream.id] = stream
        memory.enter(&stream.demand)
    }

    /// The client opens once more what it has heard nothing of since its path failed. Nothing else may be
    /// opened twice.
    private func reopen(_ stream: GatewayStream, on channel: GatewayChannel) throws(ChannelFault) {
        // A path that was dark brought it late: the client opened the stream at another server since, and has
        // engaged this one as a replica.
        guard !stream.isReplica else { throw .stale }
        // An OPEN that was overtaken by a later one on another path.
        guard stream.epoch == 0, stream.window.read == 0, stream.reassembler.front == 0 else { throw .stale }
        channel.awaitsOpen = true
        takeOver(stream, by: channel, from: 0)
    }

    /// - Parameter tellsClient: whether it was the client that opened the stream.
    func connected(_ stream: GatewayStream, local: [UInt8], peer: [UInt8], tellsClient: Bool = true) {
        guard case .connecting = stream.backend else { return }
        stream.backend = .connected(local: local, peer: peer)
        event(.streamConnected(stream.id, errno: 0))
        if tellsClient { sendOpened(stream) }
        sendWindow(stream)
        out.append(.accept(stream.id))
        tellDelivery(stream)
        checkUpstreamEnd(stream)
    }

    private func sendOpened(_ stream: GatewayStream) {
        guard case .connected(let local, let peer) = stream.backend, let own = stream.main else { return }
        send(.opened(errno: 0, local: local, peer: peer), on: own)
    }

    func refused(_ stream: GatewayStream, errno: Int32) {
        guard case .connecting = stream.backend else { return }
        event(.streamConnected(stream.id, errno: errno))
        if let main = stream.main { send(.opened(errno: errno, local: [], peer: []), on: main) }
        release(stream, .aborted(errno: errno))
    }

    // MARK: Channels of a stream

    /// Role 1. The highest epoch takes the own sender over and, at a replica, makes it the primary. A replica
    /// whose own channel the client gave back a moment ago still can be.
    func attach(
        _ channel: GatewayChannel, to stream: GatewayStream, epoch: UInt64, received: UInt64
    ) throws(ChannelFault) {
        if epoch == 0 {
            guard stream.sides.count < limits.channelsPerStream else { throw .tooMany }
            channel.use = .stream(stream)
            stream.sides.append(channel)
            stream.giveUpAt = nil
            return
        }
        guard epoch > stream.epoch else { throw .stale }
        // What a primary has not given it can't have received.
        let isPossible = stream.isReplica || received <= max(stream.window.produced, stream.promotedAt)
        guard isPossible else { throw .flowControl }
        if stream.isReplica {
            // Meant for an earlier part in this stream: a path that was dark brought it late, and the client
            // has engaged the replica anew and read on.
            guard received >= stream.window.heldFrom else { throw .stale }
            // Its bytes are the stream's from here on; a primary's sum goes on from where it began.
            stream.isReplica = false
            stream.promotedAt = received
            isPrimary = true
            stream.window.beginSum(at: received)
        }
        stream.epoch = epoch
        event(.reattached(stream.id, channel.id.path, epoch: epoch))
        // By a path that was slow: what the client has read since, by leases on others, it has received.
        takeOver(stream, by: channel, from: max(received, stream.window.heldFrom))
    }

    /// The own sender starts anew on this channel.
    private func takeOver(_ stream: GatewayStream, by channel: GatewayChannel, from received: UInt64) {
        if let old = stream.own {
            stream.own = nil
            if old.isFinished { old.use = .ignored } else { abandon(old, .none) }
            pruneParts(of: stream)
        }
        stream.own = channel
        stream.clientIsDone = false
        stream.giveUpAt = nil
        channel.use = .stream(stream)
        stream.window.forgetCarved()
        stream.next = received
        stream.endSent = false
        stream.progressAt = received
        delegateAgain(stream, from: received)
        guard let path = paths[channel.id.path] else { return }
        _ = stream.part(on: path)
        taken(stream)
        // The client may have lost it with the old channel.
        if received == 0 { sendOpened(stream) }
        sendWindow(stream)
        if stream.window.produced > received { sendProgress(stream) }
        sendEnd(stream)
        stream.activateParts()
        settle(stream)
    }

    /// The channel carries nothing of ours any more.
    func detach(_ channel: GatewayChannel, from stream: GatewayStream, grace: Interval) {
        guard !stream.isReleased else { return }
        if stream.own === channel {
            stream.own = nil
            pruneParts(of: stream)
        } else {
            stream.sides.removeAll { $0 === channel }
            stream.offers.removeAll { $0 === channel }
        }
        guard stream.isOrphan else { return }
        // A channel that ended well may leave leases behind, which take their time.
        giveUpLater(stream, after: stream.clientIsDone && stream.leases > 0 ? limits.sessionGrace : grace)
    }

    // MARK: Leases

    /// - Parameter carves: the range is the own sender's so far, and only what that has not begun is served.
    func lease(
        _ asked: ByteRange, carves: Bool, on channel: GatewayChannel, of stream: GatewayStream
    ) throws(ChannelFault) {
        var range = asked
        if carves {
            if !stream.isReplica { range = stream.window.carveEnd(of: asked, begun: stream.next) }
            // A replica: the lease has overtaken the channel that makes it the primary.
            guard !range.isEmpty, !stream.isReplica else {
                send(.end, on: channel)
                finish(channel)
                channel.use = .ignored
                return
            }
        }
        guard range.end <= stream.window.maximum else { throw .flowControl }
        guard range.end > stream.window.heldFrom else { throw ChannelFault(code: .flowControl, error: nil) }
        guard stream.leases < limits.leasesPerStream else { throw .tooMany }
        guard let path = paths[channel.id.path] else { return }
        let lease = GatewayLease(channel: channel, stream: stream, range: range)
        channel.use = .lease(lease)
        stream.leases += 1
        let part = stream.part(on: path)
        let index = part.leases.firstIndex { $0.next > lease.next } ?? part.leases.count
        part.leases.insert(lease, at: index)
        path.activate(part)
    }

    /// The lease is complete, revoked or refused.
    func drop(_ lease: GatewayLease) {
        let stream = lease.stream
        guard let part = stream.parts.first(where: { $0.path.id == lease.channel.id.path }),
            let index = part.leases.firstIndex(where: { $0 === lease })
        else { return }
        part.leases.remove(at: index)
        stream.leases -= 1
        pruneParts(of: stream)
        settle(stream)
    }

    /// Forgets the paths that carry nothing of the stream any more.
    private func pruneParts(of stream: GatewayStream) {
        stream.parts.removeAll { part in
            guard part.leases.isEmpty, stream.own?.id.path != part.path.id else { return false }
            part.path.deactivate(part)
            return true
        }
    }

    // MARK: Ends

    /// Finishes and forgets what is done.
    func settle(_ stream: GatewayStream) {
        guard !stream.isReleased, !stream.isReplica else { return }
        guard stream.ownSenderIsDone, !stream.awaitsUpstream else { return }
        if let own = stream.own { finish(own) }
        // Until the client is done it may have to fetch a block, or the end, once more.
        guard case .done(_, let closed) = stream.upstream, stream.clientIsDone else { return }
        guard stream.leases == 0 else { return }
        release(stream, stream.backendErrno.map { .aborted(errno: $0) } ?? .finished(closed: closed))
    }

    func giveUpLater(_ stream: GatewayStream, after grace: Interval) {
        let time = now + grace
        if !ending.contains(where: { $0 === stream }) { ending.append(stream) }
        stream.giveUpAt = min(stream.giveUpAt ?? .never, time)
    }

    /// The backend sees a reset.
    func giveUp(_ stream: GatewayStream) {
        guard !stream.isReleased else { return }
        let errno = stream.isOffered ? ErrorNumber.timedOut : ErrorNumber.connectionReset
        let end = StreamEnd.aborted(errno: errno)
        if stream.isConnected { out.append(.endLocal(stream.id, end)) }
        release(stream, end)
    }

    /// Resets the stream towards both sides.
    func fail(_ stream: GatewayStream, _ code: ErrorCode) {
        guard !stream.isReleased else { return }
        for channel in stream.sides + [stream.own].compactMap({ $0 }) where !channel.isFinished {
            if code != .none { event(.channelFailed(channel.id, stream.id, code)) }
            abandon(channel, code)
        }
        giveUp(stream)
    }

    func release(_ stream: GatewayStream, _ end: StreamEnd) {
        guard !stream.isReleased else { return }
        stream.isReleased = true
        if stream.isOffered, case .aborted(let errno) = end {
            out.append(.opened(stream.id, errno: errno, local: [], peer: []))
        }
        endOffers(of: stream)
        for channel in stream.sides + [stream.own].compactMap({ $0 }) {
            finish(channel)
            channel.use = .ignored
        }
        for part in stream.parts {
            part.path.deactivate(part)
            for lease in part.leases where !lease.channel.isFinished { abandon(lease.channel, .none) }
        }
        stream.own = nil
        stream.sides = []
        stream.parts = []
        stream.windowDelayed = false
        stream.giveUpAt = nil
        ending.removeAll { $0 === stream }
        ended.append(report(stream))
        streams[stream.id] = nil
        memory.leave(&stream.demand)
        closed.insert(
            stream.id, until: now + limits.closedStreamMemory, now: now, limit: limits.closedStreams)
        let use = stream.use
        if use.leased > 0 || use.again > 0 {
            event(.windowUsed(stream.id, leased: use.leased, ahead: use.ahead, again: use.again))
        }
        event(
            .streamClosed(
                stream.id, end, received: stream.reassembler.front, sent: stream.window.produced))
        out.append(.release(stream.id))
    }
}
