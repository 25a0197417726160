/// What a session remembers of how servers behaved (protocol.md §6): a replica whose part ended by mismatches
/// in three streams is quarantined, for a minute at first, twice as long each further time.
struct Trust {
    private var records: [Record] = []

    private struct Record {
        var server: ServerID
        var ends = 0
        var quarantines = 0
        var until: Instant?
        /// 0 ... 1; matching streams bring it back slowly.
        var score = 1.0
    }

    private static let loss = 0.25
    private static let recovery = 0.01

    private mutating func change(_ server: ServerID, _ body: (inout Record) -> Void) {
        if let index = records.firstIndex(where: { $0.server == server }) {
            body(&records[index])
        } else {
            var record = Record(server: server)
            body(&record)
            records.append(record)
        }
    }

    /// Returns for how long the server is quarantined, if this end brought it about.
    mutating func endedByMismatch(_ server: ServerID, now: Instant) -> Interval? {
        var quarantined: Interval?
        change(server) { record in
            record.score = max(0, record.score - Self.loss)
            record.ends += 1
            guard record.ends >= Tuning.endsToQuarantine else { return }
            record.ends = 0
            let time = min(
                Tuning.quarantineFirst * (1 << Int64(min(record.quarantines, 20))), Tuning.quarantineMost)
            record.quarantines += 1
            record.until = now + time
            quarantined = time
        }
        return quarantined
    }

    mutating func servedWell(_ server: ServerID) {
        change(server) { $0.score = min(1, $0.score + Self.recovery) }
    }

    func isQuarantined(_ server: ServerID, now: Instant) -> Bool {
        guard let until = records.first(where: { $0.server == server })?.until else { return false }
        return now < until
    }

    func report(now: Instant) -> [ServerTrustReport] {
        records.map { record in
            let until = record.until.flatMap { now < $0 ? $0 : nil }
            return ServerTrustReport(server: record.server, score: record.score, quarantinedUntil: until)
        }
    }
}
