/// The receiving end of one direction of a stream: puts verified bytes in order.
///
/// Bytes are copied once, into blocks of memory that line up with the stream's blocks; what is handed on are
/// slices of them. Invariants:
/// 1. `read ≤ front ≤ highest`, and every byte in [read, front) is committed.
/// 2. A committed byte never changes: later copies of it are dropped.
/// 3. A block's memory is held from its first byte until `read` passes its end, so it is whole when it is
/// summed.
@safe
public struct Reassembler {
    /// What the local socket has taken.
    public private(set) var read: UInt64 = 0
    /// End of the contiguous committed bytes.
    public private(set) var front: UInt64 = 0
    /// End of the highest committed byte.
    public private(set) var highest: UInt64 = 0
    /// Bytes of block memory held.
    public var memory: Int { held * Int(Block.size) }

    private var slots: [BlockCopy?]
    private var held = 0
    private let blockSum: (UInt64, UnsafeRawBufferPointer) -> UInt64
    /// One is enough, but for a sender of which it is not known where it began. All go up to the same block.
    private var sums: [RunningSum]
    /// Whole blocks that the sums leave out, from those that they go up to on.
    private var unsummed = RangeSet()
    /// From here on blocks may still turn out to be left out, which are in the sums already.
    private var doubtful = UInt64.max
    /// Those blocks, as they were summed.
    private var doubted: [(start: UInt64, sum: UInt64)] = []
    /// Blocks of the largest window.
    private static let doubtLimit = 1_024

    /// Σ XXH3-64(block, seed = offset) over [`base`, `end`): `end` is a block boundary, or the base.
    private struct RunningSum {
        let base: UInt64
        var end: UInt64
        var sum: UInt64 = 0

        init(from base: UInt64) {
            self.base = base
            end = base
        }
    }

    /// Of bases that are kept.
    private static let sumLimit = 8

    /// - Parameter start: what lies below it came otherwise; the sum begins there.
    public init(integrity: Integrity, from start: UInt64 = 0) {
        unsafe blockSum = integrity.blockSum
        slots = Array(repeating: nil, count: 4)
        read = start
        front = start
        highest = start
        sums = [RunningSum(from: start)]
    }

    /// Committed bytes not yet taken by the local socket.
    public var unread: UInt64 { front - read }

    private func slot(_ block: UInt64) -> Int { Int(truncatingIfNeeded: block) & (slots.count - 1) }

    private func copy(of block: UInt64) -> BlockCopy? {
        guard let held = slots[slot(block)], held.block == block else { return nil }
        return held
    }

    /// Makes room for blocks up to `block`; the ring always spans [read, highest block asked for].
    private mutating func grow(toHold block: UInt64) {
        let first = Block.index(of: read)
        guard block - first >= UInt64(slots.count) else { return }
        var count = slots.count
        while UInt64(count) <= block - first { count *= 2 }
        var wider = [BlockCopy?](repeating: nil, count: count)
        for case let copy? in slots { wider[Int(truncatingIfNeeded: copy.block) & (count - 1)] = copy }
        slots = wider
    }

    /// Copies a piece into place without showing it; bytes that are committed already, or read, are left
    /// alone.
    ///
    /// - Precondition: the piece lies within one block (`ChannelReader` refuses others), and the caller has
    ///   checked it against the credit granted.
    public mutating func write(at offset: UInt64, _ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0, offset + UInt64(bytes.count) > front else { return }
        let block = Block.index(of: offset)
        guard block >= Block.index(of: read) else { return }
        grow(toHold: block)
        let index = slot(block)
        if slots[index] == nil {
            slots[index] = BlockCopy(block: block)
            held += 1
        }
        unsafe slots[index]?.write(at: offset, bytes)
    }

    /// Shows a range whose bytes were written and found good. Returns how many of them are new.
    public mutating func commit(_ range: ByteRange) -> UInt64 {
        guard range.end > front else { return 0 }
        let block = Block.index(of: range.start)
        let index = slot(block)
        guard let held = slots[index], held.block == block else { return 0 }
        let added = slots[index]?.commit(range) ?? 0
        highest = max(highest, range.end)
        advance()
        return added
    }

    /// Takes over a whole verified block. Returns how many of its bytes are new.
    public mutating func adopt(_ copy: BlockCopy) -> UInt64 {
        guard copy.end > front, copy.block >= Block.index(of: read) else { return 0 }
        grow(toHold: copy.block)
        let index = slot(copy.block)
        let before = slots[index]?.filled ?? 0
        if slots[index] == nil { held += 1 }
        slots[index] = copy
        highest = max(highest, copy.end)
        let added = copy.filled - min(before, copy.filled)
        advance()
        return added
    }

