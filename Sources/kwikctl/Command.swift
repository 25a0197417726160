internal import KwikLinux
internal import KwikTelemetry

/// Why a verb could not be carried out; the text goes to standard error.
struct Failure: Error {
    var status: Int32
    var text: String

    /// A wrong command line: status 2.
    static func usage(_ text: String) -> Failure { Failure(status: 2, text: text + "; try kwikctl help") }
    /// All else: status 1.
    static func failure(_ text: String) -> Failure { Failure(status: 1, text: text) }
}

/// The command line: global options, a verb, its options.
enum Command {
    static let help = """
        usage: kwikctl [--socket DIR] VERB

          status [--json] [--watch]   services, servers, paths and streams of the engine
          servers [--json]            the servers of each service
          run [--] COMMAND [ARG…]     runs a program under Kwik; starts an engine if none runs
          version                     the version of kwikctl
          help                        this text

          --socket DIR   the directory of the engine's sockets, instead of the user's own
          --json         for programs: one line of JSON
          --watch        shows the status every second until interrupted

        """

    /// The exit status.
    static func run(_ arguments: [String]) -> Int32 {
        do throws(Failure) {
            try carryOut(Array(arguments.dropFirst()), calledAs: arguments.first ?? "kwikctl")
            return 0
        } catch {
            try? Files.writeAll(2, Array("kwikctl: \(error.text)\n".utf8))
            return error.status
        }
    }

    private static func carryOut(_ arguments: [String], calledAs name: String) throws(Failure) {
        let socket = Options.Declaration("socket", takesValue: true)
        let global = try parse(arguments, [socket, Options.Declaration("help", letter: "h")])
        if global.has("help") { return try output(help) }
        guard let verb = global.operands.first else { throw .usage("no verb is given") }
        let rest = Array(global.operands.dropFirst())
        let json = Options.Declaration("json")
        switch verb {
        case "status":
            let options = try parse(rest, [socket, json, Options.Declaration("watch")], operands: 0)
            let asker = Asker(directory: try directory(options, global), json: options.has("json"))
            try asker.status(again: options.has("watch"))
        case "servers":
            let options = try parse(rest, [socket, json], operands: 0)
            try Asker(directory: try directory(options, global), json: options.has("json")).servers()
        case "run":
            let options = try parse(rest, [socket])
            let given = options.value("socket") ?? global.value("socket")
            if options.operands.isEmpty { throw .usage("run needs a command") }
            try Runner(calledAs: name, directory: given).run(options.operands)
        case "version":
            _ = try parse(rest, [], operands: 0)
            try output("kwikctl \(Version.text)\n")
        case "help":
            _ = try parse(rest, [], operands: 0)
            try output(help)
        default:
            throw .usage("unknown verb '\(verb)'")
        }
    }

    private static func parse(
        _ arguments: [String], _ declared: [Options.Declaration], operands limit: Int? = nil
    ) throws(Failure) -> Options {
        let options: Options
        do {
            options = try Options(arguments, declared: declared)
        } catch {
            throw .usage(error.description)
        }
        if let limit, options.operands.count > limit {
            throw .usage("'\(options.operands[limit])' is one word too many")
        }
        return options
    }

    private static func directory(_ options: Options, _ global: Options) throws(Failure) -> String {
        if let given = options.value("socket") ?? global.value("socket") { return given }
        return try runtimeDirectory()
    }

    static func runtimeDirectory() throws(Failure) -> String {
        do {
            return try RuntimeDirectory.resolve()
        } catch {
            throw .failure(error.description)
        }
    }

    static func output(_ text: String) throws(Failure) {
        do {
            try Files.writeAll(1, Array(text.utf8))
        } catch {
            throw .failure("writing to standard output: \(error)")
        }
    }
}
