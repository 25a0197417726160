import Glibc
import KwikCore
import KwikLinux

/// Which options of T a program may read and set by the engine, and which mean something at the backend.
///
/// Allow-lists: the engine may have privileges that the program lacks, and some options carry pointers.
extension Shadow {
    private static let tcp = Int32(IPPROTO_TCP)
    private static let ipv4 = Int32(IPPROTO_IP)
    private static let ipv6 = Int32(IPPROTO_IPV6)

    /// SOL_SOCKET: REUSEADDR, DONTROUTE, BROADCAST, SNDBUF, RCVBUF, KEEPALIVE, OOBINLINE, NO_CHECK, PRIORITY,
    /// LINGER, REUSEPORT, PASSCRED, TIMESTAMP, TIMESTAMPNS, PASSSEC, RXQ_OVFL, WIFI_STATUS, PEEK_OFF,
    /// BUSY_POLL, MAX_PACING_RATE, INCOMING_CPU, TXREHASH (asm-generic/socket.h)
    private static let socketWritable: Set<Int32> = [
        2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 29, 35, 34, 40, 41, 42, 46, 47, 49, 74,
    ]
    /// TYPE, ERROR, PEERCRED, SNDLOWAT, BINDTODEVICE, PEERNAME, ACCEPTCONN, PEERSEC, MARK, TIMESTAMPING,
    /// PROTOCOL, DOMAIN, MEMINFO, INCOMING_NAPI_ID, COOKIE, ZEROCOPY, NETNS_COOKIE
    private static let socketReadable: Set<Int32> = [
        3, 17, 19, 25, 28, 30, 31, 36, 37, 38, 39, 55, 56, 57, 60, 71,
    ]
    /// NODELAY, MAXSEG, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, SYNCNT, LINGER2, DEFER_ACCEPT, WINDOW_CLAMP,
    /// QUICKACK, CONGESTION, THIN_LINEAR_TIMEOUTS, THIN_DUPACK, USER_TIMEOUT, FASTOPEN, TIMESTAMP,
    /// NOTSENT_LOWAT, SAVE_SYN, FASTOPEN_CONNECT, FASTOPEN_NO_COOKIE, INQ, TX_DELAY (linux/tcp.h)
    private static let tcpWritable: Set<Int32> = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 16, 17, 18, 23, 24, 25, 27, 30, 34, 36, 37,
    ]
    /// INFO, CC_INFO, ULP, IS_MPTCP
    private static let tcpReadable: Set<Int32> = [11, 26, 31, 43]
    /// TOS, TTL, RECVOPTS, RETOPTS, PKTINFO, MTU_DISCOVER, RECVERR, RECVTTL, RECVTOS, FREEBIND, MINTTL,
    /// BIND_ADDRESS_NO_PORT, LOCAL_PORT_RANGE (linux/in.h)
    private static let ipv4Writable: Set<Int32> = [1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 21, 24, 51]
    /// OPTIONS, MTU
    private static let ipv4Readable: Set<Int32> = [4, 14]
    /// UNICAST_HOPS, MULTICAST_HOPS, MTU_DISCOVER, RECVERR, V6ONLY, RECVPKTINFO, RECVHOPLIMIT, DONTFRAG,
    /// RECVTCLASS, TCLASS, AUTOFLOWLABEL, ADDR_PREFERENCES, MINHOPCOUNT (linux/in6.h)
    private static let ipv6Writable: Set<Int32> = [16, 18, 23, 25, 26, 49, 51, 62, 66, 67, 70, 72, 73]
    /// MTU
    private static let ipv6Readable: Set<Int32> = [24]

    private static func isWritable(_ level: Int32, _ name: Int32) -> Bool {
        switch level {
        case SOL_SOCKET: socketWritable.contains(name)
        case tcp: tcpWritable.contains(name)
        case ipv4: ipv4Writable.contains(name)
        case ipv6: ipv6Writable.contains(name)
        default: false
        }
    }

    private static func isReadable(_ level: Int32, _ name: Int32) -> Bool {
        switch level {
        case SOL_SOCKET: socketReadable.contains(name)
        case tcp: tcpReadable.contains(name)
        case ipv4: ipv4Readable.contains(name)
        case ipv6: ipv6Readable.contains(name)
        default: false
        }
    }

    /// `state` is TCP's state as the program sees it (TCP_INFO's first byte); nil: T's own is the truth.
    func read(level: Int32, name: Int32, capacity: Int, state: UInt8?) throws(Errno) -> [UInt8] {
        guard Self.isReadable(level, name) || Self.isWritable(level, name)
        else { throw Errno(code: ENOPROTOOPT) }
        var value = try StreamSocket.getOption(descriptor, level, name, capacity: capacity)
        if level == Self.tcp, name == TCP_INFO, !value.isEmpty, let state { value[0] = state }
        return value
    }

    func write(level: Int32, name: Int32, _ value: [UInt8]) throws(Errno) {
        guard Self.isWritable(level, name) else { throw Errno(code: ENOPROTOOPT) }
        try StreamSocket.setOption(descriptor, level, name, bytes: value)
    }

    /// The options that the backend's socket takes over, or that the stream obeys (protocol.md §8), but the
    /// priority. Each is an int.
    private static let carried: [(level: Int32, name: Int32)] = [
        (tcp, TCP_NODELAY), (SOL_SOCKET, SO_KEEPALIVE), (tcp, TCP_USER_TIMEOUT),
    ]
    /// SO_SNDBUF and SO_RCVBUF, and the bits of SO_BUF_LOCK (72) that say that the program has set them.
    private static let buffers: [(name: Int32, lock: Int32)] = [(SO_SNDBUF, 1), (SO_RCVBUF, 2)]
    private static let bufferLock: Int32 = 72
    /// These have values, whether keep-alive is on or not.
    private static let keepAliveTimes: [Int32] = [TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT]

    private func carried(_ level: Int32, _ name: Int32) -> SocketOption? {
        guard let value = try? StreamSocket.getOption(descriptor, level, name, capacity: 4), value.count == 4
        else { return nil }
        return SocketOption(level: level, name: name, value: value)
    }

    /// What the far end is to be told after the program has set this option.
    func carried(after level: Int32, _ name: Int32) -> SocketOptions {
        if level == SOL_SOCKET && name == SO_PRIORITY || level == Self.ipv4 && name == Self.typeOfService
            || level == Self.ipv6 && name == Self.trafficClass
        {
            return [priority]
        }
        if level == SOL_SOCKET, let size = buffer(name) { return [size] }
        if level == Self.tcp, Self.keepAliveTimes.contains(name) {
            return [carried(level, name)].compactMap { $0 }
        }
        guard Self.carried.contains(where: { $0.level == level && $0.name == name }),
            let option = carried(level, name)
        else { return [] }
        return level == SOL_SOCKET && option.isSet ? [option] + times : [option]
    }

    /// What the program has asked for: the kernel has it doubled (socket(7)). Nil: nothing, or no buffer.
    private func buffer(_ name: Int32) -> SocketOption? {
        guard let bit = Self.buffers.first(where: { $0.name == name })?.lock,
            let locks = try? StreamSocket.intOption(descriptor, SOL_SOCKET, Self.bufferLock),
            locks & bit != 0,
            let doubled = try? StreamSocket.intOption(descriptor, SOL_SOCKET, name)
        else { return nil }
        let value = unsafe withUnsafeBytes(of: doubled / 2) { unsafe Array($0) }
        return SocketOption(level: SOL_SOCKET, name: name, value: value)
    }

    /// SO_SNDBUF and SO_RCVBUF in bytes; nil: not set by the program.
    var sendBuffer: Int32? { bufferSize(SO_SNDBUF) }
    var receiveBuffer: Int32? { bufferSize(SO_RCVBUF) }

    private func bufferSize(_ name: Int32) -> Int32? {
        buffer(name).map { option in unsafe option.value.withUnsafeBytes { unsafe $0.load(as: Int32.self) } }
    }

    private var times: SocketOptions { Self.keepAliveTimes.compactMap { carried(Self.tcp, $0) } }

    /// Those of them that the program has changed. Keep-alive times count only with keep-alive on.
    var snapshot: SocketOptions {
        var options: SocketOptions = []
        for (level, name) in Self.carried {
            guard let option = carried(level, name), option.isSet else { continue }
            options.append(option)
            if level == SOL_SOCKET { options += times }
        }
        options += Self.buffers.compactMap { buffer($0.name) }
        return priority.isSet ? options + [priority] : options
    }

    // MARK: Priority

    private static let typeOfService: Int32 = 1
    private static let trafficClass: Int32 = 67

    /// SO_PRIORITY, or what the program says by IP_TOS or IPV6_TCLASS. The kernel derives the one from the
    /// other too, but by the meaning that the bits had in RFC 1349.
    private var priority: SocketOption {
        func byte(_ level: Int32, _ name: Int32) -> UInt8 {
            UInt8(truncatingIfNeeded: (try? StreamSocket.intOption(descriptor, level, name)) ?? 0)
        }
        let service = destination.family == AF_INET
            ? byte(Self.ipv4, Self.typeOfService) : byte(Self.ipv6, Self.trafficClass)
        var number = (try? StreamSocket.intOption(descriptor, SOL_SOCKET, SO_PRIORITY)) ?? 0
        let derived: [Int32] = [0, 2, 6, 4]  // rt_tos2priority, net/ipv4/route.c
        if service >> 2 != 0, number == 0 || number == derived[Int(service >> 3 & 3)] {
            number = Self.priority(ofService: service)
        }
        let value = unsafe withUnsafeBytes(of: number) { unsafe Array($0) }
        return SocketOption(level: SOL_SOCKET, name: SO_PRIORITY, value: value)
    }

    /// Service classes of RFC 4594 and RFC 8622, and the two bits of RFC 1349 that programs still set.
    private static func priority(ofService service: UInt8) -> Int32 {
        switch service >> 2 {
        case 1, 8: 1  // LE, CS1: what may wait for all else
        case 2, 10, 12, 14: 2  // throughput, AF1x
        case 16, 24, 26, 28, 30, 34, 36, 38: 4  // CS2, CS3, AF3x, AF4x
        case 4, 18, 20, 22, 32, 40, 44, 46, 48, 56: 6  // low delay, AF2x, CS4 ... CS7, EF
        default: 0
        }
    }
}

extension SocketOption {
    /// Not all zero.
    fileprivate var isSet: Bool { value.contains { byte in byte != 0 } }
}
