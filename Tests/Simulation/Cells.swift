internal import KwikCore

/// The link matrix (algorithm.md) in virtual time: what one transfer over all links of a cell reaches, and
/// over each of them alone. A measure of the decisions, without a machine's noise.
public struct Cell: Sendable {
    public var name: String
    /// Mbit/s, round trip in ms, loss, queue in bandwidth-delay products.
    public var links: [(megabits: Double, roundTrip: Double, loss: Double, queue: Double)]

    public static let all: [Cell] = [
        Cell(name: "A", links: [(50, 20, 0, 1), (20, 80, 0, 1)]),
        Cell(name: "B", links: [(50, 20, 0, 1), (50, 20, 0, 1)]),
        Cell(name: "C", links: [(15, 2, 0, 1), (5, 50, 0, 1)]),
        Cell(name: "D", links: [(50, 20, 0, 1), (50, 100, 0.01, 1)]),
        Cell(name: "E", links: [(10, 20, 0, 1), (50, 300, 0, 1)]),
        Cell(name: "F", links: [(50, 20, 0, 1), (30, 60, 0, 1), (20, 100, 0, 1), (10, 160, 0, 1)]),
        Cell(name: "G", links: [(100, 10, 0, 1), (100, 40, 0, 1), (100, 100, 0, 1)]),
        Cell(name: "Q", links: [(50, 20, 0, 10), (20, 80, 0, 10)]),
    ]

    /// How the links are used together.
    public enum Kind: String, CaseIterable, Sendable {
        /// An independent server behind each.
        case servers
        /// One server over several interfaces, down and up.
        case interfaces
        case upload
    }

    public struct Result: Sendable {
        public var kind: Kind
        /// Of the sum of what each link alone reaches, and of the best of them.
        public var ofSum: Double
        public var ofBest: Double
        public var violation: String?
    }

    /// - Parameter seconds: how long the transfers take, roughly.
    public func run(_ kind: Kind, seconds: Double, seed: UInt64, tracing: Bool) -> Result {
        let together = rate(kind, Array(links.indices), seconds, seed, tracing: tracing)
        let alone = links.indices.map { rate(kind, [$0], seconds, seed).rate }
        return Result(
            kind: kind, ofSum: together.rate / alone.reduce(0, +), ofBest: together.rate / (alone.max() ?? 1),
            violation: together.violation)
    }

    /// Bytes per second of a transfer over some of the links.
    private func rate(
        _ kind: Kind, _ used: [Int], _ seconds: Double, _ seed: UInt64, tracing: Bool = false
    ) -> (rate: Double, violation: String?) {
        let megabits = used.reduce(0.0) { $0 + links[$1].megabits }
        let size = UInt64(megabits * 125_000 * seconds)
        let traits = used.map { index in
            let link = links[index]
            var traits = LinkTraits.of(megabits: link.megabits, roundTrip: link.roundTrip, queue: link.queue)
            traits.loss = link.loss
            return traits
        }
        let servers = kind == .servers ? used.count : 1
        let plans = (0..<servers).map { ServerPlan(roles: $0 == 0 ? [.origin, .replica] : [.replica]) }
        let exchange = Exchange(kind == .upload ? .put : .get, size: size, seed: 42)
        let workload = Workload(start: .milliseconds(1_000), exchanges: [exchange])
        let routes = traits.enumerated().map { index, link in
            kind == .servers
                ? RoutePlan(server: index, link)
                : RoutePlan(server: 0, interface: InterfaceID(UInt32(index) + 1), link)
        }
        let outcome = Simulation.run(
            Scenario(seed: seed, servers: plans, routes: routes, workloads: [workload]),
            tracing: tracing)
        let time = outcome.programs.first?.seconds ?? .infinity
        return (Double(size) / max(time, 0.001), outcome.violation)
    }
}
