import Glibc
import KwikCore
import KwikLinux
import Testing

@testable import KwikPrograms

private let reset = IOResult.failed(Errno(code: ECONNRESET))

private func connected(_ bench: Bench) throws -> (program: Int32, connection: ProgramConnection) {
    let (program, connection) = try bench.pending()
    connection.established()
    return (program, connection)
}

private func write(_ fd: Int32, _ text: String) { _ = UnixSocket.send(fd, Array(text.utf8)) }

private func queued(_ connection: ProgramConnection) -> Int {
    (try? UnixSocket.unread(connection.descriptor)) ?? -1
}

private func slice(_ text: String) -> ChunkSlice {
    unsafe Array(text.utf8).withUnsafeBytes { bytes in unsafe ChunkSlice(copying: bytes) }
}

@Suite struct ConnectionTests {
    @Test func pendingShowsNothingAndTakesNothing() throws {
        let bench = try Bench()
        let (program, _) = try bench.pending()
        #expect(events(program) == 0)
        #expect(UnixSocket.send(program, [1]) == .wouldBlock)
        #expect(readAll(program) == .wouldBlock)
        close(program)
    }

    @Test func establishedIsWritableWithRoomForMuch() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        #expect(events(program) == POLLOUT)
        #expect(try StreamSocket.intOption(program, SOL_SOCKET, SO_SNDBUF) >= ProgramConnection.sendBuffer)
        #expect(queued(connection) == 1)
        #expect(drain(connection) == ([], .wouldBlock))
        close(program)
    }

    @Test func refusedShowsWhatTCPShows() throws {
        let bench = try Bench()
        let (program, connection) = try bench.pending()
        connection.refused(errno: ECONNREFUSED)
        #expect(events(program) == POLLIN | POLLOUT | POLLERR | POLLHUP)
        close(program)
    }

    @Test func theLastByteIsForwardedAtOnceAndStays() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        for text in ["a", "bc", "d", "efghij"] {
            write(program, text)
            #expect(drain(connection) == (Array(text.utf8), .wouldBlock))
            #expect(queued(connection) == 1)
        }
        close(program)
    }

    /// Whatever the sizes of writes and reads, every byte comes once, in order, and one stays queued.
    @Test(arguments: 1...20) func anyPiecesComeWholeAndOneByteStays(seed: UInt64) throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        var state = seed
        func chance(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % below
        }
        var sent: [UInt8] = []
        var received: [UInt8] = []
        for _ in 0..<300 {
            if chance(2) == 0 {
                let piece = (0..<chance(700) + 1).map { _ in UInt8(chance(256)) }
                if case .count(let count) = UnixSocket.send(program, piece) { sent += piece.prefix(count) }
            } else {
                var buffer = [UInt8](repeating: 0, count: chance(500) + 1)
                let result = unsafe buffer.withUnsafeMutableBytes { bytes in
                    unsafe connection.read(into: bytes)
                }
                if case .count(let count) = result { received += buffer.prefix(count) }
            }
            #expect(queued(connection) >= 1)
        }
        received += drain(connection).0
        #expect(received == sent)
        #expect(queued(connection) == 1)
        close(program)
    }

    @Test func halfClosedIsTheEndOfFileAfterTheData() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        write(program, "last words")
        shutdown(program, Int32(SHUT_WR))
        #expect(drain(connection) == (Array("last words".utf8), .endOfFile))
        #expect(!connection.isClosedByProgram)
        #expect(connection.write([slice("answer")]) == .count(6))
        #expect(readAll(program) == .count(6))
        close(program)
        #expect(connection.isClosedByProgram)
    }

    @Test func closedWithUnreadDataIsAReset() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        #expect(connection.write([slice("unread")]) == .count(6))
        close(program)
        #expect(drain(connection) == ([], reset))
    }

    @Test func closedWithLingerZeroIsAReset() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        try connection.shadow.write(level: SOL_SOCKET, name: SO_LINGER, [1, 0, 0, 0, 0, 0, 0, 0])
        close(program)
        #expect(drain(connection) == ([], reset))
    }

    @Test func finishedIsTheEndOfFileAndAbortedAReset() throws {
        let bench = try Bench()
        let (first, finished) = try connected(bench)
        _ = finished.write([slice("data")])
        finished.close(.finished(closed: false))
        #expect(readAll(first) == .count(4))
        #expect(readAll(first) == .endOfFile)
        write(first, "more")
        #expect(drain(finished).0 == Array("more".utf8))
        finished.release()
        #expect(events(first) & POLLERR == 0)

        let (second, aborted) = try connected(bench)
        _ = aborted.write([slice("data")])
        aborted.close(.aborted(errno: ECONNRESET))
        #expect(readAll(second) == .count(4))
        #expect(readAll(second) == reset)
        #expect(bench.served == 0)
        close(first)
        close(second)
    }

    @Test func aProgramThatReadsNoMoreStillWrites() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        shutdown(program, Int32(SHUT_RD))
        #expect(connection.write([slice("x")]) == .failed(Errno(code: EPIPE)))
        write(program, "still")
        #expect(drain(connection) == (Array("still".utf8), .wouldBlock))
        close(program)
    }

    @Test func writeSpaceComesBackAsAnEvent() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        let block = [UInt8](repeating: 7, count: 65_536)
        var total = 0
        while case .count(let count) = UnixSocket.send(program, block) { total += count }
        #expect(events(program) & POLLOUT == 0)
        #expect(drain(connection, room: 10_000).0.count == total)
        #expect(events(program) & POLLOUT != 0)
        close(program)
    }

    @Test func readinessIsReported() throws {
        let bench = try Bench()
        let (program, connection) = try connected(bench)
        var reads = 0
        var hungUp = false
        connection.onReadiness = { readiness in
            if readiness.contains(.readable) { reads += 1 }
            if readiness.contains(.hangup) { hungUp = true }
        }
        write(program, "x")
        #expect(try bench.turn(until: { reads > 0 }))
        close(program)
        #expect(try bench.turn(until: { hungUp }))
    }

    @Test func nativeConnectsTheProgramsOwnSocket() throws {
        let bench = try Bench()
        let listener = try StreamSocket.listen(on: SocketAddress(parsing: "127.0.0.1:0")!)
        let (program, connection) = try bench.pending(to: #require(StreamSocket.localAddress(listener)))
        connection.native()
        var server: Int32?
        #expect(try bench.turn(until: {
            if server == nil { server = try? UnixSocket.accept(listener) }
            return server != nil && events(program) == POLLOUT
        }))
        let accepted = try #require(server)
        // The server sees the port that the program sees.
        #expect(StreamSocket.peerAddress(accepted) == connection.shadow.local)
        write(program, "question")
        #expect(try bench.turn(until: { readAll(accepted) == .count(8) }))
        write(accepted, "reply")
        #expect(try bench.turn(until: { readAll(program) == .count(5) }))
        close(accepted)
        #expect(try bench.turn(until: { readAll(program) == .endOfFile }))
        close(program)
        #expect(try bench.turn(until: { bench.served == 0 }))
        close(listener)
    }

    @Test func nativeRefusedIsRefused() throws {
        let bench = try Bench()
        let closed = tcp()
        try StreamSocket.bind(closed, to: SocketAddress(parsing: "127.0.0.1:0")!)
        let (program, connection) = try bench.pending(to: #require(StreamSocket.localAddress(closed)))
        connection.native()
        #expect(try bench.turn(until: { events(program) != 0 }))
        #expect(try bench.ask(.status, program).error == ECONNREFUSED)
        let original = try #require(try bench.ask(.undo, program).descriptor)
        // It can connect again at once.
        let listener = try StreamSocket.listen(on: SocketAddress(parsing: "127.0.0.1:0")!)
        try StreamSocket.connect(original, to: #require(StreamSocket.localAddress(listener)))
        #expect(StreamSocket.pendingError(original) == 0)
        for fd in [original, listener, program, closed] { close(fd) }
    }

    @Test func aDoorThatClosesResetsItsPrograms() throws {
        let bench = try Bench()
        let (program, _) = try connected(bench)
        let (waiting, _) = try bench.pending()
        bench.closeDoor()
        #expect(readAll(program) == reset)
        #expect(readAll(waiting) == reset)
        close(program)
        close(waiting)
    }
}
