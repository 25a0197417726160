// The policy `quorum` (protocol.md §7): two replicas together take the place of a lost primary, and the
// program is shown what both sent alike. What they do not agree on is nobody's truth: it ends the stream.

/// The two servers in a lost primary's place.
final class Quorum {
    /// One server's bytes, from where the agreed ones ended when it came in, and its end.
    final class Member {
        let server: ServerID
        /// Read by as much as is agreed on.
        var copy: Reassembler
        var fin: ClientStream.Fin?

        init(server: ServerID, from offset: UInt64, integrity: Integrity) {
            self.server = server
            copy = Reassembler(integrity: integrity, from: offset)
        }
    }

    /// Stands as the stream's primary in all but its bytes: its channel is the stream's own.
    let lead: Member
    /// One of the stream's parts, attached like a primary. nil: lost, and nobody has come for it yet.
    var second: Member?
    /// Since when `second` is missing or silent.
    var aloneSince: Instant?
    /// Nothing has come on the channel by which the second was attached last.
    var awaitsSecond = false

    init(lead: Member) { self.lead = lead }

    func member(_ use: ClientChannel.Use) -> Member? {
        switch use {
        case .own: lead
        case .second: second
        case .side, .replica, .lease, .foreign, .offer, .waiting, .contribution: nil
        }
    }
}

extension ClientStream {
    /// Where the second stands among the parts.
    var secondPart: Int? { quorum?.second.flatMap { part(of: $0.server) } }

    /// How far the primary's own bytes have come.
    var received: UInt64 { quorum?.lead.copy.front ?? down.front }

    /// Whether the stream lives by what two servers agree on.
    var isContested: Bool { quorum != nil && !downWhole }
}

extension ClientSession {
    // MARK: Who

    /// Whether somebody could take the place of the stream's primary at once.
    func canReplacePrimary(_ stream: ClientStream) -> Bool {
        switch settings.silentPrimary {
        case .fail: false
        case .promote: mayBeReplaced(stream)
        case .quorum: pair(stream) != nil
        }
    }

    func replacePrimary(_ stream: ClientStream, now: Instant) -> Bool {
        switch settings.silentPrimary {
        case .fail: false
        case .promote: promote(stream, now: now)
        case .quorum: formQuorum(stream, now: now)
        }
    }

    /// Answering servers that have every upstream byte or can be given it, and of which nothing bad is known:
    /// the second if there is one, then those of which most has matched.
    private func candidates(_ stream: ClientStream) -> [Int] {
        let second = stream.secondPart
        let able = stream.parts.indices.filter { index in
            let part = stream.parts[index]
            return part.ended == nil && part.isOpened && part.mismatchesInRow == 0 && part.anchor.shift == 0
                && part.upAcknowledged >= stream.up.heldFrom
                && activePath(to: part.server, for: stream) != nil
        }
        return able.sorted { left, right in
            if left == second || right == second { return left == second }
            let (one, other) = (stream.parts[left].matched, stream.parts[right].matched)
            return one == other ? left < right : one > other
        }
    }

    /// The next two.
    private func pair(_ stream: ClientStream) -> (ServerID, ServerID)? {
        guard case .open = stream.phase, !stream.deaf, !stream.downWhole else { return nil }
        let next = candidates(stream).prefix(2).map { stream.parts[$0].server }
        guard next.count == 2, next.contains(where: { isVouched($0, stream) }) else { return nil }
        return (next[0], next[1])
    }

    /// Whether some of the server's bytes were the right ones. Of two that agree at least one has shown that:
    /// both may be shifted against what the program has read.
    private func isVouched(_ server: ServerID, _ stream: ClientStream) -> Bool {
        if let index = stream.part(of: server), stream.parts[index].matched > 0 { return true }
        let members = [stream.quorum?.lead, stream.quorum?.second].compactMap(\.self)
        return members.contains { $0.server == server && stream.down.front > $0.copy.sumBase }
    }

    /// Asks replicas that are parked or were gone, while they can still be given the request: it was shown to
    /// replicas before.
    private func recruit(_ stream: ClientStream, now: Instant) {
        guard !stream.parts.isEmpty, !stream.deaf, candidates(stream).count < 2 else { return }
        for path in paths where canReplicate(stream, now: now) && isCandidate(path, for: stream, now: now) {
            engage(stream, on: path, now: now)
        }
    }

