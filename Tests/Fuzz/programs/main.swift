// libFuzzer's target for the local protocol, engine side: a real door on a real socket, and a process that
// speaks to it as it likes, with descriptors of every kind, and does to its sockets what it likes.
//
// Input: steps of one byte for what is done, whose arguments follow. Properties: no trap, no lost memory, no
// descriptor left open.

import Glibc
import KwikCore
import KwikLinux

@testable import KwikPrograms

private let loopback4: [UInt8] = [2, 0, 0, 9, 0, 0, 0, 0, 127, 0, 0, 1]
private let loopback6: [UInt8] = [10, 0, 0, 9, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 15) + [1]

/// The input, read front to back; zeros behind its end.
private struct Script {
    private var rest: ArraySlice<UInt8>
    var isOver: Bool { rest.isEmpty }

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func bytes(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func choose<Element>(_ from: [Element]) -> Element? {
        let number = Int(byte())
        return from.isEmpty ? nil : from[number % from.count]
    }
}

private final class Play {
    private let loop: EventLoop
    private let path: String
    private var script: Script
    private var door: ProgramDoor?
    private var turnEnd: LoopTimer?
    private var connections: [ProgramConnection] = []
    private var talks: [Int32] = []
    /// What the process holds: originals, ends of pairs that the door gave, and things that are no sockets.
    private var held: [Int32] = []

    private static let most = 24
    private static let names: [(Int32, Int32)] = [
        (6, 1), (6, 11), (6, 4), (6, 18), (6, 13), (6, 31), (1, 2), (1, 4), (1, 9), (1, 10), (1, 12), (1, 13),
        (1, 25), (1, 36), (0, 1), (41, 67), (41, 25), (99, 1),
    ]

    init(_ bytes: [UInt8], path: String) throws(Errno) {
        script = Script(bytes)
        self.path = path
        loop = try EventLoop()
        let listener = try UnixSocket.listen(path: path, mode: 0o600, .sequentialPacket)
        turnEnd = try loop.timer { [unowned self] in self.loop.stop(0) }
        door = try ProgramDoor(
            loop: loop, listener: listener, log: { _ in },
            // Nothing leaves this machine.
            decide: { request in request.destination.isLoopback ? .serve : .native },
            connected: { [unowned self] connection in self.connected(connection) })
    }

    private func connected(_ connection: ProgramConnection) {
        connections.append(connection)
        connection.onReadiness = { [unowned connection] _ in drain(connection) }
        connection.figures = {
            StreamFigures(path: nil, produced: 9, sent: 8, acknowledged: 7, received: 6)
        }
    }

    func run() throws(Errno) {
        while !script.isOver {
            switch script.byte() % 10 {
            case 0:
                guard talks.count < Self.most else { break }
                talks.append(try UnixSocket.connect(path: path, .sequentialPacket))
            case 1: sendRubbish()
            case 2, 3, 4: sendRequest()
            case 5: receive()
            case 6: if let talk = script.choose(talks) { hangUp(talk) }
            case 7: if let connection = script.choose(connections) { act(connection) }
            case 8: disturb()
            default: make()
            }
            try turn()
        }
        for fd in talks + held { close(fd) }
        try turn()
        door?.close()
        try turn()
        connections = []
        door = nil
        turnEnd?.cancel()
        turnEnd = nil
        unsafe unlink(path)
    }

    /// All that is ready is handled; twice, as one thing leads to another.
    private func turn() throws(Errno) {
        for _ in 0..<2 {
            turnEnd?.arm(at: Clock.now())
            _ = try loop.run()
        }
    }

    // MARK: Messages

    private func attached() -> [Int32] {
        (0..<Int(script.byte() % 8 == 7 ? 3 : 1)).compactMap { _ in script.choose(held) }
    }

    private func sendRubbish() {
        guard let talk = script.choose(talks) else { return }
        let fds = attached()
        _ = UnixSocket.send(talk, script.bytes(Int(script.byte())), descriptors: fds)
    }

    private func sendRequest() {
        guard let talk = script.choose(talks) else { return }
        guard let kind = Wire.Kind(rawValue: UInt16(script.byte() % 6) + 1) else { return }
        var request = Request(kind: kind)
        request.flags = Wire.Flags(rawValue: UInt16(script.byte()))
        let name = Self.names[Int(script.byte()) % Self.names.count]
        (request.level, request.name) = name
        request.length = Int(script.byte())
        if kind == .setOption {
            request.value = script.bytes(Int(script.byte() % 64))
            request.length = request.value.count
        }
        if kind == .connect {
            request.destination = SocketAddress(
                wire: script.byte() & 1 == 0 ? loopback4 + [UInt8](repeating: 0, count: 12) : loopback6)
        }
        let fds = kind == .swapped && script.byte() % 8 != 0 ? [] : attached()
        _ = UnixSocket.send(talk, request.encoded, descriptors: fds)
    }

