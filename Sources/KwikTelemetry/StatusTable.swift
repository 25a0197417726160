/// The status for people: what kwikctl prints.
public enum StatusTable {
    /// Everything: the engine, its counters, and each service with its servers, paths and streams.
    public static func status(_ status: JSON, colour: Bool) -> String {
        let engine = status["engine"]
        let version = engine?["version"]?.text ?? "?"
        let pid = engine?["pid"]?.integer.map(String.init) ?? "?"
        var out = "kwik \(version), pid \(pid), up \(duration(engine?["uptime_s"]?.number ?? 0))\n"
        out += counters(status["counters"])
        for service in status["services"]?.elements ?? [] {
            out += "\n" + head(service)
            out += servers(service).render(colour: colour)
            out += paths(service).render(colour: colour)
            out += streams(service["streams"], title: "STREAM").render(colour: colour)
            out += streams(service["finished_streams"], title: "FINISHED").render(colour: colour)
        }
        return out
    }

    /// Only the servers of each service.
    public static func servers(_ status: JSON, colour: Bool) -> String {
        let services = status["services"]?.elements ?? []
        if services.isEmpty { return "no services are configured\n" }
        let tables = services.map { head($0) + servers($0).render(colour: colour) }
        return tables.joined(separator: "\n")
    }

    private static func head(_ service: JSON) -> String {
        let policy = service["policy"]?.text.map { ", policy \($0)" } ?? ""
        return "service \(service["name"]?.text ?? "?")\(policy)\n"
    }

    /// Those that are not zero.
    private static func counters(_ counters: JSON?) -> String {
        guard case .object(let members)? = counters else { return "" }
        let shown = members.compactMap { name, value in
            value.integer.flatMap { count in
                count == 0 ? nil : "\(name.replacing("_", with: " ")) \(count)"
            }
        }
        return shown.isEmpty ? "" : shown.joined(separator: ", ") + "\n"
    }

    private static func servers(_ service: JSON) -> Table {
        var table = Table(["SERVER", "ADDRESS", "ROLES", "STATE", ">TRUST", ">QUARANTINE", "NOTE"])
        for server in service["servers"]?.elements ?? [] {
            let quarantine = server["quarantined_s"]?.number ?? 0
            table.add([
                server["name"]?.text ?? "", server["address"]?.text ?? "",
                (server["roles"]?.elements ?? []).compactMap(\.text).joined(separator: ","),
                server["state"]?.text ?? "", fixed(server["trust"]?.number ?? 0, digits: 2),
                quarantine > 0 ? duration(quarantine) : "-", server["refused"]?.text ?? "",
            ])
        }
        return table
    }

    private static func paths(_ service: JSON) -> Table {
        var table = Table([
            "PATH", "SERVER", "KIND", "VIA", "STATE", ">RTT", ">RATE", ">RECEIVED", ">SENT", ">STREAMS",
        ])
        for path in service["paths"]?.elements ?? [] {
            let isSpare = if case .bool(true)? = path["spare"] { true } else { false }
            table.add([
                integer(path["id"]), path["server"]?.text ?? "", path["kind"]?.text ?? "-",
                path["via"]?.text ?? "-",
                path["state"]?.text ?? "",
                fixed(path["rtt_ms"]?.number ?? 0, digits: 1) + " ms",
                fixed(path["rate_mbps"]?.number ?? 0, digits: 1) + " Mbit/s",
                bytes(path["received_bytes"]) + packed(path, "received_bytes", "received_wire_bytes"),
                bytes(path["sent_bytes"]) + packed(path, "sent_bytes", "sent_wire_bytes"),
                isSpare ? "spare" : integer(path["streams"]),
            ])
        }
        return table
    }

    /// What the bytes were on the wire, where that is not the same.
    private static func packed(_ path: JSON, _ plain: String, _ wire: String) -> String {
        guard let count = path[wire]?.integer, count != path[plain]?.integer else { return "" }
        return " in \(bytes(path[wire]))"
    }

