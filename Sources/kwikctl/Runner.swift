internal import Glibc
internal import KwikLinux
internal import KwikTelemetry

/// Runs a program under the shim, with an engine behind it.
struct Runner {
    /// Directories that may hold kwikctl's companions: where it was called, and where its file really is.
    private let homes: [String]
    private let directory: String?

    /// How often, every 20 ms, a new engine is asked whether it is there yet.
    private static let attempts = 250
    /// Bytes of the engine's log that are shown when it doesn't come up.
    private static let logLimit = 1 << 20

    init(calledAs name: String, directory: String?) {
        var homes: [String] = []
        if let home = Self.home(calledAs: name) { homes.append(home) }
        if let file = Self.target(of: "/proc/self/exe"), let slash = file.lastIndex(of: "/") {
            homes.append(String(file[..<slash]))
        }
        self.homes = homes
        self.directory = directory
    }

    /// Becomes the program; returns only to fail.
    func run(_ command: [String]) throws(Failure) {
        let library = try library()
        let runtime = try runtimeDirectory()
        try ensureEngine(in: runtime)
        let others = Environment.get("LD_PRELOAD") ?? ""
        do {
            try Environment.set("LD_PRELOAD", others.isEmpty ? library : "\(library):\(others)")
            try Launch.become(command[0], command)
        } catch {
            // As in a shell (POSIX, "Exit Status for Commands").
            throw Failure(status: error.code == ENOENT ? 127 : 126, text: "\(command[0]): \(error)")
        }
    }

    /// The shim looks in $XDG_RUNTIME_DIR/kwik, so only such a directory can be given to a program.
    private func runtimeDirectory() throws(Failure) -> String {
        guard let directory else { return try Command.runtimeDirectory() }
        guard directory.hasPrefix("/"), directory.hasSuffix("/kwik") else {
            throw .usage("run needs a --socket directory whose path is absolute and ends in /kwik")
        }
        do {
            try Environment.set("XDG_RUNTIME_DIR", String(directory.dropLast("/kwik".count)))
        } catch {
            throw .failure("\(error)")
        }
        return try Command.runtimeDirectory()
    }

    private func library() throws(Failure) -> String {
        let path: String
        if let named = Environment.get("KWIK_LIBRARY"), !named.isEmpty {
            guard Self.isReadable(named) else {
                throw .failure("KWIK_LIBRARY names \(named), which can't be read")
            }
            path = named
        } else {
            // Installed; beside the executable; from a build tree's own directory of products.
            let places = ["../lib/kwik", ".", "../../build", "../../../build"]
            let candidates = places.flatMap { place in homes.map { "\($0)/\(place)/libkwik.so" } }
            guard let found = candidates.first(where: Self.isReadable) else {
                throw .failure("libkwik.so is not found; set KWIK_LIBRARY to its path")
            }
            path = found
        }
        guard let absolute = Self.target(of: path) else { throw .failure("\(path): \(Errno.last)") }
        guard !absolute.contains(where: { $0 == ":" || $0.isWhitespace }) else {
            throw .failure("LD_PRELOAD can't hold the path \(absolute)")
        }
        return absolute
    }

    /// Starts an engine unless one answers; waits until its control socket does.
    private func ensureEngine(in runtime: String) throws(Failure) {
        let control = "\(runtime)/control.sock"
        if Self.answers(control) { return }
        var log: String?
        var pid: Int32?
        if let fd = try? UnixSocket.connect(path: "\(runtime)/engine.sock", .sequentialPacket) {
            // Somebody listens: an engine that starts, or the service manager, which starts one now.
            Descriptor.close(fd)
        } else {
            log = "\(runtime)/kwikd.log"
            pid = try startEngine(log: "\(runtime)/kwikd.log")
        }
        for _ in 0..<Self.attempts {
            if Self.answers(control) { return }
            if let pid, kill(pid, 0) != 0 && errno == ESRCH { break }
            usleep(20_000)
        }
        throw .failure("the engine does not come up" + (log.map(Self.contents) ?? ""))
    }

    private func startEngine(log: String) throws(Failure) -> Int32 {
        let fd = unsafe open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard fd >= 0 else { throw .failure("\(log): \(Errno.last)") }
        let output = Descriptor(taking: fd)
        let beside = homes.map { "\($0)/kwikd" }.first(where: Self.isExecutable)
        // The engine itself is to run natively.
        let environment = Environment.all.filter { !$0.hasPrefix("LD_PRELOAD=") }
        do {
            return try Launch.detached(
                beside ?? "kwikd", ["kwikd", "--foreground", "--log-file", log], environment: environment,
                errorOutput: output.raw)
        } catch {
            throw .failure("starting \(beside ?? "kwikd"): \(error)")
        }
    }

    private static func answers(_ control: String) -> Bool {
        (try? StatusClient.ask(control, .object([("verb", .string("status"))]))) != nil
    }

    private static func contents(_ log: String) -> String {
        guard let bytes = try? Files.read(log, limit: logLimit), !bytes.isEmpty else { return "" }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").suffix(5)
        return "; it says:\n" + lines.joined(separator: "\n")
    }

    /// The directory of the file that was called; one without a slash was found in PATH.
    private static func home(calledAs name: String) -> String? {
        if let slash = name.lastIndex(of: "/") {
            return slash == name.startIndex ? "/" : String(name[..<slash])
        }
        let directories = (Environment.get("PATH") ?? "").split(separator: ":").map(String.init)
        return directories.first { isExecutable("\($0)/\(name)") }
    }

    private static func isExecutable(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }

    private static func isReadable(_ path: String) -> Bool { unsafe access(path, R_OK) == 0 }

    /// Absolute, without symbolic links.
    private static func target(of path: String) -> String? {
        guard let resolved = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(resolved) }
        return unsafe String(cString: resolved)
    }
}
