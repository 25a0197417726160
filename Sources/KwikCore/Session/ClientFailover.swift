// Paths come, fall silent and go (protocol.md §2, §7). A path's work is given to others, a server's leases
// are leased again, and only a silent primary needs more than that.

extension ClientSession {
    func probeInterval(_ path: ClientPath) -> Interval {
        let busy = awake.contains { stream in
            let second = stream.secondPart.map { stream.parts[$0].channel.path }
            return (stream.own?.path == path.id || second == path.id) && stream.isWaiting
        }
        return path.probeInterval(busy: busy, now: path.liveness.lastHeard)
    }

    func pathUp(_ id: PathID, _ traits: PathTraits, now: Instant) {
        guard path(id) == nil else { return }
        wakeAll()
        if !traits.resumed { forgetOffers(of: traits.server) }
        let path = ClientPath(id: id, traits: traits, now: now)
        paths.append(path)
        paths.sort { $0.id < $1.id }
        event(.pathStateChanged(id, traits.server, from: .connecting, to: .active))
        secondFound(on: path, isNew: true, now: now)
        for stream in streams {
            switch stream.phase {
            case .waiting: assignPrimary(stream, now: now)
            case .connecting:
                // Nothing was exchanged yet, so it is opened anew, whether or not the gateway is the same
                // process.
                if let own = stream.own.flatMap({ self.path($0.path) }) {
                    if !own.isActive { reopen(stream, since: now, now: now) }
                } else {
                    assignPrimary(stream, now: now)
                }
            case .open:
                guard stream.primary == traits.server, !stream.isSettled, stream.allows(path)
                else { continue }
                // Another process may open a stream of the same number.
                let isTaken = !traits.resumed && stream.isServers
                // A silent path may be silent for long yet, before it counts as failed.
                let own = stream.own.flatMap { self.path($0.path) }
                let isSilent = traits.resumed && own?.isActive == false
                guard isTaken || own == nil || isSilent else { continue }
                if traits.resumed {
                    reattach(stream, to: path, now: now)
                } else if !replacePrimary(stream, now: now), !loseLead(stream, now: now) {
                    // The gateway that had our stream is no more, and another process knows nothing of it.
                    abort(stream, errno: ErrorNumber.connectionReset)
                }
            case .lingering: break
            }
        }
    }

    func pathDown(_ id: PathID, now: Instant) {
        guard let path = path(id) else { return }
        wakeAll()
        event(.pathStateChanged(id, path.server, from: path.liveness.state, to: .closed))
        withdraw(from: path, now: now)
        paths.removeAll { $0.id == id }
        for key in channels.keys where key.path == id { channels[key] = nil }
        foreignChannels = foreignChannels.filter { $0.path != id }
        contributionsLost(on: id)
        for stream in streams where stream.own?.path == id {
            setOwn(nil, of: stream)
            stream.flights.withdraw(id)
        }
        for stream in streams {
            let second = stream.isContested ? stream.secondPart : nil
            for index in stream.parts.indices
            where stream.parts[index].channel.path == id && index != second {
                endPart(index, of: stream, .pathDown, now: now)
            }
        }
        findOther(insteadOf: path, now: now)
    }

    func heard(_ id: PathID, now: Instant) {
        guard let path = path(id), path.liveness.heard(now: now) else { return }
        wakeAll()
        for each in path.unsaid { out.append(.abandon(each.channel, each.code)) }
        path.unsaid = []
        event(.pathStateChanged(id, path.server, from: .suspect, to: .active))
        secondFound(on: path, isNew: false, now: now)
        for stream in streams {
            if let own = stream.own, own.path == id {
                stream.silentSince = nil
            } else if stream.silentSince != nil, stream.primary == path.server, !stream.isSettled {
                findPath(stream, since: now, now: now)
            }
            if case .waiting = stream.phase { assignPrimary(stream, now: now) }
            // Nor does the time that it needs to be itself again.
            if stream.trial != nil {
                stream.trial = .ramp(until: now + max(Tuning.trialRamp, path.sample.srtt * 3))
            }
        }
    }

