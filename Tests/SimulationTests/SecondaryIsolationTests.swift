import KwikCore
import Simulation
import Testing

/// The specification's chapter on secondary streams by its criteria's numbers, 5 to 10, as
/// SecondaryChannelTests has 1 to 4: which channel is whose, offsets of several sources, isolation, errors
/// and limits.
@Suite struct SecondaryIsolationTests {
    /// No server gives bytes of its own.
    private static let plain = Self.played()
    /// The first secondary's channels name other places than their bytes have.
    private static let misplaced = Stage().contributing(keepsDelegations: true, .misplaces)
    /// A byte of all that it gives is wrong.
    private static let damaged = Stage().contributing(keepsDelegations: true, .damages)

    private static let first = ServerID(1)
    private static let second = ServerID(2)

    private static func played() -> Outcome {
        var scenario = Stage().scenario
        scenario.records = true
        return Simulation.run(scenario)
    }

    // MARK: 5. Which channel is whose

    @Test("5.1 the channel's stream is recorded when it begins, and shown")
    func recorded() throws {
        // Leases are internal channels, too.
        #expect(try Stage.given.record().mostInternal > Self.plain.record().mostInternal)
        #expect(try Stage.given.record().contributions.allSatisfy { $0.stream == StreamID(0) })
    }

    @Test("5.2 what comes later on the channel goes where its beginning said")
    func followed() throws {
        let late = try Stage.given.record().taken.filter { channel in
            channel.lastPieceAt.map { $0.nanoseconds > channel.at.nanoseconds + 20_000_000 } ?? false
        }
        #expect(!late.isEmpty)
        #expect(try Stage.given.isWhole())
    }