    /// Takes over a whole block of a server whose bytes are the truth from now on; not the one that holds
    /// `front`, if what is committed of it is different.
    public mutating func adoptUnverified(_ copy: BlockCopy) {
        let known = ByteRange(copy.start, max(front, copy.start))
        if !known.isEmpty {
            guard let held = self.copy(of: copy.block), copy.contains(known) else { return }
            let isSame = unsafe held.bytes(known).elementsEqual(copy.bytes(known))
            guard isSame else { return }
        }
        _ = adopt(copy)
    }

    private mutating func advance() {
        while let copy = copy(of: Block.index(of: front)) {
            let end = copy.prefixEnd(from: front)
            if end == front { return }
            front = end
            sumWholeBlocks()
            if front % Block.size != 0 { return }
        }
    }

    private mutating func sumWholeBlocks() {
        while let first = sums.first, Block.roundDown(first.end) + Block.size <= front {
            let block = ByteRange(Block.roundDown(first.end), Block.roundDown(first.end) + Block.size)
            let isLeftOut = !unsummed.isEmpty && unsummed.contains(block)
            if isLeftOut { unsummed.remove(block) }
            for index in sums.indices {
                if !isLeftOut { sums[index].sum &+= segmentSum(ByteRange(sums[index].end, block.end)) }
                sums[index].end = block.end
            }
            if !isLeftOut, block.start >= doubtful {
                if doubted.count == Self.doubtLimit { doubted.removeFirst() }
                doubted.append((block.start, segmentSum(block)))
            }
        }
    }

    /// Leaves whole blocks out of the sums, or takes them out of them. False, and nothing is changed, unless
    /// they are whole.
    public mutating func leaveOut(_ range: ByteRange) -> Bool {
        guard range.start % Block.size == 0, range.end % Block.size == 0 else { return false }
        let least = Block.roundDown(front)
        let rest = ByteRange(max(range.start, least), max(range.end, least))
        if !rest.isEmpty { unsummed.insert(rest) }
        for (start, sum) in doubted where range.start <= start && start < range.end {
            for index in sums.indices where sums[index].base <= start { sums[index].sum &-= sum }
        }
        doubted.removeAll { range.start <= $0.start && $0.start < range.end }
        return true
    }

    /// Blocks below the offset can't be left out any more.
    public mutating func settleSum(below offset: UInt64) {
        doubtful = offset
        if !doubted.isEmpty { doubted.removeAll { $0.start < offset } }
    }

    private func segmentSum(_ range: ByteRange) -> UInt64 {
        guard !range.isEmpty, let copy = copy(of: Block.index(of: range.start)) else { return 0 }
        return unsafe blockSum(range.start, copy.bytes(range))
    }

    /// Where a sum begins at the earliest.
    public var sumBase: UInt64 { sums.first?.base ?? 0 }

    /// Σ XXH3-64(block, seed = offset) over [`base`, `front`) (protocol.md §6); nil: no sum begins there.
    public func sumToFront(from base: UInt64) -> UInt64? {
        guard let found = sums.first(where: { $0.base == base }) else { return nil }
        return found.sum &+ segmentSum(ByteRange(min(found.end, front), front))
    }

    /// Forgets what lies beyond `front`, where a new sum begins: the stream's truth comes from elsewhere now.
    public mutating func rebase() {
        forget(except: nil)
        beginSum()
    }

    /// The same, but for what whole blocks `origin` gave, whose word is the truth now, and the sums, which go
    /// on.
    public mutating func rebase(to origin: ServerID) {
        forget(except: origin)
        unsummed = RangeSet()
    }

    private mutating func forget(except origin: ServerID?) {
        highest = front
        for index in slots.indices {
            guard let copy = slots[index] else { continue }
            if let origin, copy.origin == origin, copy.start >= front, copy.filled == Block.size {
                highest = max(highest, copy.end)
            } else if copy.block * Block.size >= front {
                slots[index] = nil
                held -= 1
            } else {
                slots[index]?.truncate(at: front)
            }
        }
    }

    /// Begins a new sum at `front`.
    public mutating func beginSum() {
        sums = [RunningSum(from: front)]
        unsummed = RangeSet()
    }

