// Role 4: bytes that a server gives of its own for a named stream (protocol.md §3). They are internal: taken
// only where the server holds a lease, and then verified by the primary's tags like all that it sends, or
// where the primary delegated whole blocks to it, and then by the sum that it sends itself. The first
// verified copy of a block wins, whoever it comes from.

/// A channel of role 4 that is coming in, and the range of the stream that it stands for.
final class Contribution {
    let channel: ChannelID
    let server: ServerID
    let range: ByteRange
    /// Without tags: shown once its own sum matches.
    let isDelegated: Bool
    /// Where its next bytes begin.
    var next: UInt64
    /// All of it, and FIN, have come.
    var isWhole = false

    init(channel: ChannelID, server: ServerID, range: ByteRange, isDelegated: Bool) {
        self.channel = channel
        self.server = server
        self.range = range
        self.isDelegated = isDelegated
        next = range.start
    }
}

/// Whole blocks that the primary leaves to another server.
final class Delegation {
    /// nil: nobody whom we know.
    let server: ServerID?
    let range: ByteRange
    /// When something of it came last, or it was told.
    var touched: Instant
    /// It took too long: the primary is asked for what is missing.
    var isExpired = false

    init(server: ServerID?, range: ByteRange, now: Instant) {
        self.server = server
        self.range = range
        touched = now
    }

    func covers(_ other: ByteRange) -> Bool { range.start <= other.start && other.end <= range.end }
}

extension ClientStream {
    /// Who may hold copies while something is delegated.
    var contributors: [ServerID] {
        var all = parts.map(\.server)
        for case let server? in delegations.map(\.server) where !all.contains(server) { all.append(server) }
        return all
    }

    func contribution(on channel: ChannelID) -> Contribution? {
        contributions.first { $0.channel == channel }
    }

    /// Whether the byte was left to a server that still has time.
    func isAwaited(_ offset: UInt64) -> Bool {
        delegations.contains { !$0.isExpired && $0.range.start <= offset && offset < $0.range.end }
    }
}

extension ClientSession {
    // MARK: Prefaces of servers

    func begin(_ preface: Preface, on channel: ClientChannel, now: Instant) {
        switch preface.role {
        case .serverStream: offer(preface.stream, on: channel)
        case .contribution(let offset, let length):
            channel.stream = preface.stream
            let wait = Tuning.wait(least: Tuning.unknownWait, srtt: path(channel.id.path)?.sample.srtt)
            let range = ByteRange(offset, offset + length)
            channel.use = .waiting(range, until: now + wait)
            foreignChannels.remove(channel.id)
            place(range, channel, now: now)
        case .stream, .attach, .replica, .lease:
            drop(channel)
            event(.malformed(channel.id, .notAllowedHere))
            out.append(.abandon(channel.id, .protocolViolation))
        }
    }

    /// What a server is to a range of a stream.
    private enum Standing {
        case leased
        case delegated
        /// Nobody gave it to the server, yet.
        case unknown
        /// It is not needed any more.
        case late
        case refused(ErrorCode)
    }

    private func standing(_ range: ByteRange, of stream: ClientStream, _ server: ServerID) -> Standing {
        guard case .open = stream.phase, !stream.deaf, !stream.released, range.end > stream.down.front else {
            return .late
        }
        // Its bytes have role 0 and its leases.
        if server == stream.primary { return .refused(.refusedByPolicy) }
        if range.end > stream.granted { return .refused(.flowControl) }
        if lease(of: server, covering: range, stream) != nil { return .leased }
        let isWhole = range.start % Block.size == 0 && range.end % Block.size == 0
        if isWhole, stream.delegations.contains(where: { $0.server == server && $0.covers(range) }) {
            return .delegated
        }
        // Its own offsets are others, and its leases bring the same.
        let isShifted = stream.part(of: server).map { stream.parts[$0].anchor.shift != 0 } ?? false
        return isShifted ? .late : .unknown
    }

