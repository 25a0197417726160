// Compressed pieces at the gateway, either way.

extension GatewaySession {
    /// Both ends offered it.
    func compresses(_ path: GatewayPath) -> Bool { path.traits.compresses && decompressor != nil }

    // MARK: Out

    /// Sends a whole piece, if it is worth compressing now.
    func sendCompressed(
        _ slice: ChunkSlice, at offset: UInt64, on channel: GatewayChannel, path: GatewayPath,
        _ compressibility: inout Compressibility
    ) -> SentPiece? {
        guard compressibility.isDue(slice.count), compresses(path), !processor.isLimit(now: now),
            path.pressure.isLimit(path.sample, now: now)
        else { return nil }
        guard let compressed = unsafe compressor?.compress(slice.bytes) else {
            compressibility.resisted()
            return nil
        }
        compressibility.shrank(slice.count, to: compressed.count)
        return send(compressed, of: slice, at: offset, flags: 1, on: channel, path: path)
    }

    func sendPlain(
        _ slice: ChunkSlice, at offset: UInt64, on channel: GatewayChannel, path: GatewayPath,
        _ compressibility: inout Compressibility
    ) -> SentPiece {
        compressibility.sentPlain(slice.count)
        return send(slice, of: slice, at: offset, flags: 0, on: channel, path: path)
    }

    private func send(
        _ wire: ChunkSlice, of plain: ChunkSlice, at offset: UInt64, flags: UInt8,
        on channel: GatewayChannel, path: GatewayPath
    ) -> SentPiece {
        let crc32c = unsafe integrity.crc32c(0, plain.bytes)
        let header = writer.dataHeader(offset: offset, length: wire.count, flags: flags, crc32c: crc32c)
        out.append(.send(channel.id, header))
        out.append(.send(channel.id, wire))
        path.sent += UInt64(plain.count)
        path.sentWire += UInt64(wire.count)
        return SentPiece(plain: UInt64(plain.count), wire: UInt64(wire.count))
    }

    // MARK: In

    func countWire(_ count: Int, on channel: GatewayChannel) {
        paths[channel.id.path]?.receivedWire += UInt64(count)
    }

    func beginCompressed(
        _ header: DataHeader, on channel: GatewayChannel
    ) throws(ChannelFault) -> CompressedPiece {
        guard let decompressor, let path = paths[channel.id.path], compresses(path) else {
            throw .malformed(.badFlags)
        }
        do throws(WireError) {
            return try decompressor.begin(header)
        } catch {
            throw .tooMany
        }
    }

    /// The piece is whole: as if its plain bytes had come.
    func takeCompressed(
        _ piece: CompressedPiece, on channel: GatewayChannel, of stream: GatewayStream
    ) throws(ChannelFault) {
        guard let decompressor else { return }
        let plain: ChunkSlice
        do throws(WireError) {
            plain = try decompressor.decompress(piece)
        } catch {
            throw .malformed(error)
        }
        countWire(piece.header.length, on: channel)
        try beginData(piece.plainHeader(plain.count), on: channel, of: stream)
        unsafe takeData(plain.bytes, on: channel, of: stream)
        let added = endData(on: channel, of: stream)
        do throws(WireError) {
            try decompressor.gave(new: added, of: plain.count)
        } catch {
            throw .tooMany
        }
    }
}
