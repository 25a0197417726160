internal import KwikCore

/// One end of a path: a model of a QUIC connection. Packets in, packets out; channels in order between.
final class Connection {
    enum Report {
        case received(Int64, ChunkSlice, finished: Bool)
        case reset(Int64, code: UInt64)
        case closed(Int64)
        /// The connection is over: closed by the peer, or nothing heard for too long.
        case ended
    }

    private final class Channel {
        var send = SendHalf()
        var receive = ReceiveHalf()
        var wasStopSent = false
    }

    private(set) var isOpen = true
    private(set) var lastHeard: Instant
    private(set) var recovery: Recovery
    /// Of all packets that came, each once.
    private var receivedBytes: UInt64 = 0
    /// Bytes queued and not yet in any packet.
    private(set) var unsent = 0
    private let transmit: (Packet) -> Void
    private var channels: [Int64: Channel] = [:]
    /// The client's, and the server's, by how many were opened before.
    private var closedChannels = [RangeSet(), RangeSet()]
    private var schedule = Fifo<Int64>()
    private var again = Fifo<Piece>()
    private var nextNumber: UInt64 = 0
    private var received = RangeSet()
    private var unacknowledged = 0
    private var acknowledgeAt: Instant?
    private var isPingOwed = false
    private var probesOwed = 0

    static let idleTimeout = Interval.seconds(30)
    static let longSilence = Interval.milliseconds(50)

    init(roundTrip: Interval, now: Instant, transmit: @escaping (Packet) -> Void) {
        recovery = Recovery(roundTrip: roundTrip)
        lastHeard = now
        self.transmit = transmit
    }

    /// Bytes that arrived and wait for earlier ones.
    func held() -> Int { channels.values.reduce(0) { $0 + $1.receive.held } }

    func wasClosed(_ channel: Int64) -> Bool {
        closedChannels[Int(channel & 1)].contains(UInt64(channel >> 2))
    }
    func knows(_ channel: Int64) -> Bool { channels[channel] != nil }
    func hasBytes(_ channel: Int64) -> Bool { channels[channel]?.send.hasBytes ?? true }
    func isReset(_ channel: Int64) -> Bool { channels[channel]?.send.isReset ?? true }
    func isFinished(_ channel: Int64) -> Bool { channels[channel]?.send.isFinishQueued ?? true }

    // What the driver asks.

    func open(_ channel: Int64) { channels[channel] = Channel() }

    func send(_ number: Int64, _ slice: ChunkSlice) {
        guard let channel = channels[number], !channel.send.isReset else { return }
        channel.send.append(slice)
        unsent += slice.count
        scheduleIfNeeded(number, channel)
    }

    func finish(_ number: Int64) {
        guard let channel = channels[number], !channel.send.isReset else { return }
        channel.send.finish()
        scheduleIfNeeded(number, channel)
    }

    func abandon(_ number: Int64, code: UInt64) {
        resetOurs(number, code: code)
        stop(number, code: code)
    }

    func stop(_ number: Int64, code: UInt64) {
        guard let channel = channels[number], !channel.receive.isDone, !channel.wasStopSent else { return }
        channel.wasStopSent = true
        again.append(.stop(number, code: code))
    }

    func probe() { isPingOwed = true }

    /// CONNECTION_CLOSE, once and unacknowledged.
    func close(code: UInt64) {
        guard isOpen else { return }
        isOpen = false
        transmit(Packet(number: nextNumber, close: code))
    }

    /// The process is gone: nothing is sent any more.
    func vanish() { isOpen = false }

    // Packets in.

    func receive(_ packet: Packet, now: Instant, _ sink: (Report) -> Void) {
        guard isOpen else { return }
        // As the transport does: heard again, the probe does not wait for the timer that backed off.
        if now - lastHeard > Self.longSilence, recovery.backoff > 0 { probe(recovery.onDeadline(now: now)) }
        lastHeard = now
        if packet.close != nil {
            isOpen = false
            sink(.ended)
            return
        }
        let isNew = !received.contains(packet.number)
        received.insert(ByteRange(packet.number, packet.number + 1))
        while received.ranges.count > 2 * PacketLimit.acknowledgedRanges, let oldest = received.first {
            received.remove(oldest)
        }
        if packet.isEliciting {
            unacknowledged += 1
            let isOrdered = received.ranges.last.map { $0.end == packet.number + 1 && $0.count > 1 } ?? false
            let late = unacknowledged >= 2 || !isOrdered || !isNew
            acknowledgeAt = late ? now : (acknowledgeAt ?? now + Recovery.maximumAckDelay)
        }
        guard isNew else { return }
        receivedBytes += UInt64(packet.size - Packet.lowerHeaders)
        if !packet.acknowledged.isEmpty { acknowledged(packet.acknowledged, now: now, sink) }
        for piece in packet.pieces { accept(piece, sink) }
    }

    var sample: PathSample {
        PathSample(
            srtt: recovery.srtt, rttVariation: recovery.variation, probeTimeout: recovery.probeTimeout,
            congestionWindow: UInt64(recovery.window), inFlight: UInt64(recovery.inFlight),
            received: receivedBytes)
    }

    // Time.

    var deadline: Instant? {
        guard isOpen else { return nil }
        var deadline = lastHeard + Connection.idleTimeout
        if let acknowledgeAt { deadline = min(deadline, acknowledgeAt) }
        if let recovery = recovery.deadline { deadline = min(deadline, recovery) }
        return deadline
    }

    func expire(now: Instant, _ sink: (Report) -> Void) {
        guard isOpen else { return }
        if now >= lastHeard + Connection.idleTimeout {
            isOpen = false
            sink(.ended)
            return
        }
        guard let due = recovery.deadline, due <= now else { return }
        probe(recovery.onDeadline(now: now))
    }