    private func lease(of server: ServerID, covering range: ByteRange, _ stream: ClientStream) -> Lease? {
        stream.book.leases.first {
            $0.server == server && $0.shift == 0 && $0.range.start <= range.start
                && range.end <= $0.range.end
        }
    }

    /// Gives the channel its place in the stream, refuses it, or lets it wait.
    private func place(_ range: ByteRange, _ channel: ClientChannel, now: Instant) {
        guard let stream = stream(channel.stream) else {
            event(.unknownStream(channel.id, channel.stream))
            endChannel(channel, .none)
            return
        }
        var isDelegated = false
        switch standing(range, of: stream, channel.server) {
        case .leased: break
        case .delegated: isDelegated = true
        case .late:
            endChannel(channel, .none)
            return
        case .refused(let code):
            refuse(channel, range, code)
            return
        case .unknown:
            guard !waiting.contains(where: { $0 === channel }) else { return }
            guard waiting.count(where: { $0.id.path == channel.id.path }) < ClientLimit.waiting else {
                refuse(channel, range, .resourceLimit)
                return
            }
            waiting.append(channel)
            return
        }
        waiting.removeAll { $0 === channel }
        guard stream.contributions.count < ClientLimit.contributions else {
            refuse(channel, range, .resourceLimit)
            return
        }
        channel.use = .contribution
        stream.contributions.append(
            Contribution(channel: channel.id, server: channel.server, range: range, isDelegated: isDelegated))
    }

    private func refuse(_ channel: ClientChannel, _ range: ByteRange, _ code: ErrorCode) {
        event(.contributionFailed(channel.stream, channel.server, offset: range.start, code))
        endChannel(channel, code)
    }

    private func endChannel(_ channel: ClientChannel, _ code: ErrorCode) {
        drop(channel)
        out.append(.abandon(channel.id, code))
    }

    // MARK: Waiting for a delegation that takes another way

    func hold(_ bytes: UnsafeRawBufferPointer, finished: Bool, on channel: ClientChannel) {
        guard case .waiting(let range, _) = channel.use else { return }
        guard waiting.reduce(bytes.count, { $0 + $1.held.count }) <= ClientLimit.waitingBytes else {
            refuse(channel, range, .resourceLimit)
            return
        }
        unsafe channel.held.append(contentsOf: bytes)
        channel.isHeldWhole = channel.isHeldWhole || finished
    }

    private func wakeWaiting(for stream: StreamID, now: Instant) {
        for channel in waiting where channel.stream == stream {
            guard case .waiting(let range, _) = channel.use else { continue }
            place(range, channel, now: now)
            guard case .contribution = channel.use, channels[channel.id] != nil else { continue }
            let held = channel.held
            channel.held = []
            unsafe held.withUnsafeBytes {
                unsafe received(channel.id, $0, finished: channel.isHeldWhole, now: now)
            }
        }
    }

    func expireWaiting(now: Instant) {
        for id in foreignChannels.sorted() {
            guard let channel = channels[id], case .foreign(let until) = channel.use, now >= until else {
                continue
            }
            event(.malformed(id, .truncated))
            endChannel(channel, .protocolViolation)
        }
        for channel in waiting {
            guard case .waiting(let range, let until) = channel.use, now >= until else { continue }
            refuse(channel, range, .refusedByPolicy)
        }
    }

    // MARK: Bytes

    /// Whether the piece is of use. Bytes that are not where the preface says are nobody's.
    func beginContributed(
        _ range: ByteRange, on channel: ClientChannel, of stream: ClientStream
    ) throws(WireError) -> Bool {
        guard let contribution = stream.contribution(on: channel.id), contribution.next == range.start,
            range.end <= contribution.range.end
        else { throw .badRange }
        contribution.next = range.end
        guard !isSettled(Block.index(of: range.start), of: stream) else { return false }
        return contribution.isDelegated || lease(of: channel.server, covering: range, stream) != nil
    }

