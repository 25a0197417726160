import Testing

@testable import KwikCore

private let one = StreamID(0)
private let main = channel(4)

private func opened(_ limits: GatewayLimits = GatewayLimits()) -> GatewayWorld {
    let world = GatewayWorld(limits: limits)
    world.up()
    world.open(main, one)
    return world
}

private let leaseOfTwo = Preface.Role.lease(offset: 0, length: 16_384, read: 0, window: 65_536, carves: false)

@Suite struct GatewayGuardTests {
    @Test func malformedPrefaceHarmsNoOtherChannel() {
        let world = opened()
        world.receive(channel(8), [0x4C, 0, 0])
        #expect(world.abandoned[channel(8)] == .protocolViolation)
        #expect(world.events.contains(.malformed(channel(8), .badMagic)))
        world.receive(channel(12), [0x4B, 9, 0])
        #expect(world.events.contains(.malformed(channel(12), .unknownRole(9))))
        world.receive(channel(8), [1, 2, 3])
        world.data(main, at: 0, [1])
        #expect(world.taken[one] == [1])
        #expect(world.abandoned[main] == nil)
    }

    @Test func framesOfTheOtherSideAreRefused() {
        let frames: [Frame] = [
            .opened(errno: 0, local: [], peer: []), .carved(sequence: 1, []), .end,
            .progress(produced: 1, ended: false, applicationLimited: false),
            .tag(firstBlock: 0, []), .open([]), .sums(firstBlock: 0, []),
        ]
        for frame in frames {
            let world = opened()
            world.receive(main, frame)
            #expect(world.abandoned[main] == .protocolViolation, "\(frame)")
            #expect(world.events.contains(.malformed(main, .notAllowedHere)))
        }
    }

    @Test func nothingComesBeforeOpen() {
        let world = GatewayWorld()
        world.up()
        world.preface(main, one, .stream)
        world.receive(main, .window(read: 0, maximum: 1))
        #expect(world.abandoned[main] == .protocolViolation)
        #expect(world.connects.isEmpty)
        world.tick(after: .seconds(1))
        #expect(world.released == [one])
    }

    @Test func leaseChannelCarriesNoFrames() {
        let world = opened()
        world.preface(channel(8), one, leaseOfTwo)
        world.receive(channel(8), .window(read: 0, maximum: 1))
        #expect(world.abandoned[channel(8)] == .protocolViolation)
        #expect(world.abandoned[main] == nil)
    }

    @Test func rolesThatAreNotOfferedAreRefused() {
        let replica = GatewayWorld(roles: [.replica])
        replica.up()
        replica.preface(main, one, .stream)
        #expect(replica.abandoned[main] == .refusedByPolicy)
        let origin = GatewayWorld(roles: [.origin])
        origin.up()
        origin.preface(main, one, .replica)
        #expect(origin.abandoned[main] == .refusedByPolicy)
    }

    @Test func serversRolesAreRefusedFromAClient() {
        let world = opened()
        world.preface(channel(8), StreamID(2), .serverStream)
        world.preface(channel(12), one, .contribution(offset: 0, length: 10))
        #expect(world.abandoned[channel(8)] == .refusedByPolicy)
        #expect(world.abandoned[channel(12)] == .refusedByPolicy)
    }

    @Test func clientMayNotOpenTheServersStreams() {
        let world = GatewayWorld()
        world.up()
        world.preface(main, StreamID(1), .stream)
        #expect(world.abandoned[main] == .protocolViolation)
    }

    @Test func streamInUseIsNotOpenedTwice() {
        let world = opened()
        world.data(main, at: 0, [1])
        world.preface(channel(8), one, .stream)
        #expect(world.abandoned[channel(8)] == ErrorCode.none)
        #expect(world.abandoned[main] == nil)
    }

    @Test func leaseThatOvertakesItsStreamWaitsForIt() {
        let world = GatewayWorld()
        world.up()
        world.preface(channel(8), one, leaseOfTwo, finished: true)
        #expect(world.abandoned.isEmpty)
        world.open(main, one)
        world.give(one, 20_000)
        world.receive(main, .carve(sequence: 1, [ByteRange(0, 16_384)]))
        world.pull()
        #expect(world.received(channel(8)) == [ByteRange(0, 16_384)])
        #expect(world.finished.contains(channel(8)))
    }

    @Test func attachThatOvertakesItsStreamKeepsItsBytes() {
        let world = GatewayWorld()
        world.up()
        world.preface(channel(8), one, .attach(epoch: 0, received: 0))
        world.data(channel(8), at: 0, [1, 2])
        world.data(channel(8), at: 2, [3])
        world.open(main, one)
        #expect(world.taken[one] == [1, 2, 3])
    }

