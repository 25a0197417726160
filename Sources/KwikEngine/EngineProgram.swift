internal import KwikConfiguration
internal import KwikLinux
internal import KwikTelemetry

/// kwikd(8).
public enum EngineProgram {
    private static let usage = """
        usage: kwikd [--config FILE] [--log-file FILE] [--foreground] [--check]
               kwikd --version | --help
        """
    private static let systemConfiguration = "/etc/kwik/kwik.toml"

    public static func run(_ arguments: [String]) -> Never {
        let options = DaemonStart.options(arguments, usage: usage)
        let configuration: EngineConfiguration
        do throws(ConfigurationError) {
            configuration = try EngineConfiguration.load(options.value("config") ?? configurationPath())
        } catch {
            DaemonStart.die("\(error)", DaemonStart.failure)
        }
        if options.has("check") { DaemonStart.die("configuration is good", 0) }
        let level = Log.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        DaemonStart.serve(level, logFile: options.value("log-file")) { loop, log throws(StartError) in
            let passed = ServiceManager.listenDescriptors().first?.fd ?? -1
            let engine = try Engine(
                configuration, directory: try directory(configuration), listener: passed, loop: loop, log: log
            )
            return { engine.stop() }
        }
    }

    /// The user's own file, else the system's.
    private static func configurationPath() -> String {
        let home = Environment.get("XDG_CONFIG_HOME") ?? Environment.get("HOME").map { $0 + "/.config" }
        if let home {
            let own = home + "/kwik/kwik.toml"
            if Files.exists(own) { return own }
        }
        return systemConfiguration
    }

    private static func directory(_ configuration: EngineConfiguration) throws(StartError) -> String {
        do throws(RuntimeDirectoryError) {
            guard let own = configuration.runtimeDirectory ?? Environment.get("KWIK_RUNTIME_DIR") else {
                return try RuntimeDirectory.resolve()
            }
            try RuntimeDirectory.prepare(own)
            return own
        } catch {
            throw StartError("\(error)")
        }
    }
}
