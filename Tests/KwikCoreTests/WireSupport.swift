import KwikCore

/// SplitMix64: the same seed gives the same run everywhere.
struct WireChance: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// 0 ... `limit`, every length in bits equally likely.
    mutating func skewed(_ limit: UInt64) -> UInt64 {
        min(next() >> UInt64.random(in: 0...63, using: &self), limit)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }
}

/// What stands on a channel, DATA with its bytes in one piece.
enum WireItem: Equatable {
    case preface(Preface)
    case frame(Frame)
    case data(DataHeader, [UInt8])
    /// DATA whose end has not been seen.
    case partialData(DataHeader, [UInt8])

    /// Written by `FrameWriter`, but for the bytes of DATA.
    func encoded(_ writer: inout FrameWriter) -> [UInt8] {
        switch self {
        case .preface(let preface):
            return wireBytes(writer.preface(preface))
        case .frame(let frame):
            return wireBytes(writer.frame(frame))
        case .data(let header, let bytes), .partialData(let header, let bytes):
            let slice = writer.dataHeader(
                offset: header.offset, length: header.length, flags: header.flags, crc32c: header.crc32c)
            return wireBytes(slice) + bytes
        }
    }
}

struct WireOutcome: Equatable {
    var items: [WireItem] = []
    var error: WireError?
}

func wireBytes(_ slice: ChunkSlice) -> [UInt8] { unsafe Array(slice.bytes) }

/// Reads `bytes` given in pieces that end at `cuts` (ascending), and the channel's end after them if
/// `finished`.
func wireRead(
    _ bytes: [UInt8], preface: Bool = false, cuts: [Int] = [], finished: Bool = false
) -> WireOutcome {
    var reader = ChannelReader(expectsPreface: preface)
    var outcome = WireOutcome()
    var start = 0
    do throws(WireError) {
        for cut in cuts + [bytes.count] {
            try wireFeed(&reader, Array(bytes[start..<cut]), into: &outcome.items)
            start = cut
        }
        if finished { try reader.finish() }
    } catch {
        outcome.error = error
    }
    return outcome
}

/// Gives one piece to the reader and gathers what comes out.
func wireFeed(
    _ reader: inout ChannelReader, _ piece: [UInt8], into items: inout [WireItem]
) throws(WireError) {
    try unsafe piece.withUnsafeBufferPointer { buffer throws(WireError) in
        let input = UnsafeRawBufferPointer(buffer)
        var position = 0
        while let item = try unsafe reader.next(input, from: &position) {
            switch item {
            case .preface(let preface):
                items.append(.preface(preface))
            case .frame(let frame):
                items.append(.frame(frame))
            case .data(let header):
                items.append(.partialData(header, []))
            case .bytes(let range):
                guard case .partialData(let header, let bytes) = items.last else { preconditionFailure() }
                items[items.count - 1] = .partialData(header, bytes + piece[range])
            case .dataEnd:
                guard case .partialData(let header, let bytes) = items.last else { preconditionFailure() }
                items[items.count - 1] = .data(header, bytes)
            }
        }
        precondition(position == input.count, "nil before the input was exhausted")
    }
}

/// The wire, written by hand: independent of the writer under test.
enum WireRaw {
    static func varint(_ value: UInt64, length: Int? = nil) -> [UInt8] {
        let shortest = value < 64 ? 1 : value < 16_384 ? 2 : value < 1 << 30 ? 4 : 8
        let count = length ?? shortest
        var bytes = (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
        bytes[0] |= UInt8(count.trailingZeroBitCount) << 6
        return bytes
    }

    static func frame(_ type: UInt64, _ body: [UInt8]) -> [UInt8] {
        varint(type) + varint(UInt64(body.count)) + body
    }

    static func frame(_ type: UInt64, _ fields: UInt64...) -> [UInt8] {
        frame(type, fields.flatMap { varint($0) })
    }

    static func preface(_ role: UInt64, _ fields: UInt64...) -> [UInt8] {
        [0x4B] + varint(role) + fields.flatMap { varint($0) }
    }

    static func data(_ offset: UInt64, count: Int, flags: UInt8 = 0) -> [UInt8] {
        frame(1, varint(offset) + [flags, 0, 0, 0, 0] + [UInt8](repeating: 0xDA, count: count))
    }
}

/// Draws prefaces and frames that are well-formed.
extension WireChance {
    mutating func offset() -> UInt64 { skewed(WireLimit.maximumOffset) }

