// How a stream begins and ends.

extension ClientSession {
    /// Gives a stream its primary: the first configured origin with a path that is up, by the quickest.
    func assignPrimary(_ stream: ClientStream, now: Instant) {
        var best: ClientPath?
        for path in paths
        where path.isActive && path.traits.roles.contains(.origin) && stream.allows(path) {
            guard let other = best else {
                best = path
                continue
            }
            let isQuicker = path.server == other.server && path.sample.srtt < other.sample.srtt
            if path.server < other.server || isQuicker { best = path }
        }
        guard let path = best else { return }
        let channel = openChannel(on: path, stream: stream, use: .own(epoch: 0))
        stream.primary = path.server
        primaries.insert(path.server)
        setOwn(channel, of: stream)
        stream.phase = .connecting
        stream.silentSince = nil
        out.append(.send(channel, writer.preface(Preface(stream: stream.id, role: .stream))))
        send(.open(stream.options), on: channel)
        event(.streamOpened(stream.id, path.server))
    }

    /// Whether a stream has no other active path to its primary, be this one up or not.
    public func depends(on name: PathName) -> Bool {
        let others = paths.filter { $0.server == name.server && $0.traits.name != name && $0.isActive }
        return streams.contains { stream in
            stream.primary == name.server && stream.allows(name) && !others.contains(where: stream.allows)
        }
    }

    func setOwn(_ channel: ChannelID?, of stream: ClientStream) {
        if let before = stream.own { path(before.path)?.ownStreams -= 1 }
        if let channel { path(channel.path)?.ownStreams += 1 }
        stream.own = channel
    }

    func openChannel(on path: ClientPath, stream: ClientStream, use: ClientChannel.Use) -> ChannelID {
        let id = path.takeChannel()
        channels[id] = ClientChannel(id: id, server: path.server, stream: stream.id, use: use)
        out.append(.open(id))
        return id
    }

    func opened(_ stream: ClientStream, errno: Int32, local: [UInt8], peer: [UInt8], now: Instant) {
        guard case .connecting = stream.phase else { return }
        event(.streamConnected(stream.id, errno: errno))
        out.append(.opened(stream.id, errno: errno, local: local, peer: peer))
        guard errno == 0 else {
            if let own = stream.own { out.append(.finish(own)) }
            release(stream)
            return
        }
        stream.phase = .open
        activate(stream)
        out.append(.accept(stream.id))
        updateWindow(stream, now: now)
    }

    // MARK: Bytes into the program

    /// In-order bytes for the program's socket, from what it took last on.
    public func readable(_ id: StreamID, into slices: inout [ChunkSlice]) {
        guard let stream = find(id), !stream.deaf else { return }
        let last = stream.urgent.limit(from: stream.down.read)
        stream.down.readable(into: &slices, limit: ClientLimit.slices, upTo: last)
    }

    /// Whether what `readable` shows is one byte, to be given as urgent (out-of-band) data.
    public func isUrgent(_ id: StreamID) -> Bool {
        find(id).map { $0.urgent.isNext($0.down.read) } ?? false
    }

    func localWrote(_ id: StreamID, count: Int, now: Instant) {
        guard let stream = stream(id) else { return }
        stream.down.consume(UInt64(count))
        weigh(stream, now: now)
        updateWindow(stream, now: now)
        checkEnd(stream, now: now)
    }

    /// Tells the primary and the replicas how far the program has read and how much may come.
    /// `always`: on a channel that has heard nothing of it yet.
    func updateWindow(_ stream: ClientStream, now: Instant, always: Bool = false) {
        guard let own = stream.own, case .open = stream.phase,
            always || stream.fin == nil || stream.isEngaged
        else { return }
        let size = window(stream, now: now)
        let target = stream.down.read + size
        let grows = target >= stream.granted + min(size / 4, 256 << 10)
        // A gateway may hold less than was granted: it goes on by the read offset.
        let hasRead = stream.down.read >= stream.toldRead + Tuning.windowStep
        guard always || grows || hasRead || stream.granted <= Tuning.initialWindow else { return }
        // A backend that stood before a full window has room only now.
        if stream.progress + Tuning.progressStep > stream.granted { stream.progressedAt = now }
        stream.granted = max(stream.granted, target)
        stream.toldRead = stream.down.read
        send(.window(read: stream.down.read, maximum: stream.granted), on: own)
        for part in stream.parts where part.ended == nil && channels[part.channel] != nil {
            send(stream.window(for: part), on: part.channel)
        }
    }

    /// 3·Σrate·(srtt_max + horizon) within bounds, and its share of the memory. Of a path that
    /// starts up all its round trips count: what others bring meanwhile would else fill the window, and leave
    /// nothing to lease.
    private func window(_ stream: ClientStream, now: Instant) -> UInt64 {
        var total = 0.0
        var longest = Interval.zero
        for path in paths where path.isActive && stream.allows(path) {
            guard path.server == stream.primary || stream.part(of: path.server) != nil else { continue }
            total += path.estimate
            let isEngaged = path.id == stream.own?.path || takesPart(path, in: stream)
            let rounds: Int64 = isEngaged && path.rate.startingUp ? Tuning.startingRounds : 1
            longest = max(longest, path.sample.srtt * rounds + path.horizon)
        }
        let wanted = UInt64(3 * total * longest.seconds)
        let most = max(stream.options.receiveBuffer ?? .max, Tuning.initialWindow)
        let bounded = min(max(wanted, Tuning.minimumWindow), Tuning.maximumWindow, most)
        // Two servers' bytes are held until they are compared.
        let copies: UInt64 = stream.isContested ? 2 : 1
        let share = memory.share(of: stream.demand, most: settings.memoryBudget, now: now) / copies
        return min(bounded, max(share, Tuning.initialWindow))
    }

