// What comes in on channels.

extension ClientSession {
    func received(_ id: ChannelID, _ bytes: UnsafeRawBufferPointer, finished: Bool, now: Instant) {
        guard let channel = channels[id] ?? foreignChannel(id, now: now) else { return }
        if case .waiting = channel.use {
            unsafe hold(bytes, finished: finished, on: channel)
            return
        }
        do throws(WireError) {
            var position = 0
            while let item = unsafe try channel.reader.next(bytes, from: &position) {
                switch item {
                case .preface(let preface):
                    begin(preface, on: channel, now: now)
                    if case .waiting = channel.use {
                        let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[position...])
                        unsafe hold(rest, finished: finished, on: channel)
                        return
                    }
                case .data(let header) where header.isCompressed:
                    channel.compressed = try beginCompressed(header, on: channel)
                case .data(let header): try begin(header, on: channel)
                case .bytes(let range):
                    let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[range])
                    if let piece = channel.compressed {
                        unsafe piece.append(part)
                    } else {
                        unsafe take(part, on: channel)
                    }
                case .dataEnd: try endPiece(on: channel, now: now)
                case .frame(let frame): try take(frame, on: channel, now: now)
                }
                if channels[id] == nil { return }
            }
            guard holdsFrame(channel) else {
                fail(channel, .resourceLimit, now: now)
                return
            }
            if finished {
                try channel.reader.finish()
                channelFinished(channel, now: now)
            }
        } catch {
            event(.malformed(id, error))
            fail(channel, .protocolViolation, now: now)
        }
    }

    /// The channel's input may have ended within a frame. False: there are too many such.
    private func holdsFrame(_ channel: ClientChannel) -> Bool {
        let count = channel.reader.held
        if count == 0 {
            channel.unfinished = nil
            return true
        }
        // Not of the session: one server's shall not end another's.
        guard let all = path(channel.id.path)?.unfinished else { return true }
        let part = channel.unfinished ?? UnfinishedFrame(of: all)
        channel.unfinished = part
        part.has(count)
        return all.bytes <= ClientLimit.unfinishedFrames
    }

    // MARK: Channels that a server opened

    private func foreignChannel(_ id: ChannelID, now: Instant) -> ClientChannel? {
        guard id.number & 1 == 1, let path = path(id.path), path.isNew(id) else { return nil }
        guard foreignChannels.count < ClientLimit.foreignChannels else {
            out.append(.abandon(id, .resourceLimit))
            return nil
        }
        let use = ClientChannel.Use.foreign(until: now + ClientLimit.prefaceTime)
        let channel = ClientChannel(id: id, server: path.server, stream: StreamID(0), use: use)
        channels[id] = channel
        foreignChannels.insert(id)
        return channel
    }

    // MARK: DATA

    func begin(_ header: DataHeader, on channel: ClientChannel) throws(WireError) {
        guard let stream = stream(channel.stream) else { throw .notAllowedHere }
        let range = try place(header, on: channel, of: stream)
        if case .second = channel.use {
            guard range.end <= stream.quorum?.second?.fin?.final ?? .max else { throw .badRange }
        } else if let final = stream.final, range.end > final {
            throw .badRange
        }
        var isWanted = true
        switch channel.use {
        case .own:
            if case .connecting = stream.phase { throw .notAllowedHere }
            guard range.end <= stream.granted else { throw .tooLarge }
        case .second: guard range.end <= stream.granted else { throw .tooLarge }
        case .lease:
            // In order, and nothing left out but what was read before it could be sent.
            guard let lease = stream.book.lease(on: channel.id), lease.next <= range.start,
                range.end <= lease.range.end
            else { throw .badRange }
            if lease.carves, lease.broughtAt == nil, range.start % Block.size == 0 {
                refuse(lease, upTo: range.start, of: stream)
            }
            guard range.start <= max(lease.next, stream.down.read) else { throw .badRange }
            lease.next = range.end
        case .contribution: isWanted = try beginContributed(range, on: channel, of: stream)
        case .side, .replica, .foreign, .offer, .waiting: throw .notAllowedHere
        }
        channel.piece = ClientChannel.Piece(
            header: header, start: range.start, at: range.start, first: Landing(isTorn: !isWanted))
    }

    func take(_ bytes: UnsafeRawBufferPointer, on channel: ClientChannel) {
        guard var piece = channel.piece, let stream = stream(channel.stream) else { return }
        if stream.isContested {
            unsafe stream.quorum?.member(channel.use)?.copy.write(at: piece.at, bytes)
        } else if channel.server == stream.primary {
            unsafe stream.down.write(at: piece.at, bytes)
        } else {
            unsafe land(bytes, of: &piece, from: channel.server, stream)
        }
        piece.crc = unsafe integrity.crc32c(piece.crc, bytes)
        piece.at += UInt64(bytes.count)
        channel.piece = piece
    }

    func end(on channel: ClientChannel, now: Instant) {
        guard let piece = channel.piece, let stream = stream(channel.stream) else { return }
        channel.piece = nil
        guard piece.crc == piece.header.crc32c else {
            event(.integrityFailure(stream.id, offset: piece.start))
            fail(channel, .integrity, now: now)
            return
        }
        let range = piece.range
        account(range.count, on: channel, of: stream, now: now)
        if case .contribution = channel.use {
            takeContributed(range, isTorn: piece.first.isTorn, on: channel, of: stream, now: now)
        } else if stream.isContested {
            takeContested(range, on: channel, of: stream, now: now)
        } else if channel.server == stream.primary {
            takeTrusted(range, on: channel, of: stream, now: now)
        } else {
            takeLeased(piece, on: channel, of: stream, now: now)
        }
    }

    private func account(_ count: UInt64, on channel: ClientChannel, of stream: ClientStream, now: Instant) {
        guard let path = path(channel.id.path) else { return }
        path.received += count
        path.lastData = now
        if stream.firstData == nil { stream.firstData = now }
        guard case .own = channel.use else { return }
        let waiting = stream.progress - min(stream.ownHighest, stream.progress)
        path.own = (waiting, stream.applicationLimited)
    }

    private func takeTrusted(
        _ range: ByteRange, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) {
        if case .own = channel.use {
            stream.ownHighest = max(stream.ownHighest, range.end)
            stream.down.settleSum(below: stream.ownHighest)
        }
        let added = stream.down.commit(range)
        stream.primaryReceived += range.count
        stream.book.duplicated += range.count - added
        switch channel.use {
        case .lease:
            progressed(stream.book.lease(on: channel.id), by: range.count, of: stream, now: now)
        case .own, .side, .replica, .second, .foreign, .offer, .waiting, .contribution:
            break
        }
        // A primary that sends what it let be carved leaves copies and tags behind, too.
        if !stream.book.claims.isEmpty { settleBlock(Block.index(of: range.start), of: stream) }
        advanced(stream, now: now)
    }

    func progressed(_ lease: Lease?, by count: UInt64, of stream: ClientStream, now: Instant) {
        guard let lease else { return }
        lease.broughtAt = now
        if lease.isContributed { return }
        let taken = min(lease.missing, count)
        lease.missing -= taken
        if let path = path(lease.channel.path) { path.outstanding -= min(taken, path.outstanding) }
    }

    /// Bytes became readable, or the end came nearer.
    func advanced(_ stream: ClientStream, now: Instant) {
        if stream.deaf {
            stream.down.consume(stream.down.unread)
            weigh(stream, now: now)
            updateWindow(stream, now: now)
        } else if stream.down.unread > 0 {
            weigh(stream, now: now)
            out.append(.deliver(stream.id))
        }
        checkEnd(stream, now: now)
    }

    // MARK: Frames

    private func take(_ frame: Frame, on channel: ClientChannel, now: Instant) throws(WireError) {
        guard let stream = stream(channel.stream) else { return }
        switch channel.use {
        case .own, .side: try takeOwn(frame, on: channel, of: stream, now: now)
        case .replica: try takeReplica(frame, on: channel, of: stream, now: now)
        case .second: try takeSecond(frame, on: channel, of: stream, now: now)
        case .lease:
            // END{ended}: an event of that server. Its lease's channel finishes next, which gives the range
            // back.
            guard case .end = frame else { throw .notAllowedHere }
        case .contribution: try takeContributed(frame, on: channel, of: stream, now: now)
        case .foreign, .offer, .waiting: throw .notAllowedHere
        }
    }

    private func takeOwn(
        _ frame: Frame, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) throws(WireError) {
        switch frame {
        case .opened(let errno, let local, let peer):
            opened(stream, errno: errno, local: local, peer: peer, now: now)
        case .window(let read, let maximum):
            try takeWindow(read: read, maximum: maximum, of: stream, now: now)
        case .progress(let produced, let ended, let limited):
            stream.applicationLimited = limited
            // The end stays where it is once it was told: blocks were cut to it.
            guard !stream.progressEnded else { return }
            if produced > stream.progress { stream.progressedAt = now }
            stream.progress = max(stream.progress, produced)
            stream.progressEnded = ended
            weigh(stream, now: now)
        case .carved(let sequence, let ranges): carved(sequence, ranges, of: stream, now: now)
        case .delegated(let ranges, let server):
            guard stream.quorum == nil else { throw .notAllowedHere }
            try delegated(ranges, to: server, of: stream, now: now)
        case .tag(let first, let tags): takeTags(first, tags, of: stream, now: now)
        case .fin(let base, let final, let sum, let closed):
            if case .connecting = stream.phase { throw .notAllowedHere }
            if let lead = stream.quorum?.lead {
                let fin = ClientStream.Fin(base: base, final: final, sum: sum, closed: closed)
                try takeEnd(fin, of: lead, stream, now: now)
                return
            }
            guard base >= stream.sumFrom, stream.down.sumToFront(from: base) != nil,
                final >= max(stream.down.highest, stream.progress),
                final == stream.final ?? final
            else { throw .badRange }
            // Said again on a channel that was attached after it.
            if let fin = stream.fin, fin.final != final || fin.sum != sum { throw .badRange }
            stream.fin = ClientStream.Fin(base: base, final: final, sum: sum, closed: closed)
            stream.progress = final
            stream.progressEnded = true
            checkEnd(stream, now: now)
        case .reset(let errno, let offset):
            if loseLead(stream, now: now) { return }
            stream.resetAt = (offset, errno)
            checkEnd(stream, now: now)
        case .urgent(let offset):
            // The byte stands in DATA as well: one that came before is an ordinary byte, and so is one that
            // only one of a quorum calls urgent.
            guard stream.quorum == nil else { return }
            stream.urgent.offset = offset
        case .sums(let first, let sums): takeSums(first, sums, of: stream, now: now)
        case .carve, .open, .option, .end, .sumRequest: throw .notAllowedHere
        }
    }

    private func takeWindow(
        read: UInt64, maximum: UInt64, of stream: ClientStream, now: Instant
    ) throws(WireError) {
        guard read <= stream.up.produced else { throw .badRange }
        if stream.upAwaitsWindow {
            guard read >= stream.up.heldFrom else {
                abort(stream, errno: ErrorNumber.connectionReset)
                return
            }
            stream.upAwaitsWindow = false
            // Else what is not there is still in flight on other paths, or goes out again.
            if stream.flights.isEmpty { stream.upSent = read }
            stream.finSent = false
        }
        // What came by an earlier channel may be acknowledged on this one.
        stream.upSent = max(stream.upSent, read)
        if stream.closing != nil, read > stream.upAcknowledged { stream.closing = now + patience(stream) }
        stream.upAcknowledged = max(stream.upAcknowledged, read)
        stream.flights.acknowledged(stream.upAcknowledged)
        stream.upMaximum = max(stream.upMaximum, maximum)
        if let buffer = stream.options.sendBuffer {
            // The gateway's credit is as much beyond what its backend has taken, once it knows of the option.
            stream.upTaken = max(stream.upTaken, min(read, maximum - min(buffer, maximum)))
        }
        dropAcknowledged(stream)
        finishOwn(stream)
        activate(stream)
        resume(stream)
    }

    private func takeReplica(
        _ frame: Frame, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) throws(WireError) {
        guard let index = stream.part(of: channel.server) else { return }
        switch frame {
        case .opened(let errno, _, _):
            if errno != 0 { endPart(index, of: stream, .failed, now: now) }
            stream.parts[index].isOpened = true
        case .progress(let produced, _, _):
            stream.parts[index].progress = max(stream.parts[index].progress, produced)
        case .window(let read, let maximum):
            guard read <= stream.parts[index].upSent else { throw .badRange }
            takeReplayed(read: read, maximum: maximum, by: index, of: stream)
        case .reset: endPart(index, of: stream, .failed, now: now)
        case .fin, .urgent, .sums:
            // A replica's own end is an event of its path, never the stream's.
            break
        case .carve, .carved, .delegated, .tag, .open, .option, .end, .sumRequest: throw .notAllowedHere
        }
    }

    /// What a part has of the upstream bytes.
    func takeReplayed(read: UInt64, maximum: UInt64, by index: Int, of stream: ClientStream) {
        stream.parts[index].upAcknowledged = max(stream.parts[index].upAcknowledged, read)
        stream.parts[index].upMaximum = max(stream.parts[index].upMaximum, maximum)
        dropAcknowledged(stream)
        activate(stream)
        resume(stream)
    }

    // MARK: Ends of channels

    private func channelFinished(_ channel: ClientChannel, now: Instant) {
        guard let stream = stream(channel.stream) else {
            drop(channel)
            if case .offer = channel.use { out.append(.abandon(channel.id, .none)) }
            return
        }
        switch channel.use {
        case .lease:
            channels[channel.id] = nil
            if let lease = stream.book.lease(on: channel.id) { finish(lease, of: stream, now: now) }
        case .own:
            guard stream.own == channel.id else { break }
            stream.ownEnded = true
            // The primary has said all. Without FIN or RESET that is a failure of its own.
            let fin = stream.quorum?.lead.fin ?? stream.fin
            if fin == nil, stream.resetAt == nil, !stream.downDone, !loseLead(stream, now: now) {
                abort(stream, errno: ErrorNumber.connectionReset)
            }
        case .side:
            // The primary has said all; what is under way from here is still taken.
            break
        case .replica:
            if let index = stream.part(of: channel.server), stream.parts[index].channel == channel.id {
                endPart(index, of: stream, .failed, now: now)
            }
        case .second:
            // It has said all. Without FIN that is a failure of its own.
            if stream.quorum?.second?.fin == nil { loseSecond(stream, .failed, now: now) }
        case .contribution: contributionFinished(channel, of: stream)
        case .foreign, .offer, .waiting:
            drop(channel)
        }
    }

    func drop(_ channel: ClientChannel) {
        channels[channel.id] = nil
        switch channel.use {
        case .foreign: foreignChannels.remove(channel.id)
        case .offer:
            foreignChannels.remove(channel.id)
            offers.removeAll { $0 === channel }
        case .waiting: waiting.removeAll { $0 === channel }
        case .own, .side, .replica, .second, .lease, .contribution: break
        }
    }

    func channelReset(_ id: ChannelID, code: UInt64, now: Instant) {
        guard let channel = channels[id] else { return }
        let told = ErrorCode(told: code)
        fail(channel, .none, because: told, asksAgain: told.recovery.asksAgain, now: now)
    }

    func channelClosed(_ id: ChannelID, now: Instant) {
        guard let channel = channels[id] else { return }
        drop(channel)
        guard let stream = stream(channel.stream) else { return }
        if case .lingering = stream.phase, stream.own == id { release(stream) }
    }

    /// A channel that is of no more use, by the peer's fault: what it served is served otherwise.
    private func fail(_ channel: ClientChannel, _ code: ErrorCode, now: Instant) {
        fail(channel, code, because: code, asksAgain: true, now: now)
    }

    /// `told`: what the peer is told; `code`: why, by our word or the peer's.
    private func fail(
        _ channel: ClientChannel, _ told: ErrorCode, because code: ErrorCode, asksAgain: Bool, now: Instant
    ) {
        drop(channel)
        out.append(.abandon(channel.id, told))
        switch channel.use {
        case .foreign, .offer, .waiting: return
        case .own, .side, .replica, .second, .lease, .contribution: break
        }
        guard let stream = stream(channel.stream) else { return }
        switch channel.use {
        case .own:
            guard stream.own == channel.id else { break }
            if code != .none { event(.channelFailed(channel.id, stream.id, code)) }
            if stream.downWhole, stream.finSent {
                // Both directions were whole: a primary that is attached to once more has forgotten the
                // stream.
                stream.ownEnded = true
            } else if !loseLead(stream, now: now), !asksAgain || !openAgain(stream, now: now) {
                abort(stream, errno: ErrorNumber.connectionReset)
            }
        case .side:
            dropSide(channel.id, of: stream)
        case .replica:
            if let index = stream.part(of: channel.server), stream.parts[index].channel == channel.id {
                endPart(index, of: stream, .failed, now: now)
            }
        case .second:
            if code != .none { event(.channelFailed(channel.id, stream.id, code)) }
            loseSecond(stream, .failed, now: now)
        case .lease:
            guard let lease = stream.book.lease(on: channel.id) else { return }
            giveBack(lease, of: stream)
            if channel.server == stream.primary {
                primaryLeaseFailed(stream)
            } else if let index = stream.part(of: channel.server) {
                endPart(index, of: stream, .failed, now: now)
            }
        case .contribution:
            let code = code == .none ? ErrorCode.internalError : code
            if let contribution = stream.contribution(on: channel.id) { end(contribution, code, of: stream) }
        case .foreign, .offer, .waiting: break
        }
    }
}
