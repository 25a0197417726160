public import KwikCore
public import KwikLinux

/// A program's connect to a destination, as the engine's policy is asked about it.
public struct ConnectRequest: Sendable {
    /// As the program named it: an IPv6 socket names an IPv4 host by a mapped address.
    public let destination: SocketAddress
    public let pid: Int32
    public let uid: UInt32
    /// What the program has set on its socket so far and the backend's socket should have too.
    public let options: SocketOptions
    public let binding: SocketBinding
}

/// What a program has bound its socket to before it connects: it means one interface and no other.
public struct SocketBinding: Hashable, Sendable {
    /// SO_BINDTODEVICE.
    public var device: String?
    /// bind(2) to a local address.
    public var address: SocketAddress?

    public init(device: String? = nil, address: SocketAddress? = nil) {
        self.device = device
        self.address = address
    }

    public static let none = SocketBinding()
}

public enum Verdict: Equatable, Sendable {
    /// The program's own connect goes ahead, untouched.
    case native
    case serve
}

/// Why the door itself sent a connect to the real network.
enum NativeReason: Error, Equatable, CustomStringConvertible {
    /// Not a TCP socket of the destination's family, or no socket at all.
    case notTCP
    case otherNamespace
    /// Connected, listening, or under way already.
    case notFresh
    /// To an address, without a port: there is none to show.
    case bound
    case marked
    /// MSG_ZEROCOPY or time stamps: their notices come by the socket's error queue.
    case errorQueue
    case noLocalAddress(Errno)
    case tooMany
    case noDescriptors(Errno)

    var description: String {
        switch self {
        case .notTCP: "no TCP socket"
        case .otherNamespace: "a socket of another network namespace"
        case .notFresh: "a socket that is in use"
        case .bound: "bound to an address without a port"
        case .marked: "it has a firewall mark"
        case .errorQueue: "it asks for zero-copy or time stamps"
        case .noLocalAddress(let errno): "no local address: \(errno)"
        case .tooMany: "too many connections"
        case .noDescriptors(let errno): "no descriptors: \(errno)"
        }
    }
}