    // MARK: Changes

    private func formQuorum(_ stream: ClientStream, now: Instant) -> Bool {
        guard let (first, next) = pair(stream), let index = stream.part(of: first),
            let path = activePath(to: first, for: stream)
        else { return false }
        let lead: Quorum.Member
        if let second = stream.quorum?.second, second.server == first {
            lead = second
        } else {
            loseSecond(stream, .pathDown, now: now)
            lead = Quorum.Member(server: first, from: stream.down.front, integrity: integrity)
        }
        // What was here beyond the front is of one server, or of tags that are the dead primary's.
        succeed(stream, by: index, keepsCopies: false, now: now)
        stream.down.rebase()
        stream.book.reset()
        stream.quorum = Quorum(lead: lead)
        members.insert(first)
        reattach(stream, to: path, now: now)
        if !stream.released { admit(next, to: stream, now: now) }
        return true
    }

    private func admit(_ server: ServerID, to stream: ClientStream, now: Instant) {
        guard let quorum = stream.quorum, let path = activePath(to: server, for: stream) else { return }
        quorum.second = Quorum.Member(server: server, from: stream.down.front, integrity: integrity)
        stream.quorumServers = [quorum.lead.server, server]
        members.insert(server)
        attachSecond(of: stream, to: path, now: now)
        event(.quorum(stream.id, quorum.lead.server, server, offset: stream.down.front))
    }

    /// Role 1 with the next epoch, as for a primary; upstream bytes go on behind what it acknowledged.
    private func attachSecond(of stream: ClientStream, to path: ClientPath, now: Instant) {
        guard let quorum = stream.quorum, let second = quorum.second, let index = stream.secondPart else {
            return
        }
        let before = stream.parts[index].channel
        if channels.removeValue(forKey: before) != nil, self.path(before.path) != nil {
            abandon(before, .reattached)
        }
        stream.epoch += 1
        guard stream.epoch <= ClientLimit.reattachments else {
            abort(stream, errno: ErrorNumber.connectionReset)
            return
        }
        quorum.aloneSince = nil
        quorum.awaitsSecond = true
        second.copy.beginAnotherSum()
        let channel = openChannel(on: path, stream: stream, use: .second)
        stream.parts[index].channel = channel
        stream.parts[index].upSent = stream.parts[index].upAcknowledged
        stream.parts[index].finSent = false
        let role = Preface.Role.attach(epoch: stream.epoch, received: second.copy.front)
        out.append(.send(channel, writer.preface(Preface(stream: stream.id, role: role))))
        send(.window(read: stream.down.read, maximum: stream.granted), on: channel)
        for option in stream.options { send(.option(option), on: channel) }
        if let offset = stream.urgentSent, offset >= stream.parts[index].upAcknowledged {
            send(.urgent(offset: offset), on: channel)
        }
        activate(stream)
        event(.reattached(stream.id, path.id, epoch: stream.epoch))
    }

    /// The server that stands as the primary can't go on: another is waited for, as for one that is silent.
    /// False: the stream is no quorum's.
    func loseLead(_ stream: ClientStream, now: Instant) -> Bool {
        guard stream.isContested, let lead = stream.primary else { return false }
        for side in stream.sides { dropSide(side, of: stream) }
        if let own = stream.own, channels.removeValue(forKey: own) != nil { abandon(own) }
        setOwn(nil, of: stream)
        keepFormerPrimary(lead, .failed, of: stream)
        event(.replicaEnded(stream.id, lead, .failed))
        stream.primary = nil
        stream.silentSince = stream.silentSince ?? now
        return true
    }

    func loseSecond(_ stream: ClientStream, _ end: ReplicaEnd, now: Instant) {
        guard let index = stream.secondPart else { return }
        endPart(index, of: stream, end, now: now)
        stream.quorum?.second = nil
        stream.quorum?.awaitsSecond = false
        stream.quorum?.aloneSince = now
    }

