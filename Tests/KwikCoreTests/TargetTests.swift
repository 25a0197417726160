import Testing

@testable import KwikCore

/// A stream that is slower than its paths (requirement 5.4).
@Suite struct TargetTests {
    private static let paths = [ClientWorld.path, SpreadTests.second]

    private func told(_ world: ClientWorld) -> [TargetRemedy] {
        world.events.compactMap {
            guard case .belowTarget(_, _, let rate, let target, let remedy) = $0 else { return nil }
            return rate < target / 2 ? remedy : nil
        }
    }

    @Test("Five seconds of less than half of what the paths can are told, and parked paths tried again")
    func below() throws {
        for isParked in [false, true] {
            let scene = try SpreadTests.spread()
            let world = scene.world
            if isParked {
                try scene.state.parked.append(
                    .init(path: ClientWorld.mirrorPath, until: world.now + .seconds(30), times: 1))
            }
            world.pass(.milliseconds(4_800), on: Self.paths)
            #expect(told(world).isEmpty)
            world.pass(.milliseconds(400), on: Self.paths)
            #expect(told(world) == [isParked ? .unparked : .none])
            #expect(try scene.state.parked.allSatisfy { $0.until == nil })
        }
    }

    @Test("Streams that are busy together have targets as their weights are")
    func shares() throws {
        let world = ClientWorld()
        world.up()
        var streams: [StreamID] = []
        for priority: UInt8 in [1, 6] {
            let option = SocketOption(level: 1, name: 12, value: [priority, 0, 0, 0])
            let stream = try world.open([option])
            let own = try world.main()
            world.receive(
                own, .opened(errno: 0, local: [], peer: []), .window(read: 0, maximum: 8 << 20))
            world.write(stream, 1 << 20)
            streams.append(stream)
        }
        world.pass(.milliseconds(5_200), on: [ClientWorld.path])
        let targets = streams.map { stream in
            world.events.compactMap { event -> UInt64? in
                guard case .belowTarget(stream, true, _, let target, _) = event else { return nil }
                return target
            }.first
        }
        let (low, high) = (try #require(targets[0]), try #require(targets[1]))
        #expect(abs(Double(high) / Double(low) / 16 - 1) < 0.01)
    }

    @Test("Five seconds in which a primary takes less than half of what the paths can carry are told")
    func upstream() throws {
        for isTaken in [false, true] {
            let scene = try UpstreamPathTests.bulk(1 << 20)
            let world = scene.world
            world.sample(window: 10_000)
            world.sample(UpstreamPathTests.second, window: 10_000)
            for step in 1...12 {
                // 2 MB/s are what two windows of 10,000 bytes in 10 ms come to.
                let taken = UInt64(step) << (isTaken ? 19 : 14)
                world.receive(scene.own, .window(read: taken, maximum: taken + (8 << 20)))
                world.write(scene.stream, 1 << 20)
                world.pull(room: 16_384)
                world.pass(.milliseconds(500), on: Self.paths)
            }
            let below = world.events.contains {
                if case .belowTarget(_, isUpstream: true, _, _, .none) = $0 { true } else { false }
            }
            #expect(below == !isTaken)
        }
    }

    @Test("A backend that gives no more is nobody's fault")
    func slowBackend() throws {
        let scene = try SpreadTests.spread()
        let world = scene.world
        world.data(scene.own, ByteRange(2 * Block.size, (4 << 20) - (100 << 10)))
        world.pass(.seconds(12), on: Self.paths)
        #expect(told(world).isEmpty)
    }
}