    func takeContributed(
        _ range: ByteRange, isTorn: Bool, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) {
        guard let contribution = stream.contribution(on: channel.id) else { return }
        let added = isTorn ? 0 : stream.book.commit(channel.server, range)
        if let index = stream.part(of: channel.server) {
            stream.parts[index].received += range.count
            stream.book.duplicated += range.count - added
        }
        if isTorn {
            // Overtaken by another copy, or taken from the server.
            end(contribution, .none, of: stream)
            return
        }
        if contribution.isDelegated {
            for delegation in stream.delegations where delegation.covers(contribution.range) {
                delegation.touched = now
            }
            return
        }
        if let lease = lease(of: channel.server, covering: range, stream) {
            lease.broughtAt = now
            lease.isContributed = true
            recount(lease, of: stream)
        }
        verify(Block.index(of: range.start), from: channel.server, of: stream, now: now)
    }

    /// What is missing of a lease that is answered on more channels than one.
    func recount(_ lease: Lease?, of stream: ClientStream) {
        guard let lease, lease.isContributed, stream.book.lease(on: lease.channel) === lease else { return }
        var open: UInt64 = 0
        for block in lease.blocks where !isSettled(block, of: stream) {
            let range = stream.range(ofBlock: block).intersection(lease.range)
            let filled = stream.book.copy(lease.server, of: block)?.filled ?? 0
            open += range.count - min(range.count, filled)
        }
        let taken = lease.missing - min(lease.missing, open)
        lease.missing -= taken
        if let path = path(lease.channel.path) { path.outstanding -= min(taken, path.outstanding) }
    }

    /// FIN: the contributor's own sum over what it gave.
    func takeContributed(
        _ frame: Frame, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) throws(WireError) {
        guard case .fin(let base, let final, let sum, _) = frame else { throw .notAllowedHere }
        guard let contribution = stream.contribution(on: channel.id), !contribution.isWhole,
            base == contribution.range.start, final == contribution.range.end, contribution.next == final
        else { throw .badRange }
        contribution.isWhole = true
        if contribution.isDelegated { adopt(contribution, sum: sum, of: stream, now: now) }
    }

    private func adopt(_ contribution: Contribution, sum: UInt64, of stream: ClientStream, now: Instant) {
        var found: UInt64 = 0
        var copies: [BlockCopy] = []
        for block in Block.index(of: contribution.range.start)..<Block.index(of: contribution.range.end) {
            let range = stream.range(ofBlock: block)
            guard let copy = stream.book.copy(contribution.server, of: block), copy.contains(range) else {
                end(contribution, .none, of: stream)
                return
            }
            found &+= unsafe integrity.blockSum(range.start, copy.bytes(range))
            copies.append(copy)
        }
        guard found == sum else {
            for copy in copies { stream.book.dropCopy(contribution.server, of: copy.block) }
            end(contribution, .integrity, of: stream)
            return
        }
        for copy in copies {
            _ = stream.down.adopt(copy)
            stream.book.giveUpCopy(contribution.server, of: copy.block)
            settleBlock(copy.block, of: stream)
        }
        advanced(stream, now: now)
    }

    // MARK: Ends

    /// The server's half is complete.
    func contributionFinished(_ channel: ClientChannel, of stream: ClientStream) {
        guard let contribution = stream.contribution(on: channel.id) else { return }
        guard contribution.isWhole else {
            end(contribution, .protocolViolation, of: stream)
            return
        }
        stream.contributions.removeAll { $0 === contribution }
        channels[channel.id] = nil
        out.append(.finish(channel.id))
        event(
            .contributed(
                stream.id, channel.server, offset: contribution.range.start,
                length: contribution.range.count))
    }

    /// What it did not bring is left to others. `code` none: it is no fault.
    func end(_ contribution: Contribution, _ code: ErrorCode, of stream: ClientStream) {
        guard stream.contributions.contains(where: { $0 === contribution }) else { return }
        stream.contributions.removeAll { $0 === contribution }
        if channels.removeValue(forKey: contribution.channel) != nil {
            out.append(.abandon(contribution.channel, code))
        }
        if code != .none {
            event(
                .contributionFailed(
                    stream.id, contribution.server, offset: contribution.range.start, code))
        }
        // One that began within a lease may have been delegated since.
        for delegation in stream.delegations
        where delegation.server == contribution.server && delegation.covers(contribution.range) {
            expire(delegation, of: stream)
        }
    }

