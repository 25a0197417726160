internal import Glibc
internal import KwikCore
public import KwikLinux

/// What both daemons do before they serve: options, log, limits, signals.
public enum DaemonStart {
    /// Exit statuses (sysexits.h has more; systemd and people need these three).
    public static let failure: Int32 = 1
    public static let usage: Int32 = 2

    public static func options(_ arguments: [String], usage text: String) -> Options {
        do throws(OptionError) {
            let options = try Options(Array(arguments.dropFirst()), declared: [
                Options.Declaration("config", letter: "c", takesValue: true),
                Options.Declaration("log-file", takesValue: true),
                Options.Declaration("foreground", letter: "f"), Options.Declaration("check"),
                Options.Declaration("version", letter: "V"), Options.Declaration("help", letter: "h"),
            ])
            if options.has("help") {
                print(text)
                exit(0)
            }
            if options.has("version") {
                print(Version.text)
                exit(0)
            }
            if let operand = options.operands.first { die("unexpected '\(operand)'\n\(text)", usage) }
            return options
        } catch {
            die("\(error)\n\(text)", usage)
        }
    }

    /// One line on standard error, and the end.
    public static func die(_ message: String, _ status: Int32) -> Never {
        let line = Array((message + "\n").utf8)
        _ = try? Files.writeAll(2, line)
        exit(status)
    }

    /// Runs a daemon to its end. `start` begins its service on the loop and returns what ends it. `logFile`:
    /// where the log goes, whatever the service manager has for it.
    public static func serve(
        _ level: Log.Level, logFile: String?, start: (EventLoop, Log) throws(StartError) -> () -> Void
    ) -> Never {
        prepareProcess()
        let log = makeLog(level, logFile)
        do throws(Errno) {
            let loop = try EventLoop()
            try stopOnSignals(loop, log)
            let stop: () -> Void
            do throws(StartError) {
                stop = try start(loop, log)
            } catch {
                log.write(.error, "can't start", [LogField("reason", error)])
                exit(failure)
            }
            let watchdog = try feedWatchdog(loop)
            ServiceManager.notifyReady()
            let status = try loop.run()
            watchdog?.cancel()
            ServiceManager.notifyStopping()
            stop()
            exit(status)
        } catch {
            log.write(.error, "the event loop failed", [LogField("reason", error)])
            exit(failure)
        }
    }

    private static func makeLog(_ level: Log.Level, _ file: String?) -> Log {
        guard let file else { return Log(level: level, underJournal: ServiceManager.underJournal) }
        do throws(Errno) {
            return Log(level: level, file: try LogFile(file))
        } catch {
            die("\(file): \(error)", failure)
        }
    }

    /// Tells the manager twice in each of its intervals that the loop still turns.
    private static func feedWatchdog(_ loop: EventLoop) throws(Errno) -> LoopTimer? {
        guard let interval = ServiceManager.watchdogInterval() else { return nil }
        let pause = Interval(nanoseconds: interval.nanoseconds / 2)
        var timer: LoopTimer?
        timer = try loop.timer {
            ServiceManager.notifyAlive()
            timer?.arm(at: Clock.now() + pause)
        }
        timer?.arm(at: Clock.now())
        return timer
    }

    /// As many descriptors as the system lets this process have, and no death by a closed socket.
    private static func prepareProcess() {
        var limit = rlimit()
        let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        if unsafe getrlimit(kind, &limit) == 0 {
            limit.rlim_cur = limit.rlim_max
            _ = unsafe setrlimit(kind, &limit)
        }
        _ = signal(SIGPIPE, SIG_IGN)
    }

    /// Stops the loop on SIGTERM and SIGINT.
    private static func stopOnSignals(_ loop: EventLoop, _ log: Log) throws(Errno) {
        for number in [SIGTERM, SIGINT] {
            try loop.signal(number) { [unowned loop] in
                log.write(.notice, "stopping", [LogField("signal", number)])
                loop.stop(0)
            }
        }
    }
}

/// Why a daemon could not start, for people.
public struct StartError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}
