// On which path each upstream piece goes (protocol.md §4): pulled by the paths that have room, held back from
// those that others would outrun, sent once more when it is late.

extension ClientSession {
    /// Active paths that carry the stream's upstream bytes.
    func upstreamPaths(_ stream: ClientStream) -> [ClientPath] {
        paths.filter { $0.isActive && stream.upstreamChannel(on: $0.id) != nil }
    }

    /// The stream may have something to send: it is asked when a path has room.
    func activate(_ stream: ClientStream) {
        guard !stream.isSending, stream.mayHaveToSend else { return }
        stream.isSending = true
        sending.append(stream)
    }

    public func wantsToSend(_ path: PathID) -> Bool {
        for stream in sending {
            if stream.hasUpstream(on: path) { return true }
            for part in stream.parts where part.channel.path == path && stream.hasReplay(part) {
                return true
            }
        }
        return false
    }

    /// Emits DATA, and FIN behind it, for one path: about `room` bytes, streams taking turns by deficit round
    /// robin.
    public func pull(_ id: PathID, room: Int, now: Instant, into actions: inout [Action]) {
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        guard let path = path(id), path.isActive, !sending.isEmpty else { return }
        var left = room
        var idle = 0
        while left > 0, idle < sending.count {
            turn %= sending.count
            let stream = sending[turn]
            if stream.deficit <= 0 {
                stream.deficit += StreamWeight.quantum(Int(Block.size), weight: stream.options.weight)
            }
            if stream.deficit > 0 {
                let sent =
                    pullUpstream(stream, path: path, now: now) + pullReplay(stream, path: path, now: now)
                left -= sent
                stream.deficit = sent == 0 ? 0 : stream.deficit - sent
                idle = sent == 0 ? idle + 1 : 0
            } else {
                // It had more than its share, and has something to send still.
                idle = 0
            }
            if stream.deficit <= 0 { turn += 1 }
        }
        if left <= 0, wantsToSend(id) { path.pressure.full(now: now) }
    }

    /// One piece for the primary on this path, or the end. Returns the bytes emitted, as they stand on the
    /// wire.
    func pullUpstream(_ stream: ClientStream, path: ClientPath, now: Instant) -> Int {
        guard let channel = stream.upstreamChannel(on: path.id) else { return 0 }
        var sent: ByteRange?
        var wire: UInt64 = 0
        if stream.upstreamWaiting > 0, isWorth(path, of: stream) {
            let again = stream.flights.next(on: path.id)
            let limit = min(stream.up.produced, stream.upMaximum)
            let fresh = ByteRange(stream.upSent, max(stream.upSent, limit))
            (sent, wire) = emit(stream, again ?? fresh, on: channel, path: path, now: now)
        }
        if let sent {
            stream.upSent = max(stream.upSent, sent.end)
            stream.flights.sent(sent, on: path.id, due: now + path.acknowledgementTime)
        }
        if channel == stream.own, stream.hasUpstreamEnd, let end = stream.upEnd {
            let sum = stream.up.sumToProduced
            send(.fin(base: 0, final: stream.upSent, sum: sum, closed: end.closed), on: channel)
            stream.finSent = true
        }
        finishOwn(stream)
        return Int(wire)
    }

    /// Not where another path would be done with all that waits before this one brings the next piece (ECF,
    /// Lim et al. 2017; BLEST, Ferlin et al. 2016).
    private func isWorth(_ path: ClientPath, of stream: ClientStream) -> Bool {
        if stream.sides.isEmpty { return true }
        let waiting = stream.upstreamWaitingOnWire
        let mine = path.sendTime(min(waiting, Block.size))
        return !upstreamPaths(stream).contains { $0.id != path.id && $0.sendTime(waiting) < mine }
    }

