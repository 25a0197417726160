import KwikCore
import Testing

private let one = StreamID(0)
private let main = channel(4)
private let size = Block.size

private func blocks(_ first: UInt64, _ last: UInt64) -> ByteRange { ByteRange(first * size, last * size) }

/// A connected stream with a wide window whose backend has given `count` bytes.
private func world(
    _ count: Int, role: Preface.Role = .stream, limits: GatewayLimits = GatewayLimits()
) -> GatewayWorld {
    let world = GatewayWorld(limits: limits)
    world.up()
    world.up(PathID(2))
    world.open(main, one, role)
    world.receive(main, .window(read: 0, maximum: 1 << 22))
    world.give(one, count)
    return world
}

private func tags(_ range: ByteRange) -> [BlockTag] {
    (range.start / size..<(range.end + size - 1) / size).map { block in
        let bytes = ByteRange(block * size, min((block + 1) * size, range.end))
        return GatewayChecks.tag(one, block, GatewayWorld.content(bytes))
    }
}

@Suite struct GatewayLeaseTests {
    @Test func carvedBlocksAreTaggedAndLeftToTheLease() {
        let world = world(Int(10 * size))
        world.receive(main, .carve(sequence: 9, [blocks(2, 5)]))
        let told = world.frames(main).suffix(2)
        #expect(told == [.carved(sequence: 9, [blocks(2, 5)]), .tag(firstBlock: 2, tags(blocks(2, 5)))])
        world.lease(channel(4, on: 2), one, blocks(2, 5), window: 1 << 22)
        world.pull()
        #expect(world.received(main) == [blocks(0, 2), blocks(5, 10)])
        world.pull(PathID(2))
        #expect(world.received(channel(4, on: 2)) == [blocks(2, 5)])
        #expect(world.finished.contains(channel(4, on: 2)))
    }

    @Test func leaseThatCarvesServesWhatTheOwnSenderHasNotBegun() {
        let world = world(Int(8 * size))
        world.pull(room: Int(size) + 1)
        world.lease(channel(4, on: 2), one, blocks(1, 5), window: 1 << 22, carves: true)
        world.pull(PathID(2))
        world.pull()
        #expect(world.received(channel(4, on: 2)) == [blocks(2, 5)])
        #expect(world.finished.contains(channel(4, on: 2)))
        #expect(world.received(main) == [blocks(0, 2), blocks(5, 8)])
        #expect(!world.frames(main).contains { if case .tag = $0 { true } else { false } })
    }

    @Test func leaseThatComesTooLateToCarveIsAnsweredWithEnd() {
        let world = world(Int(4 * size))
        world.pull()
        world.lease(channel(4, on: 2), one, blocks(1, 3), window: 1 << 22, carves: true)
        #expect(world.frames(channel(4, on: 2)) == [.end])
        #expect(world.finished.contains(channel(4, on: 2)))
        // Nor can what has no end yet, or ends within a block, be carved.
        world.give(one, Int(size) + 1)
        world.lease(channel(8, on: 2), one, blocks(4, 6), window: 1 << 22, carves: true)
        #expect(world.frames(channel(8, on: 2)) == [.end])
    }

    /// It would be a fault of nobody's: the lease took a quicker path than the attach.
    @Test func leaseThatCarvesAndOvertakesThePromotionIsAnsweredWithEnd() {
        let world = world(Int(4 * size), role: .replica)
        world.lease(channel(4, on: 2), one, blocks(1, 3), window: 1 << 22, carves: true)
        #expect(world.frames(channel(4, on: 2)) == [.end])
        #expect(!world.events.contains { if case .malformed = $0 { true } else { false } })
    }

    @Test func answerToCarveComesBeforeAnyLaterData() throws {
        let world = world(Int(4 * size))
        world.receive(main, .carve(sequence: 1, [blocks(1, 2)]))
        world.pull()
        let items = world.items(main)
        let data = try #require(items.firstIndex { if case .data = $0 { true } else { false } })
        let carved = try #require(items.firstIndex(of: .frame(.carved(sequence: 1, [blocks(1, 2)]))))
        #expect(carved < data)
    }

