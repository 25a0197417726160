// Who is asked for which bytes (algorithm.md: grants, re-lease).

extension ClientSession {
    /// A path that may carry leases of a stream, with what the decisions need of it.
    private struct Candidate {
        var path: ClientPath
        /// nil: the primary.
        var part: Int?
        /// The primary serves by lease, on whichever path, what was carved and must come from it after all;
        /// blocks of its own sender's are leased to it only on other paths than that one's.
        var takesNew: Bool
    }

    func schedule(_ stream: ClientStream, now: Instant) {
        guard stream.own != nil, !stream.deaf else { return }
        engage(stream, now: now)
        if stream.isEngaged { judgeTrial(stream, now: now) }
        compareReplicas(stream, now: now)
        expireSums(stream, now: now)
        guard !stream.book.claims.isEmpty || stream.isEngaged else { return }
        updateWindow(stream, now: now)
        let all = candidates(stream)
        relievePrimary(stream, all, now: now)
        grantOrphans(stream, all, now: now)
        grantNew(stream, all.filter(\.takesNew), now: now)
        moveSlipped(stream, all, now: now)
    }

    private func candidates(_ stream: ClientStream) -> [Candidate] {
        var all: [Candidate] = []
        for path in paths where path.isActive && path.server == stream.primary && stream.allows(path) {
            let takesNew = stream.own?.path != path.id && stream.isSpread && !stream.isLeftOut(path.id)
            all.append(Candidate(path: path, part: nil, takesNew: takesNew))
        }
        for index in stream.parts.indices where stream.parts[index].ended == nil {
            guard !stream.parts[index].isPaused, let path = path(stream.parts[index].channel.path),
                path.isActive
            else { continue }
            all.append(Candidate(path: path, part: index, takesNew: !stream.isLeftOut(path.id)))
        }
        return all
    }

    /// A replica too far behind the upstream would have to be waited for. One keeps up whose backend has
    /// produced, a round trip or two later, what the primary's had.
    private func compareReplicas(_ stream: ClientStream, now: Instant) {
        for index in stream.parts.indices where stream.parts[index].ended == nil {
            let part = stream.parts[index]
            if stream.upAcknowledged > part.upAcknowledged + Tuning.replayLimit {
                endPart(index, of: stream, .behind, now: now)
            } else if let path = path(part.channel.path) {
                let by = now + path.sample.srtt * 2 + path.horizon
                stream.parts[index].follow(stream.progress, by: by)
            }
        }
    }

    // MARK: Grants

    /// Carved blocks that nobody works on come first: the front may be waiting for them.
    private func grantOrphans(_ stream: ClientStream, _ all: [Candidate], now: Instant) {
        while let orphan = stream.book.orphans.first {
            if orphan.end <= stream.down.front {
                stream.book.orphans.remove(orphan)
                continue
            }
            let start = Block.roundDown(max(orphan.start, min(stream.down.front, orphan.end - 1)))
            let mustBePrimary = stream.book.primaryOnly.contains(start)
            var best: (candidate: Candidate, eta: Interval)?
            for candidate in all where serves(candidate, start, of: stream) {
                if mustBePrimary, candidate.part != nil { continue }
                // It comes behind what the own sender has on the way.
                let isOwn = candidate.path.id == stream.own?.path
                let wait = isOwn ? lag(stream, candidate.path) - candidate.path.sample.srtt : .zero
                let eta = candidate.path.eta(Block.size) + max(wait, .zero)
                if best.map({ eta < $0.eta }) ?? true { best = (candidate, eta) }
            }
            guard let best = best?.candidate else { return }
            var end = min(orphan.end, start + best.path.leaseLength)
            if mustBePrimary {
                end = min(end, stream.book.primaryOnly.prefixEnd(from: start))
            } else if let next = stream.book.primaryOnly.ranges.first(where: { $0.start > start }) {
                end = min(end, next.start)
            }
            grant(ByteRange(start, end), of: stream, to: best, carve: false, now: now)
        }
    }

