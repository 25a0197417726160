internal import CNgtcp2
internal import KwikCore

/// What the callbacks of ngtcp2 and GnuTLS reach: everything of a connection but the library's own objects.
final class ConnectionState {
    let isServer: Bool
    /// Of the server, as configured; of a client, a word for it.
    let peerName: String
    let pin: [UInt8]?
    let needsPeerCertificate: Bool
    let applicationProtocol: String
    /// From which a server derives its stateless reset tokens (RFC 9000 §10.3.2); empty: they are random.
    let resetSecret: [UInt8]
    /// The owner of the TLS session sets it; none before that.
    var session: TLSSession?

    var sink: ((TransportEvent) -> Void)?
    /// Set while a batch of datagrams is taken.
    var gathering: Gathering?
    /// What happened while no sink was there.
    private(set) var deferred: [TransportEvent] = []
    /// Set by a callback that failed.
    var failure: TransportError?
    var peerPin: [UInt8]?
    var isHandshakeDone = false
    var connectionIDs: ((ConnectionID, Bool) -> Void)?

    private var streams: [Int64: SendStream] = [:]
    private var ready = ReadyQueue()
    /// Stream 0, which goes before all others.
    private var control: SendStream?
    private(set) var unsent = 0
    /// How often the peer told something: an event, an acknowledgement, credit.
    private(set) var news = 0

    init(
        isServer: Bool, peerName: String, pin: [UInt8]?, needsPeerCertificate: Bool,
        applicationProtocol: String, resetSecret: [UInt8]
    ) {
        self.isServer = isServer
        self.peerName = peerName
        self.pin = pin
        self.needsPeerCertificate = needsPeerCertificate
        self.applicationProtocol = applicationProtocol
        self.resetSecret = resetSecret
    }

    deinit { ready.removeAll() }

    /// In-order bytes of a stream, which may be told together with those of other datagrams.
    func received(_ id: Int64, _ bytes: UnsafeRawBufferPointer, finished: Bool) {
        if let gathering, !finished {
            news &+= 1
            if unsafe gathering.append(id, bytes) { return }
            tellGathered()
            if unsafe gathering.append(id, bytes) { return }
        }
        unsafe emit(.received(stream: id, bytes, finished: finished))
    }

    /// Events keep their order, so every other one comes after what was gathered before it.
    func tellGathered() {
        guard let gathering, gathering.count > 0, let sink else { return }
        sink(unsafe .received(stream: gathering.stream, gathering.takeAll(), finished: false))
    }

    func emit(_ event: TransportEvent) {
        news &+= 1
        tellGathered()
        if let sink {
            sink(event)
        } else if case .received = event {
            preconditionFailure("data came outside of receive")
        } else {
            deferred.append(event)
        }
    }

    func deliverDeferred(_ sink: (TransportEvent) -> Void) {
        guard !deferred.isEmpty else { return }
        let events = deferred
        deferred = []
        for event in events { sink(event) }
    }
}

// Sending halves.
extension ConnectionState {
    func stream(_ id: Int64) -> SendStream? { streams[id] }

    func opened(_ id: Int64) -> SendStream {
        let stream = SendStream(id: id)
        streams[id] = stream
        if id == 0 { control = stream }
        return stream
    }

    func send(_ id: Int64, _ slice: ChunkSlice) {
        guard slice.count > 0, let stream = streams[id], stream.takesBytes else { return }
        stream.append(slice)
        unsent += slice.count
        makeReady(stream)
    }

    func finish(_ id: Int64) {
        guard let stream = streams[id], stream.takesBytes else { return }
        stream.finish()
        makeReady(stream)
    }

    /// Nothing more is sent on the stream.
    func shut(_ stream: SendStream) {
        unsent -= stream.shut()
    }

    /// The peer stopped our half. The library answered it at once, but shows it only when more is to be
    /// sent, and never shows the code.
    func refused(_ stream: SendStream) {
        shut(stream)
        emit(.stopSending(stream.id, code: 0))
    }

    func closed(_ id: Int64) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        shut(stream)
        if id == 0 { control = nil }
    }

    func acknowledged(_ stream: SendStream, below offset: UInt64) {
        news &+= 1
        stream.acknowledged(below: offset)
    }

    func unblocked(_ stream: SendStream) {
        news &+= 1
        stream.isBlocked = false
        makeReady(stream)
    }

    private func makeReady(_ stream: SendStream) {
        if stream.isReady, stream !== control { ready.append(stream) }
    }

    /// The stream whose turn it is: the control stream, then the others in the order in which they got
    /// bytes.
    func nextReady() -> SendStream? {
        if let control, control.isReady { return control }
        while let stream = ready.head {
            if stream.isReady { return stream }
            ready.removeHead()
        }
        return nil
    }

    func took(_ stream: SendStream, _ count: Int, last: Bool) {
        stream.took(count, last: last)
        unsent -= count
    }

    /// Whether another stream waits for its turn.
    func isShared(_ stream: SendStream) -> Bool { stream === control || stream.next != nil }

    /// The stream has filled a datagram: the next one's turn.
    func rotate(_ stream: SendStream) {
        guard stream === ready.head, stream.next != nil else { return }
        ready.removeHead()
        makeReady(stream)
    }
}