    func checkPaths(now: Instant) {
        for path in paths {
            switch path.liveness.check(every: probeInterval(path), sample: path.sample, now: now) {
            case .none: break
            case .probe: out.append(.probe(path.id))
            case .suspect:
                wakeAll()
                out.append(.probe(path.id))
                event(.pathStateChanged(path.id, path.server, from: .active, to: .suspect))
                withdraw(from: path, now: now)
                // What was not worth it beside this one may be all that is left.
                for stream in streams where stream.own?.path == path.id || takesPart(path, in: stream) {
                    stream.unpark(now: .never)
                }
                findOther(insteadOf: path, now: now)
            case .failed:
                event(.pathStateChanged(path.id, path.server, from: .suspect, to: .failed))
                out.append(.endPath(path.id, .none))
                pathDown(path.id, now: now)
            }
        }
    }

    /// What is outstanding on the path is given elsewhere at once.
    private func withdraw(from path: ClientPath, now: Instant) {
        for stream in streams {
            for side in stream.sides where side.path == path.id { dropSide(side, of: stream) }
            for lease in stream.book.leases where lease.channel.path == path.id {
                giveBack(lease, of: stream, abandon: true)
            }
        }
        path.outstanding = 0
    }

    /// The channel is of no more use. A silent path's server is told once it answers: what is said into the
    /// dark is lost, and said again a round trip after that. So long the server would send once more what
    /// was lost with it.
    func abandon(_ channel: ChannelID, _ code: ErrorCode = .none) {
        if let path = path(channel.path), path.liveness.state == .suspect {
            path.unsaid.append((channel, code))
        } else {
            out.append(.abandon(channel, code))
        }
    }

    /// Streams whose primary was reached by this path use another one to it; else its silence begins.
    private func findOther(insteadOf gone: ClientPath, now: Instant) {
        let since = gone.liveness.silentSince(now: now)
        secondLost(on: gone, since: since, now: now)
        for stream in streams where stream.primary == gone.server && !stream.isSettled {
            if let own = stream.own, own.path != gone.id, path(own.path)?.isActive == true { continue }
            findPath(stream, since: since, now: now)
        }
    }

    /// Attaches the stream by a path on which its primary answers; none has `since` that time.
    private func findPath(_ stream: ClientStream, since: Instant, now: Instant) {
        switch stream.phase {
        case .waiting: break
        case .connecting:
            reopen(stream, since: since, now: now)
        case .open, .lingering:
            // What the program left behind, and its FIN, may not have arrived.
            stream.phase = .open
            if let other = stream.primary.flatMap({ activePath(to: $0, for: stream) }) {
                reattach(stream, to: other, now: now)
            } else if stream.silentSince == nil {
                stream.silentSince = since
            }
        }
    }

    /// An earlier OPEN that came late by another path took the place of the one that was answered.
    func openAgain(_ stream: ClientStream, now: Instant) -> Bool {
        guard stream.epoch == 0, stream.reopened < ClientLimit.reopenings, let primary = stream.primary
        else { return false }
        stream.reopened += 1
        switch stream.phase {
        case .connecting: reopen(stream, since: now, now: now)
        case .open:
            guard let path = activePath(to: primary, for: stream) else { return false }
            reattach(stream, to: path, now: now)
        case .waiting, .lingering: return false
        }
        return true
    }

    /// Nothing was exchanged yet: another origin can be the primary just as well.
    private func reopen(_ stream: ClientStream, since: Instant, now: Instant) {
        let before = stream.own
        let hasOther = paths.contains {
            $0.isActive && $0.traits.roles.contains(.origin) && stream.allows($0)
        }
        guard hasOther else {
            if stream.silentSince == nil { stream.silentSince = since }
            return
        }
        if let before, channels.removeValue(forKey: before) != nil { abandon(before) }
        setOwn(nil, of: stream)
        assignPrimary(stream, now: now)
    }

    // MARK: A silent primary

    func silenceLimit(_ stream: ClientStream) -> Interval {
        canReplacePrimary(stream) ? toleratedSilence(stream.own) : patience(stream)
    }