    /// Whether the candidate has the bytes at `offset`, or will have them without being waited for.
    private func serves(_ candidate: Candidate, _ offset: UInt64, of stream: ClientStream) -> Bool {
        candidate.part.map { stream.parts[$0].serves(offset, read: stream.down.read) } ?? true
    }

    /// Whether the candidate is to have the bytes at `offset`, which the primary's backend has produced, by
    /// the time that a request is there. What it tells of itself is a round trip old, and where a datagram
    /// was lost two: a distant replica would stand idle until then (G: 2 % of the bytes). A new one's first
    /// leases go with what engages it, and wait there for its backend.
    private func willServe(_ candidate: Candidate, _ offset: UInt64, of stream: ClientStream, now: Instant)
        -> Bool
    {
        if serves(candidate, offset, of: stream) { return true }
        guard let part = candidate.part, let due = stream.parts[part].due else { return false }
        return now <= due.by
    }

    /// Towards the end: what the primary's own sender would begin now is here later than the others would
    /// bring all that is left, so it is left to them (R: the link with 5 % of its rate and half a second of
    /// queue brought the last bytes half a second after everything else).
    private func relievePrimary(_ stream: ClientStream, _ all: [Candidate], now: Instant) {
        guard stream.resetAt == nil, isEnding(stream, now: now), let own = stream.own,
            let primary = path(own.path), primary.isActive,
            stream.book.pendingCarves.count < ClientLimit.carvesPending
        else { return }
        let begun = begun(stream, primary)
        var rest: [ByteRange] = []
        var from = begun
        // Half of all offsets: it is added to one.
        let anyLength = UInt64.max / 2
        while rest.count < WireLimit.ranges, let range = free(stream, from: from, length: anyLength) {
            rest.append(range)
            from = range.end
        }
        guard let last = rest.last?.end else { return }
        let others = all.filter { $0.takesNew && serves($0, last - 1, of: stream) }
        guard !others.isEmpty else { return }
        let left = others.reduce(rest.reduce(0) { $0 + $1.count }) { $0 + $1.path.outstanding }
        let rate = others.reduce(0) { $0 + $1.path.estimate }
        let nearest = others.map(\.path.sample.srtt).min() ?? .zero
        let finish = nearest + Interval(seconds: Double(left) / max(rate, 1))
        guard lag(stream, primary) > finish + Tuning.gain else { return }
        for range in rest {
            stream.book.claims.insert(range)
            stream.book.orphans.insert(range)
        }
        carve(rest, of: stream, on: own)
    }

    private func carve(_ ranges: [ByteRange], of stream: ClientStream, on own: ChannelID) {
        let sequence = stream.book.takeSequence()
        stream.book.pendingCarves.append((sequence, ranges))
        send(.carve(sequence: sequence, ranges), on: own)
    }

    private func grantNew(_ stream: ClientStream, _ others: [Candidate], now: Instant) {
        guard !others.isEmpty, stream.resetAt == nil, let own = stream.own,
            let primary = path(own.path), primary.isActive || mayBeReplaced(stream),
            stream.book.pendingCarves.count < ClientLimit.carvesPending
        else { return }
        let order = others.sorted { $0.path.sample.srtt < $1.path.sample.srtt }
        let srtts = (order.map(\.path) + [primary]).map(\.sample.srtt)
        let isClose = (srtts.max() ?? .zero) < (srtts.min() ?? .zero) * Tuning.slideRatio
        let slides = isClose && primary.isActive
        let total = primary.estimate + order.reduce(0) { $0 + $1.path.estimate }
        let begun = begun(stream, primary)
        for candidate in order {
            let path = candidate.path
            while path.outstanding == 0 || path.outstanding + path.leaseLength <= path.target {
                let fastest = order.map { $0.path.eta($0.path.leaseLength) }.min() ?? .zero
                let least = candidate.part.map { stream.parts[$0].anchor.from } ?? 0
                var from = max(begun, least)
                // What carves on its own way is there later than a CARVE.
                if candidate.part == nil, path.sample.srtt > primary.sample.srtt {
                    from = max(from, edge(stream, primary, after: path.sample.srtt))
                }
                let lag = path.eta(path.leaseLength) - min(fastest, primary.sample.srtt + primary.horizon)
                if slides, lag > .zero {
                    // Never out of what may be leased at all: a path whose estimate has collapsed would get
                    // nothing, and so never show a better one.
                    let last = leasable(stream) - min(leasable(stream), path.leaseLength)
                    let shifted = from + UInt64(min(lag, Tuning.slide).seconds * total)
                    from = Block.roundDown(max(from, min(shifted, last)))
                }
                guard let range = free(stream, from: from, length: path.leaseLength),
                    willServe(candidate, range.start, of: stream, now: now),
                    worthIt(range, on: path, stream, primary, order)
                else { break }
                grant(range, of: stream, to: candidate, carve: true, now: now)
            }
        }
    }