    @Test func begunAndUnfinishedBlocksAreRefused() {
        let world = world(Int(4 * size) + 1)
        world.pull(room: 20_000)
        world.receive(main, .carve(sequence: 3, [blocks(0, 3), blocks(4, 5)]))
        #expect(world.frames(main).contains(.carved(sequence: 3, [blocks(2, 3)])))
        world.receive(main, .carve(sequence: 4, [blocks(2, 3)]))
        #expect(world.frames(main).last == .carved(sequence: 4, []))
        world.pull()
        #expect(world.received(main) == [blocks(0, 2), ByteRange(3 * size, 4 * size + 1)])
    }

    @Test func shortLastBlockIsCarvedOnceTheBackendEnded() {
        let world = world(Int(2 * size) + 77)
        let last = ByteRange(2 * size, 2 * size + 77)
        world.receive(main, .carve(sequence: 1, [last]))
        #expect(world.frames(main).last == .carved(sequence: 1, []))
        world.handle(.localEnded(one, closed: false))
        world.receive(main, .carve(sequence: 2, [last]))
        let told: [Frame] = [.carved(sequence: 2, [last]), .tag(firstBlock: 2, tags(last))]
        #expect(world.frames(main).suffix(2) == told)
        let sum = GatewayChecks.fin(ByteRange(0, last.end), GatewayWorld.content)
        #expect(world.frames(main).contains(.fin(base: 0, final: last.end, sum: sum, closed: false)))
        world.lease(channel(4, on: 2), one, last, window: 1 << 22)
        world.pull(PathID(2))
        #expect(world.received(channel(4, on: 2)) == [last])
        #expect(world.finished.contains(channel(4, on: 2)))
    }

    @Test func lowestOffsetGoesFirstWhereLeaseAndOwnSenderShareAPath() {
        let world = world(Int(8 * size))
        world.receive(main, .carve(sequence: 1, [blocks(0, 2)]))
        world.lease(channel(8), one, blocks(0, 2), window: 1 << 22)
        world.pull(room: Int(2 * size))
        #expect(world.received(channel(8)) == [blocks(0, 2)])
        #expect(world.received(main) == [])
    }

    @Test func replicasLeaseWaitsForItsBackend() {
        let world = world(0, role: .replica)
        let lease = channel(8)
        world.lease(lease, one, blocks(2, 4), window: 1 << 22)
        world.pull()
        #expect(world.received(lease) == [])
        world.give(one, Int(3 * size))
        world.pull()
        #expect(world.received(lease) == [blocks(2, 3)])
        #expect(!world.finished.contains(lease))
        world.give(one, Int(3 * size))
        world.pull()
        #expect(world.received(lease) == [blocks(2, 4)])
        #expect(world.finished.contains(lease))
        #expect(world.received(main) == [])
    }

