import Testing

@testable import KwikCore

private func option(_ level: Int32, _ name: Int32, _ value: UInt32) -> SocketOption {
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    return SocketOption(level: level, name: name, value: bytes)
}

private func noDelay(_ value: UInt32) -> SocketOption { option(6, 1, value) }
private func priority(_ value: UInt32) -> SocketOption { option(1, 12, value) }
private func sendBuffer(_ value: UInt32) -> SocketOption { option(1, 7, value) }
private func userTimeout(milliseconds: UInt32) -> SocketOption { option(6, 18, milliseconds) }

extension ClientWorld {
    fileprivate func set(_ option: SocketOption, _ stream: StreamID) {
        call { session.setOption(option, for: stream, into: &$0) }
    }

    /// A stream that is connected, and its own channel.
    fileprivate func connect(_ options: SocketOptions = []) throws -> (stream: StreamID, own: ChannelID) {
        let stream = try open(options)
        let own = try main()
        receive(own, .opened(errno: 0, local: [], peer: []), .window(read: 0, maximum: 1 << 20))
        return (stream, own)
    }

    /// Bytes of DATA sent on a channel.
    fileprivate func payload(_ channel: ChannelID) -> UInt64 { upstream(channel).reduce(0) { $0 + $1.count } }

    /// The maxima that the primary was told.
    fileprivate func windows(_ channel: ChannelID) -> [UInt64] { maxima(frames(channel)) }

    /// What the program is shown next.
    fileprivate func shown(_ stream: StreamID) -> [UInt8] {
        var slices: [ChunkSlice] = []
        session.readable(stream, into: &slices)
        return slices.flatMap { wireBytes($0) }
    }

    /// The path fails while another one to the same server is up. Returns the stream's channel there.
    fileprivate func moved() throws -> ChannelID {
        up(PathID(2))
        handle(.pathDown(PathID(1)))
        return try main(PathID(2))
    }
}

@Suite struct SocketOptionTests {
    // MARK: Options

    @Test func anOptionChangedLaterIsToldAtOnceAndOnEveryLaterChannel() throws {
        let world = ClientWorld()
        world.up()
        let (stream, own) = try world.connect([noDelay(1)])
        #expect(world.frames(own).first == .open([noDelay(1)]))
        world.set(noDelay(0), stream)
        world.set(priority(6), stream)
        #expect(world.frames(own).suffix(2) == [.option(noDelay(0)), .option(priority(6))])
        let second = try world.moved()
        #expect(world.frames(second).contains(.option(noDelay(0))))
        #expect(world.frames(second).contains(.option(priority(6))))
        #expect(!world.frames(second).contains(.option(noDelay(1))))
    }

    @Test func anOptionChangedWhileTheStreamWaitsForAPathGoesWithOpen() throws {
        let world = ClientWorld()
        let stream = try world.open()
        world.set(noDelay(1), stream)
        #expect(world.opened.isEmpty)
        world.up()
        #expect(world.frames(try world.main()) == [.open([noDelay(1)])])
    }

    @Test func whatNoFrameCanCarryIsLeftOut() throws {
        let world = ClientWorld()
        world.up()
        let long = SocketOption(level: 1, name: 2, value: [UInt8](repeating: 1, count: 257))
        let many = (0..<70).map { option(99, $0, 1) }
        let (stream, own) = try world.connect([long] + many)
        #expect(world.frames(own).first == .open(Array(many.prefix(WireLimit.options))))
        world.set(long, stream)
        world.set(option(99, 1_000, 1), stream)
        world.set(option(99, 3, 2), stream)
        #expect(world.frames(own).last == .option(option(99, 3, 2)))
        #expect(world.frames(own).filter { if case .option = $0 { true } else { false } }.count == 1)
    }

