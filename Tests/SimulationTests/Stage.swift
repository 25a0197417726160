import KwikCore
import Simulation
import Testing

/// Scenarios of a few servers with equal links, one download, and what goes wrong.
struct Stage {
    var characters: [Character] = [.honest, .honest, .honest]
    var link = LinkTraits.of(megabits: 20, roundTrip: 20)
    var size: UInt64 = 8_000_000
    var silentPrimary = ClientSettings.SilentPrimary.fail
    var faults: [(at: Interval, Fault)] = []
    var workload: Workload?
    /// Unlike ones, instead of `link`: a server behind each, or one server at an interface each.
    var links: [LinkTraits]?
    var isOneServer = false
    /// All links lead through one queue.
    var isOneQueue = false
    var compresses = false

    /// When the download begins, since the world began.
    static let start = Interval.milliseconds(300)

    var scenario: Scenario {
        let links = links ?? characters.map { _ in link }
        let plans = (isOneServer ? 0..<1 : links.indices).map { index in
            ServerPlan(
                index < characters.count ? characters[index] : .honest,
                roles: index == 0 ? [.origin, .replica] : [.replica])
        }
        let routes = links.enumerated().map { index, link in
            var route =
                isOneServer
                ? RoutePlan(server: 0, interface: InterfaceID(UInt32(index) + 1), link)
                : RoutePlan(server: index, link)
            route.bottleneck = isOneQueue ? 1 : nil
            return route
        }
        let download = Workload(start: Stage.start, exchanges: [Exchange(.get, size: size, seed: 42)])
        var scenario = Scenario(
            seed: 1, servers: plans, routes: routes, workloads: [workload ?? download])
        scenario.settings.silentPrimary = silentPrimary
        scenario.compresses = compresses
        scenario.faults = faults
        scenario.healAt = .seconds(faults.isEmpty ? 0 : 60)
        return scenario
    }

    /// Secondaries give bytes in time and late, whole and in part, true and false, to nobody's use and twice.
    static let given = Stage().contributing()
    /// They give what was left to them, at once.
    static let kept = Stage().contributing(keepsDelegations: true)
    /// Of what the download brings, from the primary alone.
    static let digest = Stage().alone().programs.first?.digest

    func play() -> Outcome { Simulation.run(scenario) }

    /// Servers give bytes of their own, and what became of those is recorded.
    func contributing(
        keepsDelegations: Bool = false, _ mischief: Mischief? = nil, byAll: Bool = false
    ) -> Outcome {
        var scenario = scenario
        scenario.contributes = true
        scenario.records = true
        scenario.keepsDelegations = keepsDelegations
        for server in byAll ? 1..<scenario.servers.count : 1..<2 {
            scenario.servers[server].mischief = mischief
        }
        return Simulation.run(scenario)
    }

    /// The same download from the first server alone.
    func alone() -> Outcome {
        var single = self
        single.characters = [.honest]
        single.links = nil
        single.faults = []
        return single.play()
    }
}

extension Outcome {
    /// What became of servers' channels, of a run that nothing was wrong with.
    func record() throws -> SecondaryRecord {
        #expect(violation == nil)
        return try #require(secondaries)
    }

    /// The only program read all that a stage's own download has.
    func isWhole() throws -> Bool {
        let program = try #require(programs.first)
        return program.errno == nil && program.digest == Stage.digest
    }
}

extension SecondaryRecord {
    /// Those that came to their places.
    var taken: [ServerChannel] {
        contributions.filter { channel in
            events.contains { event in
                guard case .contributed(channel.stream, channel.server, let offset, let length) = event else {
                    return false
                }
                return channel.range == ByteRange(offset, offset + length) && channel.isFinished
                    && channel.abandoned == nil
            }
        }
    }

    func failures(of server: ServerID? = nil) -> [(stream: StreamID, offset: UInt64, code: ErrorCode)] {
        events.compactMap { event in
            guard case .contributionFailed(let stream, let who, let offset, let code) = event,
                server == nil || who == server
            else { return nil }
            return (stream, offset, code)
        }
    }
}

extension ProgramOutcome {
    /// The part of the received payload that came from the server.
    func share(of server: UInt32) -> Double {
        let total = received.values.reduce(0, +)
        return Double(received[ServerID(server)] ?? 0) / Double(max(total, 1))
    }
}
