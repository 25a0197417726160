internal import KwikCore

/// The link matrix (algorithm.md) in virtual time: what one transfer over all links of a cell reaches, and
/// over each of them alone. A measure of the decisions, without a machine's noise.
public struct Cell: Sendable {
    public var name: String
    /// Mbit/s, round trip in ms, loss, queue in bandwidth-delay products.
    public var links: [(megabits: Double, roundTrip: Double, loss: Double, queue: Double)]
    /// Bytes of each transfer, over one link as over all; nil: as much as takes a given time.
    public var size: UInt64?

    public static let all: [Cell] = [
        Cell(name: "A", links: [(50, 20, 0, 1), (20, 80, 0, 1)]),
        Cell(name: "B", links: [(50, 20, 0, 1), (50, 20, 0, 1)]),
        Cell(name: "C", links: [(15, 2, 0, 1), (5, 50, 0, 1)]),
        Cell(name: "D", links: [(50, 20, 0, 1), (50, 100, 0.01, 1)]),
        Cell(name: "E", links: [(10, 20, 0, 1), (50, 300, 0, 1)]),
        Cell(name: "F", links: [(50, 20, 0, 1), (30, 60, 0, 1), (20, 100, 0, 1), (10, 160, 0, 1)]),
        Cell(name: "G", links: [(100, 10, 0, 1), (100, 40, 0, 1), (100, 100, 0, 1)]),
        Cell(name: "Q", links: [(50, 20, 0, 10), (20, 80, 0, 10)]),
        Cell(name: "A-20K", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 20 << 10),
        Cell(name: "A-200K", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 200 << 10),
        Cell(name: "A-2M", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 2 << 20),
        Cell(name: "A-20M", links: [(50, 20, 0, 1), (20, 80, 0, 1)], size: 20 << 20),
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
        /// Bytes that the links carried beyond what each link alone needs for a byte that is read, as a share
        /// of that.
        public var waste: Double
        public var violation: String?
    }

    /// - Parameter seconds: how long the transfers take, roughly.
    public func run(_ kind: Kind, seconds: Double, seed: UInt64, tracing: Bool) -> Result {
        let together = rate(kind, Array(links.indices), seconds, seed, tracing: tracing)
        let alone = links.indices.map { rate(kind, [$0], seconds, seed) }
        let sum = alone.reduce(0) { $0 + $1.rate }
        let wire = alone.reduce(0) { $0 + $1.rate * $1.wire } / sum
        return Result(
            kind: kind, ofSum: together.rate / sum, ofBest: together.rate / (alone.map(\.rate).max() ?? 1),
            waste: together.wire / wire - 1, violation: together.violation)
    }

    /// A transfer over some of the links: bytes per second, and how many the links carried for each.
    private func rate(
        _ kind: Kind, _ used: [Int], _ seconds: Double, _ seed: UInt64, tracing: Bool = false
    ) -> (rate: Double, wire: Double, violation: String?) {
        let megabits = used.reduce(0.0) { $0 + links[$1].megabits }
        let size = size ?? UInt64(megabits * 125_000 * seconds)
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
        let carried = kind == .upload ? outcome.carriedUp : outcome.carriedDown
        return (Double(size) / max(time, 0.001), Double(carried) / Double(size), outcome.violation)
    }
}
