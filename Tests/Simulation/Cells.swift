internal import KwikCore

/// The link matrix (algorithm.md) in virtual time: what one transfer over all links of a cell reaches, and
/// over each of them alone. A measure of the decisions, without a machine's noise.
public struct Cell: Sendable {
    public var name: String
    /// Mbit/s, round trip in ms, loss, queue in bandwidth-delay products.
    public var links: [(megabits: Double, roundTrip: Double, loss: Double, queue: Double)]
    /// Bytes of each transfer, over one link as over all; nil: as much as takes a given time.
    public var size: UInt64?
    public var events: [Event] = []
    /// All links lead through one queue: together they carry what one does.
    public var isOneQueue = false

    /// From a moment of the transfer on a link carries a share of its rate; none: silence.
    public struct Event: Sendable {
        var seconds: Double
        var link: Int
        var factor: Double
    }

    public static let all: [Cell] = [
        Cell(name: "A", links: [(50, 20, 0, 1), (20, 80, 0, 1)]),
        Cell(name: "B", links: [(50, 20, 0, 1), (50, 20, 0, 1)]),
        Cell(name: "C", links: [(15, 2, 0, 1), (5, 50, 0, 1)]),
        Cell(name: "D", links: [(50, 20, 0, 1), (50, 100, 0.01, 1)]),
        Cell(name: "E", links: [(10, 20, 0, 1), (50, 300, 0, 1)]),
        Cell(name: "F", links: [(50, 20, 0, 1), (30, 60, 0, 1), (20, 100, 0, 1), (10, 160, 0, 1)]),
        Cell(name: "G", links: [(100, 10, 0, 1), (100, 40, 0, 1), (100, 100, 0, 1)]),
        Cell(name: "Q", links: [(50, 20, 0, 10), (20, 80, 0, 10)]),
        Cell(
            name: "K", links: [(50, 20, 0, 1), (20, 80, 0, 1)], events: dark(0, from: 2, for: 2)),
        Cell(
            name: "K-replica", links: [(20, 80, 0, 1), (50, 20, 0, 1)], events: dark(1, from: 2, for: 3)),
        Cell(
            name: "R", links: [(50, 20, 0, 1), (20, 80, 0, 1)],
            events: [Event(seconds: 3, link: 0, factor: 0.05)]),
        Cell(name: "X100", links: [(50, 20, 0, 1), (20, 80, 0, 1)], events: blackouts(0.1)),
        Cell(name: "X200", links: [(50, 20, 0, 1), (20, 80, 0, 1)], events: blackouts(0.2)),
        Cell(name: "X1000", links: [(50, 20, 0, 1), (20, 80, 0, 1)], events: blackouts(1)),
        Cell(name: "S", links: [(50, 20, 0, 1), (50, 20, 0, 1)], isOneQueue: true),
        Cell(name: "A-20K", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 20 << 10),
        Cell(name: "A-200K", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 200 << 10),
        Cell(name: "A-2M", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 2 << 20),
        Cell(name: "A-20M", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 20 << 20),
    ]

    private static func dark(_ link: Int, from: Double, for time: Double) -> [Event] {
        [Event(seconds: from, link: link, factor: 0), Event(seconds: from + time, link: link, factor: 1)]
    }

    /// Each link on its own, the fast one twice.
    private static func blackouts(_ time: Double) -> [Event] {
        dark(0, from: 1.5, for: time) + dark(1, from: 3, for: time) + dark(0, from: 4.5, for: time)
    }

    /// For how many of the first `seconds` a link carries its whole rate, in sum.
    private func available(_ link: Int, _ seconds: Double) -> Double {
        var (total, factor, since) = (0.0, 1.0, 0.0)
        for event in events where event.link == link && event.seconds < seconds {
            total += factor * (event.seconds - since)
            (factor, since) = (event.factor, event.seconds)
        }
        return total + factor * (seconds - since)
    }

    /// How the links are used together.
    public enum Kind: String, CaseIterable, Sendable {
        /// An independent server behind each.
        case servers
        /// One server over several interfaces, down and up.
        case interfaces
        case upload
        /// An upload to one server; a relay in each link and no other way.
        case relays

        fileprivate var isUpload: Bool { self == .upload || self == .relays }
    }

