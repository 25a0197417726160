// Role 5: public streams that a primary opens. The client answers with OPENED; from then on the stream is
// like any other, but that replicas have no part in it: they know nothing of it.

/// The streams of a server's that were taken: the same may be offered once more by another path, even when
/// they are over.
struct TakenOffers {
    let server: ServerID
    private var places = RangeSet()

    init(server: ServerID) { self.server = server }

    func contains(_ id: StreamID) -> Bool { places.contains(id.value >> 1) }

    /// Of one that numbers with many gaps the oldest are forgotten.
    mutating func insert(_ id: StreamID) {
        places.insert(ByteRange(id.value >> 1, id.value >> 1 + 1))
        if places.ranges.count > ClientLimit.takenOffers, let first = places.first { places.remove(first) }
    }
}

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
        let isOurs = takenOffers.contains { $0.server == channel.server && $0.contains(id) }
        if isOurs || offers.contains(where: { $0.stream == id && $0.server == channel.server }) {
            // Once more, by another path: the answer is on its way.
            drop(channel)
            out.append(.abandon(channel.id, .none))
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
        took(id, from: channel.server)
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

    private func took(_ id: StreamID, from server: ServerID) {
        let index = takenOffers.firstIndex { $0.server == server } ?? takenOffers.count
        if index == takenOffers.count { takenOffers.append(TakenOffers(server: server)) }
        takenOffers[index].insert(id)
    }

    /// A gateway that has forgotten the session numbers anew.
    func forgetOffers(of server: ServerID) { takenOffers.removeAll { $0.server == server } }
}

extension ClientStream {
    /// Whether the primary opened it (role 5).
    var isServers: Bool { id.value & 1 == 1 }
}
