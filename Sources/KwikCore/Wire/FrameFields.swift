/// The frame types of KDP (protocol.md §3).
enum FrameType: UInt64 {
    case data = 1
    case fin = 2
    case reset = 3
    case window = 4
    case carve = 5
    case carved = 6
    case progress = 7
    case tag = 8
    case open = 9
    case opened = 10
    case option = 11
    case urgent = 12
    case end = 13
    case sumRequest = 14
    case sums = 15
}

/// Frame bodies: the fields in the order in which the cases of `Frame` name them. Integers are varints but
/// for the sum of FIN (8 bytes), tags (16) and rolling sums (4), all big-endian, and flags (1 byte).
extension Frame {
    /// - Throws: `badLength` if the fields don't fill the body exactly; what fits otherwise.
    init(_ type: FrameType, body: UnsafeRawBufferPointer) throws(WireError) {
        var cursor = unsafe WireCursor(body)
        self = try Frame.decode(type, &cursor)
        guard cursor.remaining == 0 else { throw .badLength }
    }

    private static func decode(
        _ type: FrameType, _ cursor: inout WireCursor
    ) throws(WireError) -> Frame {
        switch type {
        case .data:
            preconditionFailure("DATA is streamed, never a whole frame")
        case .fin:
            return try decodeFin(&cursor)
        case .reset:
            let errno = try errno(&cursor)
            return .reset(errno: errno, offset: try need(cursor.varint()))
        case .window:
            let read = try need(cursor.varint())
            let maximum = try need(cursor.varint())
            guard read <= maximum else { throw .badRange }
            return .window(read: read, maximum: maximum)
        case .carve:
            let sequence = try need(cursor.varint())
            guard sequence != 0 else { throw .badSequence }
            return .carve(sequence: sequence, try ranges(&cursor))
        case .carved:
            let sequence = try need(cursor.varint())
            let ranges = try ranges(&cursor)
            guard sequence == 0 else { return .carved(sequence: sequence, ranges) }
            return .delegated(ranges, server: try bytes(&cursor, limit: WireLimit.serverName))
        case .progress:
            let produced = try need(cursor.varint())
            let flags = try flags(&cursor, allowed: 3)
            return .progress(produced: produced, ended: flags & 1 != 0, applicationLimited: flags & 2 != 0)
        case .tag:
            return try decodeTag(&cursor)
        case .open:
            return try decodeOpen(&cursor)
        case .opened:
            let errno = try errno(&cursor)
            let local = try bytes(&cursor, limit: WireLimit.address)
            return .opened(errno: errno, local: local, peer: try bytes(&cursor, limit: WireLimit.address))
        case .option:
            return .option(try option(&cursor))
        case .urgent:
            return .urgent(offset: try need(cursor.varint()))
        case .end:
            return .end
        case .sumRequest:
            let (first, count) = try blocks(&cursor)
            return .sumRequest(firstBlock: first, count: UInt64(count))
        case .sums:
            return try decodeSums(&cursor)
        }
    }

    private static func decodeFin(_ cursor: inout WireCursor) throws(WireError) -> Frame {
        let base = try need(cursor.varint())
        let final = try need(cursor.varint())
        guard base <= final else { throw .badRange }
        let sum = try need(cursor.word64())
        return .fin(base: base, final: final, sum: sum, closed: try flags(&cursor, allowed: 1) != 0)
    }

    private static func decodeTag(_ cursor: inout WireCursor) throws(WireError) -> Frame {
        let (first, count) = try blocks(&cursor)
        guard cursor.remaining == count * 16 else { throw .badLength }
        var tags: [BlockTag] = []
        tags.reserveCapacity(count)
        for _ in 0..<count {
            tags.append(BlockTag(high: try need(cursor.word64()), low: try need(cursor.word64())))
        }
        return .tag(firstBlock: first, tags)
    }

    private static func decodeSums(_ cursor: inout WireCursor) throws(WireError) -> Frame {
        let (first, count) = try blocks(&cursor)
        guard cursor.remaining == count * 4 else { throw .badLength }
        var sums: [UInt32] = []
        sums.reserveCapacity(count)
        for _ in 0..<count { sums.append(try need(cursor.word32())) }
        return .sums(firstBlock: first, sums)
    }

    private static func decodeOpen(_ cursor: inout WireCursor) throws(WireError) -> Frame {
        let count = try need(cursor.varint())
        guard count <= WireLimit.options else { throw .tooLarge }
        var options: SocketOptions = []
        for _ in 0..<count { options.append(try option(&cursor)) }
        return .open(options)
    }

    private static func need<Field>(_ field: Field?) throws(WireError) -> Field {
        guard let field else { throw .badLength }
        return field
    }

    private static func errno(_ cursor: inout WireCursor) throws(WireError) -> Int32 {
        guard let errno = Int32(exactly: try need(cursor.varint())) else { throw .tooLarge }
        return errno
    }

    private static func flags(_ cursor: inout WireCursor, allowed: UInt8) throws(WireError) -> UInt8 {
        let flags = try need(cursor.byte())
        guard flags & ~allowed == 0 else { throw .badFlags }
        return flags
    }

    private static func bytes(_ cursor: inout WireCursor, limit: Int) throws(WireError) -> [UInt8] {
        let count = try need(cursor.varint())
        guard count <= limit else { throw .tooLarge }
        return try need(cursor.array(Int(count)))
    }

    private static func option(_ cursor: inout WireCursor) throws(WireError) -> SocketOption {
        guard let level = UInt32(exactly: try need(cursor.varint())) else { throw .tooLarge }
        guard let name = UInt32(exactly: try need(cursor.varint())) else { throw .tooLarge }
        return SocketOption(
            level: Int32(bitPattern: level), name: Int32(bitPattern: name),
            value: try bytes(&cursor, limit: WireLimit.optionValue))
    }

