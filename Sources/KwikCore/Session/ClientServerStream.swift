// Role 5: public streams that a primary opens. The client answers with OPENED; from then on the stream is
// like any other, but that replicas have no part in it: they know nothing of it.

extension ClientSession {
    /// Only who is, or was, some stream's primary may open public streams; any other that tries is ended.
    func offer(_ id: StreamID, on channel: ClientChannel) {
        guard primaries.contains(channel.server) else {
            if members.contains(channel.server) {
                // It was attached like a primary. Alone its word is no server's of the service.
                drop(channel)
                event(.serverStreamRefused(id, channel.server))
                out.append(.abandon(channel.id, .refusedByPolicy))
                return
            }
            drop(channel)
            event(.policyViolation(channel.id.path, channel.server, .refusedByPolicy))
            out.append(.endPath(channel.id.path, .refusedByPolicy))
            return
        }
        guard id.value & 1 == 1 else {
            drop(channel)
            event(.malformed(channel.id, .notAllowedHere))
            out.append(.abandon(channel.id, .protocolViolation))
            return
        }
        // Several primaries number alike: the first has it.
        let isTaken = find(id) != nil || offers.contains { $0.stream == id }
        guard !isTaken, streams.count + offers.count < ClientLimit.streams else {
            drop(channel)
            event(.serverStreamRefused(id, channel.server))
            out.append(.abandon(channel.id, .resourceLimit))
            return
        }
        channel.stream = id
        channel.use = .offer
        offers.append(channel)
        out.append(.offered(id, channel.server))
    }

    /// Somebody takes the stream that `Action.offered` told of. False: it is gone already.
    public func accept(_ id: StreamID, now: Instant, into actions: inout [Action]) -> Bool {
        guard let channel = offers.first(where: { $0.stream == id }) else { return false }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        offers.removeAll { $0 === channel }
        foreignChannels.remove(channel.id)
        let stream = ClientStream(
            id: id, options: [], restriction: .none, integrity: integrity, now: now)
        stream.primary = channel.server
        stream.phase = .open
        channel.use = .own(epoch: 0)
        insert(stream)
        wake(stream)
        setOwn(channel.id, of: stream)
        send(.opened(errno: 0, local: [], peer: []), on: channel.id)
        event(.streamOpened(id, channel.server))
        out.append(.accept(id))
        updateWindow(stream, now: now, always: true)
        return true
    }

    /// Nobody takes it.
    public func refuse(_ id: StreamID, _ code: ErrorCode, into actions: inout [Action]) {
        guard let channel = offers.first(where: { $0.stream == id }) else { return }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        drop(channel)
        event(.serverStreamRefused(id, channel.server))
        out.append(.abandon(channel.id, code))
    }
}

extension ClientStream {
    /// Whether the primary opened it (role 5).
    var isServers: Bool { id.value & 1 == 1 }
}
