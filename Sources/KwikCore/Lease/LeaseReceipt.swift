// What comes of leases: grants answered, tags, blocks verified or refused, ranges given back.

extension ClientSession {
    /// The primary's answer to CARVE is authoritative: what it did not grant stays its own.
    func carved(_ sequence: UInt64, _ granted: [ByteRange], of stream: ClientStream, now: Instant) {
        guard let index = stream.book.pendingCarves.firstIndex(where: { $0.sequence == sequence }) else {
            return
        }
        let asked = stream.book.pendingCarves.remove(at: index).ranges
        var refused = RangeSet()
        for range in asked { refused.insert(range) }
        for range in granted { refused.remove(range) }
        // They have tags now, or are the primary's own.
        for range in asked { stream.book.primaryOnly.remove(range) }
        for range in refused.ranges {
            stream.book.claims.remove(range)
            stream.book.orphans.remove(range)
            for lease in stream.book.leases
            where lease.range.overlaps(range) && lease.server != stream.primary {
                lease.refused += lease.range.intersection(range).count
                // A lease that is mostly refused brings nothing: what was granted of it goes to somebody at
                // once.
                if lease.refused * 2 > lease.range.count { giveBack(lease, of: stream, abandon: true) }
            }
            for block in Block.index(of: range.start)..<Block.index(of: range.end + Block.size - 1) {
                stream.book.tags[block] = nil
                for server in stream.servers { stream.book.dropCopy(server, of: block) }
            }
        }
        keepDelegations(stream)
    }

    func takeTags(_ first: UInt64, _ tags: [BlockTag], of stream: ClientStream, now: Instant) {
        for (offset, tag) in tags.enumerated() {
            let block = first + UInt64(offset)
            guard stream.book.claims.contains(Block.start(of: block)), !isSettled(block, of: stream) else {
                continue
            }
            stream.book.tags[block] = tag
            for server in stream.servers {
                if isSettled(block, of: stream) { break }
                verify(block, from: server, of: stream, now: now)
            }
        }
    }

    func isSettled(_ block: UInt64, of stream: ClientStream) -> Bool {
        let range = stream.range(ofBlock: block)
        return !range.isEmpty && stream.down.contains(range)
    }

    /// The first verified copy wins: whole, and with the tag that only the primary and we can make.
    func verify(_ block: UInt64, from server: ServerID, of stream: ClientStream, now: Instant) {
        let range = stream.range(ofBlock: block)
        guard let copy = stream.book.copy(server, of: block), !range.isEmpty, copy.contains(range),
            let tag = stream.book.tags[block], let index = stream.part(of: server),
            let tagger = taggers.first(where: { $0.server == stream.primary })
        else { return }
        guard unsafe tagger.tag(stream.id, block, copy.bytes(range)) == tag else {
            mismatched(block, from: index, of: stream, now: now)
            return
        }
        stream.parts[index].mismatchesInRow = 0
        stream.parts[index].matched += 1
        confirmShift(index, of: stream)
        _ = stream.down.adopt(copy)
        stream.book.giveUpCopy(server, of: block)
        settleBlock(block, of: stream)
        advanced(stream, now: now)
    }

    private func mismatched(_ block: UInt64, from index: Int, of stream: ClientStream, now: Instant) {
        let server = stream.parts[index].server
        event(.blockMismatch(stream.id, block: block, server))
        let copy = stream.book.copy(server, of: block)
        stream.book.dropCopy(server, of: block)
        stream.book.primaryOnly.insert(stream.range(ofBlock: block))
        orphan(block, of: stream)
        stream.parts[index].mismatchesInRow += 1
        stream.parts[index].mismatches += 1
        if let copy, lookInto(copy, from: index, of: stream, now: now) { return }
        judge(index, of: stream, now: now)
    }

    /// Ends the part of a replica that sent too many blocks that do not match, unless that is being looked
    /// into.
    func judge(_ index: Int, of stream: ClientStream, now: Instant) {
        let part = stream.parts[index]
        guard part.anchor.samples.isEmpty else { return }
        // One that strews bad blocks between good ones costs a refetch each time.
        let strews = part.mismatches >= Tuning.mismatchesStrewn
            && part.mismatches * Tuning.mismatchShare > part.matched
        if strews || part.mismatchesInRow >= Tuning.mismatchesInRow {
            endPart(index, of: stream, .mismatches(part.mismatches), now: now)
        }
    }

