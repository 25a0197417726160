import Glibc
import KwikCore
import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct ServiceManagerTests {
        @Test func theEnvironmentIsReadAndWritten() throws {
            let name = "KWIK_TEST_" + String(RandomBytes.word(), radix: 36)
            #expect(Environment.get(name) == nil)
            try Environment.set(name, "value=1")
            #expect(Environment.get(name) == "value=1")
            #expect(Environment.all.contains(name + "=value=1"))
            try Environment.set(name, nil)
            #expect(Environment.get(name) == nil)
            #expect(throws: Errno(code: EINVAL)) { try Environment.set("A=B", "x") }
        }

        @Test func passedSocketsAreNamedAndToldOnce() throws {
            // The lowest free descriptor is taken, so that descriptor 3 is certainly open.
            let filler = Descriptor(taking: unsafe open("/dev/null", O_RDONLY | O_CLOEXEC))
            try Environment.set("LISTEN_FDS", "1")
            try Environment.set("LISTEN_PID", "\(getpid())")
            try Environment.set("LISTEN_FDNAMES", "engine")
            let sockets = ServiceManager.listenDescriptors()
            #expect(sockets.map(\.name) == ["engine"] && sockets.map(\.fd) == [3])
            #expect(fcntl(3, F_GETFD) == FD_CLOEXEC)
            #expect(Environment.get("LISTEN_FDS") == nil)
            #expect(ServiceManager.listenDescriptors().isEmpty)
            withExtendedLifetime(filler.raw) {}
        }

        @Test func socketsForAnotherProcessAreNotTaken() throws {
            try Environment.set("LISTEN_FDS", "1")
            try Environment.set("LISTEN_PID", "\(getpid() + 1)")
            #expect(ServiceManager.listenDescriptors().isEmpty)
            #expect(Environment.get("LISTEN_FDS") == nil)
        }

        @Test func theManagerIsToldOfReadinessStatusAndEnd() throws {
            let directory = try TemporaryDirectory()
            let path = directory.path + "/notify"
            let address = try #require(SocketAddress.unix(path: path))
            let receiver = Descriptor(taking: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0))
            try StreamSocket.bind(receiver.raw, to: address)
            try Environment.set("NOTIFY_SOCKET", path)
            ServiceManager.notifyReady()
            ServiceManager.status("3 paths")
            ServiceManager.notifyAlive()
            ServiceManager.notifyStopping()
            try Environment.set("NOTIFY_SOCKET", nil)
            ServiceManager.notifyReady()
            var told: [String] = []
            while case (.count, let text) = read(receiver.raw, 200) {
                told.append(String(decoding: text, as: UTF8.self))
            }
            #expect(told == ["READY=1", "STATUS=3 paths", "WATCHDOG=1", "STOPPING=1"])
            withExtendedLifetime(directory) {}
        }

        @Test func theWatchdogsIntervalIsReadForThisProcessAlone() throws {
            #expect(ServiceManager.watchdogInterval() == nil)
            try Environment.set("WATCHDOG_USEC", "30000000")
            try Environment.set("WATCHDOG_PID", "\(getpid())")
            #expect(ServiceManager.watchdogInterval() == .seconds(30))
            try Environment.set("WATCHDOG_PID", "\(getpid() + 1)")
            #expect(ServiceManager.watchdogInterval() == nil)
            try Environment.set("WATCHDOG_USEC", nil)
            try Environment.set("WATCHDOG_PID", nil)
        }

        @Test func aJournalIsKnownByTheStreamOfStandardError() throws {
            var status = stat()
            try #require(unsafe fstat(STDERR_FILENO, &status) == 0)
            try Environment.set("JOURNAL_STREAM", "\(status.st_dev):\(status.st_ino)")
            #expect(ServiceManager.underJournal)
            try Environment.set("JOURNAL_STREAM", "\(status.st_dev):\(status.st_ino + 1)")
            #expect(!ServiceManager.underJournal)
            try Environment.set("JOURNAL_STREAM", nil)
            #expect(!ServiceManager.underJournal)
        }
    }
}
