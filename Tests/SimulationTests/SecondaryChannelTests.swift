import KwikCore
import Simulation
import Testing

/// The specification's chapter on secondary streams by its criteria's numbers, 1 to 4, with whole clients and
/// gateways in virtual time: who may open what, and how bytes of several servers come together. What single
/// frames do is in the unit tests of the same numbers; the rest is in SecondaryStreamTests and
/// SecondaryIsolationTests.
@Suite struct SecondaryChannelTests {
    /// Two programs at once, for other bytes.
    private static let two = Self.twoPrograms()

    private static let primary = ServerID(0)
    private static let secondaries = [ServerID(1), ServerID(2)]

    private static func exchange(_ seed: UInt64) -> Workload {
        Workload(start: Stage.start, exchanges: [Exchange(.get, size: 6_000_000, seed: seed)])
    }

    private static func twoPrograms() -> Outcome {
        var scenario = Stage(workload: exchange(42)).scenario
        scenario.workloads.append(exchange(43))
        scenario.contributes = true
        scenario.records = true
        return Simulation.run(scenario)
    }

    // MARK: 1. Who opens streams

    @Test("1.1, 1.4 what the primary opens is a public stream, and only it is there to be accepted")
    func onlyPrimaryOpens() throws {
        var scenario = Stage().scenario
        scenario.contributes = true
        scenario.records = true
        for kind in [Exchange.Kind.get, .put, .echo] {
            scenario.serverWorkloads.append(
                Workload(start: .milliseconds(800), exchanges: [Exchange(kind, size: 200_000, seed: 7)]))
        }
        let outcome = Simulation.run(scenario)
        let record = try outcome.record()
        #expect(record.offers.count == 3 && record.offers.allSatisfy { $0.server == Self.primary })
        #expect(outcome.coverage.serverStreams == 3)
        let open = record.channels.filter { $0.kind == .publicStream }
        #expect(Set(open.map(\.stream)) == Set(record.offers.map(\.stream)))
        #expect(open.allSatisfy { $0.server == Self.primary })
        // Secondaries were at it all the while.
        #expect(!record.taken.isEmpty)
        #expect(try outcome.isWhole())
    }

    @Test("1.2 what a secondary opens is a channel of its own connection, and no public stream")
    func ownConnection() throws {
        let record = try Stage.given.record()
        #expect(Set(record.channels.map(\.server)) == Set(Self.secondaries))
        #expect(record.channels.allSatisfy { $0.range != nil })
        for server in Self.secondaries {
            #expect(Set(record.channels.filter { $0.server == server }.map(\.id.path)).count == 1)
        }
        #expect(Stage.given.coverage.serverStreams == 0)
    }

    @Test("1.3 a public stream of a secondary is not shown to anybody: its path ends")
    func noPublicStreams() throws {
        let outcome = Stage().contributing(keepsDelegations: true, .opensStreams)
        let record = try outcome.record()
        #expect(record.offers.isEmpty && outcome.coverage.serverStreams == 0)
        #expect(!record.endedPaths.isEmpty)
        #expect(record.endedPaths.allSatisfy { $0 == (ServerID(1), .refusedByPolicy) })
        #expect(record.channels.contains { $0.server == ServerID(1) && $0.kind == .publicStream })
        #expect(try outcome.isWhole())
    }

    @Test("1.5 all that secondaries open is dealt with inside, and nothing of it is left")
    func inside() throws {
        let record = try Stage.given.record()
        #expect(record.channels.count > 20 && record.offers.isEmpty)
        #expect(record.channels.allSatisfy { $0.isOver })
        #expect(record.mostInternal > 0 && record.leftInternal == 0)
        #expect(Stage.given.programs.count == 1)
    }

    // MARK: 2. Inside

    @Test("2.1 the client gets a secondary's channel by the connection of that server's path")
    func byItsPath() throws {
        let record = try Stage.given.record()
        let paths = Dictionary(grouping: record.contributions, by: \.id.path)
        #expect(Set(paths.values.compactMap(\.first?.server)) == Set(Self.secondaries))
        // As its connection numbers those that the server opens.
        #expect(record.contributions.allSatisfy { $0.id.number & 3 == 1 })
    }

    @Test("2.2 what comes by it is not shown before it is verified: wrong bytes are never read")
    func notExposed() throws {
        let record = try Stage.given.record()
        #expect((Stage.given.census["false-sum"] ?? 0) > 0)
        #expect(record.failures().contains { $0.code == .integrity })
        // The simulation compares each byte that a program reads, as it reads it.
        #expect(try Stage.given.isWhole())
    }

    @Test("2.3 its bytes come into the stream that it names, and nobody else brings them")
    func aggregated() throws {
        let record = try Stage.kept.record()
        #expect(Set(record.taken.map(\.server)) == Set(Self.secondaries))
        #expect(Set(record.taken.map(\.stream)).count == 1)
        let received = try #require(Stage.kept.programs.first).received
        // Where what is delegated is brought, hardly anything comes twice.
        #expect(received.values.reduce(0, +) < 8_000_000 + 8_000_000 / 20)
        #expect(try Stage.kept.isWhole())
    }