    /// Nothing is compared any more: nobody reads, and the primary's place is the lead's alone.
    func dissolveQuorum(_ stream: ClientStream) {
        guard stream.isContested, let lead = stream.quorum?.lead else { return }
        stream.down.consume(stream.down.unread)
        stream.down = lead.copy
        stream.fin = lead.fin
        stream.quorum = nil
    }

    func tellSecond(of stream: ClientStream, _ frame: Frame) {
        guard let index = stream.secondPart, channels[stream.parts[index].channel] != nil else { return }
        send(frame, on: stream.parts[index].channel)
    }

    /// The channel of a part that ends. A second believes itself a primary: it is told like one.
    func close(_ part: ClientStream.Part, _ end: ReplicaEnd) {
        guard let channel = channels.removeValue(forKey: part.channel) else { return }
        guard case .second = channel.use, end != .promoted else {
            abandon(channel.id, end == .promoted ? .reattached : .none)
            return
        }
        if !part.finSent {
            send(.reset(errno: ErrorNumber.connectionReset, offset: part.upSent), on: channel.id)
        }
        out.append(.finish(channel.id))
        out.append(.stop(channel.id, .none))
    }

    // MARK: Paths and time

    /// Goes on by another path to the second, else its silence begins.
    func secondLost(on gone: ClientPath, since: Instant, now: Instant) {
        for stream in streams where stream.isContested {
            guard let quorum = stream.quorum, let index = stream.secondPart,
                stream.parts[index].channel.path == gone.id
            else { continue }
            if let other = activePath(to: gone.server, for: stream) {
                attachSecond(of: stream, to: other, now: now)
            } else {
                quorum.aloneSince = quorum.aloneSince ?? since
            }
        }
    }

    /// The path answers again, or is new.
    func secondFound(on path: ClientPath, isNew: Bool, now: Instant) {
        for stream in streams where stream.isContested && stream.allows(path) {
            guard let index = stream.secondPart, stream.parts[index].server == path.server else { continue }
            let channel = stream.parts[index].channel
            if isNew, !path.traits.resumed {
                loseSecond(stream, .failed, now: now)
            } else if channel.path == path.id {
                stream.quorum?.aloneSince = nil
            } else if self.path(channel.path)?.isActive != true {
                attachSecond(of: stream, to: path, now: now)
            }
        }
    }

    /// A turn's end. True: the stream is a quorum's, and nobody is leased anything.
    func keepQuorum(_ stream: ClientStream, now: Instant) -> Bool {
        if settings.silentPrimary == .quorum, stream.silentSince != nil { recruit(stream, now: now) }
        guard let quorum = stream.quorum else { return false }
        guard stream.isContested else { return true }
        updateWindow(stream, now: now)
        let second = stream.secondPart
        for index in stream.parts.indices where index != second && stream.parts[index].ended == nil {
            if stream.upAcknowledged > stream.parts[index].upAcknowledged + Tuning.replayLimit {
                endPart(index, of: stream, .behind, now: now)
            }
        }
        guard let since = quorum.aloneSince else { return true }
        let channel = second.map { stream.parts[$0].channel }
        guard channel.map({ now >= since + toleratedSilence($0) }) ?? true else { return true }
        let others = candidates(stream).filter { $0 != second }.map { stream.parts[$0].server }
        if let server = others.first, isVouched(quorum.lead.server, stream) || isVouched(server, stream) {
            loseSecond(stream, .pathDown, now: now)
            admit(server, to: stream, now: now)
        } else if now >= since + patience(stream) {
            abort(stream, errno: ErrorNumber.timedOut)
        } else {
            recruit(stream, now: now)
        }
        return true
    }

    // MARK: What the second says

    func takeSecond(
        _ frame: Frame, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) throws(WireError) {
        guard let second = stream.quorum?.second, let index = stream.secondPart else { return }
        switch frame {
        case .opened(let errno, _, _):
            if errno != 0 { loseSecond(stream, .failed, now: now) }
        case .progress(let produced, _, _):
            stream.parts[index].progress = max(stream.parts[index].progress, produced)
        case .window(let read, let maximum):
            // What came by an earlier channel may be acknowledged on this one.
            guard read <= stream.up.produced else { throw .badRange }
            stream.quorum?.awaitsSecond = false
            stream.parts[index].upSent = max(stream.parts[index].upSent, read)
            takeReplayed(read: read, maximum: maximum, by: index, of: stream)
        case .fin(let base, let final, let sum, let closed):
            let fin = ClientStream.Fin(base: base, final: final, sum: sum, closed: closed)
            try takeEnd(fin, of: second, stream, now: now)
        case .reset: loseSecond(stream, .failed, now: now)
        case .urgent, .sums: break
        case .carve, .carved, .delegated, .tag, .open, .option, .end, .sumRequest: throw .notAllowedHere
        }
    }