    @Test("5.3 a stream's end closes the channels that belong to it")
    func closedWithTheStream() throws {
        var workload = Workload(
            start: Stage.start, exchanges: [Exchange(.get, size: 8_000_000, seed: 42)])
        workload.ending = .leave(after: 3_000_000)
        let record = try Stage(workload: workload).contributing().record()
        let end = try #require(
            record.events.firstIndex { if case .streamClosed = $0 { true } else { false } })
        #expect(!record.events[end...].contains { if case .contributed = $0 { true } else { false } })
        #expect(record.contributions.contains { !$0.isFinished && $0.abandoned == ErrorCode.none })
        #expect(record.contributions.allSatisfy { $0.isOver } && record.leftInternal == 0)
    }

    @Test("5.4 a channel's end leaves the stream to the other sources")
    func oneOfSeveral() throws {
        let outcome = Stage().contributing(.breaksOff)
        let record = try outcome.record()
        #expect(record.contributions.contains { $0.server == Self.first && $0.reset != nil })
        #expect(record.taken.contains { $0.server == Self.second })
        // Its leases go on.
        let program = try #require(outcome.programs.first)
        #expect(program.share(of: 1) > 0.2 && program.share(of: 2) > 0.2)
        #expect(try outcome.isWhole())
    }

    @Test("5.5 a mapping that is wrong is found out, and what it stood for is fetched elsewhere")
    func corruptedMapping() throws {
        let record = try Self.misplaced.record()
        let found = record.events.filter { if case .malformed(_, .badRange) = $0 { true } else { false } }
        #expect(!found.isEmpty)
        #expect(record.failures(of: Self.first).count == found.count)
        #expect(record.failures(of: Self.first).allSatisfy { $0.code == .protocolViolation })
        #expect(!record.taken.contains { $0.server == Self.first })
        #expect(record.events.contains { if case .delegationExpired = $0 { true } else { false } })
        #expect(try Self.misplaced.isWhole())
        // A stream that is not there.
        let stray = Stage().contributing(keepsDelegations: true, .misnames)
        #expect(try stray.record().events.contains { if case .unknownStream = $0 { true } else { false } })
        #expect(try stray.isWhole())
    }

    // MARK: 6. Offsets of several sources

    @Test("6.1 the primary's bytes stand at their offsets, beside what others bring")
    func primarysPlace() throws {
        let program = try #require(Stage.kept.programs.first)
        #expect(program.share(of: 0) > 0.2 && program.share(of: 0) < 0.5)
        #expect(try Stage.kept.isWhole())
    }

    @Test("6.2 a secondary's bytes stand at theirs, without conflict")
    func secondarysPlace() throws {
        let record = try Stage.kept.record()
        #expect(!record.taken.isEmpty && record.failures().isEmpty)
        let program = try #require(Stage.kept.programs.first)
        #expect(program.share(of: 1) > 0.2 && program.share(of: 2) > 0.2)
        #expect(try Stage.kept.isWhole())
    }

    @Test("6.3 where copies overlap the first that is verified wins, and a liar's never is")
    func overlap() throws {
        let outcome = Stage(characters: [.honest, .lying(from: 0), .honest]).contributing()
        let record = try outcome.record()
        let ranges = record.contributions.compactMap(\.range)
        let overlapping = ranges.indices.filter { index in
            ranges[..<index].contains { !$0.intersection(ranges[index]).isEmpty }
        }
        #expect(!overlapping.isEmpty)
        #expect(!record.taken.contains { $0.server == Self.first })
        #expect(try outcome.isWhole())
    }

    @Test("6.5 what is read follows the offsets, whoever sent what and when")
    func strictOrder() throws {
        // One secondary's bytes come long before the primary's, the other's long after.
        let stage = Stage(links: [
            .of(megabits: 20, roundTrip: 60), .of(megabits: 20, roundTrip: 10),
            .of(megabits: 20, roundTrip: 120),
        ])
        let outcome = stage.contributing()
        #expect(try Set(outcome.record().taken.map(\.server)).count == 2)
        #expect(try outcome.isWhole())
    }

    // MARK: 7. Isolation

    @Test("7.2 bytes come together inside: a program has one socket, whoever serves it")
    func oneSocket() throws {
        let record = try Stage.given.record()
        let streams = record.events.compactMap { event -> UInt64? in
            if case .streamClosed(_, _, let received, _) = event { received } else { nil }
        }
        // One stream was closed, and all that was taken went by it.
        #expect(streams == [try #require(Stage.given.programs.first).read])
        #expect(Stage.given.programs.first?.received.count == 3)
    }

    @Test("7.3 channels of a secondary have numbers of their connection's own")
    func ownNumbers() throws {
        let record = try Stage.given.record()
        let numbers = { (server: ServerID) in
            Set(record.channels.filter { $0.server == server }.map(\.id.number))
        }
        #expect(numbers(Self.first).contains(1) && numbers(Self.second).contains(1))
        #expect(!numbers(Self.first).isDisjoint(with: numbers(Self.second)))
    }

    @Test("7.4 a connection's offsets become the stream's")
    func convertedOffsets() throws {
        // Each channel begins at its own offset 0.
        let record = try Stage.given.record()
        #expect(Set(record.taken.compactMap(\.range?.start)).count > 4)
        #expect(record.taken.allSatisfy { ($0.range?.start ?? 0) > 0 })
        #expect(try Stage.given.isWhole())
    }

    // MARK: 8. Errors

    @Test("8.3 corrupted data of a secondary is rejected without harm to the others")
    func corrupted() throws {
        let record = try Self.damaged.record()
        #expect(record.events.contains { if case .integrityFailure = $0 { true } else { false } })
        #expect(!record.taken.contains { $0.server == Self.first })
        #expect(record.taken.contains { $0.server == Self.second })
        #expect(record.failures(of: Self.second).isEmpty && record.endedPaths.isEmpty)
        #expect(try Self.damaged.isWhole())
    }

    @Test("8.5 what goes wrong is told with stream, server, offset and reason")
    func told() throws {
        for (outcome, code) in [(Self.misplaced, ErrorCode.protocolViolation), (Self.damaged, .integrity)] {
            let record = try outcome.record()
            let failures = record.failures(of: Self.first)
            #expect(!failures.isEmpty)
            for failure in failures {
                #expect(failure.code == code)
                #expect(
                    record.contributions.contains {
                        $0.server == Self.first && $0.stream == failure.stream
                            && $0.range?.start == failure.offset
                    })
            }
        }
    }

    // MARK: 10. Limits

    @Test("10.2 with many channels and a program that does not read, memory stays within its bounds")
    func bounded() throws {
        var workload = Workload(
            start: Stage.start, exchanges: [Exchange(.get, size: 8_000_000, seed: 42)])
        workload.pauses = [(at: 1_000_000, for: .seconds(10))]
        var scenario = Stage(workload: workload).scenario
        scenario.contributes = true
        scenario.records = true
        scenario.memory = 2 << 20
        let outcome = Simulation.run(scenario)
        let record = try outcome.record()
        #expect(record.contributions.count > 20)
        let furthest = record.contributions.map(\.furthest).max() ?? 0
        #expect(furthest > 0 && furthest <= scenario.memory)
        #expect(try outcome.isWhole())
    }

    @Test("10.3 bytes that secondaries give are gone through no more often than any others")
    func passes() throws {
        let passes = { (outcome: Outcome) in
            let received = try #require(outcome.programs.first).received.values.reduce(0, +)
            return try Double(outcome.record().hashed) / Double(received)
        }
        #expect(try Stage.kept.record().taken.count > 5)
        // For the piece's checksum, for its block's part in the sum of all, and for a leased one's tag.
        #expect(try passes(Self.plain) < 3)
        #expect(try passes(Stage.kept) < passes(Self.plain))
    }
}