    mutating func flip() -> Bool { Bool.random(using: &self) }

    mutating func item() -> WireItem {
        UInt64.random(in: 0..<3, using: &self) == 0 ? data() : .frame(frame())
    }

    mutating func data() -> WireItem {
        let offset = min(self.offset(), WireLimit.maximumOffset - Block.size)
        let length = Int(1 + skewed(Block.size - offset % Block.size - 1))
        let header = DataHeader(
            offset: offset, length: length, flags: flip() ? 1 : 0, crc32c: UInt32(next() >> 32))
        return .data(header, bytes(length))
    }

    mutating func preface() -> Preface {
        let length = 1 + skewed(WireLimit.leaseLength - 1)
        let start = min(offset(), WireLimit.maximumOffset - length)
        let read = offset()
        let roles: [Preface.Role] = [
            .stream, .attach(epoch: offset(), received: offset()), .replica,
            .lease(
                offset: Block.roundDown(start), length: length, read: read,
                window: read + skewed(WireLimit.maximumOffset - read), carves: flip()),
            .contribution(offset: start, length: length), .serverStream,
        ]
        return Preface(stream: StreamID(offset()), role: roles.randomElement(using: &self) ?? .stream)
    }

    mutating func frame() -> Frame {
        let (low, sequence) = (offset(), offset())
        let high = low + skewed(WireLimit.maximumOffset - low)
        switch UInt64.random(in: 2...15, using: &self) {
        case 2: return .fin(base: low, final: high, sum: next(), closed: flip())
        case 3: return .reset(errno: Int32(skewed(UInt64(Int32.max))), offset: low)
        case 4: return .window(read: low, maximum: high)
        case 5: return .carve(sequence: max(sequence, 1), ranges())
        case 6:
            guard sequence == 0 else { return .carved(sequence: sequence, ranges()) }
            return .delegated(ranges(), server: Array("mirror".utf8))
        case 7: return .progress(produced: low, ended: flip(), applicationLimited: flip())
        case 8:
            let count = Int(skewed(UInt64(WireLimit.tags)))
            return .tag(firstBlock: block(), (0..<count).map { _ in BlockTag(high: next(), low: next()) })
        case 9: return .open((0..<skewed(UInt64(WireLimit.options))).map { _ in option() })
        case 10:
            let errno = Int32(skewed(200))
            let limit = UInt64(WireLimit.address)
            return .opened(errno: errno, local: bytes(Int(skewed(limit))), peer: bytes(Int(skewed(limit))))
        case 11: return .option(option())
        case 12: return .urgent(offset: low)
        case 13: return .end
        case 14: return .sumRequest(firstBlock: block(), count: skewed(UInt64(WireLimit.tags)))
        default:
            let count = Int(skewed(UInt64(WireLimit.tags)))
            return .sums(firstBlock: block(), (0..<count).map { _ in UInt32(next() >> 32) })
        }
    }

    private mutating func block() -> UInt64 { skewed(WireLimit.blocks - UInt64(WireLimit.tags)) }

    private mutating func option() -> SocketOption {
        SocketOption(
            level: Int32(truncatingIfNeeded: skewed(.max)), name: Int32(truncatingIfNeeded: skewed(.max)),
            value: bytes(Int(skewed(UInt64(WireLimit.optionValue)))))
    }

    private mutating func ranges() -> [ByteRange] {
        var ranges: [ByteRange] = []
        var end: UInt64 = 0
        for _ in 0..<skewed(UInt64(WireLimit.ranges)) {
            let start = end + skewed(1 << 30) * Block.size
            end = start + (1 + skewed(1 << 10)) * Block.size
            ranges.append(ByteRange(start, end))
        }
        if let last = ranges.indices.last, flip() { ranges[last].end -= skewed(Block.size - 1) }
        return ranges
    }
}
