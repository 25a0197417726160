// What replicas send comes to its place: each server's bytes in a copy of the block of its own. A shifted
// replica's pieces end where its blocks do, and so may lie across two of ours.

/// What came of a piece's bytes within one block.
struct Landing {
    /// The copy that they went to.
    var copy: UInt64?
    /// Some were not wanted, or went to a copy that was dropped meanwhile: nothing of them counts.
    var isTorn = false
}

extension ClientSession {
    /// Where the piece goes in the stream.
    func place(
        _ header: DataHeader, on channel: ClientChannel, of stream: ClientStream
    ) throws(WireError) -> ByteRange {
        var shift: Int64 = 0
        if case .lease = channel.use { shift = stream.book.lease(on: channel.id)?.shift ?? 0 }
        guard let start = UInt64(exactly: Int64(header.offset) - shift) else { throw .badRange }
        return ByteRange(start, start + UInt64(header.length))
    }

    func land(
        _ bytes: UnsafeRawBufferPointer, of piece: inout ClientChannel.Piece, from server: ServerID,
        _ stream: ClientStream
    ) {
        var at = piece.at
        var rest = unsafe bytes
        while unsafe !rest.isEmpty {
            let count = min(rest.count, Int(Block.roundDown(at) + Block.size - at))
            let part = unsafe UnsafeRawBufferPointer(rebasing: rest[..<count])
            if Block.index(of: at) == Block.index(of: piece.start) {
                unsafe land(part, at: at, &piece.first, from: server, stream)
            } else {
                unsafe land(part, at: at, &piece.second, from: server, stream)
            }
            at += UInt64(count)
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    private func land(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ landing: inout Landing, from server: ServerID,
        _ stream: ClientStream
    ) {
        // A copy is whole or nothing, also of a block of which the primary gave the beginning.
        guard !landing.isTorn, stream.book.claims.contains(offset),
            offset >= Block.roundDown(stream.down.front)
        else {
            landing.isTorn = true
            return
        }
        let copy = unsafe stream.book.write(server, at: offset, bytes)
        landing.isTorn = (landing.copy ?? copy) != copy
        landing.copy = copy
    }

    /// The piece is complete, and its checksum is right.
    func takeLeased(
        _ piece: ClientChannel.Piece, on channel: ClientChannel, of stream: ClientStream, now: Instant
    ) {
        let range = piece.range
        let lease = stream.book.lease(on: channel.id)
        progressed(lease, by: range.count, of: stream, now: now)
        defer { recount(lease, of: stream) }
        if let index = stream.part(of: channel.server) { stream.parts[index].received += range.count }
        let middle = min(range.end, Block.roundDown(range.start) + Block.size)
        let first = ByteRange(range.start, middle)
        take(first, piece.first, by: lease, from: channel.server, of: stream, now: now)
        if middle < range.end {
            let second = ByteRange(middle, range.end)
            take(second, piece.second, by: lease, from: channel.server, of: stream, now: now)
        }
    }

    private func take(
        _ range: ByteRange, _ landing: Landing, by lease: Lease?, from server: ServerID,
        of stream: ClientStream, now: Instant
    ) {
        let block = Block.index(of: range.start)
        // The copy may be gone since, also by what the piece's first bytes have shown.
        guard !landing.isTorn, stream.book.copy(server, of: block)?.number == landing.copy else {
            stream.book.duplicated += range.count
            orphan(block, of: stream, beside: lease)
            return
        }
        guard stream.book.commit(server, range) > 0 else {
            // Another lease of the same server has brought it.
            stream.book.duplicated += range.count
            return
        }
        verify(block, from: server, of: stream, now: now)
    }
}
