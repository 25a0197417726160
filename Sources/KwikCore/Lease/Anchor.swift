/// Where a replica's bytes stand against the primary's (protocol.md §6, "Shifted replicas"): what is found
/// out about it, and how often that is tried.
///
/// A header that is some bytes longer at the replica displaces all that follows. Its offset is then ours and
/// `shift`; leases move by that, and their bytes are put back in their places as they come.
struct Anchor {
    /// The replica's offset of a byte less the primary's, for the bytes from `from` on. Before that it may be
    /// another: those bytes are not asked of the replica.
    private(set) var shift: Int64 = 0
    private(set) var from: UInt64 = 0
    /// Blocks that the primary was asked the sums of.
    private(set) var asked = 0
    /// Blocks of the replica's that did not match, while their sums are awaited.
    private(set) var samples: [Sample] = []
    /// Shifts found, one upon the other, none of which a tag has confirmed yet; and the mismatches that they
    /// are to explain.
    private(set) var guesses = 0
    private(set) var explained = 0

    struct Sample {
        var copy: BlockCopy
        /// When its sum is given up.
        var until: Instant
    }

    /// The part begins once more. The same requests are replayed, so that the replica's next connection has
    /// our bytes where the one before had them, unless its answers have changed: that is found out as ever.
    var renewed: Anchor {
        var next = Anchor()
        next.shift = shift
        next.from = from
        next.asked = asked
        // What no tag has confirmed has still to be, and is told then.
        next.guesses = min(guesses, 1)
        return next
    }

    /// Whether a block that did not match may be looked into.
    var mayAsk: Bool {
        asked < AnchorLimit.sums && samples.count < AnchorLimit.samples && guesses < AnchorLimit.guesses
    }

    /// Where the replica has our byte.
    func place(of offset: UInt64) -> UInt64? { UInt64(exactly: Int64(offset) + shift) }

    /// Where the replica has our byte; 0 where it has none so low.
    func bound(_ offset: UInt64) -> UInt64 { UInt64(max(0, Int64(offset) + shift)) }

    mutating func ask(_ copy: BlockCopy, until: Instant) {
        asked += 1
        samples.append(Sample(copy: copy, until: until))
    }

    /// The primary's word on a block, nil if it has none. Returns whether a shift was found: of the part's
    /// `mismatches` in a row.
    mutating func answered(_ block: UInt64, _ sum: UInt32?, mismatches: Int, read: UInt64) -> Bool {
        guard let index = samples.firstIndex(where: { $0.copy.block == block }) else { return false }
        let copy = samples.remove(at: index).copy
        let bytes = unsafe copy.bytes(ByteRange(copy.start, copy.start + Block.size))
        // Where others of its blocks match meanwhile, the replica stands where it stood.
        guard let sum, mismatches > 0,
            let distance = unsafe RollingSum.displacement(of: sum, in: bytes), distance != 0
        else { return false }
        shift += Int64(distance)
        // What is asked for lies above all that the replica was told to be read, however it was counted.
        from = Block.roundUp(max(copy.start + Block.size, read + UInt64(RollingSum.reach)))
        guesses += 1
        explained += mismatches
        samples = []
        return true
    }

    /// Sums that did not come in time.
    mutating func expire(now: Instant) { samples.removeAll { now >= $0.until } }

    /// A tag confirms the shift. Returns how many mismatches it explains; nil: there was nothing to confirm.
    mutating func confirm() -> Int? {
        guard guesses > 0 else { return nil }
        defer { (guesses, explained) = (0, 0) }
        return explained
    }
}

/// Limits of looking for shifts, per replica and stream.
enum AnchorLimit {
    /// Blocks whose sums the primary is asked for. A response on a kept connection may shift anew and takes
    /// one or two.
    static let sums = 16
    /// Blocks kept at a time.
    static let samples = 2
    /// Shifts in a row without a block that matches.
    static let guesses = 2
}

extension ClientSession {
    /// A whole block of the replica's did not match. Whether that is being looked into: then the part goes
    /// on, or waits, until the primary has answered.
    func lookInto(_ copy: BlockCopy, from index: Int, of stream: ClientStream, now: Instant) -> Bool {
        let part = stream.parts[index]
        if let own = stream.own, part.anchor.mayAsk, copy.filled == Block.size {
            let wait = Tuning.wait(least: Tuning.sumWait, srtt: path(own.path)?.sample.srtt)
            stream.parts[index].anchor.ask(copy, until: now + wait)
            send(.sumRequest(firstBlock: copy.block, count: 1), on: own)
        }
        guard !stream.parts[index].anchor.samples.isEmpty else { return false }
        // What else it sends is as wrong.
        if stream.parts[index].isPaused { takeBack(from: part.server, stream) }
        return true
    }