    /// One piece of the replay to the replicas on this path.
    private func pullReplay(_ stream: ClientStream, path: ClientPath, now: Instant) -> Int {
        for index in stream.parts.indices where stream.parts[index].channel.path == path.id {
            let part = stream.parts[index]
            guard stream.hasReplay(part) else { continue }
            let limit = max(part.upSent, min(stream.up.produced, part.upMaximum))
            let (sent, wire) = emit(
                stream, ByteRange(part.upSent, limit), on: part.channel, path: path, now: now)
            stream.parts[index].upSent = sent?.end ?? part.upSent
            if let end = stream.upEnd, stream.parts[index].upSent == stream.up.produced {
                let sum = stream.up.sumToProduced
                send(.fin(base: 0, final: stream.up.produced, sum: sum, closed: end.closed), on: part.channel)
                stream.parts[index].finSent = true
            }
            return Int(wire)
        }
        return 0
    }

    /// The first piece of the range, up to the end of its block, and its bytes on the wire.
    private func emit(
        _ stream: ClientStream, _ range: ByteRange, on channel: ChannelID, path: ClientPath, now: Instant
    ) -> (ByteRange?, wire: UInt64) {
        let piece = ByteRange(range.start, min(range.end, Block.roundDown(range.start) + Block.size))
        if piece.isEmpty { return (nil, 0) }
        let plain = stream.up.slice(piece)
        let compressed = compress(plain, &stream.compressibility, path: path, now: now)
        let slice = compressed ?? plain
        let crc = unsafe integrity.crc32c(0, plain.bytes)
        let flags: UInt8 = compressed == nil ? 0 : 1
        let header = writer.dataHeader(offset: piece.start, length: slice.count, flags: flags, crc32c: crc)
        out.append(.send(channel, header))
        out.append(.send(channel, slice))
        path.sent += piece.count
        path.sentWire += UInt64(slice.count)
        return (piece, UInt64(slice.count))
    }

    // MARK: Further paths

    /// Streams that send much take every path to their primary, and what is late goes out once more. Returns
    /// whether a look is due again after a tick.
    func spread(now: Instant) -> Bool {
        var busy = false
        sending.removeAll { stream in
            stream.isSending = stream.mayHaveToSend
            if !stream.isSending { stream.upWatch = TargetWatch() }
            return !stream.isSending
        }
        for stream in sending {
            if stream.up.produced - stream.upAcknowledged >= Tuning.upstreamBulk {
                openSides(stream)
                busy = true
            }
            watchUpstream(stream, now: now)
            if !stream.sides.isEmpty, !stream.flights.isEmpty {
                busy = true
                reinject(stream, now: now)
            }
        }
        return busy
    }

    private func openSides(_ stream: ClientStream) {
        guard case .open = stream.phase, !stream.upAwaitsWindow, let primary = stream.primary,
            stream.own != nil, !stream.ownFinished
        else { return }
        for path in paths where path.isActive && path.server == primary && stream.allows(path) {
            guard stream.upstreamChannel(on: path.id) == nil else { continue }
            let channel = openChannel(on: path, stream: stream, use: .side)
            stream.sides.append(channel)
            let role = Preface.Role.attach(epoch: 0, received: stream.down.front)
            out.append(.send(channel, writer.preface(Preface(stream: stream.id, role: role))))
        }
    }

    private func reinject(_ stream: ClientStream, now: Instant) {
        let allowance = Tuning.duplicateAllowance + UInt64(Double(stream.upSent) * Tuning.duplicateShare)
        guard stream.upRepeated < allowance,
            let quickest = upstreamPaths(stream).map(\.sample.srtt).min()
        else { return }
        let patience = max(min(quickest * 11 / 10, Tuning.reinjectAtMost), Tuning.reinjectAtLeast)
        stream.upRepeated += stream.flights.repeatLate(
            from: stream.upAcknowledged, patience: patience, limit: Tuning.releasesPerTick, now: now)
    }

    /// The channel is of no more use: what only it had goes out elsewhere.
    func dropSide(_ channel: ChannelID, of stream: ClientStream) {
        stream.sides.removeAll { $0 == channel }
        if channels.removeValue(forKey: channel) != nil { abandon(channel) }
        stream.flights.withdraw(channel.path)
        activate(stream)
    }
}
