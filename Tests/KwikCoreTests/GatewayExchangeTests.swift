import KwikCore
import Testing

private let one = StreamID(0)
private let main = channel(4)

private func upstream(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) } }

private func finSum(_ bytes: [UInt8]) -> UInt64 {
    GatewayChecks.fin(ByteRange(0, UInt64(bytes.count))) { Array(bytes[Int($0.start)..<Int($0.end)]) }
}

@Suite struct GatewayExchangeTests {
    @Test func requestAndAnswer() {
        let world = GatewayWorld()
        world.up()
        let option = SocketOption(level: 6, name: 1, value: [1])
        world.preface(main, one, .stream)
        world.receive(main, .open([option]))
        #expect(world.connects[one] == [option])
        #expect(world.frames(main).isEmpty)
        world.connect(one)
        #expect(world.frames(main).first == .opened(errno: 0, local: [1, 2], peer: [3, 4]))
        #expect(world.accepts == 1)

        let request = upstream(300)
        world.data(main, at: 0, request)
        #expect(world.taken[one] == request)
        world.give(one, 500)
        #expect(world.session.wantsToSend(main.path))
        world.pull()
        #expect(world.received(main) == [ByteRange(0, 500)])
        #expect(!world.session.wantsToSend(main.path))

        world.handle(.localEnded(one, closed: false))
        let range = ByteRange(0, 500)
        let sum = GatewayChecks.fin(range, GatewayWorld.content)
        #expect(world.frames(main).last == .fin(base: 0, final: 500, sum: sum, closed: false))
        #expect(!world.finished.contains(main))
        let fin = Frame.fin(base: 0, final: 300, sum: finSum(request), closed: true)
        world.receive(main, fin, .window(read: 500, maximum: 65_536))
        #expect(world.ends[one] == [.finished(closed: true)])
        #expect(world.finished.contains(main))
        #expect(world.released.isEmpty, "the end may have to be told again on another path")
        world.receive(main, [], finished: true)
        #expect(world.released == [one])
        #expect(world.abandoned.isEmpty)
    }

    @Test func requestThatComesBeforeTheBackendWaitsForIt() {
        let world = GatewayWorld()
        world.up()
        world.preface(main, one, .stream)
        world.receive(main, .open([]))
        world.data(main, at: 0, upstream(10))
        world.receive(main, .fin(base: 0, final: 10, sum: finSum(upstream(10)), closed: false))
        #expect(world.taken[one] == nil)
        #expect(world.ends[one] == nil)
        world.connect(one)
        #expect(world.taken[one] == upstream(10))
        #expect(world.ends[one] == [.finished(closed: false)])
        #expect(world.released.isEmpty)
    }

    @Test func refusedBackendIsToldAndForgotten() {
        let world = GatewayWorld()
        world.up()
        world.preface(main, one, .stream)
        world.receive(main, .open([]))
        world.handle(.backendRefused(one, errno: 111))
        #expect(world.frames(main) == [.opened(errno: 111, local: [], peer: [])])
        #expect(world.finished.contains(main))
        #expect(world.released == [one])
        world.data(main, at: 0, [1])
        #expect(world.abandoned.isEmpty)
    }

