import Glibc
import KwikCore
import KwikLinux

/// The program's original TCP socket T. It stays unconnected (unless the connect falls back to native) and
/// keeps the options that the program sets: the kernel supplies values, ranges and errors.
final class Shadow {
    private(set) var descriptor: Int32
    let cookie: UInt64
    let destination: SocketAddress
    let local: SocketAddress
    let binding: SocketBinding

    /// Takes the descriptor over, also when it throws: a hostile program may send anything for T.
    /// Reserves a port on all addresses, which binds T to none: it can still go native from any.
    init(taking descriptor: Int32, destination: SocketAddress, namespace: UInt64) throws(NativeReason) {
        self.descriptor = descriptor
        self.destination = destination
        var cookie: UInt64 = 0
        var local = destination
        var binding = SocketBinding.none
        do throws(NativeReason) {
            try Self.check(descriptor, destination, namespace)
            binding = Self.binding(of: descriptor)
            do throws(Errno) {
                cookie = try UnixSocket.cookie(descriptor)
                if let address = binding.address {
                    local = address
                } else {
                    local = try UDPSocket.source(towards: destination, device: binding.device)
                }
                local.port = try Self.reservePort(descriptor)
            } catch {
                throw .noLocalAddress(error)
            }
            if local.port == 0 { throw .bound }
        } catch {
            Descriptor.close(descriptor)
            throw error
        }
        self.cookie = cookie
        self.local = local
        self.binding = binding
    }

    deinit { close() }

    /// Gives T to the caller, who has to close it; nil: it is closed.
    func surrender() -> Int32? {
        defer { descriptor = -1 }
        return descriptor >= 0 ? descriptor : nil
    }

    func close() {
        guard descriptor >= 0 else { return }
        // A close that lingers would stop the loop; linger 0 means RST and is quick.
        if lingersAtClose && !resetsAtClose {
            let off = [UInt8](repeating: 0, count: 8)
            try? StreamSocket.setOption(descriptor, SOL_SOCKET, SO_LINGER, bytes: off)
        }
        Descriptor.close(descriptor)
        descriptor = -1
    }

    /// SO_LINGER is on; with zero seconds close means RST.
    var lingersAtClose: Bool { linger.on }
    var resetsAtClose: Bool { linger.on && !linger.waits }

    var readsUrgentInline: Bool {
        (try? StreamSocket.intOption(descriptor, SOL_SOCKET, SO_OOBINLINE)).map { $0 != 0 } ?? false
    }

    private var linger: (on: Bool, waits: Bool) {
        guard let value = try? StreamSocket.getOption(descriptor, SOL_SOCKET, SO_LINGER, capacity: 8),
            value.count == 8
        else { return (false, false) }
        return (value[0..<4].contains { byte in byte != 0 }, value[4..<8].contains { byte in byte != 0 })
    }

    /// Makes T what it was before: the program gets it back.
    func disconnect() {
        var none = sockaddr()
        none.sa_family = sa_family_t(AF_UNSPEC)
        _ = unsafe Glibc.connect(descriptor, &none, socklen_t(MemoryLayout<sockaddr>.size))
        _ = StreamSocket.pendingError(descriptor)
    }

    private static let tcpClosed: UInt8 = 7  // TCP_CLOSE, netinet/tcp.h

    private static func check(
        _ fd: Int32, _ destination: SocketAddress, _ namespace: UInt64
    ) throws(NativeReason) {
        func option(_ name: Int32, or absent: Int32 = -1) -> Int32 {
            (try? StreamSocket.intOption(fd, SOL_SOCKET, name)) ?? absent
        }
        guard option(SO_TYPE) == Int32(SOCK_STREAM.rawValue), option(SO_DOMAIN) == destination.family,
            option(SO_PROTOCOL) == Int32(IPPROTO_TCP)
        else { throw .notTCP }
        guard let own = try? UnixSocket.namespaceCookie(fd), own == namespace else { throw .otherNamespace }
        let info = try? StreamSocket.getOption(fd, Int32(IPPROTO_TCP), TCP_INFO, capacity: 8)
        guard info?.first == tcpClosed else { throw .notFresh }
        guard option(SO_MARK, or: 0) == 0 else { throw .marked }
        // Completions and time stamps come by the socket's error queue, which only TCP fills.
        guard option(SO_ZEROCOPY, or: 0) == 0, option(SO_TIMESTAMPING, or: 0) == 0 else { throw .errorQueue }
        if destination.unmapped.family != destination.family {
            let onlyVersion6 = try? StreamSocket.intOption(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY)
            guard onlyVersion6 == 0 else { throw .notTCP }
        }
    }

    private static func binding(of fd: Int32) -> SocketBinding {
        var binding = SocketBinding.none
        let name = try? StreamSocket.getOption(fd, SOL_SOCKET, SO_BINDTODEVICE, capacity: Int(IFNAMSIZ))
        if let name, !name.isEmpty {
            binding.device = String(decoding: name.prefix { byte in byte != 0 }, as: UTF8.self)
        }
        if let local = StreamSocket.localAddress(fd), !local.isWildcard { binding.address = local }
        return binding
    }

    /// Bound by the program, its port counts; else any.
    private static func reservePort(_ fd: Int32) throws(Errno) -> UInt16 {
        guard let bound = StreamSocket.localAddress(fd) else { throw Errno.last }
        if bound.port != 0 { return bound.port }
        // Bound to an address with IP_BIND_ADDRESS_NO_PORT: the port would come with the connect that T does
        // not make.
        let level = Int32(IPPROTO_IP)
        let waits = (try? StreamSocket.intOption(fd, level, IP_BIND_ADDRESS_NO_PORT)) ?? 0
        if waits != 0 { try StreamSocket.setOption(fd, level, IP_BIND_ADDRESS_NO_PORT, 0) }
        try StreamSocket.bind(fd, to: bound)
        if waits != 0 { try StreamSocket.setOption(fd, level, IP_BIND_ADDRESS_NO_PORT, waits) }
        return StreamSocket.localAddress(fd)?.port ?? 0
    }
}
