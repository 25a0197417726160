/// One channel that the client's session reads.
final class ClientChannel {
    enum Use {
        /// Role 0, or role 1 of that epoch: the primary's own DATA and all that it tells.
        case own(epoch: UInt64)
        /// Role 1 of epoch 0: a further path for upstream bytes, and for what the primary tells.
        case side
        /// Role 2.
        case replica
        /// Role 1, at the second of a quorum: its own DATA and all that it tells.
        case second
        /// Role 3.
        case lease
        /// Opened by the server; its preface has not come.
        case foreign(until: Instant)
        /// Role 5: its public stream, which nobody has taken yet.
        case offer
        /// Role 4 for a range that nobody has given to the server, yet: held until then.
        case waiting(ByteRange, until: Instant)
        /// Role 4: bytes of the server's own.
        case contribution
    }

    let id: ChannelID
    let server: ServerID
    var stream: StreamID
    var use: Use
    var reader: ChannelReader
    /// Of its path's, while one is coming in.
    var unfinished: UnfinishedFrame?
    /// The DATA frame that is coming in.
    var piece: Piece?
    /// A compressed one, until it is whole.
    var compressed: CompressedPiece?
    /// What came while it waits, and whether that was all.
    var held: [UInt8] = []
    var isHeldWhole = false

    struct Piece {
        var header: DataHeader
        /// Where its first byte and its next one go in the stream; a shifted replica counts otherwise.
        var start: UInt64
        var at: UInt64
        var crc: UInt32 = 0
        /// What came of its bytes in the block that it begins in, and in the one behind: a shifted replica's
        /// pieces may reach into that.
        var first = Landing()
        var second = Landing()

        var range: ByteRange { ByteRange(start, at) }
    }

    init(id: ChannelID, server: ServerID, stream: StreamID, use: Use) {
        self.id = id
        self.server = server
        self.stream = stream
        self.use = use
        if case .foreign = use {
            reader = ChannelReader(expectsPreface: true)
        } else {
            reader = ChannelReader(expectsPreface: false)
        }
    }
}
