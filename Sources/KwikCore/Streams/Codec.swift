/// Makes a piece's bytes fewer and whole again (protocol.md §3: zstd). Like `Integrity`'s, pure functions
/// that a well-kept library does better: synchronous, deterministic.
@safe
public struct Codec {
    /// Compresses the first bytes into the second. Returns how many it wrote; nil if they do not fit.
    public var compress: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Int?
    /// The reverse. nil: malformed, no bytes at all, or more than fit; what was written then means nothing.
    public var decompress: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Int?

    public init(
        compress: @escaping (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Int?,
        decompress: @escaping (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Int?
    ) {
        unsafe self.compress = compress
        unsafe self.decompress = decompress
    }
}

/// One session's compressing: the codec and the memory that compressed pieces leave in.
@safe
final class Compressor {
    private let codec: Codec
    private var arena: Chunk?
    private var used = 0

    /// Compressed pieces stand one behind the other in chunks of so many bytes.
    private static let arenaSize = 65_536

    init(_ codec: Codec) { self.codec = codec }

    /// The compressed bytes; nil: they did not shrink by a tenth.
    ///
    /// - Precondition: at most a block.
    func compress(_ plain: UnsafeRawBufferPointer) -> ChunkSlice? {
        precondition(plain.count <= Int(Block.size), "more than a block to compress")
        let most = plain.count - plain.count / Compressibility.leastGain
        let chunk = room(for: most)
        let target = unsafe UnsafeMutableRawBufferPointer(start: chunk.base + used, count: most)
        guard let count = unsafe codec.compress(plain, target), count > 0, count <= most else { return nil }
        defer { used += count }
        return ChunkSlice(chunk, offset: used, count: count)
    }

    private func room(for count: Int) -> Chunk {
        if let arena, count <= arena.capacity - used { return arena }
        let fresh = Chunk(capacity: Self.arenaSize)
        arena = fresh
        used = 0
        return fresh
    }
}

/// One session's way back: the codec, the memory that plain bytes appear in, and how much is on its way in.
@safe
final class Decompressor {
    private let codec: Codec
    private let output = Chunk(capacity: Int(Block.size))
    /// Bytes of the pieces that have begun and not ended.
    fileprivate(set) var held = 0

    /// What a peer can make us hold by beginning pieces and not ending them, per session. More than honest
    /// ones have under way: that is bounded by their congestion windows.
    static let heldAtMost = 16 << 20
    /// Plain bytes that were of use, and that were not, for they were there already.
    private var useful: UInt64 = 0
    private var wasted: UInt64 = 0
    /// A few bytes on the wire make us write 16 KiB: who sends the same ones again and again may do so for so
    /// many, and as many as were of use.
    static let wastedAtMost: UInt64 = 8 << 20

    init(_ codec: Codec) { self.codec = codec }

    /// - Throws: `tooLarge` where too much has begun and not ended.
    func begin(_ header: DataHeader) throws(WireError) -> CompressedPiece {
        guard held + header.length <= Self.heldAtMost else { throw .tooLarge }
        return CompressedPiece(header, of: self)
    }

    /// What came of a piece: of its plain bytes so many were new.
    ///
    /// - Throws: `tooLarge` where too few are.
    func gave(new: UInt64, of count: Int) throws(WireError) {
        useful += new
        wasted += UInt64(count) - min(new, UInt64(count))
        guard wasted <= useful + Self.wastedAtMost else { throw .tooLarge }
    }

    /// The piece's plain bytes, valid until the next call.
    ///
    /// - Throws: `badCompression`, also where they would go beyond the end of the piece's block.
    func decompress(_ piece: CompressedPiece) throws(WireError) -> ChunkSlice {
        let room = Int(Block.size - piece.header.offset % Block.size)
        let target = unsafe UnsafeMutableRawBufferPointer(start: output.base, count: room)
        let count = unsafe piece.bytes.withUnsafeBytes { unsafe codec.decompress($0, target) }
        guard let count, count > 0, count <= room,
            piece.header.offset <= WireLimit.maximumOffset - UInt64(count)
        else { throw .badCompression }
        return ChunkSlice(output, offset: 0, count: count)
    }
}

/// A compressed piece on its way in: nothing can be said of it before it is whole.
final class CompressedPiece {
    let header: DataHeader
    private(set) var bytes: [UInt8] = []
    private let owner: Decompressor

    fileprivate init(_ header: DataHeader, of owner: Decompressor) {
        self.header = header
        self.owner = owner
        owner.held += header.length
        bytes.reserveCapacity(header.length)
    }

    deinit { owner.held -= header.length }

    func append(_ more: UnsafeRawBufferPointer) { unsafe bytes.append(contentsOf: more) }

    /// As if the plain bytes had come in its place.
    func plainHeader(_ count: Int) -> DataHeader {
        DataHeader(offset: header.offset, length: count, flags: 0, crc32c: header.crc32c)
    }
}
