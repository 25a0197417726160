internal import Glibc

/// A network interface of this machine, at one moment.
public struct NetworkInterface: Hashable, Sendable {
    /// if_nametoindex(3).
    public var index: UInt32
    public var name: String
    /// Administratively up, and the link carries (IFF_UP, IFF_RUNNING).
    public var isUp: Bool
    public var isLoopback: Bool
    /// With port 0.
    public var addresses: [SocketAddress]

    /// What the system has now, by index (getifaddrs(3)).
    public static func all() throws(Errno) -> [NetworkInterface] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&list) == 0 else { throw Errno.last }
        defer { unsafe freeifaddrs(list) }
        var found: [NetworkInterface] = []
        var next = unsafe list
        while let entry = unsafe next {
            unsafe next = entry.pointee.ifa_next
            let name = unsafe String(cString: entry.pointee.ifa_name)
            let flags = unsafe entry.pointee.ifa_flags
            var position = found.firstIndex { $0.name == name }
            if position == nil {
                let index = unsafe if_nametoindex(name)
                guard index != 0 else { continue }
                position = found.count
                found.append(
                    NetworkInterface(
                        index: index, name: name,
                        isUp: flags & UInt32(IFF_UP) != 0
                            && flags & UInt32(IFF_RUNNING) != 0,
                        isLoopback: flags & UInt32(IFF_LOOPBACK) != 0, addresses: []))
            }
            if let position, let address = unsafe address(entry.pointee.ifa_addr) {
                found[position].addresses.append(address)
            }
        }
        return found.sorted { $0.index < $1.index }
    }

    private static func address(_ pointer: UnsafeMutablePointer<sockaddr>?) -> SocketAddress? {
        guard let pointer = unsafe pointer else { return nil }
        let length: Int
        switch Int32(unsafe pointer.pointee.sa_family) {
        case AF_INET: length = MemoryLayout<sockaddr_in>.size
        case AF_INET6: length = MemoryLayout<sockaddr_in6>.size
        default: return nil
        }
        return unsafe SocketAddress(raw: UnsafeRawBufferPointer(start: pointer, count: length))
    }
}