    /// The block needs no more work: leases that have nothing else left are ended.
    func settleBlock(_ block: UInt64, of stream: ClientStream) {
        guard isSettled(block, of: stream) else { return }
        stream.book.settle(block, servers: stream.servers)
        let start = Block.start(of: block)
        for lease in stream.book.leases where lease.range.start <= start && start < lease.range.end {
            let open = lease.blocks.contains { !isSettled($0, of: stream) }
            if !open, lease.missing > 0 || lease.isContributed { giveBack(lease, of: stream, abandon: true) }
        }
        if stream.book.claims.first.map({ $0.end <= stream.down.front }) ?? false {
            stream.book.claims.remove(ByteRange(0, Block.roundDown(stream.down.front)))
        }
    }

    /// Nobody works on the block, `lease` aside, which can't bring it any more: it waits for a lease.
    func orphan(_ block: UInt64, of stream: ClientStream, beside lease: Lease? = nil) {
        let range = stream.range(ofBlock: block)
        guard !range.isEmpty, stream.book.claims.contains(range.start), !isSettled(block, of: stream),
            !stream.isAwaited(range.start)
        else { return }
        if stream.book.primaryOnly.contains(range.start) {
            // It gets no tag: no copy of it is worth waiting for.
            guard !(stream.primary.map { stream.book.isHeld(block, by: $0) } ?? false) else { return }
        } else {
            let isComplete = stream.servers.contains { isWhole(block, from: $0, of: stream) }
            guard !isComplete, !stream.book.isHeld(block, beside: lease) else { return }
        }
        stream.book.orphans.insert(range)
    }

    /// Whether the server's copy is complete and only its tag is missing.
    private func isWhole(_ block: UInt64, from server: ServerID, of stream: ClientStream) -> Bool {
        guard let part = stream.part(of: server), stream.parts[part].ended == nil else { return false }
        return stream.book.copy(server, of: block)?.contains(stream.range(ofBlock: block)) ?? false
    }

    /// The lease's channel is complete; what it did not bring is given back.
    func finish(_ lease: Lease, of stream: ClientStream, now: Instant) {
        let isRefused = lease.carves && lease.broughtAt == nil
        if isRefused { refuse(lease, upTo: lease.range.end, of: stream) }
        // A server leaves out what it knows to be read.
        let short = max(lease.next, stream.down.read) < lease.range.end
        if lease.server != stream.primary { leaveBegun(lease, of: stream) }
        giveBack(lease, of: stream)
        guard short else { return }
        if lease.server == stream.primary {
            primaryLeaseFailed(stream)
        } else if let index = stream.part(of: lease.server) {
            // It ended before the primary did: not the same bytes.
            endPart(index, of: stream, .failed, now: now)
        }
    }

    /// A replica that leaves out what is read of a block leaves it without a copy, however often it is asked:
    /// who gave the beginning gives the rest.
    private func leaveBegun(_ lease: Lease, of stream: ClientStream) {
        let block = Block.index(of: stream.down.front)
        let range = stream.range(ofBlock: block)
        guard lease.blocks.contains(block), stream.down.front > range.start, !isSettled(block, of: stream),
            !isWhole(block, from: lease.server, of: stream)
        else { return }
        stream.book.primaryOnly.insert(range)
    }

    /// The beginning of a lease that the primary did not take from its own sender comes from that, unless
    /// the stream was attached anew since: then it was carved with the attach, and waits for another lease.
    func refuse(_ lease: Lease, upTo start: UInt64, of stream: ClientStream) {
        let refused = ByteRange(lease.range.start, start)
        if lease.epoch == stream.epoch {
            stream.book.claims.remove(refused)
            stream.book.primaryOnly.remove(refused)
        }
        let count = min(refused.count, lease.missing)
        lease.missing -= count
        lease.next = start
        if let path = path(lease.channel.path) { path.outstanding -= min(count, path.outstanding) }
        keepDelegations(stream)
    }

    /// A primary that does not serve its own bytes is asked again, but not for ever.
    func primaryLeaseFailed(_ stream: ClientStream) {
        stream.failedLeases += 1
        if stream.failedLeases > ClientLimit.failedLeases {
            abort(stream, errno: ErrorNumber.connectionReset)
        }
    }

    /// Takes a lease out of the book; blocks that it still owed are nobody's now.
    func giveBack(_ lease: Lease, of stream: ClientStream, abandon: Bool = false) {
        stream.book.remove(lease)
        if let path = path(lease.channel.path) { path.outstanding -= min(lease.missing, path.outstanding) }
        if abandon, channels.removeValue(forKey: lease.channel) != nil { self.abandon(lease.channel) }
        // Whoever was doubled by it is on its own again.
        if lease.missing > 0 {
            for other in stream.book.leases where other.range.overlaps(lease.range) { other.doubled = false }
        }
        for block in lease.blocks {
            // Another lease of that server may be filling the same copy.
            if !isWhole(block, from: lease.server, of: stream),
                !stream.book.isHeld(block, by: lease.server)
            {
                stream.book.dropCopy(lease.server, of: block)
            }
            orphan(block, of: stream)
        }
    }
}