    @Test("2.4 its end is nobody's but its own")
    func endsInside() throws {
        let record = try Stage.given.record()
        let program = try #require(Stage.given.programs.first)
        #expect(record.taken.contains { $0.readBefore < program.read / 2 })
        let ends = record.events.filter { if case .streamClosed = $0 { true } else { false } }
        #expect(ends.count == 1 && record.taken.count > 1)
        #expect(program.read > 8_000_000 && program.errno == nil)
    }

    @Test("2.5 a program sees the same bytes and the same end with secondaries and without")
    func transparent() throws {
        let alone = try #require(Stage().alone().programs.first)
        for outcome in [Stage.given, Stage.kept] {
            let program = try #require(outcome.programs.first)
            #expect(program.read == alone.read && program.digest == alone.digest)
            #expect(program.errno == alone.errno && program.latencies.count == alone.latencies.count)
        }
    }

    // MARK: 3. Bytes come together

    @Test("3.1 what a secondary writes bears the stream's id and offset")
    func bearsItsPlace() throws {
        let record = try Self.two.record()
        #expect(Set(record.contributions.map(\.stream)) == [StreamID(0), StreamID(2)])
        for channel in record.contributions {
            let range = try #require(channel.range)
            #expect(!range.isEmpty && range.end <= 6_000_100)
            // One behind the other, from where the preface says on.
            var next = range.start
            for piece in channel.pieces {
                #expect(piece.start == next && piece.end <= range.end)
                next = piece.end
            }
        }
    }

    @Test("3.2 it is put where its offset says, far ahead of what the program has read")
    func byOffset() throws {
        let record = try Stage.given.record()
        let ahead = record.taken.filter { $0.readBefore + 4 * Block.size < $0.range?.start ?? 0 }
        #expect(!ahead.isEmpty)
        // Not in the order in which they came.
        let starts = record.taken.compactMap(\.range?.start)
        #expect(starts != starts.sorted())
        #expect(try Stage.given.isWhole())
    }

    @Test("3.3 several secondaries write into one stream")
    func several() throws {
        let record = try Stage.kept.record()
        for server in Self.secondaries {
            #expect(record.taken.contains { $0.server == server && $0.stream == StreamID(0) })
        }
        #expect(record.failures().isEmpty)
        #expect(try Stage.kept.isWhole())
    }

    @Test("3.4 order and integrity are those of the stream's offsets, whatever links do")
    func inOrder() throws {
        var stage = Stage()
        stage.link.jitter = .milliseconds(15)
        stage.link.reordering = 0.05
        stage.link.loss = 0.01
        let outcome = stage.contributing()
        #expect(try outcome.record().taken.count > 10)
        #expect(try outcome.isWhole())
    }

    // MARK: 4. On the wire

    @Test("4.1 a secondary's channel begins with what names its stream, before its first byte")
    func beginsWithItsStream() throws {
        let record = try Self.two.record()
        #expect(!record.contributions.isEmpty)
        // A channel is recorded by its preface, and what comes without one is malformed.
        #expect(!record.events.contains { if case .malformed = $0 { true } else { false } })
    }

    @Test("4.2 its bytes travel in pieces with their offsets, and a sum at the end")
    func inPieces() throws {
        let record = try Stage.given.record()
        #expect(record.taken.contains { $0.pieces.count > 1 })
        for channel in record.taken {
            let range = try #require(channel.range)
            #expect(channel.pieces.first?.start == range.start && channel.pieces.last?.end == range.end)
            #expect(channel.pieces.reduce(0) { $0 + $1.count } == range.count)
            #expect(channel.pieces.allSatisfy { Block.index(of: $0.start) == Block.index(of: $0.end - 1) })
            #expect(channel.sum != nil)
        }
    }

    @Test("4.3 the client brings it to the stream that it names, among several")
    func amongSeveral() throws {
        let record = try Self.two.record()
        for stream in [StreamID(0), StreamID(2)] {
            #expect(record.taken.contains { $0.stream == stream })
        }
        for (index, seed) in [42, 43].enumerated() as EnumeratedSequence<[UInt64]> {
            let alone = Stage(workload: Self.exchange(seed)).alone().programs.first
            #expect(Self.two.programs[index].digest == alone?.digest)
        }
    }

    @Test("4.4 the protocol is one: what a session's gateways send is what its client reads")
    func oneProtocol() throws {
        var stage = Stage()
        // Cut anew at each packet that is lost.
        stage.link.loss = 0.03
        let outcome = stage.contributing(keepsDelegations: true)
        let record = try outcome.record()
        #expect(record.taken.count > 5)
        for event in record.events {
            if case .malformed = event { Issue.record("\(event)") }
        }
        #expect(try outcome.isWhole())
    }

    @Test("4.5 when it fails the stream goes on, and nobody outside hears of it")
    func failsInside() throws {
        let outcome = Stage().contributing(keepsDelegations: true, .breaksOff, byAll: true)
        let record = try outcome.record()
        #expect(record.taken.isEmpty && record.contributions.contains { $0.reset != nil })
        #expect(record.failures().contains { $0.code == .resourceLimit })
        #expect(record.events.contains { if case .delegationExpired = $0 { true } else { false } })
        #expect(record.endedPaths.isEmpty)
        #expect(try outcome.isWhole())
    }
}
