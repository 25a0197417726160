extension PathManager {
    /// The paths that may be made, the most useful first.
    func preferences() -> [PathName] {
        var names: [PathName] = []
        for state in servers {
            if let first = state.interfaces.first {
                names.append(PathName(server: state.server.id, interface: first))
            }
        }
        let primary = primary
        if let primary {
            names += furtherInterfaces(of: primary)
            names += relayed(to: primary)
        }
        for state in servers where state.server.id != primary?.server.id {
            // A relay's own path carries nothing but what is asked of it.
            if state.server.roles != .relay { names += furtherInterfaces(of: state) }
        }
        var counts: [ServerID: Int] = [:]
        return names.filter { name in
            counts[name.server, default: 0] += 1
            return counts[name.server, default: 0] <= Self.pathsPerServer
        }
    }

    /// The first origin that is up; none is: the first of all.
    private var primary: ServerState? {
        let origins = servers.filter { $0.server.roles.contains(.origin) }
        return origins.first { isUp($0.server.id) } ?? origins.first
    }

    private func isUp(_ server: ServerID) -> Bool {
        entries.contains { $0.name.server == server && $0.phase.isUp }
    }

    private func furtherInterfaces(of state: ServerState) -> [PathName] {
        state.interfaces.dropFirst().map { PathName(server: state.server.id, interface: $0) }
    }

    /// Through each server that relays and has a path of its own on which it can be asked. It takes datagrams
    /// from that path's address only, so the interface is the same.
    private func relayed(to target: ServerState) -> [PathName] {
        var names: [PathName] = []
        for state in servers
        where state.server.roles.contains(.relay) && state.server.id != target.server.id {
            let control = entries.first {
                $0.name.server == state.server.id && $0.name.relay == nil && $0.phase.isUp
            }
            guard let control, names.count < Self.relayedPaths else { continue }
            names.append(
                PathName(
                    server: target.server.id, interface: control.name.interface, relay: state.server.id))
        }
        return names
    }
}
