// What servers are called on the wire. A primary leaves blocks to a server by the id in that server's hello
// (protocol.md §3), which is a server's own word: it counts only where what authenticated the server says the
// same.

/// Why a server is not called as it says.
public enum NameRefusal: String, Hashable, Sendable {
    case unbound = "nothing that authenticated the server vouches for it"
    case taken = "another server has it"
}

struct ServerNames {
    private struct Entry {
        var server: ServerID
        var name: [UInt8]
        var refusal: NameRefusal?
    }

    /// The last claim of each server.
    private var entries: [Entry] = []

    func server(called name: [UInt8]) -> ServerID? {
        entries.first { $0.refusal == nil && $0.name == name }?.server
    }

    /// Takes the place of the server's former claim. Returns whether there is news of it, and why it is
    /// refused.
    mutating func claim(
        _ name: [UInt8], by server: ServerID, bound: [[UInt8]]
    ) -> (isNew: Bool, refusal: NameRefusal?) {
        let before = entries.first { $0.server == server }
        entries.removeAll { $0.server == server }
        var refusal: NameRefusal?
        if name.isEmpty || !bound.contains(name) {
            refusal = .unbound
        } else if self.server(called: name) != nil {
            refusal = .taken
        }
        entries.append(Entry(server: server, name: name, refusal: refusal))
        return (before?.name != name || before?.refusal != refusal, refusal)
    }
}

extension ClientSession {
    /// The id in a server's ServerHello: the name by which a primary delegates to it.
    ///
    /// - Parameter bound: what the server may be called, by what authenticated it: the configuration's name
    ///   for it, which its certificate is valid for, or its id there.
    public func claim(
        _ name: [UInt8], by server: ServerID, bound: [[UInt8]], into actions: inout [Action]
    ) {
        let (isNew, refusal) = names.claim(name, by: server, bound: bound)
        guard isNew, let refusal else { return }
        actions.append(.event(.nameRefused(server, name: name, refusal)))
    }
}
