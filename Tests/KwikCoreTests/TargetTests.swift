import Testing

@testable import KwikCore

/// A stream that is slower than its paths (requirement 5.4).
@Suite struct TargetTests {
    private static let paths = [ClientWorld.path, SpreadTests.second]

    private func told(_ world: ClientWorld) -> [TargetRemedy] {
        world.events.compactMap {
            guard case .belowTarget(_, let rate, let target, let remedy) = $0 else { return nil }
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

    @Test("A backend that gives no more is nobody's fault")
    func slowBackend() throws {
        let scene = try SpreadTests.spread()
        let world = scene.world
        world.data(scene.own, ByteRange(2 * Block.size, (4 << 20) - (100 << 10)))
        world.pass(.seconds(12), on: Self.paths)
        #expect(told(world).isEmpty)
    }
}
