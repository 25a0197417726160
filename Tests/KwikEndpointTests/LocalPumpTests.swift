import Glibc
import KwikCore
import KwikEndpoint
import KwikLinux
import Testing

private let stream = StreamID(0)

/// A pump over one end of a real socket pair; what it tells the session is written down.
@safe
private final class Bench {
    let loop: EventLoop
    let endpoint: Endpoint
    let driver: SessionDriver
    let pump: LocalPump
    /// The program's end, and ours.
    private(set) var program: Int32
    private let near: Int32
    private(set) var told: [String] = []
    private let memory: UnsafeMutableRawBufferPointer

    init() throws {
        loop = try EventLoop()
        endpoint = try Endpoint(loop: loop, maximumRate: nil)
        let pair = try UnixSocket.pair(.stream)
        (program, near) = pair
        let checks = unsafe Integrity(crc32c: { _, _ in 0 }, blockSum: { _, _ in 0 })
        var door = SessionDoor(ClientSession(settings: ClientSettings(), integrity: checks))
        var note: (String) -> Void = { _ in }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 16)
        unsafe self.memory = memory
        door.handle = { input, _, _ in
            switch input {
            case .localEnded(_, let closed): note(closed ? "closed" : "ended")
            case .localAborted: note("aborted")
            default: break
            }
        }
        door.room = { _ in unsafe .buffer(memory) }
        door.filled = { _, count, _, _ in note("\(count) bytes") }
        driver = endpoint.makeDriver(door)
        let socket = unsafe LocalPump.Socket(
            read: { unsafe StreamSocket.read(pair.1, into: $0) }, discard: { _ in .wouldBlock },
            write: { _ in .wouldBlock }, wasUrgent: { false }, isDrained: { false },
            writeUrgent: { _ in .wouldBlock })
        pump = LocalPump(stream: stream, socket: socket, driver: driver)
        pump.isClosed = {
            var entry = pollfd(fd: pair.1, events: 0, revents: 0)
            return unsafe poll(&entry, 1, 0) == 1 && Int32(entry.revents) & Int32(POLLHUP) != 0
        }
        note = { [unowned self] in self.told.append($0) }
    }

    deinit {
        closeProgram()
        close(near)
        unsafe memory.deallocate()
    }

    func closeProgram() {
        if program >= 0 { close(program) }
        program = -1
    }
}

@Suite struct LocalPumpTests {
    /// No read tells it, and the stream and its path would never end.
    @Test func aCloseThatFollowsAHalfCloseIsToldOnce() throws {
        let bench = try Bench()
        _ = UnixSocket.send(bench.program, [1, 2, 3])
        shutdown(bench.program, Int32(SHUT_WR))
        bench.pump.readable()
        bench.pump.checkClosed()
        #expect(bench.told == ["3 bytes", "ended"])
        bench.closeProgram()
        bench.pump.readable()
        bench.pump.checkClosed()
        bench.pump.checkClosed()
        #expect(bench.told == ["3 bytes", "ended", "closed"])
    }

    @Test func aCloseAtOnceIsToldOnce() throws {
        let bench = try Bench()
        _ = UnixSocket.send(bench.program, [1])
        bench.closeProgram()
        bench.pump.checkClosed()
        bench.pump.readable()
        bench.pump.checkClosed()
        #expect(bench.told == ["1 bytes", "closed"])
    }

    /// A turn of the loop reads on once and then writes to the paths.
    @Test func whatASilenceEndsWithIsReadInPiecesAtFirst() throws {
        let bench = try Bench()
        _ = UnixSocket.send(bench.program, [UInt8](repeating: 1, count: 100_000))
        var counts: [Int] = []
        for _ in 0..<3 {
            let before = bench.told.count
            bench.pump.readable()
            counts.append(bench.told.count - before)
        }
        #expect(counts == [4, 4, 17])
    }

    @Test func nothingIsToldOfAPumpThatWasStopped() throws {
        let bench = try Bench()
        shutdown(bench.program, Int32(SHUT_WR))
        bench.pump.readable()
        bench.pump.stop()
        bench.closeProgram()
        bench.pump.checkClosed()
        #expect(bench.told == ["ended"])
    }
}
