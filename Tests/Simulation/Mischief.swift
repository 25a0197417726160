internal import KwikCore

/// What a server does wrong on the channels of its own contributions, against the protocol.
public enum Mischief: Hashable, Sendable {
    /// They begin as public streams.
    case opensStreams
    /// Their pieces stand a block further than their prefaces say.
    case misplaces
    /// They name a stream that there is not.
    case misnames
    /// They end by a code behind their first piece.
    case breaksOff
    /// A byte of each piece is another than its checksum says.
    case damages
}

/// Changes what a gateway sends on the channels that it opens.
final class Mischiefs {
    private let kind: Mischief
    private var readers: [ChannelID: ChannelReader] = [:]
    private var writer = FrameWriter()

    init(_ kind: Mischief) { self.kind = kind }

    /// What goes out instead; nil: the channel ends here.
    func outgoing(_ slice: ChunkSlice, on channel: ChannelID) -> ChunkSlice? {
        var reader = readers[channel] ?? ChannelReader(expectsPreface: true)
        var position = 0
        var changed: ChunkSlice? = slice
        while let item = try? unsafe reader.next(slice.bytes, from: &position) {
            switch (item, kind) {
            case (.preface(let preface), .opensStreams) where preface.role != .serverStream:
                changed = writer.preface(Preface(stream: StreamID(1), role: .serverStream))
            case (.preface(let preface), .misnames):
                changed = writer.preface(
                    Preface(stream: StreamID(preface.stream.value + 4_000), role: preface.role))
            case (.data(let header), .misplaces):
                changed = writer.dataHeader(
                    offset: header.offset + Block.size, length: header.length, flags: header.flags,
                    crc32c: header.crc32c)
            case (.bytes, .damages):
                let copy = unsafe ChunkSlice(copying: slice.bytes)
                unsafe copy.chunk.base.storeBytes(of: slice.bytes[0] ^ 1, as: UInt8.self)
                changed = copy
            case (.dataEnd, .breaksOff): changed = nil
            default: break
            }
        }
        readers[channel] = reader
        return changed
    }
}