    /// The stream needs nobody's contributions any more: the channels are closed with it.
    func endContributions(_ stream: ClientStream) {
        // Not verified: no promotion takes it over.
        for contribution in stream.contributions {
            let range = contribution.range
            for block in Block.index(of: range.start)..<Block.index(of: range.end + Block.size - 1) {
                stream.book.dropCopy(contribution.server, of: block)
            }
        }
        stream.delegations = []
        for contribution in stream.contributions { end(contribution, .none, of: stream) }
        for channel in waiting where channel.stream == stream.id { endChannel(channel, .none) }
    }

    /// The channels are gone with their path.
    func contributionsLost(on path: PathID) {
        waiting.removeAll { $0.id.path == path }
        offers.removeAll { $0.id.path == path }
        for stream in streams {
            for contribution in stream.contributions where contribution.channel.path == path {
                end(contribution, .none, of: stream)
            }
        }
    }

    // MARK: Delegations

    /// CARVED with sequence 0: the blocks come from that server; they have no tags, and FIN leaves them out.
    func delegated(
        _ ranges: [ByteRange], to name: [UInt8], of stream: ClientStream, now: Instant
    ) throws(WireError) {
        let server = names.server(called: name)
        for range in ranges {
            // Told again on a channel that was attached after it.
            if stream.delegations.contains(where: { $0.range == range }) { continue }
            guard range.end <= stream.granted, stream.delegations.count < ClientLimit.delegations,
                stream.down.leaveOut(range)
            else { throw .badRange }
            // By another of the primary's paths its blocks may have come sooner than this.
            if range.end <= stream.down.front { continue }
            stream.delegations.append(Delegation(server: server, range: range, now: now))
            stream.book.claims.insert(range)
        }
        wakeWaiting(for: stream.id, now: now)
    }

    /// A server that brings nothing for long, or that can't be reached, is not waited for.
    func expireDelegations(_ stream: ClientStream, now: Instant) {
        stream.delegations.removeAll { $0.range.end <= stream.down.front }
        for delegation in stream.delegations where !delegation.isExpired {
            if let server = delegation.server, let path = activePath(to: server, for: stream),
                now - delegation.touched <= max(Tuning.stuck, path.sample.srtt * 4)
            {
                continue
            }
            expire(delegation, of: stream)
        }
    }

    private func expire(_ delegation: Delegation, of stream: ClientStream) {
        guard !delegation.isExpired, delegation.range.end > stream.down.front else { return }
        delegation.isExpired = true
        if leaveToPrimary(delegation, of: stream) {
            event(
                .delegationExpired(
                    stream.id, delegation.server ?? ServerID(0), offset: delegation.range.start,
                    length: delegation.range.count))
        }
    }

    /// Without tags no other can serve what is missing of it. True if anything is.
    @discardableResult
    private func leaveToPrimary(_ delegation: Delegation, of stream: ClientStream) -> Bool {
        var isShort = false
        for block in Block.index(of: delegation.range.start)..<Block.index(of: delegation.range.end)
        where !isSettled(block, of: stream) {
            isShort = true
            let range = stream.range(ofBlock: block)
            stream.book.primaryOnly.insert(range)
            let isAsked = stream.book.leases.contains {
                $0.server == stream.primary && $0.next <= range.start && range.start < $0.range.end
            }
            if !isAsked { stream.book.orphans.insert(range) }
        }
        return isShort
    }

    /// The answer to a CARVE that crossed the delegation gave the same blocks back.
    func keepDelegations(_ stream: ClientStream) {
        for delegation in stream.delegations where delegation.range.end > stream.down.front {
            stream.book.claims.insert(delegation.range)
            if delegation.isExpired { leaveToPrimary(delegation, of: stream) }
        }
    }
}
