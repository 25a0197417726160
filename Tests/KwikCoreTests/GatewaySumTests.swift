import Testing

@testable import KwikCore

private let one = StreamID(0)
private let main = channel(4)
private let size = Block.size

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

private func sum(_ block: UInt64) -> UInt32 {
    let bytes = GatewayWorld.content(ByteRange(block * size, (block + 1) * size))
    return unsafe bytes.withUnsafeBytes { unsafe RollingSum.sum($0) }
}

/// The answers, as (first block, sums).
private func answers(_ world: GatewayWorld) -> [Frame] {
    world.frames(main).filter { if case .sums = $0 { true } else { false } }
}

@Suite struct GatewaySumTests {
    @Test func sumsOfHeldBlocksAreToldAsFarAsTheyGo() {
        let world = world(Int(3 * size) + 12_288)
        world.receive(main, .sumRequest(firstBlock: 1, count: 2), .sumRequest(firstBlock: 2, count: 9))
        world.receive(main, .carve(sequence: 1, [ByteRange(size, 2 * size)]))
        world.receive(main, .sumRequest(firstBlock: 1, count: 1))
        #expect(
            answers(world) == [
                .sums(firstBlock: 1, [sum(1), sum(2)]), .sums(firstBlock: 2, [sum(2), sum(3)]),
                .sums(firstBlock: 1, [sum(1)]),
            ])
    }

    @Test func whatIsNotThereHasNone() {
        let world = world(Int(3 * size) + 12_287)
        world.receive(main, .window(read: 2 * size, maximum: 1 << 22))
        for first in [0, 1, 3, 4, WireLimit.blocks - 1] {
            world.receive(main, .sumRequest(firstBlock: first, count: 1))
        }
        world.receive(main, .sumRequest(firstBlock: 2, count: 0))
        #expect(answers(world).count == 6)
        for case .sums(_, let sums) in answers(world) { #expect(sums.isEmpty) }
        world.receive(main, .sumRequest(firstBlock: 2, count: 1))
        #expect(answers(world).last == .sums(firstBlock: 2, [sum(2)]))
        #expect(world.abandoned.isEmpty)
    }

    @Test func sumsAreBoundedInCountAndRate() {
        var limits = GatewayLimits()
        limits.sumsPerRequest = 3
        limits.sumsPerSecond = 5
        let world = world(Int(8 * size), limits: limits)
        func told(_ count: UInt64) -> Int? {
            world.receive(main, .sumRequest(firstBlock: 0, count: count))
            if case .sums(_, let sums)? = answers(world).last { return sums.count }
            return nil
        }
        #expect([told(8), told(8), told(8)] == [3, 2, 0])
        world.tick(after: .milliseconds(999))
        #expect(told(1) == 0)
        world.tick(after: .milliseconds(1))
        #expect(told(1) == 1)
    }

    @Test func aReplicaTellsNone() {
        let world = world(Int(3 * size), role: .replica)
        world.receive(main, .sumRequest(firstBlock: 0, count: 1))
        #expect(world.abandoned[main] == .protocolViolation)
    }

    @Test func leaseThatBeginsWithinABlockIsServedInPiecesOfBlocks() {
        let world = world(Int(8 * size), role: .replica)
        world.lease(channel(4, on: 2), one, ByteRange(2 * size + 5, 4 * size + 5), window: 1 << 22)
        world.pull(PathID(2))
        var starts: [UInt64] = []
        for case .data(let header, _) in world.items(channel(4, on: 2)) { starts.append(header.offset) }
        #expect(starts == [2 * size + 5, 3 * size, 4 * size])
        #expect(world.received(channel(4, on: 2)) == [ByteRange(2 * size + 5, 4 * size + 5)])
        #expect(world.finished.contains(channel(4, on: 2)))
    }
}