    /// Up to where nothing can be carved of the primary's own sender. When its link slows down, what it has
    /// on the way stays so; what is asked of others there all the same comes twice (R: 1.2 % of the bytes).
    private func begun(_ stream: ClientStream, _ primary: ClientPath) -> UInt64 {
        let edge = edge(stream, primary, after: primary.sample.srtt)
        guard primary.isActive else { return edge }
        stream.ownBegun = max(stream.ownBegun, edge)
        return stream.ownBegun
    }

    /// How long until what the primary's own sender begins next is here, by what it has on the way.
    private func lag(_ stream: ClientStream, _ primary: ClientPath) -> Interval {
        Interval(seconds: Double(unclaimed(stream, below: stream.ownBegun)) / max(pace(primary), 1))
    }

    /// Bytes below `end` that nobody was asked for: the primary's own sender has yet to bring them.
    private func unclaimed(_ stream: ClientStream, below end: UInt64) -> UInt64 {
        let rest = ByteRange(min(stream.ownHighest, end), end)
        return rest.count - stream.book.claims.intersection(rest).reduce(0) { $0 + $1.count }
    }

    /// Bytes per second that the primary's own sender begins.
    private func pace(_ primary: ClientPath) -> Double {
        primary.estimate * (primary.rate.startingUp ? Tuning.startingAhead : 1)
    }

    /// Where the primary's own sender will be by the time that a request reaches it, over blocks that are its
    /// own.
    private func edge(_ stream: ClientStream, _ primary: ClientPath, after way: Interval) -> UInt64 {
        // A silent one sends nothing more: what it had on the way comes from who may take its place.
        guard primary.isActive else { return Block.roundDown(stream.down.front) }
        let ahead = UInt64((way + Tuning.carveMargin).seconds * pace(primary))
        // What waits behind a lost datagram was sent before all that.
        var left = max(ahead, Tuning.progressStep) + min(primary.receipts.heldBack, ahead)
        var at = stream.ownHighest
        while left > 0 {
            let claimed = stream.book.claims.prefixEnd(from: at)
            if claimed > at {
                at = claimed
                continue
            }
            let next = stream.book.claims.ranges.first { $0.start > at }?.start ?? .max
            let step = min(left, next - at)
            at += step
            left -= step
        }
        return max(at, stream.down.front)
    }

    /// Where leases end: whole blocks that the primary's backend has produced and the window admits.
    private func leasable(_ stream: ClientStream) -> UInt64 {
        min(stream.granted, stream.progressEnded ? stream.progress : Block.roundDown(stream.progress))
    }

    /// The lowest unleased whole blocks from `offset` on that the primary's backend has produced.
    private func free(_ stream: ClientStream, from offset: UInt64, length: UInt64) -> ByteRange? {
        let limit = leasable(stream)
        var start = Block.roundUp(offset)
        while start < limit {
            let taken = max(
                stream.book.claims.prefixEnd(from: start), stream.reserved.prefixEnd(from: start))
            if taken > start {
                start = Block.roundUp(taken)
            } else if stream.down.contains(stream.range(ofBlock: Block.index(of: start))) {
                start += Block.size
            } else {
                break
            }
        }
        var end = min(start + length, limit)
        for range in stream.book.claims.ranges + stream.reserved.ranges where range.start > start {
            end = min(end, Block.roundDown(range.start))
        }
        if end != stream.progress || !stream.progressEnded { end = Block.roundDown(end) }
        return start < end ? ByteRange(start, end) : nil
    }

