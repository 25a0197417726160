/// Writes prefaces, frames and DATA headers one after the other into chunks, for a transport to send in
/// place.
///
/// Not copyable: two writers over one chunk would write over each other's bytes. What a reader would refuse
/// is a broken invariant here: callers keep to `WireLimit`.
public struct FrameWriter: ~Copyable {
    /// Bytes in a chunk for small frames.
    static let arenaSize = 4_096
    /// A frame of more bytes gets a chunk of its own, so that it wastes no rest of the current one.
    static let largeFrame = 512

    private var arena: Chunk?
    private var used = 0

    public init() {}

    public mutating func preface(_ preface: Preface) -> ChunkSlice {
        var measure = WireOutput()
        preface.encode(to: &measure)
        let slice = take(measure.count)
        var output = WireOutput(over: slice)
        preface.encode(to: &output)
        return slice
    }

    public mutating func frame(_ frame: Frame) -> ChunkSlice {
        var measure = WireOutput()
        frame.encodeBody(to: &measure)
        let bodyCount = UInt64(measure.count)
        precondition(bodyCount <= WireLimit.frameBody, "frame over its limit")
        measure.varint(frame.type.rawValue)
        measure.varint(bodyCount)
        let slice = take(measure.count)
        var output = WireOutput(over: slice)
        output.varint(frame.type.rawValue)
        output.varint(bodyCount)
        frame.encodeBody(to: &output)
        return slice
    }

    /// What goes before a DATA frame's `length` bytes (1 ... `Block.size`, within one block) on the wire.
    public mutating func dataHeader(offset: UInt64, length: Int, flags: UInt8, crc32c: UInt32) -> ChunkSlice {
        precondition(
            length > 0 && length <= Int(Block.size) && offset % Block.size + UInt64(length) <= Block.size
                && offset <= WireLimit.maximumOffset - UInt64(length) && flags & ~1 == 0, "malformed DATA")
        let frameLength = UInt64(Varint.length(of: offset) + DataHeader.fixedFields + length)
        let type = FrameType.data.rawValue
        let headLength = Varint.length(of: type) + Varint.length(of: frameLength)
        let slice = take(headLength + Varint.length(of: offset) + DataHeader.fixedFields)
        var output = WireOutput(over: slice)
        output.varint(type)
        output.varint(frameLength)
        output.varint(offset)
        output.byte(flags)
        output.word32(crc32c)
        return slice
    }

    private mutating func take(_ count: Int) -> ChunkSlice {
        if let arena, count <= arena.capacity - used {
            used += count
            return ChunkSlice(arena, offset: used - count, count: count)
        }
        if count > FrameWriter.largeFrame {
            return ChunkSlice(Chunk(capacity: count), offset: 0, count: count)
        }
        let fresh = Chunk(capacity: FrameWriter.arenaSize)
        arena = fresh
        used = count
        return ChunkSlice(fresh, offset: 0, count: count)
    }
}