    /// How long a server on whose answer a stream depends may be silent, where another can take its place:
    /// since the first probe that it did not answer, or since its last path went.
    func toleratedSilence(_ channel: ChannelID?) -> Interval {
        guard let path = channel.flatMap({ path($0.path) }) else { return Tuning.promoteAtLeast }
        return max(Tuning.suspectAtLeast + Tuning.promoteAtLeast, path.sample.srtt * 3 / 2)
    }

    /// How long a program waits for a far end that says nothing: its TCP_USER_TIMEOUT, if that is less.
    func patience(_ stream: ClientStream) -> Interval {
        min(Tuning.failTime, stream.options.userTimeout ?? Tuning.failTime)
    }

    func checkSilence(now: Instant) {
        for stream in awake {
            guard let since = stream.silentSince, now >= since + silenceLimit(stream) else { continue }
            if !replacePrimary(stream, now: now) { abort(stream, errno: ErrorNumber.timedOut) }
        }
    }

    /// Role 1 with the next epoch: this path carries the stream from what is here on.
    func reattach(_ stream: ClientStream, to path: ClientPath, now: Instant) {
        if let before = stream.own {
            stream.flights.withdraw(before.path)
            if channels.removeValue(forKey: before) != nil, self.path(before.path) != nil {
                abandon(before, .reattached)
            }
        }
        for side in stream.sides where side.path == path.id { dropSide(side, of: stream) }
        if case .connecting = stream.phase {
            setOwn(nil, of: stream)
            assignPrimary(stream, now: now)
            return
        }
        stream.epoch += 1
        guard stream.epoch <= ClientLimit.reattachments else {
            abort(stream, errno: ErrorNumber.connectionReset)
            return
        }
        stream.silentSince = nil
        // A server that takes another's place sums from the first attach that it gets.
        if stream.isPromoted { stream.down.beginAnotherSum() }
        stream.quorum?.lead.copy.beginAnotherSum()
        // What was measured so far was another path.
        if stream.trial != nil {
            stream.trial = .ramp(until: now + max(Tuning.trialRamp, path.sample.srtt * 3))
        }
        stream.upAwaitsWindow = true
        stream.attachedFrom = stream.received
        stream.ownHighest = stream.received
        stream.ownBegun = 0
        stream.ownFinished = false
        stream.ownEnded = false
        let channel = openChannel(on: path, stream: stream, use: .own(epoch: stream.epoch))
        setOwn(channel, of: stream)
        let role = Preface.Role.attach(epoch: stream.epoch, received: stream.received)
        out.append(.send(channel, writer.preface(Preface(stream: stream.id, role: role))))
        updateWindow(stream, now: now, always: true)
        // Those that were changed last may have been lost with the old channel.
        for option in stream.options { send(.option(option), on: channel) }
        if let offset = stream.urgentSent, offset >= stream.upAcknowledged {
            send(.urgent(offset: offset), on: channel)
        }
        keepCarved(stream, on: channel)
        askAgain(stream, on: channel)
        event(.reattached(stream.id, path.id, epoch: stream.epoch))
    }

    /// Attaching gives every block back to the primary: what is here already, or asked of others, is carved
    /// anew.
    private func keepCarved(_ stream: ClientStream, on channel: ChannelID) {
        var held = RangeSet()
        for range in stream.book.claims.ranges { held.insert(range) }
        var block = Block.index(of: Block.roundUp(stream.down.front))
        while Block.start(of: block) < stream.down.highest {
            let range = stream.range(ofBlock: block)
            if stream.down.contains(range) { held.insert(range) }
            block += 1
        }
        held.remove(ByteRange(0, Block.roundUp(stream.down.front)))
        for delegation in stream.delegations { held.remove(delegation.range) }
        stream.book.pendingCarves = []
        stream.book.claims = held
        keepDelegations(stream)
        let ranges = Array(held.ranges.prefix(WireLimit.ranges))
        guard !ranges.isEmpty else { return }
        let sequence = stream.book.takeSequence()
        stream.book.pendingCarves.append((sequence, ranges))
        send(.carve(sequence: sequence, ranges), on: channel)
    }
}
