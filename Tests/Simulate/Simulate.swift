// kwik-simulate: plays scenarios drawn from seeds. See `usage`.

internal import Glibc
internal import Simulation

@main
struct Simulate {
    static let usage = """
        kwik-simulate --seeds N [--from S] [--threads T] [--until-failure]
        kwik-simulate --seed S [--ops K] [--trace]
        kwik-simulate --cells SECONDS [--only CELL] [--trace]: the link matrix in virtual time
        """

    struct Arguments {
        var seeds: UInt64 = 0
        var from: UInt64 = 1
        var threads: UInt64 = 2
        var seed: UInt64?
        var operations: Int?
        /// How long a cell's transfers take; 0: no cells.
        var cells: UInt64 = 0
        var only: String?
        var traces = false
        var stopsAtFailure = false
    }

    /// How many runs before every kind of trouble has to have occurred.
    static let runsWithTeeth: UInt64 = 1_000
    /// How many before every victim has died at every moment.
    static let runsWithPairs: UInt64 = 20_000
    /// After so many seeds it says how far it is.
    static let round: UInt64 = 1_000

    static func main() async {
        guard let arguments = parse(CommandLine.arguments.dropFirst()) else {
            print(usage)
            exit(2)
        }
        exit(await run(arguments) ? 0 : 1)
    }

    static func parse(_ words: ArraySlice<String>) -> Arguments? {
        var arguments = Arguments()
        var rest = words
        while let word = rest.popFirst() {
            switch word {
            case "--trace":
                arguments.traces = true
                continue
            case "--until-failure":
                arguments.stopsAtFailure = true
                continue
            default: break
            }
            guard let text = rest.popFirst() else { return nil }
            if word == "--only" {
                arguments.only = text
                continue
            }
            guard let number = UInt64(text) else { return nil }
            switch word {
            case "--seeds": arguments.seeds = number
            case "--from": arguments.from = number
            case "--threads": arguments.threads = max(1, min(64, number))
            case "--seed": arguments.seed = number
            case "--cells": arguments.cells = number
            case "--ops": arguments.operations = Int(clamping: number)
            default: return nil
            }
        }
        return arguments.seed == nil && arguments.seeds + arguments.cells == 0 ? nil : arguments
    }

    static func run(_ arguments: Arguments) async -> Bool {
        if arguments.cells > 0 { return cells(arguments) }
        var total = Total()
        if let seed = arguments.seed {
            var scenario = Scenario.random(seed: seed)
            if let operations = arguments.operations { scenario = scenario.prefix(operations) }
            let outcome = Simulation.run(scenario, tracing: arguments.traces)
            total.add(outcome, seed: seed, operations: arguments.operations)
        } else {
            let end = arguments.from + arguments.seeds
            var first = arguments.from
            while first < end, total.failed == 0 || !arguments.stopsAtFailure {
                let last = min(first + Simulate.round, end)
                let started = ContinuousClock.now
                let part = await play(first..<last, arguments)
                total.add(part)
                if arguments.seeds > Simulate.round {
                    let seconds = (ContinuousClock.now - started).components.seconds
                    print("seeds \(first) to \(last - 1): \(part.failed) failed, \(seconds) s")
                    fflush(nil)
                }
                first = last
            }
        }
        return total.conclude()
    }

    /// Plays the seeds on as many threads as there may be.
    static func play(_ seeds: Range<UInt64>, _ arguments: Arguments) async -> Total {
        await withTaskGroup(of: Total.self) { group in
            for thread in 0..<arguments.threads {
                group.addTask {
                    var part = Total()
                    for seed in stride(
                        from: seeds.lowerBound + thread, to: seeds.upperBound, by: Int(arguments.threads))
                    where part.failed == 0 || !arguments.stopsAtFailure {
                        part.add(Simulation.run(Scenario.random(seed: seed)), seed: seed, operations: nil)
                    }
                    return part
                }
            }
            var total = Total()
            for await part in group { total.add(part) }
            return total
        }
    }

    /// Each transfer's rate over that of all links, and of the best of them, alone.
    static func cells(_ arguments: Arguments) -> Bool {
        var isWhole = true
        for cell in Cell.all {
            for kind in Cell.Kind.allCases {
                if let only = arguments.only, only != cell.name, only != "\(cell.name)/\(kind.rawValue)" {
                    continue
                }
                let result = cell.run(
                    kind, seconds: Double(arguments.cells), seed: 1, tracing: arguments.traces)
                print(
                    "cell \(cell.name) \(kind.rawValue): of_sum=\(short(result.ofSum))",
                    "of_best=\(short(result.ofBest)) waste=\(short(result.waste))",
                    "gap=\(short(result.longestGap))", result.violation ?? "")
                isWhole = isWhole && result.violation == nil
            }
        }
        return isWhole
    }

    private static func short(_ ratio: Double) -> Double { (ratio * 1_000).rounded() / 1_000 }
}

/// What many runs came to.
struct Total: Sendable {
    var seeds: UInt64 = 0
    var failed: UInt64 = 0
    var bytes: UInt64 = 0
    var seconds = 0.0
    var coverage = Coverage()
    var census: [String: Int] = [:]

    mutating func add(_ outcome: Outcome, seed: UInt64, operations: Int?) {
        seeds += 1
        bytes += outcome.bytes
        seconds += outcome.seconds
        coverage.add(outcome.coverage)
        census.merge(outcome.census, uniquingKeysWith: +)
        guard let violation = outcome.violation else { return }
        failed += 1
        let replay = operations.map { " OPS=\($0)" } ?? ""
        print("seed \(seed): \(violation)\n    make simulate SEED=\(seed)\(replay)")
    }

    mutating func add(_ other: Total) {
        seeds += other.seeds
        failed += other.failed
        bytes += other.bytes
        seconds += other.seconds
        coverage.add(other.coverage)
        census.merge(other.census, uniquingKeysWith: +)
    }

    /// Prints the last lines; false if anything failed, nothing ran, or the runs had no teeth.
    func conclude() -> Bool {
        var whole = failed == 0 && seeds > 0
        if seeds >= Simulate.runsWithTeeth {
            var expected = coverage.mustOccur.filter { $0.count == 0 }.map(\.name)
            expected += Census.groups.flatMap(\.kinds).filter { census[$0] == nil }
            if seeds >= Simulate.runsWithPairs { expected += Census.pairs.filter { census[$0] == nil } }
            for kind in expected {
                print("never occurred in \(seeds) runs: \(kind)")
                whole = false
            }
        }
        for group in Census.groups {
            let counts = group.kinds.map { "\($0)=\(census[$0] ?? 0)" }
            print("\(group.title): " + counts.joined(separator: " "))
        }
        let met = Census.pairs.count { census[$0] != nil }
        let rarest = Census.pairs.map { (name: $0, count: census[$0] ?? 0) }.min { $0.count < $1.count }
        let least = rarest.map { "\($0.name)=\($0.count)" } ?? ""
        print("pairs: \(met) of \(Census.pairs.count) (who died at which moment), the rarest \(least)")
        print("coverage: " + coverage.table.map { "\($0.name)=\($0.count)" }.joined(separator: " "))
        print("simulate: seeds=\(seeds) failed=\(failed) bytes=\(bytes) virtual_s=\(UInt64(seconds))")
        return whole
    }
}
