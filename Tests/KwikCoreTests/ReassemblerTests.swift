import Testing

@testable import KwikCore

/// What a reassembler should do, byte by byte.
private struct Model {
    /// nil: not committed. From offset 0 on.
    var bytes: [UInt8?] = []
    var read: UInt64 = 0
    private(set) var front: UInt64 = 0

    var highest: UInt64 { UInt64(bytes.count) }

    /// Returns how many bytes are new.
    mutating func commit(_ offset: UInt64, _ piece: ArraySlice<UInt8>) -> UInt64 {
        var added: UInt64 = 0
        var at = Int(offset)
        while bytes.count < at + piece.count { bytes.append(nil) }
        for byte in piece {
            if bytes[at] == nil {
                bytes[at] = byte
                added += 1
            }
            at += 1
        }
        while front < highest, bytes[Int(front)] != nil { front += 1 }
        return added
    }

    mutating func rebase() { bytes.removeSubrange(Int(front)...) }

    func content(_ range: ByteRange) -> [UInt8] {
        bytes[Int(range.start)..<Int(range.end)].compactMap { $0 }
    }
}

/// A reassembler by reference, as `#expect` wants it.
private final class Sink {
    var reassembler = Reassembler(integrity: GatewayChecks.integrity)

    var front: UInt64 { reassembler.front }
    var highest: UInt64 { reassembler.highest }
    var sum: UInt64? { reassembler.sumToFront(from: reassembler.sumBase) }
    var memory: Int { reassembler.memory }

    func write(_ offset: UInt64, _ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe reassembler.write(at: offset, $0) }
    }

    /// Returns how many bytes are new.
    func put(_ offset: UInt64, _ bytes: [UInt8]) -> UInt64 {
        write(offset, bytes)
        return reassembler.commit(ByteRange(offset, offset + UInt64(bytes.count)))
    }

    func leaveOut(_ range: ByteRange) -> Bool { reassembler.leaveOut(range) }
    func adopt(_ copy: BlockCopy) -> UInt64 { reassembler.adopt(copy) }
    func contains(_ range: ByteRange) -> Bool { reassembler.contains(range) }

    var readable: [UInt8] {
        var slices: [ChunkSlice] = []
        reassembler.readable(into: &slices, limit: 64)
        return slices.flatMap { unsafe Array($0.bytes) }
    }
}

private func content(_ range: ByteRange) -> [UInt8] { GatewayWorld.content(range) }

@Suite struct ReassemblerTests {
    /// Pieces of any order, overlapping, repeated and with other bytes the second time; reads between them;
    /// now and then a new beginning of the sum.
    @Test("Agrees with a model that keeps single bytes", arguments: 0..<12 as Range<UInt64>)
    func model(seed: UInt64) {
        var chance = WireChance(state: seed)
        let sink = Sink()
        var model = Model()
        var base: UInt64 = 0
        for _ in 0..<120 {
            let within = UInt64.random(in: 0..<Block.size, using: &chance)
            let block = Block.index(of: model.read) + UInt64.random(in: 0..<4, using: &chance)
            let near = Bool.random(using: &chance) ? model.front : Block.start(of: block) + within
            let offset = max(near, Block.roundDown(model.read))
            let most = min(Block.size - offset % Block.size, 6_000)
            let bytes = chance.bytes(Int(UInt64.random(in: 1...most, using: &chance)))
            let added = sink.put(offset, bytes)
            // What the program has read is gone, and counts as there.
            let old = min(max(offset, model.read) - offset, UInt64(bytes.count))
            let expected = model.commit(offset + old, bytes[Int(old)...])
            #expect(added == expected)
            #expect(sink.front == model.front && sink.highest == model.highest)
            let shown = sink.readable
            #expect(shown == model.content(ByteRange(model.read, model.front)))
            if UInt8.random(in: 0..<16, using: &chance) == 0 {
                #expect(sink.sum == GatewayChecks.fin(ByteRange(base, model.front), model.content))
                sink.reassembler.rebase()
                model.rebase()
                base = model.front
                #expect(sink.reassembler.sumBase == base && sink.sum == 0)
            }
            let taken = UInt64.random(in: 0...UInt64(shown.count), using: &chance)
            sink.reassembler.consume(taken)
            model.read += taken
        }
        #expect(sink.sum == GatewayChecks.fin(ByteRange(base, model.front), model.content))
    }