    private func receive() {
        guard let talk = script.choose(talks) else { return }
        unsafe withUnsafeTemporaryAllocation(byteCount: 2_048, alignment: 8) { buffer in
            switch unsafe UnixSocket.receive(talk, into: buffer, descriptors: 3) {
            case .message(let count, let descriptors, _):
                precondition(count >= Wire.replyHead, "a reply without its head")
                precondition(descriptors.count <= 1, "more than one descriptor in a reply")
                held += descriptors
            case .endOfFile, .failed: hangUp(talk)
            case .wouldBlock: break
            }
        }
    }

    private func hangUp(_ talk: Int32) {
        close(talk)
        talks.removeAll { $0 == talk }
    }

    // MARK: The driver

    private func act(_ connection: ProgramConnection) {
        switch script.byte() % 9 {
        case 0, 1: connection.established()
        case 2: connection.refused(errno: ECONNREFUSED)
        case 3: connection.native()
        case 4: connection.close(.finished(closed: false))
        case 5: connection.close(.aborted(errno: ECONNRESET))
        case 6: connection.release()
        case 7: _ = connection.write([slice(script.bytes(Int(script.byte()) + 1))])
        default: _ = connection.writeUrgent(slice([1]))
        }
    }

    // MARK: The process

    /// Does something to what it holds, also to an original that the door has a copy of.
    private func disturb() {
        guard let fd = script.choose(held) else { return }
        switch script.byte() % 9 {
        case 0: _ = UnixSocket.send(fd, script.bytes(Int(script.byte()) + 1))
        case 1: _ = unsafe send(fd, [1, 2], 2, Int32(MSG_OOB) | Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        case 2: shutdown(fd, Int32(script.byte() % 3))
        case 3:
            close(fd)
            held.removeAll { $0 == fd }
        case 4: listen(fd, 1)
        case 5:
            if let local = SocketAddress(parsing: "127.0.0.1:9") { try? StreamSocket.connect(fd, to: local) }
        case 6:
            let linger: [UInt8] = [1, 0, 0, 0, script.byte(), 0, 0, 0]
            try? StreamSocket.setOption(fd, SOL_SOCKET, SO_LINGER, bytes: linger)
        case 7: try? StreamSocket.setOption(fd, SOL_SOCKET, SO_OOBINLINE, 1)
        default:
            unsafe withUnsafeTemporaryAllocation(byteCount: 4_096, alignment: 8) { buffer in
                _ = unsafe StreamSocket.receive(fd, into: buffer, flags: 0)
            }
        }
    }

    private func make() {
        guard held.count < Self.most else { return }
        switch script.byte() % 6 {
        case 0, 1: held.append(tcp(AF_INET))
        case 2: held.append(tcp(AF_INET6))
        case 3: held.append(socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0))
        case 4:
            var ends: [Int32] = [0, 0]
            if unsafe pipe(&ends) == 0 { held += ends }
        default: if let pair = try? UnixSocket.pair(.stream) { held += [pair.0, pair.1] }
        }
    }
}

private func tcp(_ family: Int32) -> Int32 {
    let fd = socket(family, Int32(SOCK_STREAM.rawValue), 0)
    // A connect of the process itself shall not stop it.
    try? Descriptor.setStatusFlags(fd, O_RDWR | O_NONBLOCK)
    return fd
}

private func slice(_ bytes: [UInt8]) -> ChunkSlice {
    unsafe bytes.withUnsafeBytes { unsafe ChunkSlice(copying: $0) }
}

private func drain(_ connection: ProgramConnection) {
    unsafe withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { buffer in
        for _ in 0..<8 {
            guard case .count(let count) = unsafe connection.read(into: buffer) else { return }
            precondition(count > 0 && count <= buffer.count, "bytes beyond the room")
            precondition(!connection.wasUrgent || count == 1, "more than the urgent byte")
        }
    }
}

private func openDescriptors() -> Int { (0..<512).count { fcntl(Int32($0), F_GETFD) >= 0 } }

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = unsafe Array(UnsafeBufferPointer(start: data, count: count))
    let before = openDescriptors()
    do throws(Errno) {
        let play = try Play(input, path: "/tmp/kwik-fuzz-\(getpid()).sock")
        try play.run()
    } catch {
        preconditionFailure("the process ran out of something: \(error)")
    }
    precondition(openDescriptors() == before, "a descriptor stayed open")
    return 0
}
