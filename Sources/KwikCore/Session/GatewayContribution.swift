// Role 4 (protocol.md §3): what a Kwik-aware server gives of its own. A gateway in front of an unmodified
// application never does any of it.

/// Bytes for a stream that leave on a channel of role 4.
final class GatewayContribution {
    let channel: GatewayChannel
    let offset: UInt64
    private let chunk: Chunk
    private var sent = 0

    init(channel: GatewayChannel, offset: UInt64, bytes: UnsafeRawBufferPointer) {
        self.channel = channel
        self.offset = offset
        chunk = Chunk(capacity: bytes.count)
        unsafe UnsafeMutableRawBufferPointer(start: chunk.base, count: bytes.count).copyMemory(from: bytes)
    }

    var range: ByteRange { ByteRange(offset, offset + UInt64(chunk.capacity)) }
    var isSent: Bool { sent == chunk.capacity }
    /// Where the next piece begins.
    var next: UInt64 { offset + UInt64(sent) }

    /// The next bytes, within one block.
    var rest: ChunkSlice {
        let count = min(Block.size - next % Block.size, UInt64(chunk.capacity - sent))
        return ChunkSlice(chunk, offset: sent, count: Int(count))
    }

    func took(_ count: UInt64) { sent += Int(count) }

    /// As FIN has it: Σ over the blocks, or what of them is in the range.
    func sum(_ integrity: Integrity) -> UInt64 {
        var sum: UInt64 = 0
        var start = range.start
        while start < range.end {
            let end = min(Block.roundDown(start) + Block.size, range.end)
            let part = ChunkSlice(chunk, offset: Int(start - offset), count: Int(end - start))
            sum &+= unsafe integrity.blockSum(start, part.bytes)
            start = end
        }
        return sum
    }
}

extension GatewaySession {
    /// What the client has asked of this server for the stream and not got: where `contribute` is welcome.
    public func leased(_ id: StreamID) -> [ByteRange] {
        // A primary's bytes have the stream's own channel.
        guard let stream = streams[id], stream.isReplica else { return [] }
        return stream.parts.flatMap { $0.leases.map { ByteRange($0.next, $0.end) } }
    }

    /// Gives bytes of this server's own for a stream, which need not be known here. The client takes them
    /// where it leased that range to us, or where its primary delegated those whole blocks.
    ///
    /// They leave behind all that streams have to send. False: no path, or too much is waiting.
    public func contribute(
        _ bytes: UnsafeRawBufferPointer, to stream: StreamID, at offset: UInt64, now: Instant,
        into actions: inout [Action]
    ) -> Bool {
        self.now = now
        let waiting = paths.values.reduce(0) { $0 + $1.contributions.count }
        guard bytes.count > 0, UInt64(bytes.count) <= WireLimit.leaseLength,
            offset <= WireLimit.maximumOffset - UInt64(bytes.count), waiting < limits.contributions,
            let path = quickest()
        else { return false }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        let role = Preface.Role.contribution(offset: offset, length: UInt64(bytes.count))
        let channel = openChannel(on: path, Preface(stream: stream, role: role))
        let contribution = unsafe GatewayContribution(channel: channel, offset: offset, bytes: bytes)
        channel.use = .contribution(contribution)
        path.contributions.append(contribution)
        return true
    }

    /// Leaves whole blocks that are not begun to the server that the client knows by that name. Returns what
    /// could be left: its bytes stay here, in case that server does not bring them.
    public func delegate(
        _ range: ByteRange, of id: StreamID, to server: [UInt8], now: Instant, into actions: inout [Action]
    ) -> [ByteRange] {
        // A client that has attached the stream anew is still telling what it has.
        guard let stream = streams[id], !stream.isReplica, stream.isConnected, stream.epoch == 0,
            !stream.endSent, stream.delegated.count < limits.delegations, let own = stream.own,
            !own.isFinished, !server.isEmpty, server.count <= WireLimit.serverName
        else { return [] }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        self.now = now
        let granted = stream.window.delegate(range, begun: stream.next)
        guard !granted.isEmpty else { return [] }
        stream.delegated.removeAll { $0.ranges.allSatisfy { $0.end <= stream.window.read } }
        stream.delegated.append((granted, server))
        send(.delegated(granted, server: server), on: own)
        settle(stream)
        return granted
    }

    /// The own sender starts anew: what was delegated stays so, and the client may not know.
    func delegateAgain(_ stream: GatewayStream, from received: UInt64) {
        for (ranges, server) in stream.delegated {
            let left = ranges.filter { $0.end > received }
            var ignored: [ByteRange] = []
            for range in left { stream.window.carve(range, begun: 0, into: &ignored) }
            if let own = stream.own, !left.isEmpty { send(.delegated(left, server: server), on: own) }
        }
    }

    // MARK: Channels of ours

    /// The quickest path on which the client was heard of late; where there is none, the quickest of all. One
    /// that was made while its client gave up on it was never heard since, nor measured.
    func quickest(except others: [PathID] = []) -> GatewayPath? {
        func rank(_ path: GatewayPath) -> (UInt8, Int64, PathID) {
            let isSilent = now > path.heardAt + limits.pathSilence
            return (isSilent ? 1 : 0, path.sample?.srtt.nanoseconds ?? .max, path.id)
        }
        return paths.values.filter { !others.contains($0.id) }.min { rank($0) < rank($1) }
    }

    func openChannel(on path: GatewayPath, _ preface: Preface) -> GatewayChannel {
        let channel = GatewayChannel(id: path.takeChannel(), isOurs: true)
        path.channels[channel.id.number] = channel
        out.append(.open(channel.id))
        out.append(.send(channel.id, writer.preface(preface)))
        return channel
    }

    /// One DATA frame, and FIN behind the last one. Returns the payload bytes as they stand on the wire.
    func send(_ contribution: GatewayContribution, on path: GatewayPath, room: Int) -> Int {
        let channel = contribution.channel
        let (offset, rest) = (contribution.next, contribution.rest)
        let sent =
            sendCompressed(rest, at: offset, on: channel, path: path, &compressibility)
            ?? sendPlain(
                rest.prefix(max(room, limits.leastPiece)), at: offset, on: channel, path: path,
                &compressibility)
        contribution.took(sent.plain)
        if contribution.isSent {
            let range = contribution.range
            let sum = contribution.sum(integrity)
            send(.fin(base: range.start, final: range.end, sum: sum, closed: false), on: channel)
            finish(channel)
            channel.use = .ignored
            path.contributions.removeAll { $0 === contribution }
        }
        return Int(sent.wire)
    }
}