    /// Begins a further sum at `front`: which of the last few the sender keeps is not known.
    public mutating func beginAnotherSum() {
        if sums.last?.base == front { return }
        if sums.count == Self.sumLimit { sums.removeFirst() }
        sums.append(RunningSum(from: front))
    }

    /// The blocks beyond `front` of which every byte is committed.
    var wholeBlocks: [BlockCopy] {
        slots.compactMap(\.self).filter { $0.start >= front && $0.filled == Block.size }
    }

    /// Whether every byte of the range is committed.
    public func contains(_ range: ByteRange) -> Bool {
        if range.end <= front { return true }
        return copy(of: Block.index(of: range.start))?.contains(range) ?? false
    }

    /// Up to `limit` in-order slices, from `read` to `front` or to `last`, whichever comes first.
    public func readable(into slices: inout [ChunkSlice], limit: Int, upTo last: UInt64 = .max) {
        var at = read
        while at < min(front, last), slices.count < limit, let copy = copy(of: Block.index(of: at)) {
            let end = min(front, last, Block.roundDown(at) + Block.size)
            slices.append(copy.slice(ByteRange(at, end)))
            at = end
        }
    }

    /// The local socket took `count` bytes.
    public mutating func consume(_ count: UInt64) {
        precondition(count <= front - read, "more taken than there was")
        let firstBlock = Block.index(of: read)
        read += count
        for block in firstBlock..<Block.index(of: read) {
            slots[slot(block)] = nil
            held -= 1
        }
    }
}

/// The memory of one block and what of it is committed.
public struct BlockCopy {
    public let block: UInt64
    let number: UInt64
    /// Whose bytes they are; nil: the primary's, or several servers'.
    let origin: ServerID?
    private let chunk: Chunk
    /// Almost always one range; more only when pieces come from several channels.
    private var committed = RangeSet()

    /// - Parameter number: tells a copy from one begun after it was dropped.
    public init(block: UInt64, number: UInt64 = 0, origin: ServerID? = nil) {
        self.block = block
        self.number = number
        self.origin = origin
        chunk = Chunk(capacity: Int(Block.size))
    }

    public var start: UInt64 { Block.start(of: block) }
    /// End of the last committed byte.
    public var end: UInt64 { committed.last?.end ?? start }
    /// What is committed.
    var ranges: [ByteRange] { committed.ranges }
    /// Committed bytes.
    public var filled: UInt64 { committed.count }

    public func contains(_ range: ByteRange) -> Bool { committed.contains(range) }
    public func prefixEnd(from offset: UInt64) -> UInt64 { committed.prefixEnd(from: offset) }

    /// Copies a piece into place, but for what is committed already.
    public mutating func write(at offset: UInt64, _ bytes: UnsafeRawBufferPointer) {
        let range = ByteRange(offset, offset + UInt64(bytes.count))
        precondition(range.start >= start && range.end <= start + Block.size, "piece outside its block")
        if committed.overlaps(range) {
            for gap in committed.gaps(in: range) { unsafe place(gap, from: bytes, at: offset) }
        } else {
            unsafe place(range, from: bytes, at: offset)
        }
    }

    private func place(_ range: ByteRange, from bytes: UnsafeRawBufferPointer, at offset: UInt64) {
        guard let source = bytes.baseAddress, !range.isEmpty else { return }
        unsafe (chunk.base + Int(range.start - start)).copyMemory(
            from: source + Int(range.start - offset), byteCount: Int(range.count))
    }

    /// So many ranges at most are kept apart: every channel brings its bytes in order, and a peer that
    /// scatters single bytes shall not have us keep a book of them.
    static let fragments = 64

    /// Returns how many of the range's bytes are new. What would be one fragment too many is not taken.
    public mutating func commit(_ range: ByteRange) -> UInt64 {
        guard committed.ranges.count < BlockCopy.fragments || range.start <= end else { return 0 }
        let before = committed.count
        committed.insert(range)
        return committed.count - before
    }

    mutating func truncate(at offset: UInt64) {
        if offset < start + Block.size { committed.remove(ByteRange(offset, start + Block.size)) }
    }

    /// Valid while this copy is held.
    public func bytes(_ range: ByteRange) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: chunk.base + Int(range.start - start), count: Int(range.count))
    }

    public func slice(_ range: ByteRange) -> ChunkSlice {
        ChunkSlice(chunk, offset: Int(range.start - start), count: Int(range.count))
    }
}