    @Test func bytesThatWaitForTheirStreamAreBounded() {
        var limits = GatewayLimits()
        limits.waitingBytesPerSession = 10_000
        let world = GatewayWorld(limits: limits)
        world.up()
        let sides = (0..<4).map { channel(8 + 4 * $0) }
        for side in sides { world.preface(side, one, .attach(epoch: 0, received: 0)) }
        let piece = [UInt8](repeating: 7, count: 4_000)
        world.data(sides[0], at: 0, piece)
        world.data(sides[1], at: 4_000, piece)
        #expect(world.abandoned.isEmpty)
        world.data(sides[2], at: 8_000, piece)
        #expect(world.abandoned == [sides[2]: .resourceLimit])
        // What waits no longer counts no more.
        world.handle(.channelClosed(sides[1]))
        world.data(sides[3], at: 4_000, piece)
        #expect(world.abandoned == [sides[2]: .resourceLimit])
        world.open(main, one)
        #expect(world.taken[one] == piece + piece)
    }

    @Test func streamThatStaysUnknownIsGivenUp() throws {
        let world = GatewayWorld()
        world.up()
        world.preface(main, one, leaseOfTwo, finished: true)
        let deadline = try #require(world.session.deadline)
        #expect(deadline == world.now + .seconds(1))
        world.tick(after: .milliseconds(999))
        #expect(world.abandoned.isEmpty)
        world.tick(after: .milliseconds(1))
        #expect(world.abandoned[main] == .protocolViolation)
        #expect(world.events == [.unknownStream(main, one)])
        #expect(world.session.deadline == nil)
    }

    /// Three round trips, of which none counts for more than ten seconds.
    @Test(arguments: [(600, 1_800), (3_600_000, 30_000)])
    func slowPathsWaitLonger(srtt: Int64, wait: Int64) {
        let world = GatewayWorld()
        world.up()
        let sample = PathSample(
            srtt: .milliseconds(srtt), rttVariation: .zero, probeTimeout: .zero, congestionWindow: 1,
            inFlight: 0, received: 0)
        world.handle(.sample(PathID(1), sample))
        world.preface(main, one, leaseOfTwo)
        world.tick(after: .milliseconds(wait - 1))
        #expect(world.abandoned.isEmpty)
        world.tick(after: .milliseconds(1))
        #expect(world.abandoned[main] == .protocolViolation)
    }

    @Test func prefaceThatIsNotCompletedEndsItsChannel() {
        let world = opened()
        let limits = GatewayLimits()
        world.receive(channel(8), [0x4B])
        world.tick(after: .seconds(1))
        world.receive(channel(12), [0x4B])
        #expect(world.session.deadline == world.now + limits.prefaceTime - .seconds(1))
        // More of it is no more time, but all of it is.
        world.receive(channel(16), [0x4B])
        world.receive(channel(16), [1, 0, 0, 0])
        world.receive(channel(8), [3])
        world.tick(after: limits.prefaceTime - .seconds(1))
        #expect(world.abandoned == [channel(8): .protocolViolation])
        #expect(world.events.last == .malformed(channel(8), .truncated))
        world.tick(after: .seconds(1))
        #expect(world.abandoned == [channel(8): .protocolViolation, channel(12): .protocolViolation])
        #expect(world.session.deadline == nil)
        world.data(main, at: 0, [1])
        #expect(world.taken[one] == [1])
    }

    @Test func prefacesThatAreNotCompletedAreBounded() {
        var limits = GatewayLimits()
        limits.prefacesPerPath = 2
        let world = opened(limits)
        for number in 2...4 as ClosedRange<Int64> { world.receive(channel(number * 4), [0x4B]) }
        #expect(world.abandoned == [channel(16): .resourceLimit])
        // Those that are gone make room.
        world.handle(.channelReset(channel(8), code: 0))
        world.handle(.channelClosed(channel(12)))
        for number in 5...7 as ClosedRange<Int64> { world.receive(channel(number * 4), [0x4B]) }
        #expect(world.abandoned == [channel(16): .resourceLimit, channel(28): .resourceLimit])
        world.handle(.pathDown(PathID(1)))
        world.up()
        world.receive(channel(400), [0x4B])
        #expect(world.abandoned[channel(400)] == nil)
    }

