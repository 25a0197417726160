internal import CLinux
internal import Glibc

extension UDPSocket {
    /// The local address that the system's routes would send from towards `remote`, with port 0; `device`:
    /// by this interface alone.
    public static func source(
        towards remote: SocketAddress, device: String? = nil
    ) throws(Errno) -> SocketAddress {
        let probe = Descriptor(taking: try checked(kwik_socket(remote.family, Int32(SOCK_DGRAM.rawValue))))
        if let device {
            try StreamSocket.setOption(probe.raw, SOL_SOCKET, SO_BINDTODEVICE, bytes: Array(device.utf8))
        }
        let status = unsafe remote.withSockaddr { pointer, length in
            unsafe Glibc.connect(probe.raw, pointer, length)
        }
        guard status == 0, var local = StreamSocket.localAddress(probe.raw) else { throw Errno.last }
        local.port = 0
        return local
    }
}
