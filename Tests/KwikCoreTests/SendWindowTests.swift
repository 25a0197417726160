import KwikCore
import Testing

/// Fills as much as there is room for, up to `count`. Returns what was taken.
private func fill(_ window: inout SendWindow, _ count: Int, limit: UInt64 = .max) -> Int {
    var left = count
    while left > 0 {
        switch window.room(upTo: limit) {
        case .none: return count - left
        case .discard(let most):
            let step = min(most, left)
            window.filled(step)
            left -= step
        case .buffer(let buffer):
            let step = min(buffer.count, left)
            let range = ByteRange(window.produced, window.produced + UInt64(step))
            unsafe buffer.copyBytes(from: GatewayWorld.content(range))
            window.filled(step)
            left -= step
        }
    }
    return count
}

/// Bytes of block memory that are shown; `nil`: none.
private func room(_ window: inout SendWindow, _ limit: UInt64) -> Int? {
    if case .buffer(let buffer) = window.room(upTo: limit) { buffer.count } else { nil }
}

private func bytes(_ window: SendWindow, _ range: ByteRange) -> [UInt8] { unsafe Array(window.bytes(range)) }

private let size = Block.size

@Suite struct SendWindowTests {
    private func window(sums: Bool = true) -> SendWindow {
        SendWindow(integrity: GatewayChecks.integrity, maximum: 65_536, sumsFromStart: sums)
    }

    @Test func holdsWhatIsUnreadAndFreesWholeBlocks() {
        var window = window()
        #expect(fill(&window, 100_000) == 100_000)
        #expect(window.memory == 7 * Int(size))
        window.grant(read: 3 * size + 1, maximum: 1 << 20)
        #expect(window.heldFrom == 3 * size)
        #expect(window.memory == 4 * Int(size))
        let range = ByteRange(3 * size + 5, 4 * size)
        #expect(bytes(window, range) == GatewayWorld.content(range))
    }

    /// A gateway read its backend in steps of a block.
    @Test func readsTakeMoreOfAStreamThatGivesMuch() {
        var window = window()
        #expect(room(&window, .max) == Int(size))
        for (given, blocks) in [(1 << 18, 1), (1 << 20, 4), (1 << 22, 16), (1 << 23, 16)] {
            #expect(fill(&window, given - Int(window.produced)) > 0)
            // What is left of the memory that was asked for last.
            let rest = room(&window, .max) ?? 0
            #expect(fill(&window, rest) == rest)
            #expect(room(&window, .max) == blocks * Int(size))
            window.grant(read: window.produced, maximum: .max)
        }
        #expect(window.memory <= 16 * Int(size))
    }

    @Test func roomEndsAtTheBlockAndAtTheLimit() {
        var window = window()
        _ = fill(&window, 10_000)
        #expect(room(&window, .max) == Int(size) - 10_000)
        #expect(room(&window, 10_001) == 1)
        #expect(room(&window, 10_000) == nil)
        window.end()
        #expect(room(&window, .max) == nil)
    }

    @Test func grantsThatGoBackChangeNothing() {
        var window = window()
        _ = fill(&window, 50_000)
        window.grant(read: 40_000, maximum: 500_000)
        window.grant(read: 10, maximum: 400_000)
        #expect(window.read == 40_000)
        #expect(window.maximum == 500_000)
    }

    @Test func sumCoversWhatWasReadBeforeTheEnd() {
        var window = window()
        _ = fill(&window, 40_000)
        window.grant(read: 40_000, maximum: 1 << 20)
        _ = fill(&window, 30_000)
        window.grant(read: 70_000, maximum: 1 << 20)
        #expect(window.sumToProduced == GatewayChecks.fin(ByteRange(0, 70_000), GatewayWorld.content))
    }

    @Test func sumSurvivesAReaderThatIsAheadOfTheBackend() {
        var window = window()
        _ = fill(&window, 100)
        window.grant(read: 5 * size, maximum: 1 << 20)
        #expect(fill(&window, 100_000) == 100_000)
        #expect(window.discarded == 0)
        #expect(window.memory <= 2 * Int(size))
        #expect(window.sumToProduced == GatewayChecks.fin(ByteRange(0, 100_100), GatewayWorld.content))
    }

    @Test func sumBeginsAnewWithinABlock() {
        var window = window(sums: false)
        _ = fill(&window, 60_000)
        window.beginSum(at: 20_000)
        _ = fill(&window, 1_000)
        #expect(window.sumToProduced == GatewayChecks.fin(ByteRange(20_000, 61_000), GatewayWorld.content))
    }

    @Test func sumBeginsPastWhatTheBackendGave() {
        var window = window(sums: false)
        _ = fill(&window, 1_000)
        window.grant(read: 50_000, maximum: 1 << 20)
        window.beginSum(at: 70_000)
        _ = fill(&window, 99_000)
        #expect(window.discarded == 3 * size - 1_000)
        #expect(window.sumToProduced == GatewayChecks.fin(ByteRange(70_000, 100_000), GatewayWorld.content))
    }

    @Test func withoutASumUnneededBytesAreDiscardedUpToABlock() {
        var window = window(sums: false)
        _ = fill(&window, 100)
        #expect(window.discardNeeded(toRead: 3 * size + 9) == 3 * size - 100)
        window.grant(read: 3 * size + 9, maximum: 1 << 20)
        #expect(window.memory == 0)
        _ = fill(&window, Int(4 * size))
        #expect(window.discarded == 3 * size - 100)
        let range = ByteRange(3 * size, 4 * size)
        #expect(bytes(window, range) == GatewayWorld.content(range))
    }

    @Test func carvesWholeUnbegunBlocksOnce() {
        var window = window()
        _ = fill(&window, Int(4 * size) + 100)
        var granted: [ByteRange] = []
        window.carve(ByteRange(0, 10 * size), begun: 10, into: &granted)
        #expect(granted == [ByteRange(size, 4 * size)])
        #expect(window.nextOwn(from: 10) == 10)
        #expect(window.nextOwn(from: size) == 4 * size)
        var again: [ByteRange] = []
        window.carve(ByteRange(0, 10 * size), begun: 10, into: &again)
        #expect(again.isEmpty)
        window.forgetCarved()
        #expect(window.nextOwn(from: size) == size)
    }

    @Test func carvesTheShortLastBlockOnlyAtTheEnd() {
        var window = window()
        _ = fill(&window, Int(2 * size) + 100)
        var granted: [ByteRange] = []
        window.carve(ByteRange(size, 3 * size), begun: 0, into: &granted)
        #expect(granted == [ByteRange(size, 2 * size)])
        window.end()
        granted = []
        window.carve(ByteRange(2 * size, 2 * size + 99), begun: 0, into: &granted)
        #expect(granted.isEmpty)
        window.carve(ByteRange(2 * size, 2 * size + 100), begun: 0, into: &granted)
        #expect(granted == [ByteRange(2 * size, 2 * size + 100)])
        #expect(window.nextOwn(from: 2 * size) >= window.produced)
    }

    @Test func carvedBlocksStayCarvedWhileOthersAreFreed() {
        var window = window()
        _ = fill(&window, Int(48 * size))
        var granted: [ByteRange] = []
        window.carve(ByteRange(44 * size, 46 * size), begun: 0, into: &granted)
        for block in 1...43 { window.grant(read: UInt64(block) * size, maximum: 1 << 24) }
        #expect(window.nextOwn(from: 44 * size) == 46 * size)
        #expect(window.memory == 5 * Int(size))
    }
}
