internal import Glibc
internal import KwikLinux
internal import KwikTelemetry

/// The verbs that show what a daemon answers.
struct Asker {
    let directory: String
    let json: Bool

    func status(again: Bool) throws(Failure) {
        let isTerminal = Terminal.isTerminal(1)
        repeat {
            let answer = try ask()
            let text = json ? answer.encode() + "\n" : StatusTable.status(answer, colour: wantsColour)
            // Home, then clear what follows (ECMA-48 §8.3.21, §8.3.39): no flicker between two screens.
            try Command.output(again && isTerminal && !json ? "\u{1B}[H\u{1B}[J" + text : text)
            if again { sleep(1) }
        } while again
    }

    func servers() throws(Failure) {
        let answer = try ask()
        if !json { return try Command.output(StatusTable.servers(answer, colour: wantsColour)) }
        let services = (answer["services"]?.elements ?? []).map { service in
            JSON.object([("name", service["name"] ?? .null), ("servers", service["servers"] ?? .array([]))])
        }
        try Command.output(JSON.object([("services", .array(services))]).encode() + "\n")
    }

    /// no-color.org: any value of NO_COLOR but the empty one.
    private var wantsColour: Bool {
        Terminal.isTerminal(1) && (Environment.get("NO_COLOR") ?? "").isEmpty
            && Environment.get("TERM") != "dumb"
    }

    private func ask() throws(Failure) -> JSON {
        do {
            return try StatusClient.ask("\(directory)/control.sock", .object([("verb", .string("status"))]))
        } catch {
            throw .failure(error.description)
        }
    }
}