    /// Whether the backend gives no more, as far as can be told: most protocols keep the connection after an
    /// answer.
    private func isEnding(_ stream: ClientStream, now: Instant) -> Bool {
        if stream.progressEnded || stream.applicationLimited { return true }
        return now - stream.progressedAt > Tuning.endingAfter
            && stream.progress + Block.size < stream.granted
            && stream.down.unread < (stream.granted - stream.down.read) / 2
    }

    /// Whether the path brings the range before the others would be done with all that there is: else it
    /// would be waited for (ECF, BLEST). A backend that stands before a full window has more.
    private func worthIt(
        _ range: ByteRange, on path: ClientPath, _ stream: ClientStream, _ primary: ClientPath,
        _ all: [Candidate]
    ) -> Bool {
        if stream.progress + Block.size >= stream.granted, !stream.progressEnded { return true }
        var bytes = unclaimed(stream, below: stream.progress) * contenders + primary.outstanding
        var rate = primary.isActive ? primary.estimate : 0
        for other in all.map(\.path) where other.id != path.id {
            bytes += other.outstanding
            rate += other.estimate
        }
        guard rate > 0 else { return true }
        let finish = Interval(seconds: Tuning.finishMargin * Double(bytes) / rate)
        return path.eta(range.count) <= primary.sample.srtt * 5 / 4 + finish
    }

    private func grant(
        _ range: ByteRange, of stream: ClientStream, to candidate: Candidate, carve: Bool,
        isSecond: Bool = false, now: Instant
    ) {
        if carve {
            stream.book.claims.insert(range)
            if candidate.part == nil {
                // Without tags, as it comes from the primary: no other can serve it.
                stream.book.primaryOnly.insert(range)
            } else if let own = stream.own {
                self.carve([range], of: stream, on: own)
            }
        }
        let carves = carve && candidate.part == nil
        let path = candidate.path
        let promise = now + path.eta(range.count)
        let channel = openChannel(on: path, stream: stream, use: .lease)
        let role = stream.lease(range, of: candidate.part, carves: carves)
        out.append(.send(channel, writer.preface(Preface(stream: stream.id, role: role))))
        out.append(.finish(channel))
        stream.book.add(
            Lease(
                channel: channel, server: path.server, range: range, carves: carves,
                epoch: stream.epoch, grantedAt: now, promise: promise, isSecond: isSecond,
                shift: candidate.part.map { stream.parts[$0].anchor.shift } ?? 0))
        if path.outstanding == 0 {
            path.busySince = now
            if path.ownStreams == 0 { path.rate.resumes() }
        }
        path.outstanding += range.count
    }

    // MARK: Re-lease

    /// A lease that slipped against its own promise, and that another path delivers sooner, is asked for
    /// there too.
    private func moveSlipped(_ stream: ClientStream, _ all: [Candidate], now: Instant) {
        var moves = 0
        let total = all.reduce(0) { $0 + $1.path.estimate }
        let reach = stream.down.front + UInt64(Tuning.slide.seconds * total) + 4 * Tuning.progressStep
        let ending =
            isEnding(stream, now: now) && free(stream, from: stream.down.front, length: Block.size) == nil
        let allowance = Tuning.duplicateAllowance + UInt64(Double(stream.down.front) * Tuning.duplicateShare)
        for lease in stream.book.leases where !lease.doubled && lease.missing > 0 {
            guard lease.range.start < reach, moves < Tuning.releasesPerTick else { return }
            guard let holder = path(lease.channel.path) else { continue }
            // Nothing of it can be here yet: that is no sign of anything.
            if !ending, now - lease.grantedAt <= holder.sample.srtt { continue }
            let stuck = isStuck(lease, of: stream, holder, now: now)
            guard stuck || stream.book.duplicates + lease.missing <= allowance else { continue }
            // A replica that has stopped is late by more with every look: as long again is a fair guess.
            var arrival = max(ahead(of: lease, stream, holder, now: now), now - lease.promise)
            if ending { arrival = max(arrival, lease.promise - now) }
            // What stuck twice is the primary's.
            let others = stuck && lease.isSecond ? all.filter { $0.part == nil } : all
            guard let (candidate, after) = quickest(for: lease, others, of: stream, ending: ending)
            else { continue }
            // A connection that still starts up makes pauses.
            let allowed = max(Tuning.slip, holder.sample.srtt * (holder.rate.startingUp ? 2 : 1))
            let slipped = now + arrival - lease.promise > allowed
            let gain = max(Tuning.gain, candidate.path.sample.srtt / 2)
            guard stuck || slipped || (ending && !lease.isSecond), stuck || arrival > after + gain else {
                continue
            }
            // A second lease is left to come: what takes turns in revoking never arrives.
            let revoke = stuck || (!lease.isSecond && arrival - after > holder.sample.srtt * 2)
            move(lease, of: stream, to: candidate, revoke: revoke, now: now)
            moves += 1
        }
    }