    @Test func aStreamOpenedAnewTellsItsOptionsAnew() {
        let world = GatewayWorld()
        world.up()
        world.up(PathID(2))
        world.open(channel(4), StreamID(0))
        world.preface(channel(4, on: 2), StreamID(0), .stream)
        world.receive(channel(4, on: 2), .open([noDelay(1)]))
        #expect(world.options == [noDelay(1)])
        #expect(world.connects.count == 1)
    }

    // MARK: The program's port

    @Test("A program's port is believed only if it gives no rights")
    func port() {
        #expect(([noDelay(1), .port(40_000)] as SocketOptions).port == 40_000)
        #expect(([.port(1_024)] as SocketOptions).port == 1_024)
        #expect(([.port(1_023)] as SocketOptions).port == nil)
        #expect(([noDelay(1)] as SocketOptions).port == nil)
        let long = SocketOption(level: 0x4b57, name: 1, value: [0x9c, 0x40, 0])
        #expect(([long] as SocketOptions).port == nil)
    }

    // MARK: TCP_USER_TIMEOUT

    @Test func aSilentPrimaryIsWaitedForAsLongAsTheProgramSaysAndNotLonger() throws {
        for (timeout, limit) in [(0, 30_000), (2_000, 2_000), (90_000, 30_000)] as [(UInt32, Int64)] {
            let options = timeout > 0 ? [userTimeout(milliseconds: timeout)] : []
            let world = ClientWorld()
            world.up()
            let (stream, _) = try world.connect(options)
            world.handle(.pathDown(PathID(1)))
            world.tick(after: .milliseconds(limit - 1))
            #expect(world.ends[stream] == nil)
            #expect(try #require(world.session.deadline) <= world.now + .milliseconds(1))
            world.tick(after: .milliseconds(1))
            #expect(world.ends[stream] == [.aborted(errno: 110)])
        }
    }

    // MARK: Priority

    @Test(arguments: [(0, 4), (1, 1), (2, 2), (4, 8), (6, 16)] as [(UInt32, Int)])
    func aClientsStreamsShareAPathByPriority(_ number: UInt32, weight: Int) throws {
        let world = ClientWorld()
        world.up()
        let (first, firstOwn) = try world.connect()
        let (second, secondOwn) = try world.connect([priority(number)])
        world.write(first, 1 << 20)
        world.write(second, 1 << 20)
        // Room as a real path gives it, and neither stream ever has nothing to send.
        for _ in 0..<20 { world.pull(room: 40_000) }
        let share = Double(world.payload(secondOwn)) / Double(world.payload(firstOwn))
        #expect(abs(share / (Double(weight) / 4) - 1) < 0.35, "\(share)")
    }

    @Test(arguments: [(0, 4), (1, 1), (2, 2), (4, 8), (6, 16)] as [(UInt32, Int)])
    func aGatewaysStreamsShareAPathByPriority(_ number: UInt32, weight: Int) {
        let world = GatewayWorld()
        world.up()
        for (number, options) in [(4, []), (8, [priority(number)])] as [(Int64, SocketOptions)] {
            let stream = StreamID(UInt64(number) / 2)
            world.preface(channel(number), stream, .stream)
            world.receive(channel(number), .open(options))
            world.connect(stream)
            world.receive(channel(number), .window(read: 0, maximum: 1 << 20))
            world.give(stream, 1 << 20)
        }
        for _ in 0..<20 { world.pull(room: 40_000) }
        let (first, second) = (world.payload(channel(4)), world.payload(channel(8)))
        #expect(first + second >= 800_000)
        #expect(abs(Double(second) / Double(first) / (Double(weight) / 4) - 1) < 0.35, "\(first) \(second)")
    }

    @Test func aStreamAloneHasThePathWhateverItsPriority() throws {
        let world = ClientWorld()
        world.up()
        let (stream, own) = try world.connect([priority(1)])
        _ = try world.connect([priority(6)])
        world.write(stream, 500_000)
        world.pull(room: 400_000)
        #expect(world.payload(own) >= 400_000)
    }

    // MARK: Buffers

