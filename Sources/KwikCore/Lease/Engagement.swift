// Which replicas serve a stream, and when they no longer do (protocol.md §5).

extension ClientSession {
    /// Whether replicas may be engaged for the stream at some time: then it is looked at every tick.
    func wouldEngage(_ stream: ClientStream, now: Instant) -> Bool {
        guard settings.replicas, !stream.deaf, stream.fin == nil, stream.firstData != nil,
            stream.up.heldFrom == 0
        else { return false }
        return stream.progress > stream.down.front
            && paths.contains { isCandidate($0, for: stream, now: now) }
    }

    private func isCandidate(_ path: ClientPath, for stream: ClientStream, now: Instant) -> Bool {
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
        guard ahead >= max(roundTrip, Tuning.minimumLease),
            stream.down.unread < (stream.granted - stream.down.read) / 2
        else {
            return
        }
        guard stream.down.highest >= Tuning.bulkBytes || now - first >= Tuning.bulkTime else { return }
        var engaged = false
        for candidate in paths where isCandidate(candidate, for: stream, now: now) {
            guard stream.part(of: candidate.server).map({ stream.parts[$0].ended != nil }) ?? true else {
                continue
            }
            engage(stream, on: candidate)
            engaged = true
        }
        if engaged { stream.trial = .ramp(until: now + max(Tuning.trialRamp, path.sample.srtt * 3)) }
    }

    private func engage(_ stream: ClientStream, on path: ClientPath) {
        let channel = openChannel(on: path, stream: stream, use: .replica)
        out.append(.send(channel, writer.preface(Preface(stream: stream.id, role: .replica))))
        send(.open(stream.options), on: channel)
        send(.window(read: stream.down.read, maximum: stream.granted), on: channel)
        var part = ClientStream.Part(server: path.server, channel: channel)
        if let index = stream.part(of: path.server) {
            part.received = stream.parts[index].received
            part.matched = stream.parts[index].matched
            stream.parts[index] = part
        } else {
            stream.parts.append(part)
        }
        activate(stream)
        event(.replicaEngaged(stream.id, path.server))
    }

    /// Engaged replicas that do not raise the rate cost more than they give: parked, for twice as long each
    /// time. What the primary gives alone is measured with no leases granted for a moment, since the rate
    /// from before they were engaged is that of a path still starting up.
    func judgeTrial(_ stream: ClientStream, now: Instant) {
        guard let trial = stream.trial, let primary = stream.own.flatMap({ path($0.path) }) else { return }
        switch trial {
        case .ramp(let until):
            if now >= until { stream.trial = .together(since: now, front: stream.down.front) }
        case .together(let since, let front):
            guard now >= since + max(Tuning.trial, primary.sample.srtt * 10) else { return }
            // A program that does not drain, or a backend that gives no more, says nothing about the
            // replicas.
            guard stream.down.unread < (stream.granted - stream.down.read) / 2,
                stream.progress - min(stream.progress, stream.down.front) >= Tuning.bulkBytes,
                !stream.progressEnded
            else {
                stream.trial = .together(since: now, front: stream.down.front)
                return
            }
            let rate = Double(stream.down.front - min(front, stream.down.front)) / (now - since).seconds
            stream.trial = .draining(together: rate, until: now + Tuning.trialDrain)
        case .draining(let rate, let until):
            guard now >= until || !stream.book.leases.contains(where: { $0.server != stream.primary }) else {
                return
            }
            stream.trial = .alone(together: rate, since: now, received: primary.received)
        case .alone(let together, let since, let received):
            guard now >= since + max(Tuning.trialAlone, primary.sample.srtt * 2) else { return }
            let alone = Double(primary.received - min(received, primary.received)) / (now - since).seconds
            if together < Tuning.worthwhile * alone {
                park(stream, now: now)
            } else {
                stream.trial = .settled(until: now + Tuning.trialAgain)
            }
        case .settled(let until):
            if now >= until { stream.trial = .together(since: now, front: stream.down.front) }
        }
    }

    private func park(_ stream: ClientStream, now: Instant) {
        stream.trial = nil
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
        if channels.removeValue(forKey: part.channel) != nil { out.append(.abandon(part.channel, .none)) }
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
    private func dropUnverified(of server: ServerID, _ stream: ClientStream) {
        for range in stream.book.claims.ranges {
            for block in Block.index(of: range.start)..<Block.index(of: range.end + Block.size - 1) {
                guard stream.book.copy(server, of: block) != nil else { continue }
                stream.book.dropCopy(server, of: block)
                orphan(block, of: stream)
            }
        }
    }
}
