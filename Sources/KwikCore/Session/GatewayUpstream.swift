// What the client sends, on its way to the backend.

extension GatewaySession {
    // MARK: DATA

    func beginData(
        _ header: DataHeader, on channel: GatewayChannel, of stream: GatewayStream
    ) throws(ChannelFault) {
        let end = header.offset + UInt64(header.length)
        guard end <= stream.granted else { throw .flowControl }
        if let final = stream.finalUpstream, end > final { throw .malformed(.badRange) }
        stream.highest = max(stream.highest, end)
        let wanted: Bool
        switch stream.upstream {
        case .open, .ending, .resetting: wanted = end > stream.reassembler.front
        case .verified, .done: wanted = false
        }
        channel.piece = GatewayChannel.Piece(header: header, at: header.offset, wanted: wanted)
    }

    func takeData(_ bytes: UnsafeRawBufferPointer, on channel: GatewayChannel, of stream: GatewayStream) {
        guard var piece = channel.piece, piece.wanted else { return }
        piece.crc32c = unsafe integrity.crc32c(piece.crc32c, bytes)
        unsafe stream.reassembler.write(at: piece.at, bytes)
        piece.at += UInt64(bytes.count)
        channel.piece = piece
    }

    /// Returns how many of the piece's bytes are new.
    func endData(on channel: GatewayChannel, of stream: GatewayStream) -> UInt64 {
        guard let piece = channel.piece else { return 0 }
        channel.piece = nil
        paths[channel.id.path]?.received += UInt64(piece.header.length)
        guard piece.wanted else { return 0 }
        guard piece.crc32c == piece.header.crc32c else {
            event(.integrityFailure(stream.id, offset: piece.header.offset))
            fail(stream, .integrity)
            return 0
        }
        let before = stream.reassembler.front
        let added = stream.reassembler.commit(ByteRange(piece.header.offset, piece.at))
        weigh(stream)
        guard stream.reassembler.front > before else { return added }
        if stream.next >= stream.window.produced { stream.answer = stream.next }
        if stream.isDeaf { takeAll(of: stream) }
        tellDelivery(stream)
        updateWindow(stream)
        checkUpstreamEnd(stream)
        return added
    }

    func tellDelivery(_ stream: GatewayStream) {
        guard stream.isConnected, !stream.deliveryTold, stream.reassembler.unread > 0 else { return }
        stream.deliveryTold = true
        out.append(.deliver(stream.id))
    }

    /// In-order bytes for the backend's socket, from what it took last on.
    public func readable(_ id: StreamID, into slices: inout [ChunkSlice]) {
        guard let stream = streams[id], stream.isConnected else { return }
        stream.deliveryTold = false
        let last = stream.urgent.limit(from: stream.reassembler.read)
        stream.reassembler.readable(into: &slices, limit: limits.readableSlices, upTo: last)
    }

    /// Whether what `readable` shows is one byte, to be given as urgent (out-of-band) data.
    public func isUrgent(_ id: StreamID) -> Bool {
        streams[id].map { $0.urgent.isNext($0.reassembler.read) } ?? false
    }

    func backendTook(_ count: Int, of stream: GatewayStream) {
        stream.reassembler.consume(UInt64(count))
        weigh(stream)
        updateWindow(stream)
        checkUpstreamEnd(stream)
    }

    /// What comes is dropped, and credit still granted.
    func deafen(_ stream: GatewayStream) {
        stream.isDeaf = true
        takeAll(of: stream)
        updateWindow(stream)
        checkUpstreamEnd(stream)
    }

    private func takeAll(of stream: GatewayStream) {
        stream.reassembler.consume(stream.reassembler.unread)
        weigh(stream)
    }

    // MARK: Credit

    private func upstreamShare(_ stream: GatewayStream) -> UInt64 {
        let share = memory.credit(of: stream.demand, most: limits.windowPerSession, now: now)
        let proven = max(limits.upstreamUntaken, 2 * stream.reassembler.read)
        return min(
            limits.upstreamPerStream, max(share, limits.firstWindow), proven, stream.sendBuffer ?? .max)
    }

    /// Tells the client where its direction stands: at once when it could be waiting for it or much has
    /// changed, else with the next frame that goes that way, or after a short while.
    private func updateWindow(_ stream: GatewayStream) {
        guard stream.awaitsUpstream, stream.main != nil else { return }
        let share = upstreamShare(stream)
        let maximum = stream.reassembler.read + share
        let gain = maximum > stream.told ? maximum - stream.told : 0
        let left = stream.told > stream.highest ? stream.told - stream.highest : 0
        if gain >= share / 4 || (gain > 0 && left < share / 4 && gain >= min(left, Block.size)) {
            sendWindow(stream)
        } else if !stream.windowDelayed, gain > 0 || stream.reassembler.front > stream.announced {
            stream.windowDelayed = true
            delayed.append((now + limits.windowDelay, stream))
        }
    }