    @Test func noMoreIsReadAheadOfTheBackendThanTheProgramsSendBuffer() throws {
        let world = ClientWorld()
        world.up()
        let (stream, own) = try world.connect([sendBuffer(8_000)])
        #expect(world.write(stream, 1 << 20) == 8_000)
        // The gateway has all of it, the backend 3,000 bytes.
        world.receive(own, .window(read: 8_000, maximum: 11_000))
        #expect(world.write(stream, 1 << 20) == 3_000)
        // News that comes late takes nothing back.
        world.receive(own, .window(read: 8_000, maximum: 9_000))
        world.receive(own, .window(read: 11_000, maximum: 19_000))
        #expect(world.write(stream, 1 << 20) == 8_000)
    }

    @Test func aSendBufferSetLaterCountsFromThenOnAndMayGrow() throws {
        let world = ClientWorld()
        world.up()
        let (stream, own) = try world.connect()
        #expect(world.write(stream, 100_000) == 100_000)
        world.receive(own, .window(read: 60_000, maximum: 1 << 20))
        world.set(sendBuffer(8_000), stream)
        #expect(world.write(stream, 1) == 0)
        world.receive(own, .window(read: 100_000, maximum: 108_000))
        #expect(world.write(stream, 1 << 20) == 8_000)
        world.set(sendBuffer(10_000), stream)
        #expect(world.write(stream, 1 << 20) == 2_000)
    }

    @Test func aGatewaysCreditFollowsItsBackendByTheSendBuffer() throws {
        let world = GatewayWorld()
        world.up()
        world.backendsRead = false
        let stream = StreamID(0)
        world.open(channel(4), stream)
        let before = world.windows(channel(4)).last
        #expect(try #require(before) > 65_536)
        world.receive(channel(4), .option(sendBuffer(8_000)))
        #expect(world.windows(channel(4)).last == 8_000)
        // What was granted before stays granted.
        world.data(channel(4), at: 0, [UInt8](repeating: 1, count: 9_000))
        world.backendsRead = true
        world.backendTakes(stream)
        #expect(world.windows(channel(4)).last == 17_000)
    }

    @Test func aSendBufferMadeSmallerThanWhatIsHereStopsNoGateway() throws {
        let world = GatewayWorld()
        world.up()
        world.backendsRead = false
        world.open(channel(4), StreamID(0))
        world.data(channel(4), at: 0, [UInt8](repeating: 1, count: 12_000))
        world.receive(channel(4), .option(sendBuffer(8_000)))
        #expect(world.frames(channel(4)).last == .window(read: 12_000, maximum: 12_000))
    }

    @Test func aGatewaysCreditGrowsByWhatItsBackendTakes() throws {
        let world = GatewayWorld()
        world.up()
        let stream = StreamID(0)
        world.open(channel(4), stream)
        #expect(world.windows(channel(4)).last == 4 << 20)
        // A backend that reads has its window grow, up to the limit.
        var sent: UInt64 = 0
        for _ in 0..<1_024 {
            world.data(channel(4), at: sent, [UInt8](repeating: 1, count: 16_384))
            sent += 16_384
            world.backendTakes(stream)
        }
        let last = try #require(world.windows(channel(4)).last)
        #expect(last > sent + (12 << 20) && last <= sent + (16 << 20))
        // One that does not has no more than it had.
        world.backendsRead = false
        world.data(channel(4), at: sent, [UInt8](repeating: 1, count: 16_384))
        #expect(try #require(world.windows(channel(4)).last) <= sent + (16 << 20))
    }

    @Test func aClientsCreditFollowsItsReceiveBuffer() throws {
        for (size, maximum) in [(9_000, 65_536), (100_000, 100_000)] as [(UInt32, UInt64)] {
            let world = ClientWorld()
            world.up()
            let (_, own) = try world.connect([option(1, 8, size)])
            #expect(world.windows(own).last == maximum)
        }
    }

    // MARK: Urgent data

