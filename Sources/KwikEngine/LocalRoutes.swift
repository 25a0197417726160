internal import KwikConfiguration
internal import KwikCore
internal import KwikLinux

/// One way out of this machine towards a server.
struct LocalRoute: Equatable {
    var interface: InterfaceID
    /// Of the interface; empty: not known.
    var name: String
    /// With port 0.
    var source: SocketAddress
    /// The routing tables would send elsewhere: the socket has to be bound to the interface.
    var needsDevice: Bool
    /// The one that the routing tables choose.
    var isPreferred: Bool
}

/// Which interfaces lead to a server, by the system's links, addresses and routing tables as they are now.
struct LocalRoutes {
    let interfaces: [NetworkInterface]

    /// Addresses of one interface that are tried.
    private static let addressesPerInterface = 4
    private static let unreachable: [Int32] = [
        100,  // ENETDOWN
        101,  // ENETUNREACH
        113,  // EHOSTUNREACH
        19,  // ENODEV
        99,  // EADDRNOTAVAIL
    ]

    init() throws(Errno) { interfaces = try NetworkInterface.all() }

    init(_ interfaces: [NetworkInterface]) { self.interfaces = interfaces }

    func name(_ interface: InterfaceID) -> String? {
        interfaces.first { $0.index == interface.value }?.name
    }

    /// The interfaces that have the address.
    func holders(of address: SocketAddress) -> [InterfaceID] {
        let host = address.unmapped.host
        return interfaces.filter { $0.addresses.contains { $0.host == host } }.map { InterfaceID($0.index) }
    }

    func interface(named name: String) -> InterfaceID? {
        interfaces.first { $0.name == name }.map { InterfaceID($0.index) }
    }

    /// The one that the system's routes choose comes first, or those that are named, in their order. Throws
    /// what keeps the system from telling.
    func towards(_ remote: SocketAddress, _ choice: InterfaceChoice) throws(Errno) -> [LocalRoute] {
        let chosen: SystemRoute?
        do throws(Errno) {
            chosen = try SystemRoute.find(towards: remote)
        } catch {
            guard Self.unreachable.contains(error.code) else { throw error }
            chosen = nil
        }
        if let chosen, chosen.isLocal || isLoopback(chosen.interface) {
            let source = try UDPSocket.source(towards: remote)
            return [
                LocalRoute(
                    interface: InterfaceID(chosen.interface), name: name(InterfaceID(chosen.interface)) ?? "",
                    source: source, needsDevice: false, isPreferred: true)
            ]
        }
        var routes: [LocalRoute] = []
        for interface in candidates(choice) {
            if let route = route(by: interface, towards: remote, chosen: chosen) { routes.append(route) }
        }
        guard case .auto = choice else { return routes }
        return routes.filter(\.isPreferred) + routes.filter { !$0.isPreferred }
    }

    private func isLoopback(_ index: UInt32) -> Bool {
        interfaces.contains { $0.index == index && $0.isLoopback }
    }

    private func candidates(_ choice: InterfaceChoice) -> [NetworkInterface] {
        let usable = interfaces.filter { $0.isUp && !$0.isLoopback }
        switch choice {
        case .auto: return usable
        case .named(let names): return names.compactMap { name in usable.first { $0.name == name } }
        }
    }

    private func route(
        by interface: NetworkInterface, towards remote: SocketAddress, chosen: SystemRoute?
    ) -> LocalRoute? {
        let isPreferred = chosen?.interface == interface.index
        var sources = interface.addresses.filter { $0.family == remote.family && !$0.isLinkLocal }
        if remote.isLinkLocal { sources = interface.addresses.filter { $0.family == remote.family } }
        // The system prefers one of several for reasons of its own (RFC 6724).
        if isPreferred, let best = chosen?.source,
            let index = sources.firstIndex(where: { $0.host == best.host })
        {
            sources.swapAt(0, index)
        }
        for source in sources.prefix(Self.addressesPerInterface) {
            let exact = try? SystemRoute.find(
                towards: remote, from: source, by: interface.index, isExact: true)
            guard let exact, !exact.isLocal else { continue }
            let unbound = try? SystemRoute.find(towards: remote, from: source)
            return LocalRoute(
                interface: InterfaceID(interface.index), name: interface.name, source: source,
                needsDevice: unbound?.interface != interface.index, isPreferred: isPreferred)
        }
        return nil
    }
}
