import Testing

@testable import KwikCore

private let wired = InterfaceID(2)
private let wireless = InterfaceID(3)
private let first = PathID(1)
private let second = PathID(2)
private let origin = ClientWorld.origin

/// A program may bind its socket to an interface.
@Suite struct PathRestrictionTests {
    private let bound = PathRestriction(interfaces: [wireless])

    @Test("A stream begins on a path that it may use, or waits for one")
    func begins() throws {
        let world = ClientWorld()
        world.up(first, interface: wired)
        let stream = try world.open([], bound)
        #expect(world.session.stream(stream)?.own == nil)
        #expect(world.session.isReachable && !world.session.isReachable(bound))
        world.up(second, interface: wireless)
        #expect(try world.main(second) == world.session.stream(stream)?.own)
        #expect(world.session.isReachable(bound))
    }

    @Test("It never moves to another, though that one works and its own is gone")
    func stays() throws {
        let world = ClientWorld()
        world.up(first, interface: wireless)
        let stream = try world.open([], bound)
        world.receive(try world.main(first), .opened(errno: 0, local: [], peer: []))
        world.up(second, interface: wired)
        world.handle(.pathDown(first))
        world.pass(.milliseconds(200), on: [second])
        #expect(world.session.stream(stream)?.own == nil)
        world.up(PathID(3), interface: wireless)
        #expect(world.session.stream(stream)?.own?.path == PathID(3))
    }

    @Test("Replicas by other interfaces give it nothing")
    func replicas() throws {
        for (interface, isEngaged) in [(wired, false), (wireless, true)] {
            let world = ClientWorld()
            world.up(first, interface: wireless)
            let stream = try world.open([], bound)
            let own = try world.main(first)
            world.receive(own, .opened(errno: 0, local: [], peer: []))
            world.up(second, ClientWorld.mirror, .replica, interface: interface)
            world.data(own, .blocks(0, 2))
            world.receive(own, .progress(produced: 4 << 20, ended: false, applicationLimited: false))
            world.pass(.milliseconds(110))
            #expect(world.session.stream(stream)?.isEngaged == isEngaged)
        }
    }

    @Test("A replica or a relay that answers does not make a service reachable")
    func reachable() {
        let world = ClientWorld()
        world.up(first, ClientWorld.mirror, .replica)
        world.up(second, ServerID(3), .relay)
        #expect(!world.session.isReachable)
        world.up(PathID(3), origin, .origin)
        #expect(world.session.isReachable)
    }
}
