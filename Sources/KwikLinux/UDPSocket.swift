internal import CLinux
internal import Glibc

public enum SendResult: Equatable, Sendable {
    case sent
    /// The socket's buffer is full. The first `sent` bytes have gone, a multiple of the segment size (0
    /// unless the system refused to segment); send the others when the descriptor is writable.
    case wouldBlock(sent: Int)
    /// The datagrams are lost, as on the way; a later send may succeed (no route now, a firewall, no memory).
    case failed(Errno)
}

/// A non-blocking UDP socket that sends and receives in batches: the kernel segments (GSO) and joins (GRO).
///
/// Datagrams are never fragmented and bigger ones than the link takes fail with EMSGSIZE, since the
/// transport probes for the path's size itself (RFC 8899).
@safe
public final class UDPSocket {
    /// For a watch. The socket owns it.
    public let fd: Int32
    /// With the port that was bound. The host is the wildcard if that was asked for.
    public let localAddress: SocketAddress
    private let buffer: UnsafeMutableRawBufferPointer
    /// The kernel segments. Not private, so that the way without can be tested where it does.
    var segments = true

    /// One receive can bring this much: the largest datagram, and what the kernel joins at most.
    private static let bufferSize = 65_536
    /// UDP_MAX_SEGMENTS of older kernels, and the most that an IPv4 datagram carries.
    private static let maximalSegments = 64
    private static let maximalSend = 65_507

    /// Port 0 takes any. The IPv6 wildcard serves IPv4 too, with mapped addresses. `device`: the interface
    /// that all datagrams come and go by, whatever the routes say.
    public init(binding address: SocketAddress, device: String? = nil) throws(Errno) {
        let fd = try unsafe address.withSockaddr { pointer, length throws(Errno) in
            guard let device else { return try unsafe checked(kwik_udp_open(pointer, length, nil)) }
            // withCString passes on no typed error.
            return try checked(unsafe device.withCString { unsafe kwik_udp_open(pointer, length, $0) })
        }
        guard let local = StreamSocket.localAddress(fd) else {
            let failure = Errno.last
            close(fd)
            throw failure
        }
        self.fd = fd
        localAddress = local
        unsafe buffer = .allocate(byteCount: Self.bufferSize, alignment: 64)
    }

    deinit {
        close(fd)
        unsafe buffer.deallocate()
    }

    /// Receives at most `batches` times and calls `handler` for each batch: datagrams of one sender behind
    /// each other, of `segment` bytes each but the last, which may be shorter. The bytes are valid during the
    /// call. `to` is the address that they were sent to, `ecn` the two bits of RFC 3168. Returns the number
    /// of batches; 0: there are none now.
    @discardableResult
    public func receive(
        batches: Int,
        _ handler: (
            _ bytes: UnsafeRawBufferPointer, _ segment: Int, _ from: SocketAddress, _ to: SocketAddress,
            _ ecn: UInt8
        ) -> Void
    ) -> Int {
        for batch in 0..<batches {
            var result = kwik_datagrams()
            let count = unsafe kwik_udp_receive(fd, buffer.baseAddress, buffer.count, &result)
            guard count >= 0 else { return batch }
            guard let from = Self.address(&result.from) else { continue }
            var to = Self.address(&result.to) ?? localAddress
            to.port = localAddress.port
            let segment = result.segment > 0 ? result.segment : max(count, 1)
            unsafe handler(UnsafeRawBufferPointer(rebasing: buffer[..<count]), segment, from, to, result.ecn)
        }
        return batches
    }

    /// Sends `bytes` as datagrams of `segment` bytes (the last may be shorter), in one system call if the
    /// system can. `from` is the local address to send from where the socket is bound to the wildcard; nil:
    /// the route decides.
    public func send(
        _ bytes: UnsafeRawBufferPointer, segment: Int, to: SocketAddress, ecn: UInt8,
        from: SocketAddress? = nil
    ) -> SendResult {
        precondition(segment > 0 && segment <= Self.maximalSend, "no size for a datagram")
        precondition(ecn <= 3, "ECN has two bits")
        precondition(to.family != AF_UNIX, "UDP needs an internet address")
        return unsafe to.withSockaddr { pointer, length in
            guard let from, !from.isWildcard else {
                return unsafe send(bytes, segment, pointer, length, nil, ecn)
            }
            return unsafe from.withSockaddr { source, _ in
                unsafe send(bytes, segment, pointer, length, source, ecn)
            }
        }
    }

    private func send(
        _ bytes: UnsafeRawBufferPointer, _ segment: Int, _ to: UnsafePointer<sockaddr>, _ length: socklen_t,
        _ from: UnsafePointer<sockaddr>?, _ ecn: UInt8
    ) -> SendResult {
        guard let base = bytes.baseAddress else { return .sent }
        let batch = max(1, min(Self.maximalSegments, Self.maximalSend / segment)) * segment
        var segments = self.segments
        var offset = 0
        while offset < bytes.count {
            let piece = min(segments ? batch : segment, bytes.count - offset)
            let segmentation = piece > segment ? UInt16(segment) : 0
            let result = unsafe kwik_udp_send(fd, base + offset, piece, segmentation, to, length, from, ecn)
            if result >= 0 {
                offset += piece
                continue
            }
            switch Int32(-result) {
            case EAGAIN:
                return .wouldBlock(sent: offset)
            case EIO where piece > segment:
                // The device cannot compute checksums, so it never will take a batch.
                self.segments = false
                segments = false
            case EINVAL where piece > segment, EMSGSIZE where piece > segment:
                segments = false
            case let code:
                return .failed(Errno(code: code))
            }
        }
        return .sent
    }

    private static func address(_ storage: inout sockaddr_storage) -> SocketAddress? {
        unsafe withUnsafeBytes(of: &storage) { buffer in unsafe SocketAddress(raw: buffer) }
    }
}
