import Glibc
import KwikCore
import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct LaunchTests {
        /// What a detached shell writes to the descriptor that it was given as its third.
        private func output(
            of script: String, arguments: [String] = [], environment: [String] = []
        ) throws -> (pid: Int32, text: String) {
            let (near, far) = try UnixSocket.pair(.stream)
            let pid = try Launch.detached(
                "/bin/sh", ["sh", "-c", script, "name"] + arguments, environment: environment, keeping: [far])
            Descriptor.close(far)
            let text = String(decoding: try readAll(near), as: UTF8.self)
            Descriptor.close(near)
            return (pid, text)
        }

        @Test func aDaemonHasItsArgumentsAndEnvironmentAndNothingElse() throws {
            let script = "printf '%s|%s|%s|%s' \"$1\" \"$A\" \"$HOME\" \"$(readlink /proc/self/fd/0)\" >&3"
            let (_, text) = try output(of: script, arguments: ["a b"], environment: ["A=1=2"])
            #expect(text == "a b|1=2||/dev/null")
        }

        @Test func aDaemonIsNobodysChildAndLeadsNoTerminal() throws {
            let (pid, text) = try output(of: "read line < /proc/$$/stat; printf '%s' \"$line\" >&3")
            let fields = text.split(separator: " ")
            #expect(fields.first == "\(pid)")
            #expect(fields.count > 6 && fields[3] != "\(getpid())" && fields[6] == "0")
            #expect(waitpid(pid, nil, WNOHANG) == -1 && errno == ECHILD)
        }

        @Test func aDaemonInheritsOnlyWhatItIsGiven() throws {
            let pair = try Pair()
            try Descriptor.setCloseOnExec(pair.near, false)
            let script = "for n in 3 \(pair.near); do [ -e /proc/$$/fd/$n ] && printf '%s ' $n >&3; done"
            try #require(pair.near > 3)
            #expect(try output(of: script).text == "3 ")
        }

        @Test func aProgramThatCannotBeStartedIsTold() {
            #expect(throws: Errno(code: ENOENT)) {
                _ = try Launch.detached("/nonexistent/kwikd", ["kwikd"], environment: [])
            }
            #expect(throws: Errno(code: EACCES)) {
                _ = try Launch.detached("/dev/null", ["x"], environment: [])
            }
            #expect(throws: Errno(code: ENOENT)) { try Launch.become("/nonexistent/program", ["program"]) }
        }

        @Test func aSocketIsNoTerminal() throws {
            let pair = try Pair()
            #expect(!Terminal.isTerminal(pair.near))
            #expect(Terminal.size(pair.near) == nil)
        }

        @Test func aTerminalTellsItsSize() throws {
            let terminal = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
            try #require(terminal >= 0)
            var size = winsize(ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0)
            #expect(unsafe ioctl(terminal, UInt(TIOCSWINSZ), &size) == 0)
            #expect(Terminal.isTerminal(terminal))
            let told = try #require(Terminal.size(terminal))
            #expect(told == (80, 24))
            Descriptor.close(terminal)
        }
    }
}