    /// Repeats what is lost; if nothing is, the oldest packet tells what is.
    private func probe(_ lost: [SentPacket]) {
        for packet in lost { repeatPieces(of: packet) }
        if lost.isEmpty {
            probesOwed = 2
            if let oldest = recovery.oldest { repeatPieces(of: oldest) }
        }
    }

    // Packets out.

    func flush(now: Instant) {
        while isOpen {
            let mayFill = recovery.room >= PacketLimit.payload || probesOwed > 0
            if mayFill {
                let pieces = assemble()
                if !pieces.isEmpty {
                    probesOwed = max(0, probesOwed - 1)
                    put(pieces, ping: false, now: now)
                    continue
                }
            }
            guard isPingOwed || probesOwed > 0 else { break }
            isPingOwed = false
            probesOwed = 0
            put([], ping: true, now: now)
        }
        if isOpen, let due = acknowledgeAt, due <= now { put([], ping: false, now: now) }
    }

    private func put(_ pieces: [Piece], ping: Bool, now: Instant) {
        var packet = Packet(number: nextNumber, pieces: pieces, isPing: ping)
        nextNumber += 1
        if unacknowledged > 0 || acknowledgeAt != nil {
            packet.acknowledged = received.ranges.suffix(PacketLimit.acknowledgedRanges)
            unacknowledged = 0
            acknowledgeAt = nil
        }
        if packet.isEliciting {
            if ping { isPingOwed = false }
            recovery.onSent(
                SentPacket(number: packet.number, sentAt: now, size: packet.size, pieces: pieces))
        }
        transmit(packet)
    }

    /// Repeated pieces first, then the channels in turn.
    private func assemble() -> [Piece] {
        var pieces: [Piece] = []
        var room = PacketLimit.payload
        while room > 0, let piece = again.first {
            guard isWanted(piece) else {
                _ = again.removeFirst()
                continue
            }
            if case .data(let channel, let offset, let slice, let finished) = piece, slice.count > room {
                var rest = slice
                rest.removeFirst(room)
                again.replaceFirst(.data(channel, offset: offset + UInt64(room), rest, finished: finished))
                pieces.append(.data(channel, offset: offset, slice.prefix(room), finished: false))
                return pieces
            }
            if case .data(_, _, let slice, _) = piece { room -= slice.count }
            pieces.append(again.removeFirst())
        }
        while room > 0, let number = schedule.first {
            guard let channel = channels[number], let part = channel.send.take(room) else {
                channels[number]?.send.isScheduled = false
                _ = schedule.removeFirst()
                continue
            }
            unsent -= part.slice.count
            room -= part.slice.count
            pieces.append(.data(number, offset: part.offset, part.slice, finished: part.finished))
            // The control stream goes first; the others take turns, a packet each.
            if room == 0 || !channel.send.hasWork {
                _ = schedule.removeFirst()
                channel.send.isScheduled = false
                scheduleIfNeeded(number, channel)
            }
        }
        return pieces
    }

    private func scheduleIfNeeded(_ number: Int64, _ channel: Channel) {
        guard !channel.send.isScheduled, channel.send.hasWork else { return }
        channel.send.isScheduled = true
        schedule.append(number)
    }

    private func isWanted(_ piece: Piece) -> Bool {
        guard case .data(let number, _, _, _) = piece else { return true }
        return channels[number].map { !$0.send.isReset } ?? false
    }

    private func repeatPieces(of packet: SentPacket) {
        for piece in packet.pieces where isWanted(piece) { again.append(piece) }
    }

    private func acknowledged(_ ranges: [ByteRange], now: Instant, _ sink: (Report) -> Void) {
        let (acknowledged, lost) = recovery.onAcknowledgement(ranges, now: now)
        for packet in acknowledged {
            for piece in packet.pieces {
                guard let channel = channels[piece.channel] else { continue }
                switch piece {
                case .data(_, let offset, let slice, let finished):
                    channel.send.acknowledge(offset: offset, count: slice.count, finished: finished)
                case .reset: channel.send.acknowledgeReset()
                case .stop: break
                }
                closeIfDone(piece.channel, channel, sink)
            }
        }
        for packet in lost { repeatPieces(of: packet) }
    }

    private func accept(_ piece: Piece, _ sink: (Report) -> Void) {
        let number = piece.channel
        guard isOpen, !wasClosed(number) else { return }
        let channel = channels[number] ?? Channel()
        channels[number] = channel
        switch piece {
        case .data(_, let offset, let slice, let finished):
            channel.receive.add(offset, slice, finished: finished)
            while let part = channel.receive.take() {
                sink(.received(number, part.slice, finished: part.finished))
            }
        case .reset(_, let code):
            guard !channel.receive.isDone else { break }
            channel.receive.end()
            resetOurs(number, code: code)
            sink(.reset(number, code: code))
        case .stop(_, let code):
            guard !channel.send.isReset, !channel.send.isDone else { break }
            resetOurs(number, code: code)
            sink(.reset(number, code: code))
        }
        closeIfDone(number, channel, sink)
    }

    private func resetOurs(_ number: Int64, code: UInt64) {
        guard let channel = channels[number], !channel.send.isReset, !channel.send.isDone else { return }
        unsent -= channel.send.unsent
        channel.send.reset()
        again.append(.reset(number, code: code))
    }

    private func closeIfDone(_ number: Int64, _ channel: Channel, _ sink: (Report) -> Void) {
        guard channel.send.isDone, channel.receive.isDone, channels[number] != nil else { return }
        channels[number] = nil
        let place = UInt64(number >> 2)
        closedChannels[Int(number & 1)].insert(ByteRange(place, place + 1))
        sink(.closed(number))
    }
}
