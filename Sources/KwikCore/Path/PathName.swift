/// One local interface that paths may leave by: the system's index of it (if_nametoindex(3)).
public struct InterfaceID: Hashable, Comparable, Sendable {
    public var value: UInt32
    @inlinable
    public init(_ value: UInt32) { self.value = value }
    @inlinable
    public static func < (left: InterfaceID, right: InterfaceID) -> Bool { left.value < right.value }

    /// The system's routes decide, packet by packet.
    public static let any = InterfaceID(0)
}

/// What tells one path of a session from another (protocol.md §2). At most one is up of each name.
public struct PathName: Hashable, Sendable {
    public var server: ServerID
    public var interface: InterfaceID
    /// Forwards the path's datagrams; nil: they go to the server itself.
    public var relay: ServerID?

    @inlinable
    public init(server: ServerID, interface: InterfaceID = .any, relay: ServerID? = nil) {
        self.server = server
        self.interface = interface
        self.relay = relay
    }
}

/// What `kwikctl status` calls a path.
public enum PathKind: String, Sendable {
    /// By the interface that the system's routes choose.
    case direct
    /// By another local interface.
    case interface
    /// Through another server, which forwards datagrams that it can't read.
    case relay
}

/// Which paths a stream may use: a program that binds its socket to an interface or to a local address means
/// that interface and no other.
public struct PathRestriction: Hashable, Sendable {
    /// nil: all.
    public var interfaces: [InterfaceID]?

    @inlinable
    public init(interfaces: [InterfaceID]? = nil) { self.interfaces = interfaces }

    public static let none = PathRestriction()

    @inlinable
    public func allows(_ path: PathName) -> Bool {
        guard let interfaces else { return true }
        return interfaces.contains(path.interface)
    }
}
