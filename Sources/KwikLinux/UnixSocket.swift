internal import CLinux
internal import Glibc

/// Local sockets, with descriptors passed along, and what the kernel tells about sockets and their peers.
/// Every descriptor made here is non-blocking and close-on-exec, and the caller's to close.
public enum UnixSocket {
    public enum Kind: Sendable {
        case stream
        /// Keeps the boundaries of messages.
        case sequentialPacket

        var type: Int32 {
            switch self {
            case .stream: Int32(SOCK_STREAM.rawValue)
            case .sequentialPacket: Int32(SOCK_SEQPACKET.rawValue)
            }
        }
    }

    /// Who is at the other end, as the kernel recorded it at connect or socketpair (unix(7), SO_PEERCRED).
    public struct Credentials: Equatable, Sendable {
        public let pid: Int32
        public let uid: UInt32
        public let gid: UInt32
    }

    public enum Received: Equatable, Sendable {
        /// `descriptors` belong to the caller. `isTruncated`: bytes or descriptors were lost, for lack of
        /// room here or of free descriptors in this process.
        case message(count: Int, descriptors: [Int32], isTruncated: Bool)
        /// On a sequential-packet socket an empty message looks the same.
        case endOfFile
        case wouldBlock
        case failed(Errno)
    }

    /// The most descriptors in one message.
    public static let maximalDescriptors = Int(kwik_max_descriptors)

    public static func pair(_ kind: Kind) throws(Errno) -> (Int32, Int32) {
        var pair: (Int32, Int32) = (-1, -1)
        try checked(unsafe withUnsafeMutableBytes(of: &pair) { buffer in
            unsafe kwik_socketpair(kind.type, buffer.baseAddress?.assumingMemoryBound(to: Int32.self))
        })
        return pair
    }

    /// Listens at `path` with just these permission bits. Replaces a socket file at which nobody listens
    /// any more; EADDRINUSE: somebody does, or the file is no socket. To start one daemon only, hold
    /// `Files.lock` around this.
    public static func listen(path: String, mode: UInt32, _ kind: Kind = .stream) throws(Errno) -> Int32 {
        guard let address = SocketAddress.unix(path: path) else { throw Errno(code: ENAMETOOLONG) }
        let socket = Descriptor(taking: try checked(kwik_socket(AF_UNIX, kind.type)))
        // The file inherits the socket's mode (less the umask), so that it is at no time open to more.
        try checkedByErrno(fchmod(socket.raw, mode))
        do throws(Errno) {
            try StreamSocket.bind(socket.raw, to: address)
        } catch {
            guard error.code == EADDRINUSE, isAbandoned(path, address, kind) else { throw error }
            try checkedByErrno(unsafe unlink(path))
            try StreamSocket.bind(socket.raw, to: address)
        }
        try checkedByErrno(unsafe chmod(path, mode))
        try checkedByErrno(Glibc.listen(socket.raw, SOMAXCONN))
        return socket.release()
    }

    private static func isAbandoned(_ path: String, _ address: SocketAddress, _ kind: Kind) -> Bool {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return false }
        do throws(Errno) {
            Descriptor.close(try connect(path: path, kind))
            return false
        } catch {
            return error.code == ECONNREFUSED
        }
    }

    /// EAGAIN: the listener's queue is full.
    public static func connect(path: String, _ kind: Kind = .stream) throws(Errno) -> Int32 {
        guard let address = SocketAddress.unix(path: path) else { throw Errno(code: ENAMETOOLONG) }
        let socket = Descriptor(taking: try checked(kwik_socket(AF_UNIX, kind.type)))
        try StreamSocket.connect(socket.raw, to: address)
        return socket.release()
    }

    /// The next connection of a listener of any family; nil: none is waiting.
    public static func accept(_ listener: Int32) throws(Errno) -> Int32? {
        let result = kwik_accept(listener)
        if result == -EAGAIN { return nil }
        return try checked(result)
    }

    /// Names a socket in the abstract space, also one end of a connected pair. EADDRINUSE: the name is taken.
    public static func bind(_ fd: Int32, abstract name: [UInt8]) throws(Errno) {
        guard let address = SocketAddress.unix(abstract: name) else { throw Errno(code: ENAMETOOLONG) }
        try StreamSocket.bind(fd, to: address)
    }

    /// The abstract name that a socket is bound to; nil: it has none or a path.
    public static func abstractName(_ fd: Int32) -> [UInt8]? { StreamSocket.localAddress(fd)?.abstractName }

    /// Sends one message; the receiver gets duplicates of `descriptors`. A stream may take a part of the
    /// bytes.
    public static func send(
        _ fd: Int32, _ bytes: UnsafeRawBufferPointer, descriptors: [Int32] = []
    ) -> IOResult {
        let count = descriptors.count
        let result = unsafe kwik_send_message(fd, bytes.baseAddress, bytes.count, descriptors, count)
        return IOResult(result, asked: bytes.count, zeroIsEnd: false)
    }

    public static func send(_ fd: Int32, _ bytes: [UInt8], descriptors: [Int32] = []) -> IOResult {
        unsafe bytes.withUnsafeBytes { buffer in unsafe send(fd, buffer, descriptors: descriptors) }
    }

    /// Receives one message and at most `descriptors` descriptors, close-on-exec.
    public static func receive(
        _ fd: Int32, into buffer: UnsafeMutableRawBufferPointer, descriptors limit: Int
    ) -> Received {
        precondition(limit <= maximalDescriptors, "more descriptors than a message can bring")
        var taken = [Int32](repeating: -1, count: limit)
        var count = 0
        var truncated: Int32 = 0
        let result = unsafe kwik_receive_message(
            fd, buffer.baseAddress, buffer.count, &taken, limit, &count, &truncated)
        switch result {
        case 0 where count == 0: return .endOfFile
        case 0...:
            let descriptors = Array(taken.prefix(count))
            return .message(count: result, descriptors: descriptors, isTruncated: truncated != 0)
        case Int(-EAGAIN): return .wouldBlock
        default: return .failed(Errno(code: Int32(-result)))
        }
    }

    public static func peerCredentials(_ fd: Int32) throws(Errno) -> Credentials {
        var pid: Int32 = 0
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        try unsafe checked(kwik_peer_credentials(fd, &pid, &uid, &gid))
        return Credentials(pid: pid, uid: uid, gid: gid)
    }

    /// SO_COOKIE: a number of this socket that no other ever has while the system is up.
    public static func cookie(_ fd: Int32) throws(Errno) -> UInt64 {
        var cookie: UInt64 = 0
        try unsafe checked(kwik_socket_cookie(fd, &cookie))
        return cookie
    }

    /// SO_NETNS_COOKIE: a number of the network namespace that the socket belongs to.
    public static func namespaceCookie(_ fd: Int32) throws(Errno) -> UInt64 {
        var cookie: UInt64 = 0
        try unsafe checked(kwik_namespace_cookie(fd, &cookie))
        return cookie
    }

    /// FIONREAD: bytes that wait to be read (on a sequential-packet socket: of the first message).
    public static func unread(_ fd: Int32) throws(Errno) -> Int { Int(try checked(kwik_unread(fd))) }

    /// SIOCOUTQ: TCP: bytes not yet acknowledged; Unix: memory held by what the peer has not read.
    public static func unsent(_ fd: Int32) throws(Errno) -> Int { Int(try checked(kwik_unsent(fd))) }
}
