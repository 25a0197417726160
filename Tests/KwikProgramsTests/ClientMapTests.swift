import Foundation
import Glibc
import KwikLinux
import Testing

@testable import KwikPrograms

/// The shim's own reader, asked about the socket that is its standard input.
private let reader = """
    #include "clients.c"
    #include <stdio.h>
    struct kwik_real kwik_real;
    struct kwik_setup kwik_setup;
    void kwik_calm_begin(struct kwik_calm *calm) { calm->error = errno; }
    void kwik_calm_end(const struct kwik_calm *calm) { errno = calm->error; }
    void kwik_close(int fd) { close(fd); }
    void kwik_copy_address(const struct sockaddr_storage *from, socklen_t size, struct sockaddr *to,
                           socklen_t *length, socklen_t room)
    {
        memcpy(to, from, room < size ? room : size);
        *length = size;
    }
    static int peer_name(int fd, struct sockaddr *to, socklen_t *size) { return getpeername(fd, to, size); }
    int main(int argc, char **argv)
    {
        struct sockaddr_storage peer;
        socklen_t length = sizeof(peer);
        char text[INET6_ADDRSTRLEN];
        const void *host = &((struct sockaddr_in *)&peer)->sin_addr;
        (void)argc;
        kwik_real.getpeername = peer_name;
        kwik_real.getsockopt = getsockopt;
        kwik_setup.serves = true;
        snprintf(kwik_setup.gateway, sizeof(kwik_setup.gateway), "%s", argv[1]);
        snprintf(kwik_setup.clients, sizeof(kwik_setup.clients), "%s/clients", argv[1]);
        getpeername(0, (struct sockaddr *)&peer, &length);
        kwik_show_client(0, (struct sockaddr *)&peer, &length, sizeof(peer));
        if (peer.ss_family == AF_INET6)
            host = &((struct sockaddr_in6 *)&peer)->sin6_addr;
        inet_ntop(peer.ss_family, host, text, sizeof(text));
        printf("%s %d", text, ntohs(((struct sockaddr_in *)&peer)->sin_port));
        return 0;
    }
    """

/// A gateway's map, a server that accepts, and the shim's reader.
private final class Stage {
    let directory: URL
    let program: CProgram
    let listener: Int32
    let backend: SocketAddress
    var map: ClientMap?

    /// - Parameter listening: an IPv6 one is not limited to IPv6.
    init(listening: String = "127.0.0.1:0", capacity: Int = ClientMap.maximalConnections) throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("kwik-map-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        program = try compile(reader)
        listener = try StreamSocket.listen(on: #require(SocketAddress(parsing: listening)))
        let port = try #require(StreamSocket.localAddress(listener)).port
        backend = try #require(SocketAddress(host: "127.0.0.1", port: port))
        map = try ClientMap(directory: directory.path, capacity: capacity)
    }

    deinit {
        program.remove()
        close(listener)
        try? FileManager.default.removeItem(at: directory)
    }

    func accept() throws -> FileHandle {
        var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        try #require(unsafe poll(&entry, 1, 10_000) == 1)
        return FileHandle(fileDescriptor: try #require(try UnixSocket.accept(listener)), closeOnDealloc: true)
    }

    func connect(_ client: String) throws -> ClientMap.Connection {
        let address = try #require(SocketAddress(parsing: client))
        let connection = try #require(map).socket(showing: address)
        try StreamSocket.connect(connection.descriptor, to: backend)
        return connection
    }

    /// "address port" of the socket's peer as a server under the shim sees it.
    func peer(_ socket: FileHandle) throws -> String {
        let pipe = Pipe()
        let process = Process()
        process.executableURL = program.directory.appendingPathComponent("main")
        process.arguments = [directory.path]
        process.standardInput = socket
        process.standardOutput = pipe
        try process.run()
        let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: bytes, as: UTF8.self)
    }
}

@Suite struct ClientMapTests {
    @Test func aServerSeesEachConnectionsClient() throws {
        let stage = try Stage()
        let first = try stage.connect("192.0.2.1:4001")
        let one = try stage.accept()
        let second = try stage.connect("192.0.2.2:4002")
        let other = try stage.accept()
        #expect(try stage.peer(one) == "192.0.2.1 4001")
        #expect(try stage.peer(other) == "192.0.2.2 4002")
        for connection in [first, second] { close(connection.descriptor) }
    }

    @Test func anIPv6SocketIsToldOfBothKinds() throws {
        let stage = try Stage(listening: "[::]:0")
        let first = try stage.connect("[2001:db8::7]:4001")
        #expect(try stage.peer(try stage.accept()) == "2001:db8::7 4001")
        let second = try stage.connect("192.0.2.2:4002")
        #expect(try stage.peer(try stage.accept()) == "::ffff:192.0.2.2 4002")
        for connection in [first, second] { close(connection.descriptor) }
    }

    /// It would have no room for the address: the gateway's is not somebody else's, at least.
    @Test func anIPv4SocketIsNotToldOfAnIPv6Client() throws {
        let stage = try Stage()
        let connection = try stage.connect("[2001:db8::7]:4001")
        #expect(try stage.peer(try stage.accept()).hasPrefix("127.75."))
        close(connection.descriptor)
    }