    func sendWindow(_ stream: GatewayStream) {
        stream.windowDelayed = false
        guard let main = stream.main, stream.isConnected else { return }
        let maximum = stream.reassembler.read + upstreamShare(stream)
        stream.granted = max(stream.granted, maximum)
        weigh(stream)
        stream.announced = stream.reassembler.front
        // Less than was granted takes nothing back; the client learns by it what the backend has taken. What
        // is here may be more than a buffer that the program has made smaller since.
        stream.told = stream.sendBuffer == nil ? stream.granted : max(maximum, stream.announced)
        send(.window(read: stream.announced, maximum: stream.told), on: main)
    }

    // MARK: Ends

    func upstreamFin(
        _ range: ByteRange, sum: UInt64, closed: Bool, of stream: GatewayStream
    ) throws(ChannelFault) {
        // Every server has had the client's bytes from the first on.
        guard range.start == 0, range.end >= stream.highest else { throw .malformed(.badRange) }
        if let final = stream.finalUpstream, final != range.end { throw .malformed(.badRange) }
        switch stream.upstream {
        case .open:
            stream.upstream = .ending(final: range.end, sum: sum, closed: closed)
        case .ending(let final, let sum, let before):
            stream.upstream = .ending(final: final, sum: sum, closed: closed || before)
        case .verified(let final, let before):
            stream.upstream = .verified(final: final, closed: closed || before)
        case .done(let final?, false) where closed:
            // First one half was closed, now the whole socket: the backend has seen its end of file.
            stream.upstream = .done(final: final, closed: true)
            clientClosed(stream)
            settle(stream)
            return
        case .resetting, .done: return
        }
        weigh(stream)
        checkUpstreamEnd(stream)
    }

    func upstreamReset(errno: Int32, offset: UInt64, of stream: GatewayStream) {
        if stream.isDeaf {
            // The backend is gone, or takes nothing: there is nothing to wait for.
            giveUp(stream)
            return
        }
        stream.upstream = .resetting(errno: errno, offset: offset)
        checkUpstreamEnd(stream)
        // TCP too would lose what a backend does not take before the reset reaches it.
        if !stream.isReleased { giveUpLater(stream, after: limits.resetDrain) }
    }

    func checkUpstreamEnd(_ stream: GatewayStream) {
        switch stream.upstream {
        case .open, .done: return
        case .ending(let final, let sum, let closed):
            guard stream.reassembler.front == final else { return }
            guard stream.reassembler.sumToFront(from: 0) == sum else {
                event(.integrityFailure(stream.id, offset: final))
                fail(stream, .integrity)
                return
            }
            stream.upstream = .verified(final: final, closed: closed)
            // A client that sends on several paths would take silence for loss.
            if !stream.sides.isEmpty { sendWindow(stream) }
            checkUpstreamEnd(stream)
        case .verified(let final, let closed):
            guard stream.isConnected, stream.reassembler.read == final else { return }
            stream.upstream = .done(final: final, closed: closed)
            weigh(stream)
            out.append(.endLocal(stream.id, .finished(closed: closed)))
            if closed { clientClosed(stream) }
            settle(stream)
        case .resetting(let errno, let offset):
            guard stream.reassembler.read >= offset || !stream.isConnected else { return }
            if stream.isConnected { out.append(.endLocal(stream.id, .aborted(errno: errno))) }
            release(stream, .aborted(errno: errno))
        }
    }

    /// Nobody reads any more: what the backend has sent in vain, or still sends, is answered with a reset, as
    /// its own kernel would see it from a closed socket.
    private func clientClosed(_ stream: GatewayStream) {
        if stream.window.nextOwn(from: stream.next) < stream.window.produced {
            giveUp(stream)
        } else if !stream.window.ended {
            out.append(.accept(stream.id))
        }
    }
}

extension GatewayStream {
    /// Where the client's direction ends, once known.
    var finalUpstream: UInt64? {
        switch upstream {
        case .ending(let final, _, _), .verified(let final, _): final
        case .done(let final, _): final
        case .open, .resetting: nil
        }
    }

    /// How far the client may still send beyond what was taken.
    var upstreamCredit: UInt64 {
        if case .done = upstream { return 0 }
        let end = finalUpstream ?? granted
        return end - min(reassembler.read, end)
    }

    /// Whether the client has said no end yet.
    var lacksUpstream: Bool {
        if case .open = upstream { true } else { false }
    }

    /// Whether bytes of the client's are still to come, or to be credited.
    var awaitsUpstream: Bool {
        switch upstream {
        case .open, .ending: true
        case .verified, .resetting, .done: false
        }
    }
}
