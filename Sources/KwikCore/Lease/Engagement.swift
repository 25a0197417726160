// Which replicas serve a stream, and when they no longer do (protocol.md §5).

extension ClientSession {
    /// Whether more capacity may be engaged for the stream at some time: then it is looked at every tick.
    func wouldEngage(_ stream: ClientStream, now: Instant) -> Bool {
        guard !stream.deaf, stream.fin == nil, stream.firstData != nil else { return false }
        return stream.progress > stream.down.front && (canSpread(stream) || canReplicate(stream, now: now))
    }

    /// Whether there are further paths to the primary, which carry no leases yet.
    private func canSpread(_ stream: ClientStream) -> Bool {
        !stream.isSpread
            && paths.contains {
                $0.isActive && $0.server == stream.primary && $0.id != stream.own?.path && stream.allows($0)
            }
    }

    func canReplicate(_ stream: ClientStream, now: Instant) -> Bool {
        settings.replicas && stream.up.heldFrom == 0 && !stream.isServers
            && paths.contains { isCandidate($0, for: stream, now: now) }
    }

    func isCandidate(_ path: ClientPath, for stream: ClientStream, now: Instant) -> Bool {
        guard path.isActive, path.traits.roles.contains(.replica), path.server != stream.primary,
            stream.allows(path), !trust.isQuarantined(path.server, now: now)
        else { return false }
        guard let index = stream.part(of: path.server) else { return true }
        return stream.parts[index].ended == .parked || stream.parts[index].ended == .pathDown
    }

    /// Network-limited and bulk: the primary's backend is more than a round trip ahead of what the path
    /// brings, the program drains what arrives, and it has been so for long enough to be worth a replica's
    /// work.
    func engage(_ stream: ClientStream, now: Instant) {
        guard wouldEngage(stream, now: now), let own = stream.own, let path = path(own.path), path.isActive,
            let first = stream.firstData
        else { return }
        if let until = stream.parkedUntil, now < until { return }
        let ahead = stream.progress - min(stream.progress, stream.ownHighest)
        let roundTrip = UInt64(path.estimate * (path.sample.srtt + .milliseconds(20)).seconds)
        guard ahead >= max(roundTrip, Tuning.progressStep),
            stream.down.unread < (stream.granted - stream.down.read) / 2
        else {
            return
        }
        guard stream.down.highest >= Tuning.bulkBytes || now - first >= Tuning.bulkTime else { return }
        var engaged = canSpread(stream)
        stream.isSpread = stream.isSpread || engaged
        for candidate in paths
        where canReplicate(stream, now: now) && isCandidate(candidate, for: stream, now: now) {
            guard stream.part(of: candidate.server).map({ stream.parts[$0].ended != nil }) ?? true else {
                continue
            }
            engage(stream, on: candidate, now: now)
            engaged = true
        }
        if engaged { stream.trial = .ramp(until: now + max(Tuning.trialRamp, path.sample.srtt * 3)) }
    }

    func engage(_ stream: ClientStream, on path: ClientPath, now: Instant) {
        let channel = openChannel(on: path, stream: stream, use: .replica)
        out.append(.send(channel, writer.preface(Preface(stream: stream.id, role: .replica))))
        send(.open(stream.options), on: channel)
        var part = ClientStream.Part(server: path.server, channel: channel)
        part.engagedAt = now
        if let index = stream.part(of: path.server) {
            part.received = stream.parts[index].received
            part.matched = stream.parts[index].matched
            part.anchor = stream.parts[index].anchor.renewed
            stream.parts[index] = part
        } else {
            stream.parts.append(part)
        }
        send(stream.window(for: part), on: channel)
        activate(stream)
        event(.replicaEngaged(stream.id, path.server))
    }

    /// What is engaged and gives next to nothing, or takes from the own path as much as it gives, costs more
    /// than it is worth: parked, for twice as long each time. That the others share the own path's bottleneck
    /// shows in that path's rate: only then is it measured what it gives alone, with no leases granted for a
    /// moment.
    func judgeTrial(_ stream: ClientStream, now: Instant) {
        guard let trial = stream.trial, let own = stream.own.flatMap({ path($0.path) }) else { return }
        switch trial {
        case .ramp(let until):
            if now >= until { stream.trial = .together(since: now, counts(stream)) }
        case .together(let since, let before):
            // A program that does not drain, or a backend that gives no more, says nothing about the paths,
            // nor does any time in which it was so.
            let isBusy =
                stream.down.unread < (stream.granted - stream.down.read) / 2 && !stream.progressEnded
                && stream.progress - min(stream.progress, stream.down.front) >= Tuning.bulkBytes
            guard isBusy else {
                stream.trial = .together(since: now, counts(stream))
                return
            }
            let all = counts(stream).since(before)
            guard now >= since + trialTime(stream, received: all) else { return }
            let gained = own.received - min(before.own, own.received)
            let others = Double(all - min(gained, all)) > Double(all) * Tuning.leastShare
            // Now and for all of the time: a path that was dark for a moment was disturbed by nobody.
            let undisturbed = own.rate.peak * Tuning.undisturbed
            let isDisturbed =
                Double(gained) / (now - since).seconds < undisturbed
                && own.rate.recent(srtt: own.sample.srtt, now: now) < undisturbed
            // Who shares a bottleneck shares what it carries: where that is much less, the own link has
            // become slow, and is no reason to pause the others.
            let rate = recentRate(stream, now: now)
            if others, isDisturbed, rate >= own.rate.peak * Tuning.sharedLeast {
                stream.trial = .draining(together: rate, until: now + Tuning.trialDrain)
            } else {
                parkIdlers(stream, since: before, now: now)
                stream.trial = .together(since: now, counts(stream))
            }
        case .draining(let rate, let until):
            guard now >= until || !stream.book.leases.contains(where: { $0.channel.path != own.id })
            else { return }
            stream.trial = .alone(together: rate, since: now, received: own.received)
        case .alone(let together, let since, let received):
            guard now >= since + max(Tuning.trialAlone, own.sample.srtt * 2) else { return }
            let alone = Double(own.received - min(received, own.received)) / (now - since).seconds
            if together < Tuning.worthwhile * alone {
                park(stream, now: now)
            } else {
                stream.trial = .settled(until: now + Tuning.trialAgain)
            }
        case .settled(let until):
            if now >= until { stream.trial = .together(since: now, counts(stream)) }
        }
    }