    /// Who of `all` would bring the lease's missing bytes first, and after how long.
    private func quickest(for lease: Lease, _ all: [Candidate], of stream: ClientStream, ending: Bool) -> (
        Candidate, Interval
    )? {
        var best: (candidate: Candidate, after: Interval)?
        let start = max(lease.range.start, Block.roundDown(stream.down.front))
        for candidate in all where candidate.path.id != lease.channel.path {
            let path = candidate.path
            guard serves(candidate, start, of: stream), serves(candidate, lease.range.end - 1, of: stream)
            else { continue }
            if candidate.part != nil, stream.book.primaryOnly.overlaps(lease.range) { continue }
            if ending, path.outstanding >= path.leaseLength { continue }
            let queue = Interval(seconds: Double(path.outstanding) / max(path.estimate, 1))
            let transfer = Interval(seconds: Double(lease.missing) / max(path.estimate, 1))
            let after = path.sample.srtt + transfer + min(queue, path.sample.srtt) / 2
            if best.map({ after < $0.after }) ?? true { best = (candidate, after) }
        }
        return best
    }

    /// Late, and its server has brought nothing of the stream on that path for long.
    private func isStuck(_ lease: Lease, of stream: ClientStream, _ holder: ClientPath, now: Instant)
        -> Bool
    {
        let patience = max(Tuning.stuck, holder.sample.srtt * 4)
        guard now > lease.promise, now - lease.grantedAt > patience else { return false }
        return !stream.book.leases.contains { other in
            guard other.channel.path == holder.id, let last = other.broughtAt else { return false }
            return now - last <= patience
        }
    }

    /// How long until the lease's last byte is here, by what its path delivers just now.
    private func ahead(of lease: Lease, _ stream: ClientStream, _ holder: ClientPath, now: Instant)
        -> Interval
    {
        guard holder.isActive else { return .seconds(3_600) }
        let bytes = stream.book.leases.reduce(UInt64(0)) { sum, other in
            other.channel.path == holder.id && other.channel.number <= lease.channel.number
                ? sum + other.missing : sum
        }
        let rate = holder.rate.current(srtt: holder.sample.srtt, since: holder.busySince, now: now)
        return Interval(
            seconds: Double(bytes) / max(rate, 1))
    }

    private func move(
        _ lease: Lease, of stream: ClientStream, to candidate: Candidate, revoke: Bool, now: Instant
    ) {
        lease.doubled = true
        event(
            .leaseMoved(
                stream.id, offset: lease.range.start, length: lease.missing, from: lease.server,
                to: candidate.path.server))
        var run: ByteRange?
        var runs: [ByteRange] = []
        for block in lease.blocks {
            let range = stream.range(ofBlock: block)
            let whole = stream.book.copy(lease.server, of: block)?.contains(range) ?? false
            if range.isEmpty || whole || stream.down.contains(range) {
                if let last = run { runs.append(last) }
                run = nil
            } else {
                run = ByteRange(run?.start ?? range.start, range.end)
            }
        }
        if let last = run { runs.append(last) }
        for range in runs { grant(range, of: stream, to: candidate, carve: false, isSecond: true, now: now) }
        if revoke {
            giveBack(lease, of: stream, abandon: true)
            path(lease.channel.path)?.busySince = now
        }
    }
}