    public struct Result: Sendable {
        public var kind: Kind
        /// Of the sum of what each link alone reaches for as long as it is there, and of the best of them.
        public var ofSum: Double
        public var ofBest: Double
        /// Bytes that the links carried beyond what each link alone needs for a byte that is read, as a share
        /// of that.
        public var waste: Double
        /// Seconds in which the program read nothing.
        public var longestGap: Double
        public var violation: String?
    }

    /// - Parameter seconds: how long the transfers take, roughly.
    public func run(_ kind: Kind, seconds: Double, seed: UInt64, tracing: Bool) -> Result {
        let together = transfer(kind, Array(links.indices), seconds, seed, events, tracing: tracing)
        let alone = links.indices.map { transfer(kind, [$0], seconds, seed, []) }
        let sum = alone.reduce(0) { $0 + $1.rate }
        let wire = alone.reduce(0) { $0 + $1.rate * $1.wire } / sum
        func share(of parts: [Double]) -> Double {
            together.bytes / parts.reduce(0, +)
        }
        let parts = links.indices.prefix(isOneQueue ? 1 : links.count)
            .map { alone[$0].rate * available($0, together.seconds) }
        return Result(
            kind: kind, ofSum: share(of: parts), ofBest: share(of: [parts.max() ?? 1]),
            waste: together.wire / wire - 1, longestGap: together.gap.seconds, violation: together.violation)
    }

    private struct Transfer {
        var bytes: Double
        var seconds: Double
        /// Bytes that the links carried for each.
        var wire: Double
        var gap: Interval
        var violation: String?

        var rate: Double { bytes / seconds }
    }

    /// A transfer over some of the links.
    private func transfer(
        _ kind: Kind, _ used: [Int], _ seconds: Double, _ seed: UInt64, _ events: [Event],
        tracing: Bool = false
    ) -> Transfer {
        let share = events.isEmpty ? { _ in 1.0 } : { link in available(link, seconds) / seconds }
        let megabits = used.prefix(isOneQueue ? 1 : used.count)
            .reduce(0.0) { $0 + links[$1].megabits * share($1) }
        let size = size ?? UInt64(megabits * 125_000 * seconds)
        let traits = used.map { index in
            let link = links[index]
            var traits = LinkTraits.of(megabits: link.megabits, roundTrip: link.roundTrip, queue: link.queue)
            traits.loss = link.loss
            return traits
        }
        let servers = kind == .servers ? used.count : 1
        let others: Roles = events.isEmpty ? [.replica] : [.origin, .replica]
        let plans = (0..<servers).map { ServerPlan(roles: $0 == 0 ? [.origin, .replica] : others) }
        let exchange = Exchange(kind.isUpload ? .put : .get, size: size, seed: 42)
        let workload = Workload(start: Self.start, exchanges: [exchange])
        let routes = traits.enumerated().map { index, link in
            var route =
                kind == .servers
                ? RoutePlan(server: index, link)
                : RoutePlan(server: 0, interface: InterfaceID(UInt32(index) + 1), link)
            route.bottleneck = isOneQueue ? 1 : nil
            return route
        }
        var scenario = Scenario(seed: seed, servers: plans, routes: routes, workloads: [workload])
        scenario.settings.silentPrimary = .promote
        if kind == .relays {
            for index in used.indices {
                scenario.servers.append(ServerPlan(roles: .relay))
                scenario.routes[index].relay = index + 1
                scenario.routes[index].interface = InterfaceID(1)
            }
        }
        for event in events {
            let at = Self.start + Interval(seconds: event.seconds)
            let isDark = event.factor == 0
            scenario.faults.append((at, isDark ? .kill(route: event.link) : .revive(route: event.link)))
            if !isDark { scenario.faults.append((at, .rate(route: event.link, event.factor))) }
            scenario.healAt = .seconds(60)
        }
        let outcome = Simulation.run(scenario, tracing: tracing)
        let program = outcome.programs.first
        let carried = kind.isUpload ? outcome.carriedUp : outcome.carriedDown
        return Transfer(
            bytes: Double(size), seconds: max(program?.seconds ?? .infinity, 0.001),
            wire: Double(carried) / Double(size), gap: program?.longestGap ?? .zero,
            violation: outcome.violation)
    }

    private static let start = Interval.seconds(1)
}