    func takeEnd(
        _ fin: ClientStream.Fin, of member: Quorum.Member, _ stream: ClientStream, now: Instant
    ) throws(WireError) {
        guard member.copy.sumToFront(from: fin.base) != nil, fin.final >= member.copy.highest else {
            throw .badRange
        }
        // Said again on a channel that was attached after it.
        if let before = member.fin, before.final != fin.final || before.sum != fin.sum { throw .badRange }
        member.fin = fin
        agree(stream, now: now)
    }

    // MARK: Agreement

    func takeContested(
        _ range: ByteRange, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) {
        guard let quorum = stream.quorum, let member = quorum.member(channel.use) else { return }
        let added = member.copy.commit(range)
        stream.book.duplicated += range.count - added
        if member === quorum.lead {
            stream.primaryReceived += range.count
            stream.ownHighest = max(stream.ownHighest, range.end)
        } else if let index = stream.secondPart {
            stream.parts[index].received += range.count
        }
        agree(stream, now: now)
    }

    /// Shows the program what both have sent, up to where they differ.
    private func agree(_ stream: ClientStream, now: Instant) {
        guard let quorum = stream.quorum, let second = quorum.second, stream.isContested else { return }
        let lead = quorum.lead
        let end = min(lead.copy.front, second.copy.front)
        var (ours, theirs): ([ChunkSlice], [ChunkSlice]) = ([], [])
        lead.copy.readable(into: &ours, limit: .max, upTo: end)
        second.copy.readable(into: &theirs, limit: .max, upTo: end)
        for (one, other) in zip(ours, theirs) {
            let at = stream.down.front
            if let place = unsafe firstDifference(one.bytes, other.bytes) {
                disagree(stream, lead.server, second.server, offset: at + UInt64(place))
                return
            }
            unsafe stream.down.write(at: at, one.bytes)
            _ = stream.down.commit(ByteRange(at, at + UInt64(one.count)))
            lead.copy.consume(UInt64(one.count))
            second.copy.consume(UInt64(one.count))
        }
        // Where one ends, the other has no more either.
        let ends = [lead.fin?.final, second.fin?.final].compactMap(\.self)
        let last = max(lead.copy.front, second.copy.front, ends.max() ?? 0)
        if let first = ends.min(), last > first {
            disagree(stream, lead.server, second.server, offset: first)
            return
        }
        if let one = lead.fin, let other = second.fin, stream.down.front == one.final {
            guard lead.copy.sumToFront(from: one.base) == one.sum,
                second.copy.sumToFront(from: other.base) == other.sum,
                let sum = stream.down.sumToFront(from: stream.down.sumBase)
            else {
                event(.integrityFailure(stream.id, offset: one.final))
                abort(stream, errno: ErrorNumber.connectionReset)
                return
            }
            stream.fin = ClientStream.Fin(
                base: stream.down.sumBase, final: one.final, sum: sum,
                closed: one.closed && other.closed)
            stream.progress = one.final
            stream.progressEnded = true
        }
        advanced(stream, now: now)
    }

    private func disagree(_ stream: ClientStream, _ one: ServerID, _ other: ServerID, offset: UInt64) {
        event(.quorumDisagreed(stream.id, one, other, offset: offset))
        abort(stream, errno: ErrorNumber.connectionReset)
    }

    /// The place of the first byte that differs; both are of one length.
    private func firstDifference(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Int? {
        var place = 0
        while place + 8 <= one.count {
            let word = unsafe one.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            guard unsafe word == other.loadUnaligned(fromByteOffset: place, as: UInt64.self) else { break }
            place += 8
        }
        while place < one.count {
            if unsafe one[place] != other[place] { return place }
            place += 1
        }
        return nil
    }
}