    /// Read ahead: half of a lease was there when it came. Retained: the same blocks go out once more.
    @Test func whatTheWindowWasGoodForIsCounted() {
        let world = world(Int(4 * size), role: .replica)
        let (first, second) = (channel(8), channel(4, on: 2))
        world.lease(first, one, blocks(2, 6), window: 1 << 22)
        world.pull()
        world.give(one, Int(2 * size))
        world.pull()
        world.lease(second, one, blocks(4, 6), window: 1 << 22)
        world.pull(PathID(2))
        #expect(world.received(first) == [blocks(2, 6)] && world.received(second) == [blocks(4, 6)])
        world.handle(.channelReset(main, code: 0))
        world.tick(after: .seconds(1))
        #expect(
            world.events.contains(.windowUsed(one, leased: 6 * size, ahead: 4 * size, again: 2 * size)))
    }

    @Test func leasePastTheEndIsToldSo() {
        let world = world(Int(2 * size), role: .replica)
        world.lease(channel(8), one, blocks(1, 3), window: 1 << 22)
        world.lease(channel(12), one, blocks(3, 4), window: 1 << 22)
        world.handle(.localEnded(one, closed: false))
        world.pull()
        #expect(world.received(channel(8)) == [blocks(1, 2)])
        #expect(world.frames(channel(8)) == [.end])
        #expect(world.frames(channel(12)) == [.end])
        #expect(world.finished.isSuperset(of: [channel(8), channel(12)]))
        #expect(!world.frames(main).contains { $0.isFin })
        let progress = Frame.progress(produced: 2 * size, ended: true, applicationLimited: false)
        #expect(world.frames(main).contains(progress))
    }

    @Test func replicaDiscardsUpToWhatTheClientHasRead() {
        let world = world(0, role: .replica)
        world.receive(main, .window(read: 20 * size + 5, maximum: 1 << 22))
        world.give(one, Int(19 * size))
        #expect(world.frames(main).compactMap(\.producedInProgress) == [])
        world.give(one, Int(2 * size))
        #expect(world.discarded == 20 * size)
        let told = world.frames(main).compactMap(\.producedInProgress)
        #expect(told.count == 1)
        #expect((told.last ?? 0) > 20 * size)
        world.lease(channel(8), one, blocks(20, 21), read: 20 * size + 5, window: 1 << 22)
        world.pull()
        #expect(world.received(channel(8)) == [blocks(20, 21)])
    }

    @Test func discardHasABudget() {
        var limits = GatewayLimits()
        limits.discardBudget = 10 * size
        let world = world(0, role: .replica, limits: limits)
        world.receive(main, .window(read: 11 * size, maximum: 1 << 22))
        #expect(world.abandoned[main] == .resourceLimit)
        #expect(world.released == [one])
    }

    @Test func leaseBeyondTheWindowOrBelowTheReadOffsetIsRefused() {
        let world = world(Int(8 * size))
        world.lease(channel(8), one, ByteRange(1 << 22, (1 << 22) + size), window: 1 << 22)
        #expect(world.abandoned[channel(8)] == .flowControl)
        world.receive(main, .window(read: 4 * size, maximum: 1 << 22))
        world.lease(channel(12), one, blocks(1, 3), window: 1 << 22)
        #expect(world.abandoned[channel(12)] == .flowControl)
        #expect(world.abandoned[main] == nil)
    }

    @Test func leaseThatTheClientReadPastIsGivenUp() {
        let world = world(Int(8 * size))
        world.lease(channel(8), one, blocks(1, 3), window: 1 << 22)
        world.receive(main, .window(read: 5 * size, maximum: 1 << 22))
        world.pull()
        #expect(world.abandoned[channel(8)] == .flowControl)
        #expect(world.received(main) == [blocks(5, 8)])
    }

    @Test func revokedLeaseSendsNothingMore() {
        let world = world(Int(8 * size))
        world.receive(main, .carve(sequence: 1, [blocks(0, 8)]))
        world.lease(channel(8), one, blocks(0, 8), window: 1 << 22)
        world.pull(room: Int(size))
        world.handle(.channelReset(channel(8), code: 0))
        world.pull()
        #expect(world.received(channel(8)) == [blocks(0, 1)])
        #expect(!world.session.wantsToSend(main.path))
    }

    @Test func leasesHaveALimit() {
        var limits = GatewayLimits()
        limits.leasesPerStream = 1
        let world = world(Int(8 * size), limits: limits)
        world.lease(channel(8), one, blocks(0, 1), window: 1 << 22)
        world.lease(channel(12), one, blocks(1, 2), window: 1 << 22)
        #expect(world.abandoned[channel(8)] == nil)
        #expect(world.abandoned[channel(12)] == .resourceLimit)
        world.pull()
        world.lease(channel(16), one, blocks(2, 3), window: 1 << 22)
        #expect(world.abandoned[channel(16)] == nil)
    }

    @Test func streamIsKeptWhileALeaseIsServed() {
        let world = world(Int(4 * size))
        world.receive(main, .carve(sequence: 1, [blocks(2, 4)]))
        world.pull()
        world.handle(.localEnded(one, closed: false))
        world.lease(channel(4, on: 2), one, blocks(2, 4), window: 1 << 22)
        world.receive(main, .fin(base: 0, final: 0, sum: 0, closed: false), finished: true)
        #expect(world.finished.contains(main))
        #expect(world.released.isEmpty)
        world.pull(PathID(2))
        #expect(world.received(channel(4, on: 2)) == [blocks(2, 4)])
        #expect(world.released == [one])
    }

    @Test func replicaMayNotBeCarved() {
        let world = world(Int(4 * size), role: .replica)
        world.receive(main, .carve(sequence: 1, [blocks(0, 1)]))
        #expect(world.events.contains(.malformed(main, .notAllowedHere)))
    }

    @Test func memoryIsBoundedByTheWindowWhoeverReads() {
        var limits = GatewayLimits()
        limits.windowPerStream = 8 * size
        let world = world(Int(64 * size), limits: limits)
        #expect(world.given[one] == 8 * size)
        world.pull()
        world.receive(main, .window(read: 8 * size, maximum: 1 << 22))
        #expect(world.give(one, Int(64 * size)) == Int(8 * size))
    }
}
