/// What opens every KDP channel (protocol.md §3): `0x4B · role · stream id · role fields`.
public struct Preface: Hashable, Sendable {
    public var stream: StreamID
    public var role: Role

    public init(stream: StreamID, role: Role) {
        self.stream = stream
        self.role = role
    }

    public enum Role: Hashable, Sendable {
        /// 0, client → primary: the public stream.
        case stream
        /// 1, client → same or promoted server: all that role 0 may carry. Epoch 0 takes nothing over; the
        /// highest epoch carries the primary's own DATA, from `received` on.
        case attach(epoch: UInt64, received: UInt64)
        /// 2, client → replica.
        case replica
        /// 3, client → any server. `length` 1 ... `WireLimit.leaseLength`. `offset` is as the server counts:
        /// a block's start, but of a replica whose bytes stand elsewhere than the primary's.
        /// `window`: the maximum downstream offset granted at that time (as in WINDOW, whose read offset is
        /// `read`). `carves`: the primary takes of the range what its own sender
        /// has not begun (always its end), and serves that alone.
        case lease(offset: UInt64, length: UInt64, read: UInt64, window: UInt64, carves: Bool)
        /// 4, server → client: the server's own bytes for a stream.
        case contribution(offset: UInt64, length: UInt64)
        /// 5, primary → client: a public stream that the server opens.
        case serverStream
    }
}

/// A range of stream offsets.
public struct ByteRange: Hashable, Comparable, Sendable {
    public var start: UInt64
    /// First offset past the range.
    public var end: UInt64
    @inlinable
    public init(_ start: UInt64, _ end: UInt64) {
        precondition(start <= end, "range ends before it starts")
        self.start = start
        self.end = end
    }
    @inlinable
    public var count: UInt64 { end - start }
    @inlinable
    public var isEmpty: Bool { start == end }
    @inlinable
    public static func < (left: ByteRange, right: ByteRange) -> Bool {
        left.start == right.start ? left.end < right.end : left.start < right.start
    }
    @inlinable
    public func overlaps(_ other: ByteRange) -> Bool { start < other.end && other.start < end }
    @inlinable
    public func intersection(_ other: ByteRange) -> ByteRange {
        let low = max(start, other.start)
        return ByteRange(low, max(low, min(end, other.end)))
    }
}

/// The KDP frames (protocol.md §3) but DATA, whose bytes are streamed: see `ChannelReader`.
public enum Frame: Hashable, Sendable {
    /// 2. `sum`: Σ XXH3-64(block, seed = offset) mod 2^64 over [base, final).
    case fin(base: UInt64, final: UInt64, sum: UInt64, closed: Bool)
    /// 3. What precedes `offset` is delivered, then the errno shown.
    case reset(errno: Int32, offset: UInt64)
    /// 4. Of the direction opposite to the frame's own.
    case window(read: UInt64, maximum: UInt64)
    /// 5. Whole blocks, as disjoint byte ranges in ascending order, none empty. The last one may end within a
    /// block: the short last block of a stream that has ended. The sequence is not 0, as its CARVED's is not.
    case carve(sequence: UInt64, [ByteRange])
    /// 6. The sequence is not 0.
    case carved(sequence: UInt64, [ByteRange])
    /// 6 with sequence 0: the primary's own delegation of whole blocks to the server of that name.
    case delegated([ByteRange], server: [UInt8])
    /// 7.
    case progress(produced: UInt64, ended: Bool, applicationLimited: Bool)
    /// 8.
    case tag(firstBlock: UInt64, [BlockTag])
    /// 9.
    case open(SocketOptions)
    /// 10. errno 0: connected; the addresses are `struct sockaddr` bytes, empty if unknown.
    case opened(errno: Int32, local: [UInt8], peer: [UInt8])
    /// 11.
    case option(SocketOption)
    /// 12.
    case urgent(offset: UInt64)
    /// 13. The lease's range lies past the end of the stream.
    case end
    /// 14. Whole blocks.
    case sumRequest(firstBlock: UInt64, count: UInt64)
    /// 15. `RollingSum` of each block, from the first one on as far as the primary has them; none: it has not
    /// got that.
    case sums(firstBlock: UInt64, [UInt32])
}

/// The fixed part of a DATA frame (type 1).
public struct DataHeader: Hashable, Sendable {
    public var offset: UInt64
    /// Bytes of the piece as they stand on the wire: 1 ... `Block.size`, never across a block boundary.
    public var length: Int
    /// Bit 0: zstd.
    public var flags: UInt8
    public var isCompressed: Bool { flags & 1 != 0 }
    /// Of the plain bytes.
    public var crc32c: UInt32

    public init(offset: UInt64, length: Int, flags: UInt8, crc32c: UInt32) {
        self.offset = offset
        self.length = length
        self.flags = flags
        self.crc32c = crc32c
    }
}

/// Why a preface or a frame was refused. The channel ends, nothing else is harmed.
public enum WireError: Error, Hashable, Sendable {
    case badMagic
    case unknownRole(UInt64)
    /// A length, count or offset over its limit.
    case tooLarge
    /// Fields that don't fill the frame's length, or need more than it.
    case badLength
    /// A range across a block boundary, not of whole blocks, descending or overlapping.
    case badRange
    case badFlags
    /// A CARVE whose answer would be taken for the primary's own delegation.
    case badSequence
    /// Compressed bytes that can't be made whole, or not within their block.
    case badCompression
    /// A frame that may not stand on a channel of this role or from this peer.
    case notAllowedHere
    /// The channel ended within a preface or a frame.
    case truncated
}

/// What a peer may ask of the codec at most.
public enum WireLimit {
    /// Largest offset in a stream (QUIC varints hold 62 bits).
    public static let maximumOffset: UInt64 = (1 << 62) - 1
    /// Bytes in the body of a frame other than DATA; longer ones are refused, unknown types skipped up to it.
    public static let frameBody = 65_536
    /// Bytes of a lease or a contribution.
    public static let leaseLength: UInt64 = 16 << 20
    /// Blocks up to the largest offset.
    public static let blocks: UInt64 = 1 << 48
    /// Ranges in a CARVE or CARVED.
    public static let ranges = 1_024
    /// Tags or sums in one frame.
    public static let tags = 1_024
    /// Options in an OPEN, and bytes in one option's value.
    public static let options = 64
    public static let optionValue = 256
    /// Bytes in an address.
    public static let address = 128
    /// Bytes in the name of a server that blocks are delegated to.
    public static let serverName = 256
}