    @Test("A sum may begin at several offsets")
    func severalSums() {
        let sink = Sink()
        let all = ByteRange(0, 3 * Block.size + 70)
        func put(to end: UInt64) {
            while sink.front < end {
                let piece = ByteRange(sink.front, min(end, Block.roundDown(sink.front) + Block.size))
                #expect(sink.put(piece.start, content(piece)) == piece.count)
            }
        }
        put(to: 5_000)
        sink.reassembler.beginSum()
        put(to: Block.size + 100)
        sink.reassembler.beginAnotherSum()
        sink.reassembler.beginAnotherSum()
        put(to: all.end)
        for base in [5_000, Block.size + 100] {
            let sum = GatewayChecks.fin(ByteRange(base, all.end), content)
            #expect(sink.reassembler.sumToFront(from: base) == sum)
        }
        #expect(sink.reassembler.sumToFront(from: 0) == nil)
    }

    /// Seeds 44305 and 58997 of the simulation.
    @Test("Blocks can be left out of the sum before they come, amid them, and when they are here already")
    func leftOut() {
        for late in [0, 100, Block.size, Block.size + 100, 2 * Block.size] {
            let sink = Sink()
            sink.reassembler.settleSum(below: 0)
            let skipped = ByteRange.blocks(1, 3)
            let end = 4 * Block.size
            while sink.front < end {
                if sink.front == Block.size + late { #expect(sink.leaveOut(skipped)) }
                let next = Block.roundDown(sink.front) + Block.size
                let stop = Block.size + late
                let piece = ByteRange(sink.front, stop > sink.front ? min(next, stop) : next)
                #expect(sink.put(piece.start, content(piece)) == piece.count)
                sink.reassembler.consume(sink.front - sink.reassembler.read)
            }
            let sum =
                GatewayChecks.fin(ByteRange(0, Block.size), content)
                &+ GatewayChecks.fin(.blocks(3, 4), content)
            #expect(sink.sum == sum)
            #expect(!sink.leaveOut(ByteRange(5 * Block.size, 5 * Block.size + 1)))
        }
    }

    @Test("A block that can't be left out any more stays in the sum")
    func settledSum() {
        let sink = Sink()
        sink.reassembler.settleSum(below: 0)
        #expect(sink.put(0, content(.blocks(0, 1))) == Block.size)
        sink.reassembler.settleSum(below: Block.size)
        #expect(sink.leaveOut(.blocks(0, 1)))
        #expect(sink.sum == GatewayChecks.fin(.blocks(0, 1), content))
    }

    @Test("What was written and never committed is not shown, and may be written anew")
    func uncommitted() {
        let sink = Sink()
        sink.write(0, [9, 9, 9, 9])
        #expect(sink.front == 0 && sink.readable.isEmpty)
        #expect(sink.put(0, [1, 2, 3]) == 3)
        #expect(sink.readable == [1, 2, 3])
    }

    @Test("A committed byte never changes")
    func firstCopyWins() {
        let sink = Sink()
        #expect(sink.put(2, [3, 4]) == 2)
        #expect(sink.put(0, [1, 2, 99, 99, 5]) == 3)
        #expect(sink.readable == [1, 2, 3, 4, 5])
        #expect(sink.put(0, [7, 7, 7, 7, 7]) == 0)
        #expect(sink.readable == [1, 2, 3, 4, 5])
    }

    @Test("A verified block is taken over whole, counted once")
    func adoption() {
        let sink = Sink()
        let block = ByteRange(Block.size, 2 * Block.size)
        #expect(sink.put(block.start, Array(content(block)[..<100])) == 100)
        var copy = BlockCopy(block: 1)
        unsafe content(block).withUnsafeBytes { unsafe copy.write(at: block.start, $0) }
        _ = copy.commit(block)
        #expect(sink.adopt(copy) == Block.size - 100)
        #expect(sink.adopt(copy) == 0)
        #expect(sink.contains(block) && sink.front == 0)
        #expect(sink.put(0, content(ByteRange(0, Block.size))) == Block.size)
        #expect(sink.front == block.end)
        #expect(sink.readable == content(ByteRange(0, block.end)))
    }

    @Test("Memory is held for what is not read, and given back")
    func memory() {
        let sink = Sink()
        for block in 0..<20 as Range<UInt64> {
            let range = ByteRange(block * Block.size, (block + 1) * Block.size)
            _ = sink.put(range.start, content(range))
        }
        #expect(sink.memory == 20 * Int(Block.size))
        sink.reassembler.consume(20 * Block.size - 1)
        #expect(sink.memory == Int(Block.size))
        #expect(sink.readable == [content(ByteRange(0, 20 * Block.size)).last])
        sink.reassembler.consume(1)
        #expect(sink.memory == 0)
    }

    @Test("A new beginning forgets what lies beyond the front, and its memory")
    func rebase() {
        let sink = Sink()
        _ = sink.put(0, content(ByteRange(0, 100)))
        _ = sink.put(200, [8])
        _ = sink.put(3 * Block.size, [8, 8])
        sink.reassembler.rebase()
        #expect(sink.front == 100 && sink.highest == 100 && sink.reassembler.sumBase == 100)
        #expect(sink.memory == Int(Block.size))
        #expect(!sink.contains(ByteRange(200, 201)))
        let rest = content(ByteRange(100, Block.size))
        #expect(sink.put(100, rest) == UInt64(rest.count))
        #expect(sink.readable == content(ByteRange(0, Block.size)))
        #expect(sink.sum == GatewayChecks.fin(ByteRange(100, Block.size), content))
    }

    @Test("A new beginning keeps the whole blocks of the server that it begins with")
    func rebaseToAnother() {
        let sink = Sink()
        let server = ServerID(4)
        _ = sink.put(0, content(ByteRange(0, 100)))
        _ = sink.put(5 * Block.size, content(.blocks(5, 6)))
        for (block, end, origin) in [(2, 3, server), (3, 4, ServerID(5)), (4, 4, server)] {
            var copy = BlockCopy(block: UInt64(block), origin: origin)
            let range = ByteRange(copy.start, UInt64(end) * Block.size + (end == block ? 10 : 0))
            unsafe content(range).withUnsafeBytes { unsafe copy.write(at: range.start, $0) }
            _ = copy.commit(range)
            _ = sink.reassembler.adopt(copy)
        }
        sink.reassembler.rebase(to: server)
        #expect((1...5).filter { sink.contains(.blocks(UInt64($0), UInt64($0) + 1)) } == [2])
        #expect(sink.front == 100 && sink.highest == 3 * Block.size)
        #expect(sink.memory == 2 * Int(Block.size))
    }

    @Test("A whole block takes the place of the one that holds the front if it agrees with that")
    func unverifiedFront() {
        for agrees in [true, false] {
            let sink = Sink()
            _ = sink.put(0, content(ByteRange(0, 100)))
            var bytes = content(ByteRange(0, Block.size))
            if !agrees { bytes[99] ^= 1 }
            var copy = BlockCopy(block: 0)
            unsafe bytes.withUnsafeBytes { unsafe copy.write(at: 0, $0) }
            _ = copy.commit(ByteRange(0, Block.size))
            sink.reassembler.adoptUnverified(copy)
            #expect(sink.front == (agrees ? Block.size : 100))
            #expect(sink.readable == content(ByteRange(0, sink.front)))
        }
    }

    /// A hostile server would have us keep a range for each byte that it scatters.
    @Test("A block is kept in so many fragments at most")
    func fragments() {
        var copy = BlockCopy(block: 0)
        var kept: UInt64 = 0
        for offset in stride(from: UInt64(0), to: Block.size, by: 2) {
            kept += copy.commit(ByteRange(offset, offset + 1))
        }
        #expect(kept == UInt64(BlockCopy.fragments))
        let between = copy.commit(ByteRange(0, copy.end))
        #expect(between == kept - 1)
        let rest = copy.commit(ByteRange(copy.end, Block.size))
        #expect(rest == Block.size - 2 * kept + 1)
        #expect(copy.filled == Block.size)
    }
}