    @Test func theProgramsUrgentByteIsToldBeforeItsData() throws {
        let world = ClientWorld()
        world.up()
        let (stream, own) = try world.connect()
        world.write(stream, 5)
        world.call { world.session.urgent(stream, into: &$0) }
        world.write(stream, 1)
        world.pull(room: 1_000)
        #expect(world.frames(own).last == .urgent(offset: 5))
        #expect(world.payload(own) == 6)
        // The primary may never have seen it.
        let second = try world.moved()
        #expect(world.frames(second).contains(.urgent(offset: 5)))
    }

    @Test func aPrimarysUrgentByteIsShownAlone() throws {
        let world = ClientWorld()
        world.up()
        let (stream, own) = try world.connect()
        world.receive(own, .urgent(offset: 3))
        world.programsRead = false
        let content = GatewayWorld.content(ByteRange(0, 10))
        world.data(own, ByteRange(0, 10))
        #expect(world.shown(stream) == Array(content[..<3]))
        #expect(!world.session.isUrgent(stream))
        world.handle(.localWrote(stream, count: 3))
        #expect(world.shown(stream) == [content[3]])
        #expect(world.session.isUrgent(stream))
        world.handle(.localWrote(stream, count: 1))
        #expect(world.shown(stream) == Array(content[4...]))
        #expect(!world.session.isUrgent(stream))
        // What the program has read is no longer urgent.
        world.receive(own, .urgent(offset: 2))
        #expect(world.shown(stream) == Array(content[4...]))
    }

    @Test func aGatewayTellsItsBackendsUrgentByteAndGivesTheClientsAlone() {
        let world = GatewayWorld()
        world.up()
        let stream = StreamID(0)
        world.open(channel(4), stream)
        world.give(stream, 7)
        var actions: [Action] = []
        world.session.urgent(stream, into: &actions)
        guard case .send(channel(4), let slice) = actions.first else {
            Issue.record("nothing was said")
            return
        }
        #expect(wireRead(wireBytes(slice)).items == [.frame(.urgent(offset: 7))])
        world.backendsRead = false
        world.receive(channel(4), .urgent(offset: 0))
        world.data(channel(4), at: 0, [1, 2, 3])
        #expect(world.session.isUrgent(stream))
        var slices: [ChunkSlice] = []
        world.session.readable(stream, into: &slices)
        #expect(slices.flatMap { wireBytes($0) } == [1])
    }

    // MARK: TCP_INFO

    @Test func aStreamsFiguresAreTrue() throws {
        let world = ClientWorld()
        world.up()
        let sample = PathSample(
            srtt: .milliseconds(7), rttVariation: .milliseconds(2), probeTimeout: .milliseconds(15),
            congestionWindow: 12_000, inFlight: 0, received: 0)
        world.handle(.sample(PathID(1), sample))
        let (stream, own) = try world.connect()
        world.write(stream, 100)
        world.pull(room: 1_000)
        world.write(stream, 20)
        world.receive(own, .window(read: 60, maximum: 1 << 20))
        world.data(own, ByteRange(0, 10))
        let figures = try #require(world.session.figures(of: stream))
        #expect(figures.path?.srtt == .milliseconds(7))
        #expect(figures.path?.congestionWindow == 12_000)
        let counts = [figures.produced, figures.sent, figures.acknowledged, figures.received]
        #expect(counts == [120, 100, 60, 10])
        #expect(world.session.figures(of: StreamID(99)) == nil)
    }
}

private func maxima(_ frames: [Frame]) -> [UInt64] {
    frames.compactMap { frame in if case .window(_, let maximum) = frame { maximum } else { nil } }
}

extension GatewayWorld {
    fileprivate func windows(_ channel: ChannelID) -> [UInt64] { maxima(frames(channel)) }

    fileprivate func payload(_ channel: ChannelID) -> Int {
        items(channel).reduce(0) { sum, item in
            if case .data(let header, _) = item { sum + header.length } else { sum }
        }
    }
}