    /// Its bytes may lie there still, and would pass for the gateway's own.
    @Test func aClientThatIsGoneBeforeAcceptIsStillShown() throws {
        let stage = try Stage()
        let connection = try stage.connect("192.0.2.1:4001")
        close(connection.descriptor)
        stage.map?.release(connection)
        let next = try stage.connect("192.0.2.2:4002")
        #expect(try stage.peer(try stage.accept()) == "192.0.2.1 4001")
        close(next.descriptor)
    }

    @Test func aStrangerFromTheSameAddressIsNobodysClient() throws {
        let stage = try Stage()
        let connection = try stage.connect("192.0.2.1:4001")
        let known = try stage.accept()
        let source = try #require(StreamSocket.localAddress(connection.descriptor))
        let same = try #require(SocketAddress(host: source.host, port: 0))
        let stranger = try StreamSocket.reservePort(same)
        try StreamSocket.connect(stranger, to: stage.backend)
        #expect(try stage.peer(try stage.accept()).hasPrefix("\(source.host) "))
        #expect(try stage.peer(known) == "192.0.2.1 4001")
        close(stranger)
        close(connection.descriptor)
    }

    /// On any address, also where the gateway has no connection: the holder has them all.
    @Test func nobodyElseCanHaveTheGatewaysPort() throws {
        let stage = try Stage()
        let connection = try stage.connect("192.0.2.1:4001")
        let port = try #require(StreamSocket.localAddress(connection.descriptor)).port
        for host in ["127.0.0.1", "127.75.200.1", "0.0.0.0", "::ffff:127.75.200.1"] {
            let address = try #require(SocketAddress(host: host, port: port))
            let socket = tcp(address.family)
            try StreamSocket.setOption(socket, SOL_SOCKET, SO_REUSEADDR, 1)
            #expect(throws: Errno(code: EADDRINUSE)) { try StreamSocket.bind(socket, to: address) }
            close(socket)
        }
        close(connection.descriptor)
    }

    @Test func aGatewayThatIsGoneIsNotBelieved() throws {
        let stage = try Stage()
        let connection = try stage.connect("192.0.2.1:4001")
        let socket = try stage.accept()
        let path = stage.directory.appendingPathComponent(ClientMap.name)
        let copy = stage.directory.appendingPathComponent("copy")
        try FileManager.default.copyItem(at: path, to: copy)
        stage.map = nil
        #expect(!FileManager.default.fileExists(atPath: path.path))
        #expect(try stage.peer(socket).hasPrefix("127.75."))
        // As after a crash: the file is there, and nobody has it locked.
        try FileManager.default.moveItem(at: copy, to: path)
        #expect(try stage.peer(socket).hasPrefix("127.75."))
        // The next gateway has another port, and the connection is none of its own.
        stage.map = try ClientMap(directory: stage.directory.path)
        #expect(try stage.peer(socket).hasPrefix("127.75."))
        close(connection.descriptor)
    }

    @Test func aFileThatOthersCanWriteIsNotBelieved() throws {
        let stage = try Stage()
        let connection = try stage.connect("192.0.2.1:4001")
        let socket = try stage.accept()
        let file = stage.directory.appendingPathComponent(ClientMap.name).path
        #expect(unsafe chmod(file, 0o664) == 0)
        #expect(try stage.peer(socket).hasPrefix("127.75."))
        #expect(unsafe chmod(file, 0o644) == 0)
        #expect(unsafe chmod(stage.directory.path, 0o777) == 0)
        #expect(try stage.peer(socket).hasPrefix("127.75."))
        #expect(unsafe chmod(stage.directory.path, 0o755) == 0)
        #expect(try stage.peer(socket) == "192.0.2.1 4001")
        close(connection.descriptor)
    }

    @Test func slotsAreUsedInTurnAndNeverTwiceAtOnce() throws {
        let stage = try Stage(capacity: 3)
        let all = try (1...3).map { try stage.connect("192.0.2.1:\($0)") }
        #expect(all.map(\.slot) == [0, 1, 2])
        #expect(throws: Errno(code: EADDRNOTAVAIL)) { try stage.connect("192.0.2.1:4") }
        for connection in [all[2], all[1]] {
            try #require(stage.map).release(connection)
            StreamSocket.reset(connection.descriptor)
        }
        let next = try stage.connect("192.0.2.1:5")
        #expect(next.slot == 1)
        for connection in [all[0], next] { close(connection.descriptor) }
    }

    @Test func theBytesAreTheSameInC() throws {
        let expected = try outputOfC("""
            struct kwik_clients_head h = {.magic = KWIK_CLIENTS_MAGIC, .network = 0x123456789a};
            h.port = htons(443);
            struct kwik_client c = {.port = htons(8443), .used = 1, .scope = 7};
            inet_pton(AF_INET6, "fe80::1234", c.address);
            fwrite(&h, sizeof(h), 1, stdout);
            fwrite(&c, sizeof(c), 1, stdout);
            printf("%d %d", KWIK_CLIENTS_MAX, KWIK_CLIENTS_NET);
            """)
        let client = try #require(SocketAddress(host: "fe80::1234%7", port: 8443))
        let entry = try #require(ClientMap.entry(client))
        let numbers = Array("\(ClientMap.maximalConnections) \(127 << 8 | 75)".utf8)
        #expect(ClientMap.head(port: 443, network: 0x12_3456_789a) + entry + numbers == expected)
    }
}
