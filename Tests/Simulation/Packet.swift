internal import KwikCore

/// What a packet carries of a channel: the model's STREAM, RESET_STREAM and STOP_SENDING frames.
enum Piece {
    case data(Int64, offset: UInt64, ChunkSlice, finished: Bool)
    case reset(Int64, code: UInt64)
    case stop(Int64, code: UInt64)

    var channel: Int64 {
        switch self {
        case .data(let channel, _, _, _), .reset(let channel, _), .stop(let channel, _): channel
        }
    }
}

struct Packet {
    var number: UInt64
    var pieces: [Piece] = []
    /// Packet numbers received by the sender of this packet; empty: no acknowledgement in here.
    var acknowledged: [ByteRange] = []
    /// Asks for an acknowledgement and says nothing else.
    var isPing = false
    /// CONNECTION_CLOSE.
    var close: UInt64?

    var isEliciting: Bool { !pieces.isEmpty || isPing }

    /// IP's and UDP's.
    static let lowerHeaders = 28

    /// Bytes on the wire: those of IP and UDP, 40 of QUIC's header and tag, some for each piece.
    var size: Int {
        var size = Packet.lowerHeaders + 40 + acknowledged.count * 4
        for case .data(_, _, let slice, _) in pieces { size += slice.count + 8 }
        return size
    }
}

enum PacketLimit {
    /// Bytes of channels' data in one packet.
    static let payload = 1_350
    /// Ranges in an acknowledgement.
    static let acknowledgedRanges = 32
}
