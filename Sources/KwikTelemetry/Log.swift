internal import KwikLinux

/// One `key=value` of a log line.
public struct LogField: Hashable, Sendable {
    /// Lower case, with underscores.
    public var key: String
    public var value: String

    public init(_ key: String, _ value: some CustomStringConvertible) {
        self.key = key
        self.value = value.description
    }
}

/// Structured logs: to the journal where the service manager gave us one, else to stderr, one write(2) per
/// line: `level message key=value …`.
///
/// Callers give no secrets: tokens, keys and join secrets have no place in a field.
public final class Log {
    /// Most urgent first; the raw values are those of `log_level` in the configuration.
    public enum Level: String, CaseIterable, Comparable, Sendable {
        case error
        case warning
        case notice
        case info
        case debug

        /// syslog(3).
        public var priority: Int {
            switch self {
            case .error: 3
            case .warning: 4
            case .notice: 5
            case .info: 6
            case .debug: 7
            }
        }

        /// "Less" is more urgent.
        public static func < (left: Level, right: Level) -> Bool { left.priority < right.priority }
    }

    /// Bytes in a line, the longest that a pipe takes in one piece (pipe(7)).
    public static let lineLimit = 4_096

    public var level: Level
    private let sink: (Level, String, [LogField]) -> Void

    /// Gives every entry that is urgent enough to `sink`.
    public init(level: Level, sink: @escaping (Level, String, [LogField]) -> Void) {
        self.level = level
        self.sink = sink
    }

    public convenience init(level: Level, underJournal: Bool) {
        self.init(level: level) { level, message, fields in
            underJournal ? Log.toJournal(level, message, fields) : Log.toStandardError(level, message, fields)
        }
    }

    convenience init(level: Level, file: LogFile) {
        self.init(level: level) { level, message, fields in
            file.write(Array((Log.line(level, message, fields) + "\n").utf8))
        }
    }

    public func write(_ level: Level, _ message: String, _ fields: [LogField] = []) {
        if level <= self.level { sink(level, message, fields) }
    }

    public func write(_ description: EventDescription) {
        write(description.level, description.message, description.fields)
    }

    /// Without its newline, at most `lineLimit` − 1 bytes.
    public static func line(_ level: Level, _ message: String, _ fields: [LogField]) -> String {
        let line = "\(level.rawValue) \(text(message, fields))"
        guard line.utf8.count >= lineLimit else { return line }
        return String(decoding: line.utf8.prefix(lineLimit - 5), as: UTF8.self) + "…"
    }

    private static func text(_ message: String, _ fields: [LogField]) -> String {
        clean(message) + fields.map { " \($0.key)=\(quote($0.value))" }.joined()
    }

    private static func toStandardError(_ level: Level, _ message: String, _ fields: [LogField]) {
        // A log that can't be written has nowhere to say so.
        try? Files.writeAll(2, Array((line(level, message, fields) + "\n").utf8))
    }

    /// MESSAGE is the line for people; each field stands alone too, as KWIK_… (systemd.journal-fields(7)).
    private static func toJournal(_ level: Level, _ message: String, _ fields: [LogField]) {
        var entry = [("MESSAGE", text(message, fields)), ("PRIORITY", "\(level.priority)")]
        entry += fields.map { ("KWIK_\($0.key.uppercased())", $0.value) }
        do {
            try ServiceManager.journal(entry)
        } catch {
            toStandardError(level, message, fields)
        }
    }

    private static func clean(_ text: String) -> String {
        String(text.map { $0.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F } ? " " : $0 })
    }

    /// Bare where it is one plain word, else in quotes with escapes.
    private static func quote(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy {
                $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=")
            }
        return isPlain ? text : JSON.string(text).encode()
    }
}
