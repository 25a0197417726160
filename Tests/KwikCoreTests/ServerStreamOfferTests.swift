import Testing

@testable import KwikCore

/// Streams that a server opens, where the path they are offered by is dead: a program beside the server once
/// waited for ever (seed 202469 of the simulation).
@Suite struct ServerStreamOfferTests {
    private static let first = PathID(1)
    private static let second = PathID(2)

    /// A session with a stream, so that this server is a primary, and a second path.
    private func world() -> GatewayWorld {
        let world = GatewayWorld()
        world.up(Self.first)
        world.open(channel(4), StreamID(0))
        world.up(Self.second)
        return world
    }

    private func measured(_ path: PathID, srtt: Interval, by world: GatewayWorld) {
        world.handle(.heard(path))
        world.handle(
            .sample(
                path,
                PathSample(
                    srtt: srtt, rttVariation: srtt / 2, probeTimeout: srtt * 3, congestionWindow: 12_000,
                    inFlight: 0, received: 0)))
    }

    private func open(_ world: GatewayWorld) throws -> StreamID {
        try #require(world.call { world.session.openStream(now: world.now, into: &$0) })
    }

    @Test("A path that was never measured is not taken for the quickest")
    func unmeasured() throws {
        let world = world()
        measured(Self.first, srtt: .milliseconds(80), by: world)
        _ = try open(world)
        #expect(world.opened == [channel(1)])
    }

    @Test("Nor is a quick one on which the client was not heard of late")
    func unheard() throws {
        let world = world()
        measured(Self.first, srtt: .milliseconds(5), by: world)
        world.tick(after: .seconds(5))
        measured(Self.second, srtt: .milliseconds(80), by: world)
        _ = try open(world)
        #expect(world.opened == [channel(1, on: 2)])
    }

    @Test("What is not answered is offered once more by another path, and the first answer counts")
    func offeredAgain() throws {
        let world = world()
        measured(Self.first, srtt: .milliseconds(5), by: world)
        let id = try open(world)
        world.tick(after: .milliseconds(999))
        #expect(world.opened == [channel(1)])
        world.tick(after: .milliseconds(1))
        #expect(world.opened == [channel(1), channel(1, on: 2)])
        #expect(world.items(channel(1, on: 2)) == [.preface(Preface(stream: id, role: .serverStream))])
        world.receive(channel(1, on: 2), .opened(errno: 0, local: [], peer: []))
        #expect(world.answers[id] == 0 && world.abandoned == [channel(1): .none])
        world.give(id, 500)
        world.pull(Self.second)
        #expect(world.received(channel(1, on: 2)) == [ByteRange(0, 500)])
        world.tick(after: .seconds(40))
        #expect(world.opened.count == 2 && !world.released.contains(id))
    }

    @Test("A client that says no more than that it knows of the stream is waited for")
    func knownToTheClient() throws {
        let world = world()
        let id = try open(world)
        world.tick(after: .seconds(1))
        world.handle(.channelReset(channel(1, on: 2), code: ErrorCode.none.rawValue))
        #expect(world.answers[id] == nil)
        world.receive(channel(1), .opened(errno: 0, local: [], peer: []))
        #expect(world.answers[id] == 0)
    }

    @Test("With its path gone it is offered by another at once; who attaches it has taken it")
    func pathGone() throws {
        let world = world()
        measured(Self.first, srtt: .milliseconds(5), by: world)
        let id = try open(world)
        world.handle(.pathDown(Self.first))
        world.tick()
        #expect(world.opened == [channel(1), channel(1, on: 2)])
        world.preface(channel(8, on: 2), id, .attach(epoch: 1, received: 0))
        #expect(world.answers[id] == 0 && world.abandoned == [channel(1, on: 2): .none])
    }

    /// Its program was told ECONNREFUSED (seed 15196 of the simulation).
    @Test("A client that took it, and goes on by another path before its answer is here, has not refused it")
    func movedOn() throws {
        let world = world()
        measured(Self.first, srtt: .milliseconds(5), by: world)
        let id = try open(world)
        world.handle(.channelReset(channel(1), code: ErrorCode.reattached.rawValue))
        #expect(world.answers[id] == nil && !world.released.contains(id))
        world.preface(channel(8, on: 2), id, .attach(epoch: 1, received: 0))
        #expect(world.answers[id] == 0)
    }

    @Test("Without any answer the program is told ETIMEDOUT after 30 s, by paths that come and go as well")
    func timesOut() throws {
        let world = world()
        let id = try open(world)
        world.tick(after: .seconds(20))
        world.handle(.pathDown(Self.first))
        world.up(PathID(3))
        world.tick(after: .milliseconds(9_999))
        #expect(world.answers[id] == nil)
        world.tick(after: .milliseconds(1))
        #expect(world.answers[id] == ErrorNumber.timedOut && world.released.contains(id))
        let after = world.opened.count
        world.tick(after: .seconds(2))
        #expect(world.opened.count == after)
    }

    @Test("Nonsense for an answer is one")
    func nonsense() throws {
        let world = world()
        let id = try open(world)
        world.receive(channel(1), .progress(produced: 1, ended: false, applicationLimited: false))
        #expect(world.answers[id] == ErrorNumber.connectionReset && world.released.contains(id))
    }

    // MARK: The client

    @Test("A client takes a stream once, by whichever path it is offered")
    func takenOnce() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.up(PathID(5))
        world.preface(channel(1), .serverStream)
        world.preface(channel(1, on: 5), .serverStream)
        #expect(world.call { world.session.accept(StreamID(1), now: world.now, into: &$0) })
        world.preface(channel(5, on: 5), .serverStream)
        #expect(world.offered == [StreamID(1)])
        #expect(world.abandoned[channel(1, on: 5)] == ErrorCode.none)
        #expect(world.abandoned[channel(5, on: 5)] == ErrorCode.none)
        // Nor when it is over.
        world.receive(channel(1), .reset(errno: 104, offset: 0))
        #expect(world.released == [StreamID(1)])
        world.preface(channel(9, on: 5), .serverStream)
        #expect(world.offered == [StreamID(1)])
    }

    @Test("One that nobody takes may be offered again, and so may those of a gateway that began anew")
    func offeredAnew() throws {
        let scene = try ClientScene.connected()
        let world = scene.world
        world.preface(channel(1), .serverStream)
        world.call { world.session.refuse(StreamID(1), .refusedByPolicy, into: &$0) }
        world.preface(channel(5), .serverStream)
        #expect(world.call { world.session.accept(StreamID(1), now: world.now, into: &$0) })
        world.receive(channel(5), .reset(errno: 104, offset: 0))
        world.tick()
        world.up(PathID(5), resumed: false)
        world.preface(channel(1, on: 5), .serverStream)
        #expect(world.offered == [StreamID(1), StreamID(1), StreamID(1)])
    }

    @Test("A server that numbers its streams with gaps is not remembered without limit")
    func gaps() throws {
        var taken = TakenOffers(server: ClientWorld.origin)
        for place in 0..<UInt64(ClientLimit.takenOffers + 1) { taken.insert(StreamID(place * 4 + 1)) }
        #expect(!taken.contains(StreamID(1)) && taken.contains(StreamID(5)))
    }
}
