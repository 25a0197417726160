internal import CLinux
internal import Glibc
public import KwikCore

public enum IOResult: Equatable, Sendable {
    /// So many bytes were moved, at least 1 (0 only if none were asked for).
    case count(Int)
    case endOfFile
    case wouldBlock
    case failed(Errno)

    /// From a door function: a count or a negative errno. `asked`: a read of 0 bytes is no end of file.
    init(_ result: Int, asked: Int, zeroIsEnd: Bool) {
        switch result {
        case 0 where zeroIsEnd && asked > 0: self = .endOfFile
        case 0...: self = .count(result)
        case Int(-EAGAIN): self = .wouldBlock
        default: self = .failed(Errno(code: Int32(-result)))
        }
    }
}

/// Byte streams over TCP and Unix sockets. No function here ever blocks.
public enum StreamSocket {
    /// A socket that is not connected yet. The caller owns it; it is non-blocking and close-on-exec.
    public static func make(family: Int32) throws(Errno) -> Int32 {
        try checked(kwik_socket(family, Int32(SOCK_STREAM.rawValue)))
    }

    /// Begins to connect. When the descriptor becomes writable, `pendingError` says whether it did.
    /// The caller owns the result, which is non-blocking and close-on-exec.
    public static func connect(to address: SocketAddress) throws(Errno) -> Int32 {
        let socket = Descriptor(taking: try make(family: address.family))
        try connect(socket.raw, to: address)
        return socket.release()
    }

    /// A TCP socket bound to an address and port (0: any free one) that other sockets of this user can share
    /// and those of no other (SO_REUSEPORT), for as long as the result is open. The caller owns it, and can
    /// connect it.
    public static func reservePort(_ local: SocketAddress) throws(Errno) -> Int32 {
        let socket = Descriptor(taking: try make(family: local.family))
        try setOption(socket.raw, SOL_SOCKET, SO_REUSEPORT, 1)
        try bind(socket.raw, to: local)
        return socket.release()
    }

    /// Begins to connect a socket that the caller has prepared. It is non-blocking.
    public static func connect(_ fd: Int32, to address: SocketAddress) throws(Errno) {
        let result = unsafe address.withSockaddr { pointer, length in
            unsafe Glibc.connect(fd, pointer, length)
        }
        // An interrupted connect goes on in the background (POSIX).
        if result < 0 && errno != EINPROGRESS && errno != EINTR { throw Errno.last }
    }

    /// A TCP listener on an IPv4 or IPv6 address. The caller owns the result.
    public static func listen(on address: SocketAddress) throws(Errno) -> Int32 {
        let socket = Descriptor(taking: try make(family: address.family))
        try setOption(socket.raw, SOL_SOCKET, SO_REUSEADDR, 1)
        try bind(socket.raw, to: address)
        try checkedByErrno(Glibc.listen(socket.raw, SOMAXCONN))
        return socket.release()
    }

    /// Before `connect`: the last segment of TCP's handshake, by which the peer gets its connection, waits
    /// for our first bytes, for `finishHandshake`, or for 200 ms (TCP_DELACK_MAX). Linux does so for a client
    /// that asks for TCP_DEFER_ACCEPT (tcp_rcv_synsent_state_process). False: this is no TCP socket.
    public static func deferHandshake(_ fd: Int32) -> Bool {
        (try? setOption(fd, Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, 1)) != nil
    }

    /// Sends what `deferHandshake` held back, if it has not gone yet.
    public static func finishHandshake(_ fd: Int32) {
        try? setOption(fd, Int32(IPPROTO_TCP), TCP_QUICKACK, 1)
    }

    public static func bind(_ fd: Int32, to address: SocketAddress) throws(Errno) {
        try checkedByErrno(unsafe address.withSockaddr { pointer, length in
            unsafe Glibc.bind(fd, pointer, length)
        })
    }

    /// Takes SO_ERROR: 0, or the errno of what failed, and clears it.
    public static func pendingError(_ fd: Int32) -> Int32 {
        (try? intOption(fd, SOL_SOCKET, SO_ERROR)) ?? errno
    }

    public static func read(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        unsafe receive(fd, into: buffer, flags: 0)
    }

    /// recv(2) with flags such as MSG_PEEK.
    public static func receive(
        _ fd: Int32, into buffer: UnsafeMutableRawBufferPointer, flags: Int32
    ) -> IOResult {
        while true {
            let count = unsafe recv(fd, buffer.baseAddress, buffer.count, flags | Int32(MSG_DONTWAIT))
            if count < 0 && errno == EINTR { continue }
            return IOResult(count < 0 ? Int(-errno) : count, asked: buffer.count, zeroIsEnd: true)
        }
    }

