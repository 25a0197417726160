import Foundation
import KwikCore
import KwikLinux
import KwikTelemetry
import Testing

/// A server on a loop of its own thread, until `stop`.
private final class Daemon: Sendable {
    let path: String
    private let finished = DispatchSemaphore(value: 0)

    init(_ answer: @escaping @Sendable (String, JSON) -> JSON) throws {
        let path = NSTemporaryDirectory() + "kwik-\(UUID().uuidString.prefix(8)).sock"
        let ready = DispatchSemaphore(value: 0)
        let thread = Thread { [finished] in
            do {
                let loop = try EventLoop()
                let server = try StatusServer(loop: loop, path: path) { verb, request in
                    if verb == "stop" { loop.stop(0) }
                    return answer(verb, request)
                }
                ready.signal()
                _ = try loop.run()
                server.close()
            } catch {
                Issue.record("\(error)")
            }
            ready.signal()
            finished.signal()
        }
        self.path = path
        thread.start()
        ready.wait()
    }

    /// What the daemon answers to `request`; the caller's thread blocks.
    func ask(_ request: JSON) throws -> JSON { try StatusClient.ask(path, request, timeout: .seconds(20)) }

    func stop() {
        _ = try? ask(verb("stop"))
        finished.wait()
    }
}

private func verb(_ name: String) -> JSON { .object([("verb", .string(name))]) }

/// Sends `bytes` and reads until the daemon closes; the descriptor is non-blocking.
private func exchange(_ path: String, _ bytes: [UInt8]) throws -> [UInt8] {
    let socket = Descriptor(taking: try UnixSocket.connect(path: path))
    try Descriptor.setStatusFlags(socket.raw, try Descriptor.statusFlags(socket.raw) & ~O_NONBLOCK)
    _ = unsafe bytes.withUnsafeBytes { unsafe StreamSocket.write(socket.raw, $0) }
    var reply: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
        let count = unsafe read(socket.raw, &buffer, buffer.count)
        if count <= 0 { return reply }
        reply += buffer.prefix(count)
    }
}

@Suite struct StatusSocket {
    @Test func aVerbIsAnswered() throws {
        let daemon = try Daemon { verb, request in .object([("said", .string(verb)), ("all", request)]) }
        defer { daemon.stop() }
        let reply = try daemon.ask(.object([("verb", .string("status")), ("x", .integer(1))]))
        #expect(reply["said"]?.text == "status")
        #expect(reply["all"]?["x"]?.integer == 1)
    }

    @Test func aLongAnswerArrivesWhole() throws {
        let text = String(repeating: "0123456789", count: 300_000)
        let daemon = try Daemon { _, _ in .object([("text", .string(text))]) }
        defer { daemon.stop() }
        #expect(try daemon.ask(verb("status"))["text"]?.text == text)
    }

    @Test func onlyItsUserMayUseIt() throws {
        let daemon = try Daemon { _, _ in .null }
        defer { daemon.stop() }
        let mode = try FileManager.default.attributesOfItem(atPath: daemon.path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func aSecondDaemonFindsThePathTaken() throws {
        let daemon = try Daemon { _, _ in .null }
        defer { daemon.stop() }
        let loop = try EventLoop()
        #expect(throws: Errno(code: EADDRINUSE)) {
            _ = try StatusServer(loop: loop, path: daemon.path) { _, _ in .null }
        }
    }

    @Test func badRequestsAreAnsweredOrCutOffAndHarmNoOther() throws {
        let daemon = try Daemon { verb, _ in .object([("said", .string(verb))]) }
        defer { daemon.stop() }
        func text(_ bytes: [UInt8]) throws -> String {
            String(decoding: try exchange(daemon.path, bytes), as: UTF8.self)
        }
        #expect(try text(Array("{}\n".utf8)) == "{\"error\":\"a request needs a \\\"verb\\\"\"}\n")
        #expect(try text(Array("nonsense\n".utf8)).hasPrefix("{\"error\":\"bad request: 1:"))
        #expect(try text([UInt8](repeating: 0x20, count: StatusLimit.requestBytes + 1)) == "")
        #expect(try daemon.ask(verb("x"))["said"]?.text == "x")
    }

    @Test func askersThatSayNothingMakeRoomForOthers() throws {
        let daemon = try Daemon { verb, _ in .object([("said", .string(verb))]) }
        defer { daemon.stop() }
        var silent: [Int32] = []
        defer { silent.forEach { Descriptor.close($0) } }
        for _ in 0..<StatusLimit.clients * 2 { silent.append(try UnixSocket.connect(path: daemon.path)) }
        #expect(try daemon.ask(verb("x"))["said"]?.text == "x")
    }

    @Test func theDaemonsRefusalIsAnError() throws {
        let daemon = try Daemon { _, _ in .object([("error", .string("no"))]) }
        defer { daemon.stop() }
        #expect(throws: StatusError.refused("no")) { try daemon.ask(verb("x")) }
    }

    @Test func nobodyListeningIsAnError() {
        let path = "/nonexistent/control.sock"
        #expect(throws: StatusError.absent(path: path, Errno(code: ENOENT))) {
            try StatusClient.ask(path, .null)
        }
    }

    @Test func aDaemonThatNeverAnswersIsGivenUp() throws {
        let path = NSTemporaryDirectory() + "kwik-\(UUID().uuidString.prefix(8)).sock"
        let listener = Descriptor(taking: try UnixSocket.listen(path: path, mode: 0o600))
        defer { try? Files.remove(path) }
        #expect(throws: StatusError.timedOut) {
            try StatusClient.ask(path, .null, timeout: .milliseconds(20))
        }
        #expect(listener.raw >= 0)
    }
}
