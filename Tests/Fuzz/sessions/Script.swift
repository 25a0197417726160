/// What libFuzzer's bytes say, one draw after the other; behind their end all is 0.
@safe
struct Script {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = bytes }

    var isOver: Bool { unsafe position >= bytes.count }

    mutating func byte() -> UInt8 {
        guard unsafe position < bytes.count else { return 0 }
        defer { position += 1 }
        return unsafe bytes[position]
    }

    /// 0 ..< `count`.
    mutating func below(_ count: Int) -> Int { Int(byte()) % count }

    mutating func flag() -> Bool { byte() & 1 == 1 }

    mutating func word() -> UInt64 { (0..<8).reduce(0) { word, _ in word << 8 | UInt64(byte()) } }

    mutating func array(_ count: Int) -> [UInt8] { (0..<count).map { _ in byte() } }

    /// Mostly one that matters: about `place`, where the stream stands, or at a block's start.
    mutating func offset(about place: UInt64) -> UInt64 {
        let drawn = byte()
        let step = UInt64(drawn >> 3)
        switch drawn & 7 {
        case 0: return step
        case 1: return step * Block.size
        case 2: return Block.roundUp(place) + step * Block.size
        case 3: return place + step
        case 4: return place - min(place, step)
        case 5: return place + step * 1_000
        case 6: return WireLimit.maximumOffset - step
        default: return word() & WireLimit.maximumOffset
        }
    }

    mutating func range(about place: UInt64) -> ByteRange {
        let ends = (offset(about: place), offset(about: place))
        return ByteRange(min(ends.0, ends.1), max(ends.0, ends.1))
    }

    mutating func interval() -> Interval {
        let steps: [Interval] = [
            .zero, .milliseconds(1), .milliseconds(10), .milliseconds(100), .seconds(1), .seconds(3),
            .seconds(11), .seconds(40),
        ]
        return steps[below(steps.count)]
    }

    mutating func sample() -> PathSample {
        let srtt = interval()
        return PathSample(
            srtt: srtt, rttVariation: interval(), probeTimeout: interval() + srtt,
            congestionWindow: UInt64(byte()) << 12, inFlight: UInt64(byte()) << 8, received: word() >> 32)
    }

    // MARK: What a peer may write

    /// A frame with fields that its writer takes, whatever they mean for the channel that it stands on.
    mutating func frame(about place: UInt64) -> Frame {
        switch below(16) {
        case 0:
            let range = range(about: place)
            return .fin(base: range.start, final: range.end, sum: sum(of: range), closed: flag())
        case 1: return .reset(errno: Int32(byte()), offset: offset(about: place))
        case 2, 3:
            let range = range(about: place)
            return .window(read: range.start, maximum: range.end)
        case 4: return .carve(sequence: UInt64(1 + byte() % 8), wholeBlocks(about: place))
        case 5: return .carved(sequence: UInt64(1 + byte() % 8), wholeBlocks(about: place))
        case 6: return .delegated(wholeBlocks(about: place), server: flag() ? [2] : array(below(4)))
        case 7, 8:
            let produced = offset(about: place)
            return .progress(produced: produced, ended: flag(), applicationLimited: flag())
        case 9, 10: return tags(about: place)
        case 11: return .open((0..<below(3)).map { _ in option() })
        case 12: return .opened(errno: Int32(byte() & 3), local: array(below(3)), peer: [])
        case 13: return flag() ? .option(option()) : .urgent(offset: offset(about: place))
        case 14:
            let first = block(about: place)
            return flag()
                ? .end : .sumRequest(firstBlock: first, count: min(UInt64(byte()), WireLimit.blocks - first))
        default:
            let first = block(about: place)
            return .sums(firstBlock: first, sums(from: first))
        }
    }

    mutating func preface(of stream: StreamID, about place: UInt64) -> Preface {
        Preface(stream: stream, role: role(about: place))
    }

    private mutating func role(about place: UInt64) -> Preface.Role {
        switch below(8) {
        case 0, 1: return .stream
        case 2: return .attach(epoch: UInt64(byte()), received: offset(about: place))
        case 3: return .replica
        case 4:
            let window = range(about: place)
            let (start, length) = leased(about: place)
            let carves = start % Block.size == 0 && flag()
            return .lease(
                offset: start, length: length, read: window.start, window: window.end, carves: carves)
        case 5, 6:
            let (start, length) = leased(about: place)
            return .contribution(offset: start, length: length)
        default: return .serverStream
        }
    }

    private mutating func leased(about place: UInt64) -> (start: UInt64, length: UInt64) {
        let start = min(offset(about: place), WireLimit.maximumOffset - 1)
        let length = min(
            offset(about: Block.size) + 1, WireLimit.leaseLength, WireLimit.maximumOffset - start)
        return (start, length)
    }

    private mutating func block(about place: UInt64) -> UInt64 { Block.index(of: offset(about: place)) }

    private mutating func wholeBlocks(about place: UInt64) -> [ByteRange] {
        var ranges: [ByteRange] = []
        for _ in 0..<below(4) {
            let start = max(Block.roundDown(offset(about: place)), Block.roundUp(ranges.last?.end ?? 0))
            let end = start + UInt64(1 + below(4)) * Block.size
            if end <= WireLimit.maximumOffset { ranges.append(ByteRange(start, end)) }
        }
        // The last one may end within a block.
        if let last = ranges.last, flag() { ranges[ranges.count - 1].end = last.end - UInt64(byte()) }
        return ranges
    }

    private mutating func option() -> SocketOption {
        // SO_SNDBUF, and another one.
        flag()
            ? SocketOption(level: 1, name: 7, value: array(4))
            : SocketOption(level: Int32(byte()), name: Int32(byte()), value: array(below(5)))
    }

    private mutating func sum(of range: ByteRange) -> UInt64 {
        flag() && range.count <= 8 * Block.size ? Content.sum(range) : word()
    }

    private mutating func tags(about place: UInt64) -> Frame {
        let first = block(about: place)
        let count = min(UInt64(below(5)), WireLimit.blocks - first)
        let isTrue = byte() % 4 != 0
        return .tag(
            firstBlock: first,
            (0..<count).map { isTrue ? Content.tag(first + $0) : BlockTag(high: word(), low: word()) })
    }

    private mutating func sums(from first: UInt64) -> [UInt32] {
        let count = min(UInt64(below(4)), WireLimit.blocks - first)
        return (0..<count).map { _ in UInt32(truncatingIfNeeded: word()) }
    }
}