    /// Reads at most `count` bytes and drops them, without a copy where the kernel can.
    public static func discard(_ fd: Int32, count: Int) -> IOResult {
        IOResult(kwik_discard(fd, count), asked: count, zeroIsEnd: true)
    }

    /// The most slices that one `write` takes.
    public static let maximalSlices = 64

    /// Writes the first 64 slices straight from their chunks. May write a part; never raises SIGPIPE.
    public static func write(_ fd: Int32, slices: [ChunkSlice]) -> IOResult {
        let count = min(slices.count, maximalSlices)
        let room = maximalSlices
        return unsafe withUnsafeTemporaryAllocation(of: kwik_vector.self, capacity: room) { vectors in
            var total = 0
            for index in 0..<count {
                let slice = slices[index]
                total += slice.count
                unsafe vectors.initializeElement(
                    at: index, to: kwik_vector(start: slice.chunk.base + slice.offset, count: slice.count))
            }
            if total == 0 { return .count(0) }
            let result = unsafe kwik_send_vectors(fd, vectors.baseAddress, count)
            return IOResult(result, asked: total, zeroIsEnd: false)
        }
    }

    /// Writes from one buffer. May write a part; never raises SIGPIPE.
    public static func write(_ fd: Int32, _ bytes: UnsafeRawBufferPointer) -> IOResult {
        while true {
            let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
            let count = unsafe send(fd, bytes.baseAddress, bytes.count, flags)
            if count < 0 && errno == EINTR { continue }
            return IOResult(count < 0 ? Int(-errno) : count, asked: bytes.count, zeroIsEnd: false)
        }
    }

    /// Sends the first byte of a slice as urgent (out-of-band) data; in band where the socket knows none.
    public static func writeUrgent(_ fd: Int32, _ slice: ChunkSlice) -> IOResult {
        let flags = Int32(MSG_OOB) | Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        while true {
            let count = unsafe send(fd, slice.bytes.baseAddress, 1, flags)
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EOPNOTSUPP { return write(fd, slices: [slice.prefix(1)]) }
            return IOResult(count < 0 ? Int(-errno) : count, asked: 1, zeroIsEnd: false)
        }
    }

    /// Whether the next byte to be read is an urgent one, on a socket with SO_OOBINLINE.
    public static func isAtMark(_ fd: Int32) -> Bool { sockatmark(fd) == 1 }

    /// Sends FIN. No error is told: a connection that is gone shows at the next read or write.
    public static func shutdownWrite(_ fd: Int32) { _ = shutdown(fd, Int32(SHUT_WR)) }

    public static func shutdownRead(_ fd: Int32) { _ = shutdown(fd, Int32(SHUT_RD)) }

    /// Closes a TCP connection with RST instead of FIN. Takes the descriptor.
    public static func reset(_ fd: Int32) {
        var option = linger(l_onoff: 1, l_linger: 0)
        unsafe setsockopt(fd, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close(fd)
    }

    public static func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) throws(Errno) {
        var value = value
        try unsafe checkedByErrno(setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size)))
    }

    public static func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, bytes: [UInt8]) throws(Errno) {
        try unsafe checkedByErrno(setsockopt(fd, level, name, bytes, socklen_t(bytes.count)))
    }

    public static func intOption(_ fd: Int32, _ level: Int32, _ name: Int32) throws(Errno) -> Int32 {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        try unsafe checkedByErrno(getsockopt(fd, level, name, &value, &length))
        return value
    }

    /// At most `capacity` bytes of an option's value.
    public static func getOption(
        _ fd: Int32, _ level: Int32, _ name: Int32, capacity: Int
    ) throws(Errno) -> [UInt8] {
        var value = [UInt8](repeating: 0, count: capacity)
        var length = socklen_t(capacity)
        try unsafe checkedByErrno(getsockopt(fd, level, name, &value, &length))
        return Array(value.prefix(Int(length)))
    }

    /// Nil with `errno` set if the descriptor is no socket.
    public static func localAddress(_ fd: Int32) -> SocketAddress? { unsafe name(of: fd, getsockname) }

    /// Nil with `errno` set if there is no peer (yet).
    public static func peerAddress(_ fd: Int32) -> SocketAddress? { unsafe name(of: fd, getpeername) }

    private static func name(
        of fd: Int32,
        _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        let size = MemoryLayout<sockaddr_storage>.size
        let alignment = MemoryLayout<sockaddr_storage>.alignment
        return unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: alignment) { buffer in
            guard let base = buffer.baseAddress else { return nil }
            var length = socklen_t(buffer.count)
            let address = unsafe base.bindMemory(to: sockaddr.self, capacity: 1)
            guard unsafe ask(fd, address, &length) == 0 else { return nil }
            return unsafe SocketAddress(raw: UnsafeRawBufferPointer(start: base, count: Int(length)))
        }
    }
}
