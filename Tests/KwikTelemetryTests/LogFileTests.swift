import Glibc
import KwikLinux
import Testing

@testable import KwikTelemetry

@Suite struct LogFileTests {
    /// A place for one test, and a descriptor that nobody minds.
    private func place() throws -> (path: String, descriptor: Int32) {
        let path = "/tmp/kwik-log-\(getpid())-\(String(RandomBytes.word(), radix: 36))"
        return (path, try UnixSocket.pair(.stream).0)
    }

    private func text(_ path: String) throws -> String {
        String(decoding: try Files.read(path, limit: 1 << 20), as: UTF8.self)
    }

    private func remove(_ path: String, _ descriptor: Int32) {
        unsafe unlink(path)
        unsafe unlink(path + ".1")
        close(descriptor)
    }

    @Test func aFileThatIsFullIsKeptOnce() throws {
        let (path, descriptor) = try place()
        defer { remove(path, descriptor) }
        let file = try LogFile(path, as: descriptor, limit: 10)
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] { file.write(Array(line.utf8)) }
        #expect(try text(path) == "four\nfive\n")
        #expect(try text(path + ".1") == "three\n")
        // What goes to the descriptor past the log is in the file that is new.
        try Files.writeAll(descriptor, Array("last\n".utf8))
        #expect(try text(path) == "four\nfive\nlast\n")
    }

    @Test func whatAnEarlierRunWroteCounts() throws {
        let (path, descriptor) = try place()
        defer { remove(path, descriptor) }
        try LogFile(path, as: descriptor, limit: 10).write(Array("before\n".utf8))
        try LogFile(path, as: descriptor, limit: 10).write(Array("after\n".utf8))
        #expect(try text(path) == "after\n")
        #expect(try text(path + ".1") == "before\n")
    }

    @Test func aLineLongerThanTheFileMayBeIsThereAllTheSame() throws {
        let (path, descriptor) = try place()
        defer { remove(path, descriptor) }
        let file = try LogFile(path, as: descriptor, limit: 4)
        file.write(Array("a long line\n".utf8))
        file.write(Array("b\n".utf8))
        #expect(try text(path) == "b\n")
        #expect(try text(path + ".1") == "a long line\n")
    }
}
