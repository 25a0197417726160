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
                    && !stream.isParked($0.id)
            }
    }

    func canReplicate(_ stream: ClientStream, now: Instant) -> Bool {
        settings.replicas && stream.up.heldFrom == 0 && !stream.isServers
            && paths.contains { isCandidate($0, for: stream, now: now) }
    }

    func isCandidate(_ path: ClientPath, for stream: ClientStream, now: Instant) -> Bool {
        guard path.isActive, path.traits.roles.contains(.replica), path.server != stream.primary,
            stream.allows(path), !stream.isParked(path.id), !trust.isQuarantined(path.server, now: now)
        else { return false }
        guard let index = stream.part(of: path.server) else { return true }
        return stream.parts[index].ended == .parked || stream.parts[index].ended == .pathDown
    }

    /// Network-limited and bulk: the primary's backend is more than a round trip ahead of what the path
    /// brings, the program drains what arrives, and it has been so for long enough to be worth a replica's
    /// work.
    func engage(_ stream: ClientStream, now: Instant) {
        stream.unpark(now: now)
        guard wouldEngage(stream, now: now), let own = stream.own, let path = path(own.path), path.isActive,
            let first = stream.firstData
        else { return }
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
