/// A range of a stream's downstream that the client has assigned to one server over one channel.
final class Lease {
    let channel: ChannelID
    let server: ServerID
    let range: ByteRange
    /// The primary takes the blocks from its own sender: what that has begun already is left out.
    let carves: Bool
    /// By how much its server's offsets are more than ours (`Anchor`).
    let shift: Int64
    /// The stream's when it was granted: a later attach has carved anew what was asked for.
    let epoch: UInt64
    let grantedAt: Instant
    /// When its last byte was to be here when it was granted.
    let promise: Instant
    /// Its bytes were asked of another before.
    let isSecond: Bool
    /// When it last brought anything.
    var broughtAt: Instant?
    /// Where its next bytes begin.
    var next: UInt64
    /// Bytes not yet received on it.
    var missing: UInt64
    /// What the primary refused to carve: it comes from the primary, the lease's copy is dropped.
    var refused: UInt64 = 0
    /// Its server answers it on channels of role 4 as well: what is missing is counted from what is there.
    var isContributed = false
    /// Whether another lease over the same bytes was granted because this one slipped.
    var doubled = false

    init(
        channel: ChannelID, server: ServerID, range: ByteRange, carves: Bool, epoch: UInt64,
        grantedAt: Instant, promise: Instant, isSecond: Bool, shift: Int64 = 0
    ) {
        self.channel = channel
        self.server = server
        self.range = range
        self.carves = carves
        self.shift = shift
        self.epoch = epoch
        self.grantedAt = grantedAt
        self.promise = promise
        self.isSecond = isSecond
        next = range.start
        missing = range.count
    }

    var blocks: Range<UInt64> { Block.index(of: range.start)..<Block.index(of: range.end + Block.size - 1) }
}

/// Who was asked for which bytes of one stream, and what came of it.
///
/// Invariants:
/// 1. `orphans ⊆ claims`: carved blocks that nobody is working on; they never return to the primary's own
/// sender.
/// 2. A claimed block is in a lease, an orphan, delegated, or complete and waiting for its tag.
/// 3. A copy belongs to one server alone, so a mismatch blames exactly who sent it.
struct LeaseBook {
    /// In the order of their starts.
    private(set) var leases: [Lease] = []
    /// Carved, or asked to be.
    var claims = RangeSet()
    var orphans = RangeSet()
    /// Only the primary serves them: blocks that did not match, or that have no tag.
    var primaryOnly = RangeSet()
    var tags: [UInt64: BlockTag] = [:]
    /// CARVEs without an answer.
    var pendingCarves: [(sequence: UInt64, ranges: [ByteRange])] = []
    private var copies: [CopyKey: BlockCopy] = [:]
    private var copiesBegun: UInt64 = 0
    private var nextSequence: UInt64 = 1
    /// Payload bytes that came and were not the first, or not of use: copies that were dropped, too.
    var duplicated: UInt64 = 0

    private struct CopyKey: Hashable {
        var server: ServerID
        var block: UInt64
    }

    mutating func takeSequence() -> UInt64 {
        defer { nextSequence += 1 }
        return nextSequence
    }

    mutating func add(_ lease: Lease) {
        let index = leases.firstIndex { $0.range.start > lease.range.start } ?? leases.count
        leases.insert(lease, at: index)
        orphans.remove(lease.range)
    }

    mutating func remove(_ lease: Lease) { leases.removeAll { $0 === lease } }

    func lease(on channel: ChannelID) -> Lease? { leases.first { $0.channel == channel } }

    /// Whether some lease but `lease` covers the block.
    func isHeld(_ block: UInt64, beside lease: Lease?) -> Bool {
        let start = Block.start(of: block)
        return leases.contains { $0 !== lease && $0.range.start <= start && start < $0.range.end }
    }

    /// Whether some lease of the server covers the block.
    func isHeld(_ block: UInt64, by server: ServerID) -> Bool {
        let start = Block.start(of: block)
        return leases.contains { $0.server == server && $0.range.start <= start && start < $0.range.end }
    }

    /// Copies a piece into the server's own copy of the block. Returns which copy that is: it may have been
    /// dropped and begun anew since the piece's earlier bytes.
    mutating func write(
        _ server: ServerID, at offset: UInt64, _ bytes: UnsafeRawBufferPointer
    ) -> UInt64 {
        let block = Block.index(of: offset)
        let key = CopyKey(server: server, block: block)
        if copies[key] == nil {
            copiesBegun += 1
            copies[key] = BlockCopy(block: block, number: copiesBegun, origin: server)
        }
        unsafe copies[key]?.write(at: offset, bytes)
        return copies[key]?.number ?? 0
    }

    /// Returns how many bytes of the range are new in the server's copy.
    mutating func commit(_ server: ServerID, _ range: ByteRange) -> UInt64 {
        copies[CopyKey(server: server, block: Block.index(of: range.start))]?.commit(range) ?? 0
    }

    /// Takes a whole block in as a copy of the server's: claimed, so that it gets a tag.
    mutating func hold(_ copy: BlockCopy, of server: ServerID) {
        copies[CopyKey(server: server, block: copy.block)] = copy
        claims.insert(ByteRange(copy.start, copy.start + Block.size))
    }

    func copy(_ server: ServerID, of block: UInt64) -> BlockCopy? {
        copies[CopyKey(server: server, block: block)]
    }

    /// The stream has its bytes.
    mutating func giveUpCopy(_ server: ServerID, of block: UInt64) {
        copies[CopyKey(server: server, block: block)] = nil
    }

    /// Its bytes came in vain: they come from another server, or came from one.
    mutating func dropCopy(_ server: ServerID, of block: UInt64) {
        duplicated += copies.removeValue(forKey: CopyKey(server: server, block: block))?.filled ?? 0
    }

    /// The block is settled: nobody's copy, tag or claim to it matters any more.
    mutating func settle(_ block: UInt64, servers: [ServerID]) {
        tags[block] = nil
        for server in servers { dropCopy(server, of: block) }
        let range = ByteRange(Block.start(of: block), Block.start(of: block) + Block.size)
        orphans.remove(range)
        primaryOnly.remove(range)
    }

    /// The stream's truth comes from another server now: all that was carved, asked and tagged is void.
    mutating func reset() {
        claims = RangeSet()
        orphans = RangeSet()
        primaryOnly = RangeSet()
        tags = [:]
        pendingCarves = []
        copies = [:]
        leases = []
    }

    /// What came twice, and what will where a second lease is out.
    var duplicates: UInt64 { leases.reduce(duplicated) { $1.isSecond ? $0 + $1.missing : $0 } }

    /// Bytes of block memory held by copies.
    var memory: UInt64 { UInt64(copies.count) * Block.size }
}