    func takeSums(_ first: UInt64, _ sums: [UInt32], of stream: ClientStream, now: Instant) {
        guard stream.parts.contains(where: { !$0.anchor.samples.isEmpty }) else { return }
        // Without any: the primary has not got the first of them.
        if sums.isEmpty { answered(first, nil, of: stream, now: now) }
        for (offset, sum) in sums.enumerated() {
            answered(first + UInt64(offset), sum, of: stream, now: now)
        }
    }

    private func answered(_ block: UInt64, _ sum: UInt32?, of stream: ClientStream, now: Instant) {
        for index in stream.parts.indices where stream.parts[index].ended == nil {
            let part = stream.parts[index]
            guard part.anchor.samples.contains(where: { $0.copy.block == block }) else { continue }
            let isFound = stream.parts[index].anchor.answered(
                block, sum, mismatches: part.mismatchesInRow, read: stream.down.read)
            if isFound {
                stream.parts[index].mismatchesInRow = 0
                takeBack(from: part.server, stream)
                send(stream.window(for: stream.parts[index]), on: part.channel)
            } else {
                judge(index, of: stream, now: now)
            }
        }
    }

    /// Looks no longer into what has no answer.
    func expireSums(_ stream: ClientStream, now: Instant) {
        for index in stream.parts.indices where !stream.parts[index].anchor.samples.isEmpty {
            stream.parts[index].anchor.expire(now: now)
            if stream.parts[index].ended == nil { judge(index, of: stream, now: now) }
        }
    }

    /// The stream was attached anew: the questions may be lost with the old channel.
    func askAgain(_ stream: ClientStream, on channel: ChannelID) {
        for sample in stream.parts.filter({ $0.ended == nil }).flatMap(\.anchor.samples) {
            send(.sumRequest(firstBlock: sample.copy.block, count: 1), on: channel)
        }
    }

    /// A block matched: what did not before is explained by the shift, and no fault of the replica's.
    func confirmShift(_ index: Int, of stream: ClientStream) {
        guard let explained = stream.parts[index].anchor.confirm() else { return }
        stream.parts[index].mismatches -= min(explained, stream.parts[index].mismatches)
        event(.replicaShifted(stream.id, stream.parts[index].server, shift: stream.parts[index].anchor.shift))
    }

    /// The server's leases and what it sent unverified: all of it stands elsewhere.
    private func takeBack(from server: ServerID, _ stream: ClientStream) {
        for lease in stream.book.leases where lease.server == server {
            giveBack(lease, of: stream, abandon: true)
        }
        dropUnverified(of: server, stream)
    }
}

extension ClientStream.Part {
    /// It gets no leases until it is known where its bytes stand.
    var isPaused: Bool { !anchor.samples.isEmpty && mismatchesInRow >= Tuning.mismatchesInRow }

    /// Whether it has our byte, or will have it without being waited for, and still holds it: it keeps the
    /// blocks, its own, from the one on in which the program reads.
    func serves(_ offset: UInt64, read: UInt64) -> Bool {
        guard offset >= anchor.from, let place = anchor.place(of: offset) else { return false }
        return progress > place && place >= Block.roundDown(anchor.bound(read))
    }

    /// The primary's backend has produced so much: `by` then, this one has too. Both tell of it in steps.
    mutating func follow(_ primary: UInt64, by: Instant) {
        if let due, progress + Tuning.progressStep > anchor.bound(due.progress) { self.due = nil }
        if due == nil, progress < anchor.bound(primary) { due = (primary, by) }
    }
}

extension ClientStream {
    /// How far the program has read and how much may come, as the part's server counts.
    func window(for part: Part) -> Frame {
        .window(read: part.anchor.bound(down.read), maximum: part.anchor.bound(granted))
    }

    /// The request for a range of ours, as the lease's server counts: nil is the primary.
    func lease(_ range: ByteRange, of part: Int?, carves: Bool) -> Preface.Role {
        let anchor = part.map { parts[$0].anchor } ?? Anchor()
        // By another path it may be there before the attach, from whose offset on everything must be held.
        let read = upAwaitsWindow ? min(down.read, attachedFrom) : down.read
        return .lease(
            offset: anchor.bound(range.start), length: range.count, read: anchor.bound(read),
            window: anchor.bound(granted), carves: carves)
    }
}
