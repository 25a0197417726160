// Role 5 (protocol.md §3): public streams that this server opens at the client. An offer that has no answer
// goes out once more by another path: the one that it was made on may have been dead by then.

extension GatewaySession {
    /// Opens a public stream at the client. The driver attaches its local socket; the answer is
    /// `Action.opened`: ECONNREFUSED where the client takes no such streams, ETIMEDOUT after
    /// `GatewayLimits.offerTime` without a word.
    ///
    /// Returns nil where this server is no primary of the session, or nothing can be opened just now.
    public func openStream(now: Instant, into actions: inout [Action]) -> StreamID? {
        self.now = now
        guard isPrimary, streams.count < limits.streams, let path = quickest() else { return nil }
        swap(&out, &actions)
        defer { swap(&out, &actions) }
        let id = StreamID(nextOwnStream)
        nextOwnStream += 2
        let stream = GatewayStream(id: id, isReplica: false, limits: limits, integrity: integrity)
        stream.backend = .offered
        add(stream)
        offering.append(stream)
        giveUpLater(stream, after: limits.offerTime)
        offer(stream, on: path)
        event(.streamOpened(id, path.traits.server))
        return id
    }

    private func offer(_ stream: GatewayStream, on path: GatewayPath) {
        let channel = openChannel(on: path, Preface(stream: stream.id, role: .serverStream))
        channel.use = .stream(stream)
        stream.offers.append(channel)
        stream.offerDue = now + unknownWait(path)
    }

    /// By a path that none of the offers is on.
    func offerAgain() {
        for stream in offering where now >= stream.offerDue {
            stream.offerDue = now + unknownWait(nil)
            guard let path = quickest(except: stream.offers.map(\.id.path)) else { continue }
            offer(stream, on: path)
        }
    }

    /// The client's answer, by one of the offers.
    func answered(
        _ stream: GatewayStream, errno: Int32, on channel: GatewayChannel
    ) throws(ChannelFault) {
        guard let path = paths[channel.id.path], stream.offers.contains(where: { $0 === channel }) else {
            throw .malformed(.notAllowedHere)
        }
        guard errno == 0 else {
            release(stream, .aborted(errno: errno))
            return
        }
        stream.offers.removeAll { $0 === channel }
        stream.own = channel
        _ = stream.part(on: path)
        taken(stream)
    }

    /// Whoever answers, or attaches, a stream has taken it: the other offers are of no more use.
    func taken(_ stream: GatewayStream) {
        guard stream.isOffered else { return }
        endOffers(of: stream)
        stream.giveUpAt = nil
        out.append(.opened(stream.id, errno: 0, local: [], peer: []))
        stream.backend = .connecting
        connected(stream, local: [], peer: [], tellsClient: false)
    }

    /// Their offers went with a path: others go out with the next tick.
    func offersLost() {
        for stream in offering where stream.offers.isEmpty { stream.offerDue = now }
    }

    /// Whether it was an offer that the client refuses by this.
    func refusedOffer(_ channel: GatewayChannel, code: UInt64) -> Bool {
        guard case .stream(let stream) = channel.use, stream.offers.contains(where: { $0 === channel }) else {
            return false
        }
        stream.offers.removeAll { $0 === channel }
        channel.use = .ignored
        // By `none` it says that an earlier one reached it, by `reattached` that it took this one and goes on
        // by another path: its answer, or the attach, is on its way.
        let isTaken = code == ErrorCode.none.rawValue || code == ErrorCode.reattached.rawValue
        if !isTaken { release(stream, .aborted(errno: ErrorNumber.connectionRefused)) }
        return true
    }

    func endOffers(of stream: GatewayStream) {
        offering.removeAll { $0 === stream }
        let offers = stream.offers
        stream.offers = []
        for channel in offers { abandon(channel, .none) }
    }
}

extension GatewayStream {
    /// Whether this server opened it, and the client has not said that it takes it.
    var isOffered: Bool {
        if case .offered = backend { true } else { false }
    }
}
