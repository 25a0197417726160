// What comes in on channels.

/// Why a channel ends. No other is harmed.
struct ChannelFault: Error {
    var code: ErrorCode
    /// What is told of it; `nil` where it is no fault of the peer's.
    var error: WireError?

    static func malformed(_ error: WireError) -> ChannelFault {
        ChannelFault(code: .protocolViolation, error: error)
    }
    /// Beyond the credit that was granted.
    static let flowControl = ChannelFault(code: .flowControl, error: .tooLarge)
    static let refused = ChannelFault(code: .refusedByPolicy, error: .notAllowedHere)
    static let tooMany = ChannelFault(code: .resourceLimit, error: nil)
    /// Overtaken by something newer.
    static let stale = ChannelFault(code: .none, error: nil)
}

extension GatewaySession {
    func received(_ id: ChannelID, _ bytes: UnsafeRawBufferPointer, finished: Bool) {
        guard let path = paths[id.path], let channel = admit(id, on: path) else { return }
        unsafe feed(channel, bytes, finished: finished)
        if case .preface = channel.use { awaitPreface(of: channel, on: path) }
        wakeWaiting()
    }

    /// Its first bytes came, and are less than a preface.
    private func awaitPreface(of channel: GatewayChannel, on path: GatewayPath) {
        guard channel.prefaceDue == .never else { return }
        guard path.nameless.count < limits.prefacesPerPath else {
            fault(channel, .tooMany)
            return
        }
        channel.prefaceDue = now + limits.prefaceTime
        path.nameless.append(channel)
    }

    private func stopAwaitingPreface(of channel: GatewayChannel) {
        guard channel.prefaceDue != .never else { return }
        channel.prefaceDue = .never
        paths[channel.id.path]?.nameless.removeAll { $0 === channel }
    }

    func expirePrefaces() {
        let due = paths.values.flatMap(\.nameless).filter { now >= $0.prefaceDue }
        for channel in due.sorted(by: { $0.id < $1.id }) { fault(channel, .malformed(.truncated)) }
    }

    private func admit(_ id: ChannelID, on path: GatewayPath) -> GatewayChannel? {
        if let channel = path.channels[id.number] { return channel }
        // Late words on a channel of ours.
        guard id.number & 1 == 0 else { return nil }
        let channel = GatewayChannel(id: id)
        guard path.channels.count < limits.channelsPerPath else {
            out.append(.abandon(id, .resourceLimit))
            return nil
        }
        path.channels[id.number] = channel
        return channel
    }

    private func feed(_ channel: GatewayChannel, _ bytes: UnsafeRawBufferPointer, finished: Bool) {
        do throws(ChannelFault) {
            var position = 0
            while true {
                switch channel.use {
                case .ignored: return
                // Our half of it was over before, so that nothing of the stream held it any more.
                case .stream(let stream) where stream.isReleased: return
                case .waiting:
                    try unsafe hold(UnsafeRawBufferPointer(rebasing: bytes[position...]), on: channel)
                    channel.isEnded = channel.isEnded || finished
                    return
                case .preface, .stream, .lease, .contribution: break
                }
                guard let item = try unsafe next(channel, bytes, from: &position) else { break }
                try unsafe take(item, of: bytes, on: channel)
            }
            try holdFrame(channel)
            if finished { try ended(channel) }
        } catch {
            fault(channel, error)
        }
    }

    /// The channel's input may have ended within a frame.
    private func holdFrame(_ channel: GatewayChannel) throws(ChannelFault) {
        let count = channel.reader.held
        if count == 0 {
            channel.unfinished = nil
            return
        }
        let part = channel.unfinished ?? UnfinishedFrame(of: unfinished)
        channel.unfinished = part
        part.has(count)
        guard unfinished.bytes <= limits.unfinishedFrames else { throw .tooMany }
    }

    private func next(
        _ channel: GatewayChannel, _ bytes: UnsafeRawBufferPointer, from position: inout Int
    ) throws(ChannelFault) -> ChannelReader.Item? {
        do throws(WireError) {
            return try unsafe channel.reader.next(bytes, from: &position)
        } catch {
            throw .malformed(error)
        }
    }

