import Testing

@testable import KwikCore

private let mirror = ClientWorld.mirror
private let mirrorPath = ClientWorld.mirrorPath
/// By which it is engaged anew.
private let otherPath = PathID(12)

/// A replica whose bytes stand `shift` behind the primary's.
extension ClientScene {
    fileprivate var asked: [UInt64] {
        world.frames(own).compactMap {
            if case .sumRequest(let first, let count) = $0, count == 1 { first } else { nil }
        }
    }

    fileprivate var part: ClientStream.Part { get throws { try #require(state.parts.first) } }

    fileprivate var end: ReplicaEnd? { get throws { try part.ended } }

    fileprivate func hasEvent(_ matches: (Event) -> Bool) -> Bool { world.events.contains(where: matches) }

    /// All that is leased to the replica comes, in the pieces of its own blocks. Returns how many bytes.
    @discardableResult
    fileprivate func serve(shift: Int64, limit: Int = .max, on path: PathID = mirrorPath) -> UInt64 {
        var served: UInt64 = 0
        for lease in world.leases(path).prefix(limit) {
            var start = lease.range.start
            while start < lease.range.end, world.session.channels[lease.channel] != nil {
                let end = min(Block.roundDown(start) + Block.size, lease.range.end)
                let ours = ByteRange(UInt64(Int64(start) - shift), UInt64(Int64(end) - shift))
                let piece = world.pieceBytes(ByteRange(start, end), GatewayWorld.content(ours))
                world.receive(lease.channel, piece)
                served += end - start
                start = end
            }
            if world.session.channels[lease.channel] != nil {
                world.receive(lease.channel, [UInt8](), finished: true)
            }
        }
        return served
    }

    /// The primary's answers to what it was asked from the given question on.
    fileprivate func answerSums(from first: Int = 0, lies: Bool = false) {
        for block in asked[first...] {
            let bytes = GatewayWorld.content(.blocks(block, block + 1))
            let sum = unsafe bytes.withUnsafeBytes { unsafe RollingSum.sum($0) }
            world.receive(own, .sums(firstBlock: block, [lies ? ~sum : sum]))
        }
    }

    /// Grants and tags what was carved behind the first `done` times.
    fileprivate func grantCarves(behind done: inout Int) {
        let carves = world.frames(own).filter { if case .carve = $0 { true } else { false } }
        for case .carve(let sequence, let ranges) in carves[done...] {
            world.receive(own, .carved(sequence: sequence, ranges))
            for range in ranges { world.receive(own, ClientWorld.tags(stream, range)) }
        }
        done = carves.count
    }

    /// The own sender gives what nobody was asked for, up to so many bytes beyond the front.
    fileprivate func serveOwn(_ count: UInt64) throws {
        let state = try state
        let end = min(state.progress, state.granted, state.down.front + count)
        for gap in state.book.claims.gaps(in: ByteRange(state.down.front, max(state.down.front, end))) {
            world.data(own, gap)
        }
    }

    /// What the primary is leased comes.
    fileprivate func servePrimary() {
        for lease in world.leases(ClientWorld.path) {
            world.data(lease.channel, lease.range, finished: true)
        }
    }

    fileprivate func isShifted(by shift: Int64) -> Bool {
        hasEvent { $0 == .replicaShifted(stream, mirror, shift: shift) }
    }
}

@Suite struct ClientShiftTests {
    @Test("A replica whose bytes stand elsewhere is asked for them there", arguments: [3, -3, 4_096, -4_096])
    func anchored(shift: Int64) throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        scene.serve(shift: shift)
        // Two blocks tell that something is wrong; it gets nothing more until it is known what.
        #expect(scene.asked.count == 2)
        world.tick()
        #expect(world.leases(mirrorPath).isEmpty)
        scene.answerSums()
        world.tick()
        let leases = world.leases(mirrorPath)
        let ours = try scene.state.book.leases.filter { $0.server == mirror }.map(\.range.start)
        #expect(!leases.isEmpty)
        for lease in leases { #expect(ours.contains(UInt64(Int64(lease.range.start) - shift))) }
        for start in ours { #expect(start % Block.size == 0) }
        let window = try #require(world.frames(scene.replica()).compactMap(\.windowFields).last)
        let state = try scene.state
        #expect(Int64(window.start) == max(0, Int64(state.down.read) + shift))
        #expect(Int64(window.end) == Int64(state.granted) + shift)
        // Not before a tag has confirmed it.
        #expect(!scene.isShifted(by: shift))
        world.grantCarves(scene.own, of: scene.stream)
        scene.serve(shift: shift)
        scene.servePrimary()
        #expect(scene.isShifted(by: shift))
        #expect(try scene.part.matched > 0 && scene.part.mismatches == 0 && scene.end == nil)
        #expect(try scene.part.anchor.samples.isEmpty)
        let report = try #require(world.session.report(of: scene.stream))
        #expect(report.parts.last?.shift == shift)
        #expect(world.session.report(now: world.now).servers.isEmpty)
    }

    @Test("What a shifted replica and the primary bring is the primary's, byte for byte")
    func bytes() throws {
        let produced = 64 * Block.size
        let scene = try ClientScene.engaged(produced: produced)
        let world = scene.world
        var done = 0
        for _ in 0..<20 where world.taken[scene.stream]?.count != Int(produced) {
            scene.grantCarves(behind: &done)
            scene.serve(shift: 7)
            scene.answerSums()
            scene.servePrimary()
            try scene.serveOwn(4 * Block.size)
            world.pass(.milliseconds(20))
        }
        #expect(world.taken[scene.stream] == GatewayWorld.content(ByteRange(0, produced)))
        #expect(scene.isShifted(by: 7))
        #expect(try scene.part.matched >= 4)
    }

    @Test("A block that differs alone is fetched anew, and no lease is taken back for it")
    func singleBlock() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        let lease = try scene.mirrorLease()
        let bad = ByteRange(lease.range.start, lease.range.start + Block.size)
        world.data(lease.channel, bad, lies: true)
        world.data(lease.channel, ByteRange(bad.end, lease.range.end), finished: true)
        scene.answerSums()
        #expect(scene.asked == [Block.index(of: bad.start)])
        #expect(try scene.end == nil && scene.part.anchor.shift == 0 && scene.part.mismatches == 1)
    }

    @Test("One that lies is found out by its sums, and by the primary's silence about them")
    func liar() throws {
        for silent in [false, true] {
            let scene = try ClientScene.engaged()
            let world = scene.world
            world.grantCarves(scene.own, of: scene.stream)
            let lease = try scene.mirrorLease()
            world.data(lease.channel, lease.range, lies: true, finished: true)
            #expect(try scene.end == nil)
            if silent { world.pass(.milliseconds(1_010)) } else { scene.answerSums() }
            #expect(try scene.end == .mismatches(2))
            #expect(world.session.report(now: world.now).servers.first?.score == 0.75)
        }
    }

    @Test("A primary that has not got the block says so: that is an answer")
    func unknownBlock() throws {
        let scene = try ClientScene.engaged()
        scene.world.grantCarves(scene.own, of: scene.stream)
        scene.serve(shift: 3)
        for block in scene.asked { scene.world.receive(scene.own, .sums(firstBlock: block, [])) }
        #expect(try scene.end == .mismatches(2))
    }

    @Test("Shifts that no tag confirms are believed twice, then its part ends, and it is blamed for all")
    func unconfirmed() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        for (round, shift) in [3, 9, 27].enumerated() {
            world.grantCarves(scene.own, of: scene.stream)
            let before = scene.asked.count
            scene.serve(shift: Int64(shift))
            scene.answerSums(from: before)
            scene.servePrimary()
            world.tick()
            #expect(try scene.end == (round == 2 ? .mismatches(5) : nil))
        }
        #expect(!scene.hasEvent { if case .replicaShifted = $0 { true } else { false } })
        #expect(world.session.report(now: world.now).servers.first?.score == 0.75)
    }

    @Test("The shift changes with a later response, and is found again, but not for ever")
    func again() throws {
        let scene = try ClientScene.engaged(produced: 40 << 20)
        let world = scene.world
        var shift: Int64 = 0
        var done = 0
        for round in 0..<60 where try scene.end == nil {
            if round % 3 == 0 { shift += 3 }
            scene.grantCarves(behind: &done)
            let before = scene.asked.count
            scene.serve(shift: shift, limit: 1)
            scene.answerSums(from: before)
            scene.servePrimary()
            try scene.serveOwn(2 * Block.size)
            world.pass(.milliseconds(10))
        }
        #expect(scene.asked.count == AnchorLimit.sums)
        #expect(scene.isShifted(by: 3) && scene.isShifted(by: 3 * Int64(AnchorLimit.sums / 2)))
        #expect(try scene.end == .mismatches(2))
    }

    @Test("A replica that is shifted does not become the primary")
    func promotion() throws {
        let scene = try ClientScene.engaged(ClientSettings(silentPrimary: .promote))
        let world = scene.world
        for _ in 0..<2 {
            world.grantCarves(scene.own, of: scene.stream)
            scene.serve(shift: 3)
            scene.answerSums()
            scene.servePrimary()
            world.tick()
        }
        #expect(try scene.part.matched > 0)
        world.handle(.pathDown(ClientWorld.path))
        world.pass(.seconds(2), on: [mirrorPath])
        #expect(!scene.hasEvent { if case .promoted = $0 { true } else { false } })
    }

    /// One whose shift is found, and confirmed by a tag or not.
    private func shifted(
        _ shift: Int64, confirmed: Bool = true, _ settings: ClientSettings = ClientSettings()
    ) throws -> (ClientScene, done: Int) {
        let scene = try ClientScene.engaged(settings, produced: 16 << 20)
        let world = scene.world
        var done = 0
        for round in 0..<(confirmed ? 2 : 1) {
            scene.grantCarves(behind: &done)
            let before = scene.asked.count
            scene.serve(shift: shift)
            scene.answerSums(from: before)
            scene.servePrimary()
            if round == 0 { world.tick() }
        }
        #expect(try scene.part.anchor.shift == shift && scene.isShifted(by: shift) == confirmed)
        return (scene, done)
    }

    /// Its path goes, another comes, and it is engaged anew.
    private func engageAnew(_ scene: ClientScene) throws {
        let world = scene.world
        world.handle(.pathDown(mirrorPath))
        #expect(try scene.end == .pathDown)
        world.up(otherPath, mirror, .replica)
        world.pass(.milliseconds(110), on: [ClientWorld.path, otherPath])
        let replica = try world.main(otherPath)
        world.receive(
            replica, .opened(errno: 0, local: [], peer: []),
            .progress(produced: 16 << 20, ended: false, applicationLimited: false))
        world.tick()
        #expect(try scene.end == nil)
    }

    @Test("One that is engaged anew is asked for its bytes where they stood", arguments: [true, false])
    func engagedAnew(confirmed: Bool) throws {
        var (scene, done) = try shifted(-13, confirmed: confirmed)
        let world = scene.world
        let asked = scene.asked.count
        let events = world.events.count
        try engageAnew(scene)
        let window = try #require(world.frames(try world.main(otherPath)).compactMap(\.windowFields).first)
        #expect(try window.end + 13 == scene.state.granted)
        let report = try #require(world.session.report(of: scene.stream))
        #expect(report.parts.last?.shift == -13)
        scene.grantCarves(behind: &done)
        #expect(scene.serve(shift: -13, on: otherPath) > 0)
        #expect(scene.asked.count == asked)
        #expect(!world.events[events...].contains { if case .blockMismatch = $0 { true } else { false } })
        // Told once.
        let told = world.events.filter { if case .replicaShifted = $0 { true } else { false } }
        #expect(told == [.replicaShifted(scene.stream, mirror, shift: -13)])
    }

    @Test("Where its bytes stand elsewhere by then, that is found out as it was before")
    func elsewhereAnew() throws {
        var (scene, done) = try shifted(100)
        try engageAnew(scene)
        let world = scene.world
        for _ in 0..<2 {
            scene.grantCarves(behind: &done)
            let before = scene.asked.count
            scene.serve(shift: 0, on: otherPath)
            scene.answerSums(from: before)
            scene.servePrimary()
            world.tick()
        }
        #expect(scene.isShifted(by: 0))
        #expect(try scene.part.anchor.shift == 0 && scene.part.mismatches == 0 && scene.end == nil)
    }

    @Test("Engaged anew, it does not become the primary either")
    func promotionAnew() throws {
        let (scene, _) = try shifted(3, ClientSettings(silentPrimary: .promote))
        let world = scene.world
        try engageAnew(scene)
        #expect(try scene.part.matched > 0)
        world.handle(.pathDown(ClientWorld.path))
        world.pass(.seconds(2), on: [otherPath])
        #expect(!scene.hasEvent { if case .promoted = $0 { true } else { false } })
    }

    @Test("The question is asked again where the stream is attached anew")
    func attached() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.up(PathID(9))
        world.grantCarves(scene.own, of: scene.stream)
        scene.serve(shift: 3)
        let asked = scene.asked
        world.handle(.pathDown(ClientWorld.path))
        let own = try #require(try scene.state.own)
        let again = world.frames(own).compactMap { frame -> UInt64? in
            if case .sumRequest(let first, _) = frame { first } else { nil }
        }
        #expect(asked.count == 2 && again == asked)
    }

    @Test("Sums that nobody asked for change nothing")
    func unasked() throws {
        let scene = try ClientScene.engaged()
        let sums = Array(repeating: UInt32(1), count: WireLimit.tags)
        for first in [0, WireLimit.blocks - UInt64(WireLimit.tags)] {
            scene.world.receive(scene.own, .sums(firstBlock: first, sums), .sums(firstBlock: first, []))
        }
        #expect(try scene.end == nil && scene.part.anchor.shift == 0)
        #expect(scene.world.abandoned.isEmpty)
    }

    @Test("Bytes of a shifted lease that would lie before the stream end the part")
    func beforeTheStream() throws {
        let scene = try ClientScene.engaged()
        let world = scene.world
        world.grantCarves(scene.own, of: scene.stream)
        scene.serve(shift: 3)
        scene.answerSums()
        world.tick()
        let lease = try scene.mirrorLease()
        world.receive(lease.channel, world.pieceBytes(ByteRange(1, 2)))
        #expect(try scene.end == .failed)
        #expect(world.ends[scene.stream] == nil)
    }
}
