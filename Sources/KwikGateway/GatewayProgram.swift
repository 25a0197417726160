internal import KwikConfiguration
internal import KwikLinux
internal import KwikTelemetry

/// kwik-gateway(8).
public enum GatewayProgram {
    private static let usage = """
        usage: kwik-gateway [--config FILE] [--foreground] [--check]
               kwik-gateway --version | --help
        """
    private static let configurationPath = "/etc/kwik/kwik-gateway.toml"

    public static func run(_ arguments: [String]) -> Never {
        let options = DaemonStart.options(arguments, usage: usage)
        let configuration: GatewayConfiguration
        do throws(ConfigurationError) {
            configuration = try GatewayConfiguration.load(options.value("config") ?? configurationPath)
        } catch {
            DaemonStart.die("\(error)", DaemonStart.failure)
        }
        if options.has("check") { DaemonStart.die("configuration is good", 0) }
        DaemonStart.prepareProcess()
        let level = Log.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        let log = Log(level: level, underJournal: ServiceManager.underJournal)
        do throws(Errno) {
            let loop = try EventLoop()
            try DaemonStart.stopOnSignals(loop, log)
            let gateway = start(configuration, loop, log)
            ServiceManager.notifyReady()
            let status = try loop.run()
            ServiceManager.notifyStopping()
            gateway.stop()
            DaemonStart.exit(status)
        } catch {
            log.write(.error, "the event loop failed", [LogField("reason", error)])
            DaemonStart.exit(DaemonStart.failure)
        }
    }

    /// Errors of the start leave the program here, so that the loop's own stay typed.
    private static func start(_ configuration: GatewayConfiguration, _ loop: EventLoop, _ log: Log) -> Gateway
    {
        do throws(StartError) {
            return try Gateway(
                configuration, runtimeDirectory: configuration.runtimeDirectory, loop: loop, log: log)
        } catch {
            log.write(.error, "can't start", [LogField("reason", error)])
            DaemonStart.exit(DaemonStart.failure)
        }
    }
}
