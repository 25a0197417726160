internal import KwikConfiguration
internal import KwikLinux
internal import KwikTelemetry

/// kwik-gateway(8).
public enum GatewayProgram {
    private static let usage = """
        usage: kwik-gateway [--config FILE] [--log-file FILE] [--foreground] [--check]
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
        let level = Log.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        DaemonStart.serve(level, logFile: options.value("log-file")) { loop, log throws(StartError) in
            let gateway = try Gateway(
                configuration, runtimeDirectory: configuration.runtimeDirectory, loop: loop, log: log)
            return { gateway.stop() }
        }
    }
}