    private func take(
        _ item: ChannelReader.Item, of bytes: UnsafeRawBufferPointer, on channel: GatewayChannel
    ) throws(ChannelFault) {
        if case .preface(let preface) = item {
            try begin(preface, on: channel)
            return
        }
        guard case .stream(let stream) = channel.use else { throw .malformed(.notAllowedHere) }
        switch item {
        case .preface: break
        case .data(let header) where header.isCompressed:
            channel.compressed = try beginCompressed(header, on: channel)
        case .data(let header): try beginData(header, on: channel, of: stream)
        case .bytes(let range):
            let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[range])
            if let piece = channel.compressed {
                unsafe piece.append(part)
            } else {
                unsafe takeData(part, on: channel, of: stream)
            }
        case .dataEnd:
            if let piece = channel.compressed {
                channel.compressed = nil
                try takeCompressed(piece, on: channel, of: stream)
            } else {
                countWire(channel.piece?.header.length ?? 0, on: channel)
                _ = endData(on: channel, of: stream)
            }
        case .frame(let frame): try take(frame, on: channel, of: stream)
        }
    }

    private func take(
        _ frame: Frame, on channel: GatewayChannel, of stream: GatewayStream
    ) throws(ChannelFault) {
        if channel.awaitsOpen {
            guard case .open(let options) = frame else { throw .malformed(.notAllowedHere) }
            channel.awaitsOpen = false
            if case .unopened = stream.backend {
                stream.backend = .connecting
                stream.weight = options.weight
                stream.sendBuffer = options.sendBuffer
                out.append(.connect(stream.id, options))
            } else {
                // Opened anew: they may have changed since.
                for option in options { set(option, of: stream) }
            }
            return
        }
        switch frame {
        case .fin(let base, let final, let sum, let closed):
            try upstreamFin(ByteRange(base, final), sum: sum, closed: closed, of: stream)
        case .reset(let errno, let offset): upstreamReset(errno: errno, offset: offset, of: stream)
        case .window(let read, let maximum): try windowGranted(read: read, maximum: maximum, of: stream)
        case .carve(let sequence, let ranges): try carve(sequence, ranges, on: channel, of: stream)
        case .option(let option): set(option, of: stream)
        case .urgent(let offset): stream.urgent.offset = offset
        case .opened(let errno, _, _): try answered(stream, errno: errno, on: channel)
        case .sumRequest(let first, let count):
            try tellSums(of: first, count, on: channel, of: stream)
        case .open, .carved, .delegated, .progress, .tag, .end, .sums: throw .malformed(.notAllowedHere)
        }
    }

    private func set(_ option: SocketOption, of stream: GatewayStream) {
        stream.weight = option.weight ?? stream.weight
        out.append(.setOption(stream.id, option))
        if let buffer = option.sendBuffer {
            stream.sendBuffer = buffer
            sendWindow(stream)
        }
    }

    // MARK: Prefaces

    private func begin(_ preface: Preface, on channel: GatewayChannel) throws(ChannelFault) {
        stopAwaitingPreface(of: channel)
        switch preface.role {
        case .stream:
            guard roles.contains(.origin) else { throw .refused }
            try openStream(preface.stream, isReplica: false, on: channel)
        case .replica:
            guard roles.contains(.replica) else { throw .refused }
            try openStream(preface.stream, isReplica: true, on: channel)
        case .attach, .lease:
            guard let stream = streams[preface.stream] else {
                try wait(for: preface, on: channel)
                return
            }
            try refer(preface.role, to: stream, on: channel)
        case .contribution, .serverStream: throw .refused
        }
    }

    private func refer(
        _ role: Preface.Role, to stream: GatewayStream, on channel: GatewayChannel
    ) throws(ChannelFault) {
        switch role {
        case .attach(let epoch, let received):
            try attach(channel, to: stream, epoch: epoch, received: received)
        case .lease(let offset, let length, let read, let window, let carves):
            try windowGranted(read: read, maximum: window, of: stream)
            guard !stream.isReleased else { return }
            try lease(ByteRange(offset, offset + length), carves: carves, on: channel, of: stream)
        case .stream, .replica, .contribution, .serverStream:
            preconditionFailure("refers to no other channel's stream")
        }
    }

    // MARK: Streams that are not known yet

    private func wait(for preface: Preface, on channel: GatewayChannel) throws(ChannelFault) {
        if closed.contains(preface.stream, now: now) { throw .stale }
        guard let path = paths[channel.id.path] else { return }
        guard path.waiting < limits.waitingPerPath else {
            event(.unknownStream(channel.id, preface.stream))
            throw .tooMany
        }
        path.waiting += 1
        channel.use = .waiting(preface, until: now + unknownWait(path))
        waiting.append(channel)
    }

    func unknownWait(_ path: GatewayPath?) -> Interval {
        Tuning.wait(least: limits.unknownStreamWait, srtt: path?.sample?.srtt)
    }

    private func hold(_ bytes: UnsafeRawBufferPointer, on channel: GatewayChannel) throws(ChannelFault) {
        guard channel.held.count + bytes.count <= limits.waitingBytes,
            waiting.reduce(bytes.count, { $0 + $1.held.count }) <= limits.waitingBytesPerSession
        else { throw .tooMany }
        unsafe channel.held.append(contentsOf: bytes)
    }

    func stopWaiting(_ channel: GatewayChannel) {
        paths[channel.id.path]?.waiting -= 1
        waiting.removeAll { $0 === channel }
    }

    /// Goes on with the channels whose stream has become known.
    private func wakeWaiting() {
        if waiting.isEmpty { return }
        for channel in waiting {
            guard case .waiting(let preface, _) = channel.use, let stream = streams[preface.stream] else {
                continue
            }
            stopWaiting(channel)
            let held = channel.held
            channel.held = []
            do throws(ChannelFault) {
                try refer(preface.role, to: stream, on: channel)
            } catch {
                fault(channel, error)
                continue
            }
            unsafe held.withUnsafeBytes { unsafe feed(channel, $0, finished: channel.isEnded) }
        }
    }

    // MARK: Ends of channels

    private func fault(_ channel: GatewayChannel, _ fault: ChannelFault) {
        if let error = fault.error { event(.malformed(channel.id, error)) }
        let use = channel.use
        if case .stream(let stream) = use, fault.code != .none {
            event(.channelFailed(channel.id, stream.id, fault.code))
        }
        abandon(channel, fault.code)
        if case .stream(let stream) = use, stream.offers.contains(where: { $0 === channel }) {
            release(stream, .aborted(errno: ErrorNumber.connectionReset))
            return
        }
        dropped(channel, use, grace: unknownWait(paths[channel.id.path]))
    }

    /// The client's half is complete.
    private func ended(_ channel: GatewayChannel) throws(ChannelFault) {
        do throws(WireError) {
            try channel.reader.finish()
        } catch {
            throw .malformed(error)
        }
        channel.isEnded = true
        guard case .stream(let stream) = channel.use else { return }
        if channel.awaitsOpen { throw .malformed(.truncated) }
        guard channel === stream.own else {
            // The client may have ended the own channel as well when its path was lost already.
            if stream.isOrphan { giveUpLater(stream, after: grace(channel)) }
            return
        }
        stream.clientIsDone = true
        if stream.isReplica || stream.lacksUpstream, stream.sides.isEmpty {
            // Nothing more can come unless another channel takes over.
            giveUpLater(stream, after: unknownWait(paths[channel.id.path]))
        }
        settle(stream)
    }

    /// The client refuses what we send or takes back what it sends: our half is over. Its half may still
    /// bring the RESET that says why.
    func channelReset(_ id: ChannelID, code: UInt64) {
        guard let channel = paths[id.path]?.channels[id.number] else { return }
        channel.isFinished = true
        channel.isSucceeded = code == ErrorCode.reattached.rawValue
        if refusedOffer(channel, code: code) { return }
        let use = channel.use
        if case .stream = use {} else { channel.use = .ignored }
        dropped(channel, use, grace: grace(channel))
    }

    func channelClosed(_ id: ChannelID) {
        guard let channel = paths[id.path]?.channels.removeValue(forKey: id.number) else { return }
        channel.isFinished = true
        dropped(channel, channel.use, grace: grace(channel))
    }

    /// How long a stream waits for another channel. A client that means to end it sends RESET first; its
    /// attach by another path may be lost with that one. A replica is only let go of, unless it is to take a
    /// primary's place.
    private func grace(_ channel: GatewayChannel) -> Interval {
        if case .stream(let stream) = channel.use, !stream.isReplica || channel.isSucceeded {
            return limits.streamGrace
        }
        return unknownWait(paths[channel.id.path])
    }

    func pathDown(_ id: PathID) {
        guard let path = paths.removeValue(forKey: id) else { return }
        let grace = paths.isEmpty ? limits.sessionGrace : limits.streamGrace
        for channel in path.channels.values.sorted(by: { $0.id < $1.id }) {
            channel.isFinished = true
            let use = channel.use
            channel.use = .ignored
            dropped(channel, use, grace: grace)
        }
        offersLost()
        if paths.isEmpty {
            expiresAt = now + grace
            keepOrphans(for: grace)
        }
    }

    func pathUp(_ id: PathID, _ traits: PathTraits) {
        guard paths[id] == nil else { return }
        paths[id] = GatewayPath(id: id, traits: traits, now: now)
        expiresAt = nil
        keepOrphans(for: limits.streamGrace)
    }

    /// The client's chance to attach streams that no channel carries has changed.
    private func keepOrphans(for grace: Interval) {
        for stream in ending where stream.isOrphan {
            stream.giveUpAt = now + grace
        }
    }

    /// What the channel was to others.
    private func dropped(_ channel: GatewayChannel, _ use: GatewayChannel.Use, grace: Interval) {
        switch use {
        case .ignored: break
        case .preface: stopAwaitingPreface(of: channel)
        case .waiting: stopWaiting(channel)
        case .lease(let lease): drop(lease)
        case .contribution(let contribution):
            paths[channel.id.path]?.contributions.removeAll { $0 === contribution }
        case .stream(let stream): detach(channel, from: stream, grace: grace)
        }
    }
}