    @Test func framesThatAreNotCompletedAreBounded() {
        var limits = GatewayLimits()
        limits.unfinishedFrames = 1_000
        let world = opened(limits)
        let side = channel(8)
        world.preface(side, one, .attach(epoch: 0, received: 0))
        // OPTIONs of 512 bytes.
        let body = [UInt8](repeating: 0, count: 499)
        let head: [UInt8] = [11, 0x42, 0x00]
        world.receive(main, head)
        world.receive(main, body)
        world.receive(side, head)
        world.receive(side, body)
        #expect(world.abandoned.isEmpty)
        world.receive(side, [0, 0, 0])
        #expect(world.abandoned == [side: .resourceLimit])
        // Its bytes count no more, nor do those of a channel that is gone or a frame that is whole.
        let third = channel(12)
        world.preface(third, one, .attach(epoch: 0, received: 0))
        world.receive(third, head)
        world.receive(third, body)
        world.handle(.channelClosed(third))
        let fourth = channel(16)
        world.preface(fourth, one, .attach(epoch: 0, received: 0))
        world.receive(fourth, head + body)
        #expect(world.abandoned == [side: .resourceLimit])
        #expect(world.session.unfinished.bytes == 998)
        world.handle(.pathDown(PathID(1)))
        #expect(world.session.unfinished.bytes == 0)
    }

    @Test func waitersAndTheirBytesAreBounded() {
        let world = GatewayWorld()
        world.up()
        for number in 1...65 { world.preface(channel(Int64(number) * 4), one, leaseOfTwo) }
        #expect(world.abandoned == [channel(65 * 4): .resourceLimit])
        #expect(world.events == [.unknownStream(channel(65 * 4), one)])

        let other = GatewayWorld()
        other.up()
        other.preface(main, one, .attach(epoch: 0, received: 0))
        other.receive(main, [UInt8](repeating: 0, count: 65_536))
        #expect(other.abandoned.isEmpty)
        other.receive(main, [0])
        #expect(other.abandoned[main] == .resourceLimit)
    }

    @Test func closedStreamsAreRememberedForAWhile() {
        let world = opened()
        world.receive(main, .reset(errno: 104, offset: 0))
        #expect(world.released == [one])
        world.preface(channel(8), one, leaseOfTwo)
        world.preface(channel(12), one, .stream)
        #expect(world.abandoned[channel(8)] == ErrorCode.none)
        #expect(world.abandoned[channel(12)] == ErrorCode.none)
        world.tick(after: .seconds(10))
        world.preface(channel(16), one, leaseOfTwo)
        #expect(world.abandoned[channel(16)] == nil)
    }

    @Test func streamsAndChannelsHaveLimits() {
        var limits = GatewayLimits()
        limits.streams = 1
        limits.channelsPerPath = 3
        let world = opened(limits)
        world.preface(channel(8), StreamID(2), .stream)
        #expect(world.abandoned[channel(8)] == .resourceLimit)
        world.preface(channel(12), one, .attach(epoch: 0, received: 0))
        world.preface(channel(16), one, .attach(epoch: 0, received: 0))
        #expect(world.abandoned[channel(16)] == .resourceLimit)
        world.handle(.channelClosed(channel(8)))
        world.preface(channel(20), one, .attach(epoch: 0, received: 0))
        #expect(world.abandoned[channel(20)] == nil)
    }

    @Test func channelThatEndsInAFrameIsMalformed() {
        let world = opened()
        world.receive(main, [1], finished: true)
        #expect(world.events.contains(.malformed(main, .truncated)))
    }

    @Test func finMustCoverWhatWasSent() {
        let world = opened()
        world.data(main, at: 0, [1, 2, 3])
        world.receive(main, .fin(base: 0, final: 2, sum: 0, closed: false))
        #expect(world.events.contains(.malformed(main, .badRange)))
        let based = opened()
        based.receive(main, .fin(base: 1, final: 2, sum: 0, closed: false))
        #expect(based.events.contains(.malformed(main, .badRange)))
    }

    @Test func streamWhoseOnlyChannelEndedInAFaultIsReset() {
        let world = opened()
        world.receive(main, .end)
        #expect(world.released.isEmpty)
        world.tick(after: .seconds(1))
        #expect(world.ends[one] == [.aborted(errno: 104)])
        #expect(world.released == [one])
    }

    @Test func lateWordsOfTheDriverAreNoMatter() {
        let world = opened()
        world.receive(main, .reset(errno: 104, offset: 0))
        world.handle(.localEnded(one, closed: false))
        world.handle(.localAborted(one, errno: 104))
        world.handle(.channelClosed(main))
        world.handle(.channelReset(main, code: 0))
        world.handle(.backendConnected(one, local: [], peer: []))
        world.handle(.pathDown(PathID(1)))
        world.pull()
        #expect(world.released == [one])
    }

    @Test func reportNamesPathsAndStreams() {
        let world = opened()
        world.data(main, at: 0, [1])
        world.give(one, 100)
        world.pull()
        let report = world.session.report(now: world.now)
        #expect(report.paths.map(\.path) == [PathID(1)])
        #expect(report.paths.first?.sent == 100)
        #expect(report.streams.first?.delivered == 1)
        #expect(report.streams.first?.sent == 100)
    }
}
