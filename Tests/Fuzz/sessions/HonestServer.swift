/// What a server without fault would write next on a channel that the client opened. Hostile ones get far
/// with it.
extension ClientDriver {
    func serve(_ index: Int) {
        guard let role = wire.channels[index].preface?.role else { return }
        switch role {
        case .stream, .replica:
            if wire.channels[index].isAnswered { goOn(index) } else { answer(index) }
        case .attach(_, let received):
            if !wire.channels[index].isAnswered { wire.channels[index].next = received }
            wire.channels[index].isAnswered = true
            goOn(index)
        case .lease(let offset, let length, _, _, _): serveLease(index, ByteRange(offset, offset + length))
        case .contribution, .serverStream: break
        }
    }

    private func answer(_ index: Int) {
        wire.channels[index].isAnswered = true
        write(.opened(errno: 0, local: [], peer: []), on: index)
    }

    private func goOn(_ index: Int) {
        if !wire.channels[index].asked.isEmpty {
            return reply(wire.channels[index].asked.removeFirst(), index)
        }
        let next = wire.channels[index].next
        if script.flag() {
            let produced = next + UInt64(script.byte()) * Block.size / 4
            write(
                .progress(produced: produced, ended: script.byte() == 255, applicationLimited: false),
                on: index)
            return
        }
        for range in wire.channels[index].carved where range.start <= next && next < range.end {
            wire.channels[index].next = range.end
        }
        writeNext(index, upTo: WireLimit.maximumOffset)
    }

    private func reply(_ asked: Frame, _ index: Int) {
        switch asked {
        case .carve(let sequence, let ranges):
            let granted = ranges.filter { $0.start >= wire.channels[index].next }
            wire.channels[index].carved += granted
            write(.carved(sequence: sequence, granted), on: index)
            for range in granted {
                let first = Block.index(of: range.start)
                let last = min(Block.index(of: range.end), first + 8)
                write(.tag(firstBlock: first, (first..<last).map { Content.tag($0) }), on: index)
            }
        case .sumRequest(let first, let count):
            let sums = (0..<min(count, 4)).map { index in
                let start = Block.start(of: first + index)
                let block = Content.bytes(ByteRange(start, start + Block.size))
                return unsafe block.withUnsafeBytes { unsafe RollingSum.sum($0) }
            }
            write(.sums(firstBlock: first, sums), on: index)
        default: break
        }
    }

    private func serveLease(_ index: Int, _ range: ByteRange) {
        if !wire.channels[index].isAnswered { wire.channels[index].next = range.start }
        wire.channels[index].isAnswered = true
        let id = wire.channels[index].id
        for _ in 0...script.below(4) {
            guard index < wire.channels.count, wire.channels[index].id == id else { return }
            if wire.channels[index].next == range.end { return receive(index, [], finished: true) }
            writeNext(index, upTo: range.end)
        }
    }

    private func writeNext(_ index: Int, upTo end: UInt64) {
        let start = wire.channels[index].next
        let end = min(end, Block.roundDown(start) + Block.size)
        guard start < end else { return }
        wire.channels[index].next = end
        let displaced = isShifted && servers[wire.channels[index].id.path] == ServerID(3)
        let shift: UInt64 = displaced ? 100 : 0
        let bytes = (start..<end).map { $0 < shift ? 7 : Content.byte(at: $0 - shift) }
        write(bytes, at: start, on: index)
    }
}
