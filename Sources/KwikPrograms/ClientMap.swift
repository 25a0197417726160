internal import Glibc
public import KwikLinux

/// A gateway's connections to backends on this machine, and the file by which the shim in a server knows
/// whose stream each of them carries (`shim/protocol.h`).
///
/// Each comes from an address of its own, 127.75.a.b, its slot in the file, and from the one port that this
/// object holds on all addresses, so that no other user's process can be taken for the gateway. A slot stays
/// as it is until all others have had their turn: a server that accepts late, or asks after the end, gets the
/// right answer.
public final class ClientMap {
    /// The file's name in the gateway's runtime directory.
    public static let name = "clients"
    /// Connections at one time, one for each address.
    public static let maximalConnections = 65_536

    public struct Connection: Sendable {
        /// Bound and not connected, non-blocking, the caller's.
        public let descriptor: Int32
        let slot: Int
    }

    private let path: String
    private let file: PublishedFile
    /// Keeps the port on every address.
    private let holder: Descriptor
    private let port: UInt16
    private let capacity: Int
    private var isUsed: [Bool]
    private var count = 0
    private var next = 0

    private static let headLength = 32
    private static let slotLength = 32

    public convenience init(directory: String) throws(Errno) {
        try self.init(directory: directory, capacity: Self.maximalConnections)
    }

    /// - Parameter capacity: 1 ... `maximalConnections`.
    init(directory: String, capacity: Int) throws(Errno) {
        self.capacity = capacity
        isUsed = [Bool](repeating: false, count: capacity)
        path = directory + "/" + Self.name
        let holder = Descriptor(taking: try StreamSocket.reservePort(Self.address([0, 0, 0, 0], port: 0)))
        guard let port = StreamSocket.localAddress(holder.raw)?.port else { throw Errno.last }
        let head = Self.head(port: port, network: try UnixSocket.namespaceCookie(holder.raw))
        self.holder = holder
        self.port = port
        file = try PublishedFile(
            path, head: head, size: Self.headLength + Self.maximalConnections * Self.slotLength)
    }

    deinit { try? Files.remove(path) }

    /// A socket to connect to an IPv4 address of this machine: what is accepted there shows `client` as its
    /// peer. EADDRNOTAVAIL: all slots are in use. The caller closes the descriptor, then calls `release`.
    public func socket(showing client: SocketAddress) throws(Errno) -> Connection {
        guard let entry = Self.entry(client) else { throw Errno(code: EAFNOSUPPORT) }
        guard let slot = nextFree() else { throw Errno(code: EADDRNOTAVAIL) }
        try file.write(entry, at: Self.headLength + slot * Self.slotLength)
        let source: [UInt8] = [127, 75, UInt8(slot >> 8), UInt8(slot & 255)]
        let fd = try StreamSocket.reservePort(Self.address(source, port: port))
        isUsed[slot] = true
        count += 1
        return Connection(descriptor: fd, slot: slot)
    }

    /// The connection is closed, and its other end reset or closed too.
    public func release(_ connection: Connection) {
        precondition(isUsed[connection.slot], "released twice")
        isUsed[connection.slot] = false
        count -= 1
    }

    private func nextFree() -> Int? {
        guard count < capacity else { return nil }
        while isUsed[next] { next = (next + 1) % capacity }
        defer { next = (next + 1) % capacity }
        return next
    }

    // MARK: Bytes

    static func head(port: UInt16, network: UInt64) -> [UInt8] {
        let cookie = unsafe withUnsafeBytes(of: network) { unsafe Array($0) }
        let ports = [UInt8(port >> 8), UInt8(port & 255)]
        return Array("KWIKCLI1".utf8) + cookie + ports + [UInt8](repeating: 0, count: 14)
    }

    /// Nil: neither IPv4 nor IPv6.
    static func entry(_ client: SocketAddress) -> [UInt8]? {
        guard let address = ServedMap.entry(client) else { return nil }
        let isUsed = unsafe withUnsafeBytes(of: UInt16(1)) { unsafe Array($0) }
        let scope = client.family == AF_INET6 ? Array(client.wire[4..<8]) : [0, 0, 0, 0]
        return address + isUsed + scope + [UInt8](repeating: 0, count: 8)
    }

    private static func address(_ host: [UInt8], port: UInt16) throws(Errno) -> SocketAddress {
        let family = unsafe withUnsafeBytes(of: UInt16(AF_INET)) { unsafe Array($0) }
        let bytes = family + [UInt8(port >> 8), UInt8(port & 255)] + host + [UInt8](repeating: 0, count: 8)
        guard let address = SocketAddress(bytes: bytes) else { throw Errno(code: EINVAL) }
        return address
    }
}