    private static func blocks(_ cursor: inout WireCursor) throws(WireError) -> (first: UInt64, count: Int) {
        let first = try need(cursor.varint())
        let count = try need(cursor.varint())
        guard count <= WireLimit.tags, first + count <= WireLimit.blocks else { throw .tooLarge }
        return (first, Int(count))
    }

    /// A count, then (gap from the previous end, length) pairs.
    private static func ranges(_ cursor: inout WireCursor) throws(WireError) -> [ByteRange] {
        let count = try need(cursor.varint())
        guard count <= WireLimit.ranges else { throw .tooLarge }
        var ranges: [ByteRange] = []
        var end: UInt64 = 0
        for _ in 0..<count {
            // Sums of two integers below 2^62 don't overflow.
            let start = end + (try need(cursor.varint()))
            let length = try need(cursor.varint())
            guard start <= WireLimit.maximumOffset, start + length <= WireLimit.maximumOffset else {
                throw .tooLarge
            }
            // Only the last range may end within a block; the start of what follows one that does shows it.
            guard start % Block.size == 0, end % Block.size == 0, length > 0 else { throw .badRange }
            end = start + length
            ranges.append(ByteRange(start, end))
        }
        return ranges
    }
}

extension Frame {
    var type: FrameType {
        switch self {
        case .fin: .fin
        case .reset: .reset
        case .window: .window
        case .carve: .carve
        case .carved, .delegated: .carved
        case .progress: .progress
        case .tag: .tag
        case .open: .open
        case .opened: .opened
        case .option: .option
        case .urgent: .urgent
        case .end: .end
        case .sumRequest: .sumRequest
        case .sums: .sums
        }
    }

    /// A frame that its reader would refuse is a broken invariant of ours.
    func encodeBody(to output: inout WireOutput) {
        switch self {
        case .fin(let base, let final, let sum, let closed):
            precondition(base <= final, "FIN before its base")
            output.varint(base)
            output.varint(final)
            output.word64(sum)
            output.byte(closed ? 1 : 0)
        case .reset(let errno, let offset):
            Frame.encode(errno: errno, to: &output)
            output.varint(offset)
        case .window(let read, let maximum):
            precondition(read <= maximum, "window ends before its read offset")
            output.varint(read)
            output.varint(maximum)
        case .carve(let sequence, let ranges):
            precondition(sequence != 0, "CARVE without a sequence")
            output.varint(sequence)
            Frame.encode(ranges, to: &output)
        case .carved(let sequence, let ranges):
            precondition(sequence != 0, "CARVED without its CARVE")
            output.varint(sequence)
            Frame.encode(ranges, to: &output)
        case .delegated(let ranges, let server):
            output.varint(0)
            Frame.encode(ranges, to: &output)
            Frame.encode(server, limit: WireLimit.serverName, to: &output)
        case .progress(let produced, let ended, let applicationLimited):
            output.varint(produced)
            output.byte((ended ? 1 : 0) | (applicationLimited ? 2 : 0))
        case .tag(let first, let tags):
            Frame.encode(blocks: first, UInt64(tags.count), to: &output)
            for tag in tags {
                output.word64(tag.high)
                output.word64(tag.low)
            }
        case .open(let options):
            precondition(options.count <= WireLimit.options, "too many options in OPEN")
            output.varint(UInt64(options.count))
            for option in options { Frame.encode(option, to: &output) }
        case .opened(let errno, let local, let peer):
            Frame.encode(errno: errno, to: &output)
            Frame.encode(local, limit: WireLimit.address, to: &output)
            Frame.encode(peer, limit: WireLimit.address, to: &output)
        case .option(let option):
            Frame.encode(option, to: &output)
        case .urgent(let offset):
            output.varint(offset)
        case .end:
            break
        case .sumRequest(let first, let count):
            Frame.encode(blocks: first, count, to: &output)
        case .sums(let first, let sums):
            Frame.encode(blocks: first, UInt64(sums.count), to: &output)
            for sum in sums { output.word32(sum) }
        }
    }

    private static func encode(errno: Int32, to output: inout WireOutput) {
        precondition(errno >= 0, "negative errno")
        output.varint(UInt64(errno))
    }

    private static func encode(_ bytes: [UInt8], limit: Int, to output: inout WireOutput) {
        precondition(bytes.count <= limit, "field over its limit")
        output.varint(UInt64(bytes.count))
        output.array(bytes)
    }

    private static func encode(_ option: SocketOption, to output: inout WireOutput) {
        output.varint(UInt64(UInt32(bitPattern: option.level)))
        output.varint(UInt64(UInt32(bitPattern: option.name)))
        encode(option.value, limit: WireLimit.optionValue, to: &output)
    }

    private static func encode(blocks first: UInt64, _ count: UInt64, to output: inout WireOutput) {
        precondition(
            first <= WireLimit.blocks && count <= WireLimit.tags && first + count <= WireLimit.blocks,
            "too many blocks in a frame")
        output.varint(first)
        output.varint(count)
    }

    private static func encode(_ ranges: [ByteRange], to output: inout WireOutput) {
        precondition(ranges.count <= WireLimit.ranges, "too many ranges in a frame")
        output.varint(UInt64(ranges.count))
        var end: UInt64 = 0
        for range in ranges {
            precondition(
                range.start % Block.size == 0 && end % Block.size == 0 && range.start >= end && !range.isEmpty
                    && range.end <= WireLimit.maximumOffset, "ranges not of whole blocks in ascending order")
            output.varint(range.start - end)
            output.varint(range.count)
            end = range.end
        }
    }
}
