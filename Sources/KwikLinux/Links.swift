internal import CLinux
public import KwikCore

/// Where the system's routing tables send what goes to an address.
public struct SystemRoute: Hashable, Sendable {
    /// if_nametoindex(3); 0: several interfaces take turns.
    public var interface: UInt32
    /// To this machine itself.
    public var isLocal: Bool
    /// The address that would be sent from, with port 0; nil: the tables do not say.
    public var source: SocketAddress?

    /// Throws ENETUNREACH, EHOSTUNREACH and their like where there is no route.
    ///
    /// - Parameters:
    ///   - source: sent from this address, as rules for source addresses see it.
    ///   - interface: only by this one; 0: by any.
    ///   - isExact: only what stands in the tables. Otherwise, where an interface is named and no route leads
    ///     over it, IPv4 takes the destination for a neighbour there.
    public static func find(
        towards remote: SocketAddress, from source: SocketAddress? = nil, by interface: UInt32 = 0,
        isExact: Bool = false
    ) throws(Errno) -> SystemRoute {
        var found = kwik_route()
        let status = unsafe remote.withSockaddr { to, _ in
            guard let source else {
                return unsafe kwik_route_find(to, nil, interface, isExact ? 1 : 0, &found)
            }
            return unsafe source.withSockaddr { from, _ in
                unsafe kwik_route_find(to, from, interface, isExact ? 1 : 0, &found)
            }
        }
        try checked(status)
        let preferred = unsafe withUnsafeBytes(of: &found.source) { buffer in
            unsafe SocketAddress(raw: buffer)
        }
        return SystemRoute(
            interface: found.interface, isLocal: found.is_local != 0, source: preferred)
    }
}

/// Tells when links, addresses, routes or routing rules of this machine change. Nothing is polled: the
/// kernel says so through netlink (rtnetlink(7)).
public final class LinkWatch {
    private let socket: Descriptor
    private var watch: Watch?
    private var timer: LoopTimer?

    /// Changes come in flocks (a link, its addresses, their routes): they are told together.
    public static let gatherTime = Interval.milliseconds(20)

    public init(loop: EventLoop, _ changed: @escaping () -> Void) throws(Errno) {
        let socket = Descriptor(taking: try checked(kwik_netlink_watch()))
        let fd = socket.raw
        self.socket = socket
        let timer = try loop.timer(changed)
        self.timer = timer
        var armedUntil = Instant(nanoseconds: 0)
        watch = try loop.watch(fd, for: .readable) { [unowned timer] _ in
            guard kwik_netlink_drain(fd) > 0 else { return }
            let now = Clock.now()
            // A flock that does not end does not put the news off.
            guard now >= armedUntil else { return }
            armedUntil = now + Self.gatherTime
            timer.arm(at: armedUntil)
        }
    }

    deinit {
        watch?.cancel()
        timer?.cancel()
    }
}