    /// Its backend, what came or its program has got further.
    func weigh(_ stream: ClientStream, now: Instant) {
        let produced = max(stream.progress, stream.down.highest)
        memory.tell(&stream.demand, produced: produced, read: stream.down.read, now: now)
    }

    // MARK: Ends

    func checkEnd(_ stream: ClientStream, now: Instant) {
        guard !stream.released else { return }
        if let (_, errno) = stream.resetAt, stream.downDone {
            // What the program still sends, nobody takes.
            abort(stream, errno: errno)
            return
        }
        guard !stream.downDone || stream.deaf else { return }
        if let fin = stream.fin, stream.down.front == fin.final {
            guard stream.down.sumToFront(from: fin.base) == fin.sum else {
                event(.integrityFailure(stream.id, offset: fin.final))
                abort(stream, errno: ErrorNumber.connectionReset)
                return
            }
            stream.downWhole = true
            endContributions(stream)
            if stream.isEngaged {
                stream.isSpread = false
                for index in stream.parts.indices { endPart(index, of: stream, .streamDone, now: now) }
                for lease in stream.book.leases { giveBack(lease, of: stream, abandon: true) }
            }
            finishOwn(stream)
            if stream.down.read == fin.final, !stream.downDone {
                stream.downDone = true
                out.append(.endLocal(stream.id, .finished(closed: fin.closed)))
            }
            maybeLinger(stream, now: now)
        } else if let (offset, errno) = stream.resetAt, stream.down.read >= offset || stream.deaf {
            abort(stream, errno: errno)
        }
    }

    /// Both halves said all they had: the channel's own end is what remains, once nothing can be lost any
    /// more with another path, which would have to go out by this channel. After an attach FIN has to.
    func finishOwn(_ stream: ClientStream) {
        guard let own = stream.own, stream.downWhole, stream.finSent, !stream.ownFinished,
            !stream.upAwaitsWindow, stream.flights.areOnly(on: own.path)
        else { return }
        stream.ownFinished = true
        out.append(.finish(own))
        for side in stream.sides where channels.removeValue(forKey: side) != nil {
            out.append(.finish(side))
        }
        stream.sides = []
    }

    func maybeLinger(_ stream: ClientStream, now: Instant) {
        guard stream.downDone, stream.upEnd?.closed == true, !stream.released else { return }
        if stream.isSettled || (stream.ownFinished && stream.own.map { channels[$0] == nil } ?? false) {
            release(stream)
        } else if case .open = stream.phase {
            // What is not acknowledged may have to go out once more, for as long as it gets on.
            let isDelivered = stream.finSent && stream.upAcknowledged == stream.up.produced
            if isDelivered, !stream.upAwaitsWindow, stream.own != nil {
                stream.phase = .lingering(until: now + Tuning.linger)
            } else {
                stream.closing = stream.closing ?? now + patience(stream)
            }
        }
    }

    /// Ends both directions at once: the program sees `errno`, the primary RESET.
    func abort(_ stream: ClientStream, errno told: Int32) {
        guard !stream.released else { return }
        // No errno would tell a program that all is well.
        let errno = told == 0 ? ErrorNumber.connectionReset : told
        if let own = stream.own, channels[own] != nil, !stream.ownFinished {
            // What was not sent never will be.
            send(.reset(errno: errno, offset: stream.upSent), on: own)
            out.append(.finish(own))
            out.append(.stop(own, .none))
        }
        if case .open = stream.phase {
            out.append(.endLocal(stream.id, .aborted(errno: errno)))
        } else if !stream.downDone {
            out.append(.opened(stream.id, errno: errno, local: [], peer: []))
        }
        release(stream, end: .aborted(errno: errno))
    }

    func release(_ stream: ClientStream, end: StreamEnd = .finished(closed: true)) {
        guard !stream.released else { return }
        stream.released = true
        remove(stream)
        ended.append(streamReport(stream))
        endContributions(stream)
        for lease in stream.book.leases { giveBack(lease, of: stream, abandon: true) }
        for part in stream.parts where part.ended == nil { close(part, .streamDone) }
        for side in stream.sides where channels.removeValue(forKey: side) != nil {
            abandon(side)
        }
        if let own = stream.own, channels.removeValue(forKey: own) != nil, case .finished = end,
            !stream.ownFinished
        {
            abandon(own)
        }
        setOwn(nil, of: stream)
        event(.streamClosed(stream.id, end, received: stream.down.read, sent: stream.up.produced))
        out.append(.release(stream.id))
    }
}
