// Compressed pieces at the client, either way.

extension ClientSession {
    /// Both ends offered it.
    func compresses(_ path: ClientPath) -> Bool { path.traits.compresses && decompressor != nil }

    // MARK: Out

    /// nil: the piece goes out as it is.
    func compress(
        _ slice: ChunkSlice, _ compressibility: inout Compressibility, path: ClientPath, now: Instant
    ) -> ChunkSlice? {
        if compressibility.isDue(slice.count), compresses(path), !processor.isLimit(now: now),
            path.pressure.isLimit(path.sample, now: now)
        {
            if let compressed = unsafe compressor?.compress(slice.bytes) {
                compressibility.shrank(slice.count, to: compressed.count)
                return compressed
            }
            compressibility.resisted()
        }
        compressibility.sentPlain(slice.count)
        return nil
    }

    // MARK: In

    func beginCompressed(
        _ header: DataHeader, on channel: ClientChannel
    ) throws(WireError) -> CompressedPiece {
        guard let decompressor, let path = path(channel.id.path), compresses(path) else { throw .badFlags }
        return try decompressor.begin(header)
    }

    /// A DATA frame is whole. A compressed one counts from here on as if its plain bytes had come: leases,
    /// windows and the path's rate see what the program will read.
    func endPiece(on channel: ClientChannel, now: Instant) throws(WireError) {
        guard let piece = channel.compressed, let decompressor else {
            path(channel.id.path)?.receivedWire += UInt64(channel.piece?.header.length ?? 0)
            end(on: channel, now: now)
            return
        }
        channel.compressed = nil
        path(channel.id.path)?.receivedWire += UInt64(piece.header.length)
        let plain = try decompressor.decompress(piece)
        try begin(piece.plainHeader(plain.count), on: channel)
        guard channels[channel.id] != nil, let stream = stream(channel.stream) else { return }
        unsafe take(plain.bytes, on: channel)
        let duplicated = stream.book.duplicated
        end(on: channel, now: now)
        let wasted = min(stream.book.duplicated - duplicated, UInt64(plain.count))
        try decompressor.gave(new: UInt64(plain.count) - wasted, of: plain.count)
    }
}
