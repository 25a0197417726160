import Glibc
import KwikCore
import KwikLinux
import KwikPrograms

final class Door {
    enum Mode: String, CaseIterable {
        /// A driver of its own.
        case relay
        /// The engine's native fallback.
        case native
        /// As `relay`, and servers under the shim are shown who connects.
        case clients
    }

    private let loop: EventLoop
    private let mode: Mode
    /// For servers under the shim.
    private var clients: ClientMap?
    private var door: ProgramDoor?
    private var relays: [ObjectIdentifier: (relay: SocketRelay, socket: Int32)] = [:]
    private var served = 0

    private init(_ loop: EventLoop, _ mode: Mode) {
        self.loop = loop
        self.mode = mode
    }

    static func main(_ arguments: [String]) -> Int32 {
        guard arguments.count >= 3, let mode = Mode(rawValue: arguments[0]) else {
            let modes = Mode.allCases.map(\.rawValue).joined(separator: "|")
            tell("usage: kwik-echo-door \(modes) DIRECTORY ADDRESS...", to: 2)
            return 2
        }
        let given = arguments.dropFirst(2).map(parse)
        guard given.allSatisfy({ each in !each.isEmpty }) else {
            tell("an address is ADDRESS:PORT or [ADDRESS]:PORT; a port may be *", to: 2)
            return 2
        }
        let addresses = given.flatMap { each in each }
        do throws(Errno) {
            let loop = try EventLoop()
            let door = Door(loop, mode)
            try door.open(arguments[1], addresses)
            let code = try loop.run()
            door.close(arguments[1])
            return code
        } catch {
            tell("kwik-echo-door: \(error)", to: 2)
            return 1
        }
    }

    /// `*` stands for every port, so that a test suite that picks its own can be run.
    private static func parse(_ text: String) -> [SocketAddress] {
        guard text.hasSuffix(":*") else { return SocketAddress(parsing: text).map { [$0] } ?? [] }
        return (1...65_535).compactMap { port in SocketAddress(parsing: text.dropLast() + String(port)) }
    }

    private func open(_ directory: String, _ addresses: [SocketAddress]) throws(Errno) {
        let listener = try UnixSocket.listen(path: directory + "/engine.sock", mode: 0o600, .sequentialPacket)
        door = try ProgramDoor(
            loop: loop, listener: listener, log: { line in tell(line, to: 2) }, decide: { _ in .serve },
            connected: { [unowned self] connection in self.connected(connection) })
        if mode == .clients { clients = try ClientMap(directory: directory) }
        try ServedMap.write(directory + "/" + ServedMap.name, addresses)
        try loop.signal(SIGTERM) { [unowned self] in self.loop.stop(0) }
        tell("ready", to: 1)
    }

    private func close(_ directory: String) {
        ServedMap.remove(directory + "/" + ServedMap.name)
        door?.close()
        tell("served \(served)", to: 1)
    }

    /// Not through `native`, which is a driver of its own, but as a driver outside the module would do it.
    private func connected(_ connection: ProgramConnection) {
        served += 1
        if mode == .native { return connection.native() }
        do throws(Errno) {
            let socket = try socket(connection)
            for option in connection.options {
                try StreamSocket.setOption(socket, option.level, option.name, bytes: option.value)
            }
            let relay = try SocketRelay(loop: loop, connection: connection, socket: socket)
            let key = ObjectIdentifier(relay)
            relays[key] = (relay, socket)
            connection.onReadiness = { [unowned self] readiness in
                if readiness.contains(.hangup) { self.ended(key) }
            }
            relay.onEnd = { [unowned self] in self.ended(key) }
            relay.start()
        } catch {
            connection.refused(errno: error.code)
        }
    }

    /// No place is given back: a program makes fewer connections than there are.
    private func socket(_ connection: ProgramConnection) throws(Errno) -> Int32 {
        if let clients, let loopback = SocketAddress(host: "127.0.0.1", port: connection.localPort) {
            return try clients.socket(showing: loopback).descriptor
        }
        let socket = Glibc.socket(connection.destination.family, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { throw Errno.last }
        try Descriptor.setCloseOnExec(socket, true)
        return socket
    }

    private func ended(_ key: ObjectIdentifier) {
        guard let (relay, socket) = relays.removeValue(forKey: key) else { return }
        relay.stop()
        Descriptor.close(socket)
    }
}

private func tell(_ line: String, to fd: Int32) { try? Files.writeAll(fd, Array((line + "\n").utf8)) }