    func takesPart(_ path: ClientPath, in stream: ClientStream) -> Bool {
        path.server == stream.primary ? stream.isSpread : stream.part(of: path.server) != nil
    }

    /// Long enough for the longest path to show what it can do.
    private func trialTime(_ stream: ClientStream, received: UInt64) -> Interval {
        var longest = Interval.zero
        for path in paths where path.isActive && takesPart(path, in: stream) {
            longest = max(longest, path.sample.srtt)
        }
        return Tuning.trialTime(longest: longest, received: received)
    }

    /// Of all the paths that the stream uses, just now.
    private func recentRate(_ stream: ClientStream, now: Instant) -> Double {
        paths.reduce(0) { sum, path in
            let isUsed = path.id == stream.own?.path || takesPart(path, in: stream)
            return isUsed ? sum + path.rate.recent(srtt: path.sample.srtt, now: now) : sum
        }
    }

    /// Payload bytes by server, duplicates left out of the sum.
    private func counts(_ stream: ClientStream) -> ClientStream.Counts {
        let each = stream.parts.map { (server: $0.server, received: $0.received) }
        let sum = each.reduce(stream.primaryReceived) { $0 + $1.received }
        let own = stream.own.flatMap { path($0.path) }?.received ?? 0
        return ClientStream.Counts(all: sum - min(sum, stream.book.duplicated), own: own, each: each)
    }

    private func parkIdlers(_ stream: ClientStream, since before: ClientStream.Counts, now: Instant) {
        let all = counts(stream).since(before)
        for index in stream.parts.indices where stream.parts[index].ended == nil {
            let part = stream.parts[index]
            // What a path does in the dark says nothing of what it is worth.
            guard path(part.channel.path)?.isActive == true else { continue }
            guard let former = before.each.first(where: { $0.server == part.server }) else { continue }
            let gave = part.received - min(former.received, part.received)
            guard Double(gave) < Double(all) * Tuning.leastShare else { continue }
            endPart(index, of: stream, .parked, now: now)
        }
        guard !stream.isEngaged else { return }
        park(stream, now: now)
    }

    private func park(_ stream: ClientStream, now: Instant) {
        stream.trial = nil
        stream.isSpread = false
        for index in stream.parts.indices { endPart(index, of: stream, .parked, now: now) }
        let time = Tuning.parkFirst * (1 << Int64(min(stream.parks, 10)))
        stream.parkedUntil = now + min(time, Tuning.parkMost)
        stream.parks += 1
    }

    /// The replica serves this stream no longer: its leases are given back, what it sent and is unverified
    /// dropped.
    func endPart(_ index: Int, of stream: ClientStream, _ end: ReplicaEnd, now: Instant) {
        let part = stream.parts[index]
        guard part.ended == nil else { return }
        stream.parts[index].ended = end
        event(.replicaEnded(stream.id, part.server, end))
        for lease in stream.book.leases where lease.server == part.server {
            giveBack(lease, of: stream, abandon: true)
        }
        dropUnverified(of: part.server, stream)
        close(part, end)
        switch end {
        case .mismatches:
            if let time = trust.endedByMismatch(part.server, now: now) {
                event(.replicaQuarantined(part.server, time: time))
            }
        case .streamDone where part.matched > 0: trust.servedWell(part.server)
        default: break
        }
        dropAcknowledged(stream)
    }

    /// Complete blocks of the server that still wait for their tags go back to be fetched elsewhere.
    func dropUnverified(of server: ServerID, _ stream: ClientStream) {
        for range in stream.book.claims.ranges {
            for block in Block.index(of: range.start)..<Block.index(of: range.end + Block.size - 1) {
                guard stream.book.copy(server, of: block) != nil else { continue }
                stream.book.dropCopy(server, of: block)
                orphan(block, of: stream)
            }
        }
    }
}
