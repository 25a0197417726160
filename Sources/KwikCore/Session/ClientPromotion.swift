// A replica in a lost primary's place (protocol.md §7, policy `promote`).

extension ClientSession {
    /// Whether a replica takes the place of the stream's primary if that stays silent.
    func mayBeReplaced(_ stream: ClientStream) -> Bool {
        settings.silentPrimary == .promote && candidateToPromote(stream) != nil
    }

    /// A replica that has every upstream byte, or can be given it, and whose blocks have all matched.
    func candidateToPromote(_ stream: ClientStream) -> Int? {
        var best: Int?
        for (index, part) in stream.parts.enumerated() where part.ended == nil && part.matched > 0 {
            // What stands elsewhere at a replica is at other offsets of a stream of its own.
            guard part.mismatchesInRow == 0, part.anchor.shift == 0,
                part.upAcknowledged >= stream.up.heldFrom,
                path(part.channel.path)?.isActive == true
            else { continue }
            if best.map({ stream.parts[$0].matched < part.matched }) ?? true { best = index }
        }
        return best
    }

    /// The replica's bytes are the truth from the read offset on, those too that it has sent already, which
    /// may have waited for tags, and those that it has been asked for. What others sent is asked for anew:
    /// its tags would be the dead primary's. That one's own blocks beyond the front wait for new tags.
    func promote(_ stream: ClientStream, now: Instant) -> Bool {
        guard case .open = stream.phase,
            let index = candidateToPromote(stream), let path = path(stream.parts[index].channel.path),
            let before = stream.primary
        else { return false }
        let kept = takeLeases(of: path.server, stream)
        // From here on the truth is another: what it has sent already is taken over with the place.
        let offset = stream.down.front
        succeed(stream, by: index, keepsCopies: true, now: now)
        let former = stream.down.wholeBlocks.filter { $0.origin != path.server }
        primaries.insert(path.server)
        event(.promoted(stream.id, from: before, to: path.server, offset: offset))
        stream.down.rebase(to: path.server)
        stream.book.reset()
        for copy in former { stream.book.hold(copy, of: before) }
        for lease in kept { goOn(lease, of: stream) }
        // What they brought of the front's block is told to be here: the new primary's sum begins behind it.
        // One that was the primary before may never have heard that it was replaced: its sum goes on.
        stream.down.beginAnotherSum()
        stream.sumFrom = stream.formerPrimaries.contains(path.server) ? 0 : stream.down.front
        reattach(stream, to: path, now: now)
        advanced(stream, now: now)
        return true
    }

    /// The part's server stands for the primary from here on.
    func succeed(_ stream: ClientStream, by index: Int, keepsCopies: Bool, now: Instant) {
        let before = stream.primary
        endContributions(stream)
        for lease in stream.book.leases { giveBack(lease, of: stream, abandon: true) }
        for side in stream.sides { dropSide(side, of: stream) }
        stream.flights = Flights()
        let part = stream.parts[index]
        // Before what the former primary has of the upstream bytes has any of them dropped.
        stream.upAcknowledged = part.upAcknowledged
        stream.upMaximum = part.upMaximum
        stream.upTaken = part.upAcknowledged
        if keepsCopies {
            for copy in wholeCopies(of: part.server, stream) {
                stream.down.adoptUnverified(copy)
                stream.book.giveUpCopy(part.server, of: copy.block)
            }
        }
        endPart(index, of: stream, .promoted, now: now)
        if let before {
            keepFormerPrimary(before, .pathDown, of: stream)
            stream.formerPrimaries.insert(before)
        }
        stream.primaryReceived = part.received
        stream.primary = part.server
        stream.isPromoted = true
        stream.fin = nil
        stream.resetAt = nil
        stream.progress = max(part.progress, stream.down.front)
        stream.progressEnded = false
        stream.reserved = RangeSet()
    }

    /// The server's blocks from the front's on that are complete and wait for their tags.
    private func wholeCopies(of server: ServerID, _ stream: ClientStream) -> [BlockCopy] {
        let first = Block.index(of: stream.down.front)
        var copies: [BlockCopy] = []
        for range in stream.book.claims.ranges {
            for block in Block.index(of: range.start)..<Block.index(of: range.end + Block.size - 1)
            where block >= first {
                if let copy = stream.book.copy(server, of: block), copy.filled == Block.size,
                    !isSettled(block, of: stream)
                {
                    copies.append(copy)
                }
            }
        }
        return copies
    }

    /// What the former primary gave stays in the report; should it be back, it may serve as a replica, whose
    /// blocks were right by definition, unless it was one of two.
    func keepFormerPrimary(_ server: ServerID, _ end: ReplicaEnd, of stream: ClientStream) {
        var part = ClientStream.Part(server: server, channel: ChannelID(path: PathID(0), number: -1))
        part.received = stream.primaryReceived
        let matched = stream.part(of: server).map { stream.parts[$0].matched }
        part.matched = stream.quorum == nil ? Int(stream.primaryReceived / Block.size) : matched ?? 0
        part.ended = end
        stream.parts.removeAll { $0.server == server }
        stream.parts.append(part)
    }

    // MARK: Leases of the promoted server

    /// A lease that goes on, what it brought of blocks that are not whole, and what came so far of a piece.
    private struct KeptLease {
        var lease: Lease
        var begun: [BlockCopy]
        var piece: ByteRange
    }

    /// Takes the server's leases out of the book as they stand, so that they outlive it. One stays that is
    /// amid a piece whose beginning is not kept. So does that of a short last block: where the stream ends is
    /// the new primary's to tell, and a part of a block can't be leased anew.
    private func takeLeases(of server: ServerID, _ stream: ClientStream) -> [KeptLease] {
        var kept: [KeptLease] = []
        for lease in stream.book.leases where lease.server == server && !lease.isContributed {
            guard let channel = channels[lease.channel], channel.compressed == nil,
                lease.range.end % Block.size == 0
            else { continue }
            let piece = channel.piece?.range ?? ByteRange(0, 0)
            let copies = lease.blocks.compactMap { stream.book.copy(server, of: $0) }
            let isHeld = copies.contains {
                $0.block == Block.index(of: piece.start) && $0.number == channel.piece?.first.copy
            }
            guard piece.isEmpty || (isHeld && channel.piece?.first.isTorn == false) else { continue }
            let begun = copies.filter { $0.filled < Block.size }
            kept.append(KeptLease(lease: lease, begun: begun, piece: piece))
        }
        for each in kept {
            stream.book.remove(each.lease)
            for copy in each.begun { stream.book.giveUpCopy(server, of: copy.block) }
        }
        return kept
    }

    /// The primary's own now, and carved from its sender with the attach: what is on the way is not sent
    /// twice.
    private func goOn(_ kept: KeptLease, of stream: ClientStream) {
        for copy in kept.begun {
            for range in copy.ranges {
                guard range.end > stream.down.front else { continue }
                let rest = ByteRange(max(range.start, stream.down.front), range.end)
                unsafe stream.down.write(at: rest.start, copy.bytes(rest))
                _ = stream.down.commit(rest)
            }
            // Not checked yet: it counts once the rest of the piece is here.
            if Block.index(of: kept.piece.start) == copy.block, !kept.piece.isEmpty {
                unsafe stream.down.write(at: kept.piece.start, copy.bytes(kept.piece))
            }
        }
        kept.lease.doubled = false
        stream.book.add(kept.lease)
        stream.book.claims.insert(kept.lease.range)
        stream.book.primaryOnly.insert(kept.lease.range)
    }
}
