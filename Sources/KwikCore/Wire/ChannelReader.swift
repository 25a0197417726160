/// Takes one channel's bytes apart as they come, in pieces of any size.
///
/// DATA bytes are handed on as ranges of the input, uncopied and without allocation; other frames are
/// gathered when they span inputs. What comes out does not depend on how the bytes were split, but for where
/// `bytes` items are cut.
public struct ChannelReader {
    public enum Item: Hashable, Sendable {
        /// First on a channel that the peer opened, and only there.
        case preface(Preface)
        case frame(Frame)
        /// The fixed part of a DATA frame; its bytes follow.
        case data(DataHeader)
        /// A part of the current DATA frame's bytes: where it lies in the input.
        case bytes(Range<Int>)
        /// The current DATA frame is complete.
        case dataEnd
    }

    private enum State {
        /// Within or before the preface or the head of a frame.
        case head
        /// So many bytes of a DATA frame are still to come.
        case data(Int)
        /// So many bytes of a frame of an unknown type.
        case skip(Int)
        /// So many bytes of a frame's body, of which `body` has the beginning.
        case body(FrameType, Int)
        case failed(WireError)
    }

    /// A preface, or what of a frame is parsed before its body.
    private enum Head {
        case preface(Preface)
        case data(DataHeader)
        case skip(Int)
        case body(FrameType, Int)
    }

    private var state = State.head
    private var awaitsPreface: Bool
    /// The beginning of a preface or head that the input ended in. No preface and no head is longer.
    private var head = InlineArray<64, UInt8>(repeating: 0)
    private var headCount = 0
    private var body: [UInt8] = []

    /// Bytes held of a frame that is not whole.
    public var held: Int { body.count }

    /// - Parameter expectsPreface: whether the peer opened the channel.
    public init(expectsPreface: Bool) {
        awaitsPreface = expectsPreface
    }

    /// The next item, or `nil` when the input is exhausted. `position` is where in `input` to go on and is
    /// moved past what was taken; start each input at 0.
    ///
    /// - Throws: what is wrong with the channel, again at every later call.
    public mutating func next(
        _ input: UnsafeRawBufferPointer, from position: inout Int
    ) throws(WireError) -> Item? {
        precondition(position >= 0 && position <= input.count, "position outside the input")
        if case .data(let remaining) = state {
            if remaining == 0 {
                state = .head
                return .dataEnd
            }
            let count = min(remaining, input.count - position)
            guard count > 0 else { return nil }
            let start = position
            position += count
            state = .data(remaining - count)
            return .bytes(start..<position)
        }
        do throws(WireError) {
            return try unsafe advance(input, from: &position)
        } catch {
            state = .failed(error)
            throw error
        }
    }

    /// To be called when the peer's half ended, after `next` has returned `nil`.
    ///
    /// - Throws: `truncated` within a preface or frame.
    public func finish() throws(WireError) {
        switch state {
        case .head:
            if awaitsPreface || headCount > 0 { throw .truncated }
        case .data(let remaining):
            if remaining > 0 { throw .truncated }
        case .skip, .body:
            throw .truncated
        case .failed(let error):
            throw error
        }
    }

    private mutating func advance(
        _ input: UnsafeRawBufferPointer, from position: inout Int
    ) throws(WireError) -> Item? {
        while position < input.count {
            switch state {
            case .head:
                guard let head = try unsafe takeHead(input, from: &position) else { return nil }
                switch head {
                case .preface(let preface):
                    awaitsPreface = false
                    return .preface(preface)
                case .data(let header):
                    state = .data(header.length)
                    return .data(header)
                case .skip(let count):
                    state = count > 0 ? .skip(count) : .head
                case .body(let type, let count):
                    guard count > input.count - position else {
                        let end = position + count
                        let whole = unsafe UnsafeRawBufferPointer(rebasing: input[position..<end])
                        position = end
                        return .frame(try unsafe Frame(type, body: whole))
                    }
                    state = .body(type, count)
                }
            case .skip(let remaining):
                let count = min(remaining, input.count - position)
                position += count
                state = remaining > count ? .skip(remaining - count) : .head
            case .body(let type, let remaining):
                let count = min(remaining, input.count - position)
                unsafe body.append(contentsOf: input[position..<(position + count)])
                position += count
                guard count == remaining else {
                    state = .body(type, remaining - count)
                    return nil
                }
                state = .head
                let whole = body
                body = []
                return .frame(
                    try unsafe whole.withUnsafeBufferPointer { bytes throws(WireError) in
                        try unsafe Frame(type, body: UnsafeRawBufferPointer(bytes))
                    })
            case .data:
                preconditionFailure("DATA is taken by next")
            case .failed(let error):
                throw error
            }
        }
        if case .failed(let error) = state { throw error }
        return nil
    }

    /// Parses a head in place, or together with its beginning kept from earlier inputs.
    private mutating func takeHead(
        _ input: UnsafeRawBufferPointer, from position: inout Int
    ) throws(WireError) -> Head? {
        if headCount == 0 {
            var cursor = unsafe WireCursor(input, from: position)
            if let parsed = try ChannelReader.parse(&cursor, preface: awaitsPreface) {
                position = cursor.position
                return parsed
            }
        }
        let kept = headCount
        let added = min(head.count - kept, input.count - position)
        for index in 0..<added { unsafe head[kept + index] = input[position + index] }
        headCount = kept + added
        let (parsed, length) = try parseKept()
        guard let parsed else {
            position += added
            return nil
        }
        position += length - kept
        headCount = 0
        return parsed
    }

    private func parseKept() throws(WireError) -> (Head?, length: Int) {
        let (count, preface) = (headCount, awaitsPreface)
        return try unsafe withUnsafeBytes(of: head) { bytes throws(WireError) in
            var cursor = unsafe WireCursor(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
            let parsed = try ChannelReader.parse(&cursor, preface: preface)
            return (parsed, cursor.position)
        }
    }

    /// `nil`: the bytes end within the head. Checks each field before it looks at the next one, so that the
    /// error does not depend on how many bytes are there.
    private static func parse(_ cursor: inout WireCursor, preface: Bool) throws(WireError) -> Head? {
        if preface { return try Preface.decode(&cursor).map(Head.preface) }
        guard let number = cursor.varint(), let length = cursor.varint() else { return nil }
        guard length <= WireLimit.frameBody else { throw .tooLarge }
        switch FrameType(rawValue: number) {
        case .data:
            return try DataHeader.decode(&cursor, frameLength: Int(length)).map(Head.data)
        case .none:
            return .skip(Int(length))
        case .some(let type):
            return .body(type, Int(length))
        }
    }
}

extension DataHeader {
    /// Bytes of the flags and the checksum.
    static let fixedFields = 5

    /// `frameLength` covers the offset, the fixed fields and the bytes. `nil`: the header is incomplete.
    static func decode(_ cursor: inout WireCursor, frameLength: Int) throws(WireError) -> DataHeader? {
        let start = cursor.position
        guard let offset = cursor.varint() else { return nil }
        let length = frameLength - (cursor.position - start) - fixedFields
        guard length > 0 else { throw .badLength }
        guard length <= Int(Block.size), offset + UInt64(length) <= WireLimit.maximumOffset else {
            throw .tooLarge
        }
        guard offset % Block.size + UInt64(length) <= Block.size else { throw .badRange }
        guard let flags = cursor.byte() else { return nil }
        guard flags & ~1 == 0 else { throw .badFlags }
        guard let crc32c = cursor.word32() else { return nil }
        return DataHeader(offset: offset, length: length, flags: flags, crc32c: crc32c)
    }
}
