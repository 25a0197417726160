/// What a server without fault would write next on a channel that the client opened. Hostile ones get far
/// with it, and lie now and then.
extension ClientDriver {
    /// - Returns: false if it has nothing to say.
    @discardableResult
    func serve(_ channel: Channel) -> Bool {
        let isFirst = !channel.isAnswered
        channel.isAnswered = true
        switch channel.preface?.role {
        case .stream, .replica:
            if !isFirst { return goOn(channel) }
            write(.opened(errno: 0, local: [], peer: []), on: channel)
            return true
        case .attach(_, let received):
            if isFirst {
                channel.base = received
                channel.next = received
            }
            return goOn(channel)
        case .lease(let offset, let length, _, _, _):
            if isFirst { channel.next = offset }
            return serveLease(channel, upTo: offset + length)
        case .contribution, .serverStream, nil: return false
        }
    }

    private func goOn(_ channel: Channel) -> Bool {
        if !channel.asked.isEmpty {
            reply(channel.asked.removeFirst(), channel)
            return true
        }
        if script.isOver ? total != nil && !channel.saidEnd : script.flag() {
            tellProgress(channel)
            return true
        }
        while let range = channel.carved.first(where: { $0.start <= channel.next && channel.next < $0.end }) {
            channel.next = range.end
        }
        guard let total, channel.next >= total else {
            return writeNext(channel, upTo: min(total ?? .max, channel.window))
        }
        if channel.saidFin { return false }
        channel.saidFin = true
        let sum = Content.sum(ByteRange(channel.base, total))
        write(.fin(base: channel.base, final: total, sum: sum, closed: false), on: channel)
        return true
    }

    private func tellProgress(_ channel: Channel) {
        let drawn = channel.next + UInt64(script.byte()) * Block.size / 4
        let produced = script.isOver ? total ?? drawn : min(drawn, total ?? .max)
        channel.saidEnd = total.map { $0 == produced } ?? (script.byte() == 255)
        write(.progress(produced: produced, ended: channel.saidEnd, applicationLimited: false), on: channel)
    }

    private func reply(_ asked: Frame, _ channel: Channel) {
        switch asked {
        case .carve(let sequence, let ranges):
            let granted = ranges.filter { $0.start >= channel.next }
            channel.carved += granted
            write(.carved(sequence: sequence, granted), on: channel)
            for range in granted {
                let first = Block.index(of: range.start)
                let end = min(range.end, total ?? (range.start + 8 * Block.size))
                let tags = (first..<Block.index(of: Block.roundUp(end))).map { Content.tag($0, end: end) }
                write(.tag(firstBlock: first, tags), on: channel)
            }
        case .sumRequest(let first, let count):
            let sums = (0..<min(count, 4)).map { index in
                let start = Block.start(of: first + index)
                let block = Content.bytes(ByteRange(start, start + Block.size))
                return unsafe block.withUnsafeBytes { unsafe RollingSum.sum($0) }
            }
            write(.sums(firstBlock: first, sums), on: channel)
        default: break
        }
    }

    private func serveLease(_ channel: Channel, upTo end: UInt64) -> Bool {
        if channel.next < end { return writeNext(channel, upTo: end) }
        receive(channel, [], finished: true)
        return false
    }

    private func writeNext(_ channel: Channel, upTo end: UInt64) -> Bool {
        let start = channel.next
        let end = min(end, Block.roundDown(start) + Block.size)
        guard start < end else { return false }
        channel.next = end
        let shift: UInt64 = isShifted && servers[channel.id.path] == ServerID(3) ? 100 : 0
        let head = [UInt8](repeating: 7, count: Int(shift - min(start, shift)))
        let bytes = Content.bytes(ByteRange(max(start, shift) - shift, end - shift))
        let lies = maySayAnything(on: channel.id) && script.byte() % 8 == 7
        write(lies ? bytes.map { ~$0 } + head : head + bytes, at: start, on: channel)
        return true
    }

    // MARK: Beginnings

    /// The others are replicas at work, all of them quick and honest so far.
    func engage() {
        for server in 1...2 { addServer(server) }
        for channel in wire.channels where channel.preface?.role == .stream {
            serve(channel)
            for _ in 0..<2 { _ = writeNext(channel, upTo: .max) }
            tellBeginning(channel)
        }
        for _ in 0..<30 { pass() }
        for channel in wire.channels where channel.preface?.role == .replica {
            serve(channel)
            tellBeginning(channel)
        }
        pass()
    }

    private func tellBeginning(_ channel: Channel) {
        write(.progress(produced: total ?? 4 << 20, ended: false, applicationLimited: false), on: channel)
    }

    private func pass() {
        for path in wire.paths {
            // The others have far more to give than the primary.
            let isPrimary = servers[path] == Self.primary
            let sample = PathSample(
                srtt: .milliseconds(10), rttVariation: .milliseconds(2), probeTimeout: .milliseconds(43),
                congestionWindow: isPrimary ? 1 << 14 : 1 << 20, inFlight: 0, received: 1 << 16)
            handle(.sample(path, sample))
            handle(.heard(path))
        }
        tick(after: .milliseconds(5))
    }
}