    @Test func bytesSplitAnywhereArriveTheSame() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        let bytes = world.dataBytes(at: 0, upstream(50)) + world.dataBytes(at: 50, Array(upstream(90)[50...]))
        for byte in bytes { world.receive(main, [byte]) }
        #expect(world.taken[one] == upstream(90))
    }

    @Test func upstreamIsPutInOrderAcrossChannels() {
        let world = GatewayWorld()
        world.up()
        world.up(PathID(2))
        world.open(main, one)
        let side = channel(4, on: 2)
        world.preface(side, one, .attach(epoch: 0, received: 0))
        let bytes = upstream(3_000)
        world.data(side, at: 1_000, Array(bytes[1_000...]))
        #expect(world.taken[one] == nil)
        world.data(main, at: 0, Array(bytes[..<1_000]))
        world.data(main, at: 500, Array(bytes[500..<1_500]))
        #expect(world.taken[one] == bytes)
    }

    @Test func finWaitsForItsBytesAndTheBackend() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.backendsRead = false
        world.receive(main, .fin(base: 0, final: 40, sum: finSum(upstream(40)), closed: false))
        world.data(main, at: 0, upstream(40))
        #expect(world.ends[one] == nil)
        world.backendsRead = true
        world.backendTakes(one)
        #expect(world.ends[one] == [.finished(closed: false)])
    }

    @Test func finWithAnotherSumResetsTheStream() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.data(main, at: 0, upstream(40))
        world.receive(main, .fin(base: 0, final: 40, sum: 1, closed: false))
        #expect(world.events.contains(.integrityFailure(one, offset: 40)))
        #expect(world.abandoned[main] == .integrity)
        #expect(world.ends[one] == [.aborted(errno: 104)])
        #expect(world.released == [one])
    }

    @Test func pieceWithAnotherChecksumResetsTheStream() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.data(main, at: 0, upstream(40), crc: 5)
        #expect(world.events.contains(.integrityFailure(one, offset: 0)))
        #expect(world.abandoned[main] == .integrity)
        #expect(world.taken[one] == nil)
        #expect(world.released == [one])
    }

    @Test func creditIsGivenAgainAsTheBackendTakes() {
        var limits = GatewayLimits()
        limits.upstreamPerStream = 131_072
        let world = GatewayWorld(limits: limits)
        world.up()
        world.open(main, one)
        world.backendsRead = false
        let before = world.frames(main).compactMap(\.windowFields)
        #expect(before == [ByteRange(0, 131_072)])
        for block in 0..<8 { world.data(main, at: UInt64(block) * Block.size, upstream(16_384)) }
        #expect(world.frames(main).compactMap(\.windowFields) == before)
        world.backendsRead = true
        world.backendTakes(one)
        #expect(world.frames(main).compactMap(\.windowFields).last == ByteRange(131_072, 262_144))
    }

    @Test func smallRequestIsAcknowledgedAfterAMoment() throws {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.data(main, at: 0, upstream(40))
        let before = world.frames(main).compactMap(\.windowFields).count
        #expect(before == 1)
        let deadline = try #require(world.session.deadline)
        world.tick(after: deadline - world.now)
        #expect(world.frames(main).compactMap(\.windowFields).last?.start == 40)
    }

    @Test func bytesBeyondTheFirstWindowEndTheChannel() {
        let world = GatewayWorld()
        world.up()
        world.preface(main, one, .stream)
        world.receive(main, .open([]))
        world.data(main, at: 65_536, [1])
        #expect(world.abandoned[main] == .flowControl)
        #expect(world.events.contains(.malformed(main, .tooLarge)))
    }

    @Test func answerStaysWithinTheClientsWindow() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        #expect(world.give(one, 200_000) == 65_536)
        world.pull()
        #expect(world.received(main) == [ByteRange(0, 65_536)])
        let accepts = world.accepts
        world.receive(main, .window(read: 1_000, maximum: 100_000))
        #expect(world.accepts == accepts + 1)
        #expect(world.give(one, 200_000) == 100_000 - 65_536)
        world.pull()
        #expect(world.received(main) == [ByteRange(0, 100_000)])
    }

    @Test func clientThatClaimsTheWorldGetsTheGatewaysWindow() {
        var limits = GatewayLimits()
        limits.windowPerStream = 262_144
        let world = GatewayWorld(limits: limits)
        world.up()
        world.open(main, one)
        world.receive(main, .window(read: 0, maximum: 1 << 60))
        #expect(world.give(one, 1_000_000) == 262_144)
    }

    @Test func roomBoundsWhatIsPulled() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.give(one, 60_000)
        world.pull(room: 20_000)
        #expect(world.received(main) == [ByteRange(0, 20_000)])
        #expect(world.session.wantsToSend(main.path))
    }

    @Test func firstPiecesOfAnAnswerAreShort() {
        let world = GatewayWorld()
        func pieces() -> [Int] {
            world.items(main).compactMap { if case .data(let header, _) = $0 { header.length } else { nil } }
        }
        world.up()
        world.open(main, one)
        world.data(main, at: 0, upstream(10))
        world.give(one, 40_000)
        world.pull(room: 100_000)
        let first = [1_200, 1_200, 2_400, 4_800, 6_784, 16_384, 7_232]
        #expect(pieces() == first)
        // Another answer; and what comes amid one is no new question.
        world.data(main, at: 10, upstream(10))
        world.give(one, 4_000)
        world.pull(room: 1_000)
        world.data(main, at: 20, upstream(10))
        world.pull(room: 100_000)
        #expect(pieces().dropFirst(first.count) == [1_200, 1_200, 1_600])
    }

    @Test func streamsShareAPathEvenly() {
        let world = GatewayWorld()
        world.up()
        let others: [(StreamID, ChannelID)] = [(StreamID(0), channel(4)), (StreamID(2), channel(8))]
        for (stream, channel) in others {
            world.open(channel, stream)
            world.give(stream, 60_000)
        }
        world.pull(room: 65_536)
        let sent = others.map { world.received($0.1)?.first?.count ?? 0 }
        #expect(sent.allSatisfy { $0 >= 32_768 - 16_384 && $0 <= 32_768 + 16_384 })
        #expect(sent.reduce(0, +) >= 65_536)
    }

    @Test func aheadOfItsPathTheBackendsProgressIsTold() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.receive(main, .window(read: 0, maximum: 1 << 20))
        world.give(one, 400_000)
        let told = world.frames(main).compactMap(\.producedInProgress)
        #expect(told.count <= 400_000 / 65_536)
        #expect((told.last ?? 0) > 400_000 - 65_536)
        world.pull()
        let drained = Frame.progress(produced: 400_000, ended: false, applicationLimited: true)
        #expect(world.frames(main).last == drained)
    }

    @Test func backendThatFailsIsAnErrorAfterWhatItGave() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.give(one, 1_000)
        world.handle(.localAborted(one, errno: 104))
        #expect(world.frames(main).last == .reset(errno: 104, offset: 1_000))
        world.pull()
        #expect(world.received(main) == [ByteRange(0, 1_000)])
        #expect(world.finished.contains(main))
        #expect(world.released.isEmpty)
        world.receive(main, .reset(errno: 104, offset: 0), finished: true)
        #expect(world.released == [one])
    }

    @Test func clientsResetReachesTheBackendAfterWhatPrecedesIt() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.backendsRead = false
        world.data(main, at: 0, upstream(10))
        world.receive(main, .reset(errno: 104, offset: 10))
        #expect(world.ends[one] == nil)
        world.backendsRead = true
        world.backendTakes(one)
        #expect(world.taken[one] == upstream(10))
        #expect(world.ends[one] == [.aborted(errno: 104)])
        #expect(world.released == [one])
    }

    @Test func clientsResetDoesNotWaitForAStuckBackend() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.backendsRead = false
        world.data(main, at: 0, upstream(10))
        world.receive(main, .reset(errno: 104, offset: 10))
        world.tick(after: .seconds(1))
        #expect(world.ends[one] == [.aborted(errno: 104)])
        #expect(world.released == [one])
    }

    @Test func resetIsReadThoughOurHalfWasRefusedBefore() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.handle(.channelReset(main, code: 0))
        world.receive(main, .reset(errno: 104, offset: 0), finished: true)
        #expect(world.ends[one] == [.aborted(errno: 104)])
        #expect(world.released == [one])
    }

    /// Seed 1000036199: our half was refused, and RESET comes behind the FIN of the whole socket.
    @Test(arguments: [true, false]) func streamThatIsReleasedHearsNothing(isFinished: Bool) {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        _ = world.give(one, 10)
        world.handle(.channelReset(main, code: 0))
        world.receive(main, .fin(base: 0, final: 0, sum: 0, closed: true))
        let ends: [StreamEnd] = [.finished(closed: true), .aborted(errno: 104)]
        #expect(world.ends[one] == ends)
        world.receive(main, .reset(errno: 110, offset: 0), finished: isFinished)
        #expect(world.ends[one] == ends)
        #expect(world.released == [one])
        #expect(world.session.deadline == nil)
    }

    @Test func backendThatAnswersAClosedClientIsReset() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.receive(main, .fin(base: 0, final: 0, sum: 0, closed: true))
        #expect(world.ends[one] == [.finished(closed: true)])
        #expect(world.give(one, 10) == 10)
        #expect(world.ends[one]?.last == .aborted(errno: 104))
        #expect(world.released == [one])
    }

    @Test func halfCloseLeavesTheOtherHalf() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        world.handle(.localEnded(one, closed: false))
        #expect(world.frames(main).contains { $0.isFin })
        world.data(main, at: 0, upstream(5_000))
        #expect(world.taken[one] == upstream(5_000))
        #expect(!world.finished.contains(main))
        #expect(world.released.isEmpty)
    }

    @Test func deafBackendKeepsCreditFlowing() {
        var limits = GatewayLimits()
        limits.upstreamPerStream = 65_536
        let world = GatewayWorld(limits: limits)
        world.up()
        world.open(main, one)
        world.handle(.localDeaf(one))
        for block in 0..<20 { world.data(main, at: UInt64(block) * Block.size, upstream(16_384)) }
        #expect(world.abandoned.isEmpty)
        #expect(world.taken[one] == nil)
    }

    @Test func optionsThatChangeAreHandedOn() {
        let world = GatewayWorld()
        world.up()
        world.open(main, one)
        let option = SocketOption(level: 1, name: 9, value: [1, 0, 0, 0])
        world.receive(main, .option(option), .urgent(offset: 3), .sumRequest(firstBlock: 0, count: 1))
        #expect(world.options == [option])
        #expect(world.abandoned.isEmpty)
    }
}