    private static func streams(_ streams: JSON?, title: String) -> Table {
        var table = Table([title, ">PID", "PRIMARY", ">RECEIVED", ">SENT", "FROM"])
        for stream in streams?.elements ?? [] {
            let parts = (stream["parts"]?.elements ?? []).map { part in
                let shift = part["shift"]?.integer ?? 0
                let shifted = shift == 0 ? nil : "shifted \(shift > 0 ? "+" : "")\(shift) B"
                let notes = [shifted, part["note"]?.text].compactMap { $0 }
                let note = notes.isEmpty ? "" : " (\(notes.joined(separator: ", ")))"
                let giver = "\(part["server"]?.text ?? "?") \(part["role"]?.text ?? "?")"
                return "\(giver) \(bytes(part["bytes"]))\(note)"
            }
            table.add([
                integer(stream["id"]), integer(stream["pid"]), stream["primary"]?.text ?? "",
                bytes(stream["delivered_bytes"]), bytes(stream["sent_bytes"]), parts.joined(separator: "; "),
            ])
        }
        return table
    }

    private static func integer(_ value: JSON?) -> String { value?.integer.map(String.init) ?? "-" }

    /// "1.5 GiB"; bytes below 1 KiB as they are.
    private static func bytes(_ value: JSON?) -> String {
        guard let count = value?.integer else { return "-" }
        var amount = Double(count)
        var unit = "B"
        for next in ["KiB", "MiB", "GiB", "TiB"] where amount >= 1_024 {
            amount /= 1_024
            unit = next
        }
        return unit == "B" ? "\(count) B" : "\(fixed(amount, digits: 1)) \(unit)"
    }

    /// The two largest units of it.
    private static func duration(_ seconds: Double) -> String {
        let whole = Int(min(max(seconds, 0), 1e12))
        let units = [
            ("d", whole / 86_400), ("h", whole / 3_600 % 24), ("min", whole / 60 % 60), ("s", whole % 60),
        ]
        let shown = units.drop { $0.1 == 0 }.prefix(2).map { "\($0.1) \($0.0)" }
        return shown.isEmpty ? "0 s" : shown.joined(separator: " ")
    }

    private static func fixed(_ value: Double, digits: Int) -> String {
        let scale = digits == 1 ? 10.0 : 100.0
        let scaled = Int64(min(max((value * scale).rounded(), -9e15), 9e15))
        let sign = scaled < 0 ? "-" : ""
        let fraction = String(scaled.magnitude % UInt64(scale))
        let padding = String(repeating: "0", count: digits - fraction.count)
        return "\(sign)\(scaled.magnitude / UInt64(scale)).\(padding)\(fraction)"
    }
}

/// Columns of text, two blanks between them.
private struct Table {
    private var titles: [String]
    private let alignsRight: [Bool]
    private var rows: [[String]] = []

    /// A title that begins with ">" makes a column that is aligned to the right.
    init(_ titles: [String]) {
        alignsRight = titles.map { $0.hasPrefix(">") }
        self.titles = titles.map { $0.hasPrefix(">") ? String($0.dropFirst()) : $0 }
    }

    mutating func add(_ row: [String]) {
        precondition(row.count == titles.count, "a row of another table")
        rows.append(row)
    }

    /// Nothing where there are no rows.
    func render(colour: Bool) -> String {
        if rows.isEmpty { return "" }
        let widths = titles.indices.map { column in ([titles] + rows).map { $0[column].count }.max() ?? 0 }
        let state = titles.firstIndex(of: "STATE")
        var out = ""
        for (number, row) in ([titles] + rows).enumerated() {
            var line = " "
            for column in row.indices {
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                let isLast = column == row.indices.last
                var cell = alignsRight[column] ? padding + row[column] : row[column] + (isLast ? "" : padding)
                if colour, number > 0, column == state { cell = Self.paint(cell, for: row[column]) }
                line += " \(column == 0 ? "" : " ")" + cell
            }
            while line.hasSuffix(" ") { line.removeLast() }
            out += line + "\n"
        }
        return out
    }

    /// Select Graphic Rendition (ECMA-48 §8.3.117).
    private static func paint(_ cell: String, for state: String) -> String {
        let code =
            switch state {
            case "active": "32"
            case "suspect", "connecting": "33"
            case "failed": "31"
            default: "2"
            }
        return "\u{1B}[\(code)m\(cell)\u{1B}[0m"
    }
}
