import Testing

@testable import KwikCore

@Suite struct GatewayLifetimeTests {
    @Test("A session that is let go of in the midst of its work leaves nothing behind")
    func session() {
        let one = StreamID(0)
        let main = channel(4)
        let leased = channel(4, on: 2)
        weak var stream: GatewayStream?
        weak var lease: GatewayChannel?
        weak var path: GatewayPath?
        do {
            let world = GatewayWorld(limits: GatewayLimits())
            world.up()
            world.up(PathID(2))
            world.open(main, one, .stream)
            world.receive(main, .window(read: 0, maximum: 1 << 22))
            world.give(one, Int(4 * Block.size))
            world.lease(leased, one, ByteRange(2 * Block.size, 8 * Block.size), window: 1 << 22)
            let session = world.session
            stream = session.streams[one]
            path = session.paths[PathID(2)]
            lease = path?.channels[leased.number]
            withExtendedLifetime(world) { #expect(stream != nil && lease != nil && path != nil) }
        }
        #expect(stream == nil && lease == nil && path == nil)
    }
}
