internal import CNgtcp2
public import KwikCore

/// One QUIC v1 connection and its TLS 1.3 session: a path. Datagrams and the time go in; datagrams, events
/// and a deadline come out. It opens no socket and reads no clock, but for the validity of certificates.
///
/// `receive`, `expire` and `write` throw when the connection has come to its end: then send what `close`
/// gives, if anything, and let go of the object. Of what a sink calls, only `send`, `finish`, `reset`,
/// `stopSending`, `openStream` and the properties are allowed on the connection that calls it.
@safe
public final class QUICConnection {
    let native: OpaquePointer
    let state: ConnectionState
    let session: TLSSession
    /// Where the library puts the addresses of a datagram, and room for the vectors of a write.
    let path: UnsafeMutablePointer<ngtcp2_path_storage>
    let vectors: UnsafeMutablePointer<ngtcp2_vec>
    /// The addresses of the datagram before.
    let lastPath: UnsafeMutablePointer<ngtcp2_path_storage>
    static let vectorCount = 16

    var local: SocketAddressBytes
    var remote: SocketAddressBytes
    /// A datagram that did not fit into the batch that it came up in.
    var heldBack: (datagram: ChunkSlice, ecn: UInt8)?
    var ended: TransportError?
    /// libngtcp2's code behind `ended`, for CONNECTION_CLOSE.
    var endCode: Int32 = 0
    var closeSent = false
    var mtu: PathMTUDiscovery
    /// Probes of the peer's to answer.
    var probesHeard: [PathMTUProbe] = []
    /// Payload bytes of the datagrams that `receive` was given.
    var received: UInt64 = 0
    /// When `receive` last had news.
    var heardAt = Instant(nanoseconds: 0)
    /// nil: the library's congestion control paces itself.
    var pacer: Pacer?
    /// When the pacer lets more go, if that is what kept `write` from giving it.
    var pacedUntil: Instant?
    var acknowledging: Acknowledging

    /// The client's end. It has no connection id: what comes to `local` must be this connection's alone.
    /// `serverName`: a host name or an address in text, for which the certificate must be
    /// valid; `pin`: SHA-256 of its SubjectPublicKeyInfo, checked beside the chain. Nothing is sent before
    /// `write`.
    ///
    /// `local` and `remote` must be as `receive` will name them, so `local` must not be a wildcard.
    public static func connect(
        to serverName: String, pin: [UInt8]? = nil, trust: TrustStore, local: SocketAddressBytes,
        remote: SocketAddressBytes, settings: TransportSettings = TransportSettings(), now: Instant
    ) throws(TransportError) -> QUICConnection {
        try settings.check()
        guard !serverName.isEmpty, serverName.utf8.count <= 253, !serverName.utf8.contains(0) else {
            throw TransportError(.badArgument("'\(serverName)' is no server's name"))
        }
        guard pin == nil || pin?.count == 32 else { throw TransportError(.badArgument("a pin has 32 bytes")) }
        let state = ConnectionState(
            isServer: false, peerName: serverName, pin: pin, needsPeerCertificate: true,
            applicationProtocol: settings.applicationProtocol, resetSecret: [])
        let session = try TLSSession.client(
            trust: trust, serverName: serverName, settings: settings, state: state)
        var destination = Self.randomID(18)
        // None (RFC 9000 §5.1): eight bytes less in every datagram of a download.
        var source = ngtcp2_cid()
        let native = unsafe try make(state, session, local, remote, settings, now) {
            connection, path, callbacks, library, parameters, user in
            unsafe kwik_client_new(
                connection, &destination, &source, path, callbacks, &library, &parameters, user)
        }
        return unsafe QUICConnection(native, state, session, local, remote, settings)
    }

    /// The server's end, for a first datagram that `ServerDoor.judge` let in. Register
    /// `sourceConnectionIDs` and set `onConnectionID`, then give that same datagram to `receive`.
    public static func accept(
        _ initial: InitialPacket, identity: ServerIdentity, door: ServerDoor, local: SocketAddressBytes,
        remote: SocketAddressBytes, settings: TransportSettings = TransportSettings(), now: Instant
    ) throws(TransportError) -> QUICConnection {
        try settings.check()
        let state = ConnectionState(
            isServer: true, peerName: "the client", pin: nil,
            needsPeerCertificate: identity.clientCertificate == .required,
            applicationProtocol: settings.applicationProtocol, resetSecret: door.secret)
        let session = try TLSSession.server(identity: identity, settings: settings, state: state)
        var destination = initial.source.native
        var source = Self.randomID(ConnectionID.ownLength)
        let native = unsafe try make(state, session, local, remote, settings, now) {
            connection, path, callbacks, library, parameters, user in
            unsafe parameters.original_dcid = initial.originalDestination.native
            if initial.wasRetried {
                unsafe parameters.retry_scid = initial.destination.native
                unsafe parameters.retry_scid_present = 1
            }
            unsafe withUnsafeMutableBytes(of: &parameters.stateless_reset_token) { token in
                if let token = unsafe token.bindMemory(to: UInt8.self).baseAddress {
                    unsafe Callbacks.resetToken(token, for: &source, secret: door.secret)
                }
            }
            unsafe parameters.stateless_reset_token_present = 1
            return unsafe initial.token.withUnsafeBufferPointer { token in
                let base = unsafe UnsafeMutablePointer(mutating: token.baseAddress)
                unsafe library.token = unsafe ngtcp2_vec(base: base, len: token.count)
                return unsafe kwik_server_new(
                    connection, &destination, &source, path, initial.version, callbacks, &library,
                    &parameters, user)
            }
        }
        return unsafe QUICConnection(native, state, session, local, remote, settings)
    }

    private typealias Maker = (
        UnsafeMutablePointer<OpaquePointer?>, UnsafePointer<ngtcp2_path>, UnsafePointer<ngtcp2_callbacks>,
        inout ngtcp2_settings, inout ngtcp2_transport_params, UnsafeMutableRawPointer
    ) -> Int32

    private static func make(
        _ state: ConnectionState, _ session: TLSSession, _ local: SocketAddressBytes,
        _ remote: SocketAddressBytes, _ settings: TransportSettings, _ now: Instant, _ maker: Maker
    ) throws(TransportError) -> OpaquePointer {
        var made: OpaquePointer?
        var callbacks = Callbacks.table(server: state.isServer)
        var (library, parameters) = unsafe settings.native(payload: settings.discovery(to: remote).most, now)
        let user = unsafe Unmanaged.passUnretained(state).toOpaque()
        let status = unsafe withPath(local, remote) { path in
            unsafe maker(&made, path, &callbacks, &library, &parameters, user)
        }
        guard status == 0, let made = unsafe made else { throw .library(status) }
        unsafe ngtcp2_conn_set_tls_native_handle(made, UnsafeMutableRawPointer(session.native))
        unsafe session.bind(made)
        state.session = session
        return unsafe made
    }

    private init(
        _ native: OpaquePointer, _ state: ConnectionState, _ session: TLSSession,
        _ local: SocketAddressBytes, _ remote: SocketAddressBytes, _ settings: TransportSettings
    ) {
        unsafe self.native = unsafe native
        self.state = state
        self.session = session
        self.local = local
        self.remote = remote
        let token = unsafe Cryptography.random(8).withUnsafeBytes { unsafe $0.loadUnaligned(as: UInt64.self) }
        mtu = settings.discovery(to: remote, token: token)
        acknowledging = Acknowledging(
            most: settings.acknowledgementThreshold, longest: settings.maximumAckDelay)
        pacer = settings.congestionControl == .cubic ? Pacer() : nil
        unsafe path = .allocate(capacity: 1)
        unsafe ngtcp2_path_storage_zero(path)
        unsafe lastPath = .allocate(capacity: 1)
        unsafe ngtcp2_path_storage_zero(lastPath)
        unsafe vectors = .allocate(capacity: Self.vectorCount)
    }

    deinit {
        // Before the slices and the session, into both of which it points.
        unsafe ngtcp2_conn_del(native)
        unsafe path.deallocate()
        unsafe lastPath.deallocate()
        unsafe vectors.deallocate()
    }

    static func randomID(_ length: Int) -> ngtcp2_cid {
        var id = ngtcp2_cid()
        let bytes = Cryptography.random(length)
        unsafe ngtcp2_cid_init(&id, bytes, length)
        return id
    }

    static func withPath<Result>(
        _ local: SocketAddressBytes, _ remote: SocketAddressBytes,
        _ body: (UnsafePointer<ngtcp2_path>) -> Result
    ) -> Result {
        unsafe local.withBytes { local in
            unsafe remote.withBytes { remote in
                var path = unsafe ngtcp2_path(local: address(local), remote: address(remote), user_data: nil)
                return unsafe body(&path)
            }
        }
    }

    /// The library copies what this points to, and does not write.
    private static func address(_ bytes: UnsafeRawBufferPointer) -> ngtcp2_addr {
        let base = unsafe UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        return unsafe ngtcp2_addr(
            addr: base?.assumingMemoryBound(to: ngtcp2_sockaddr.self), addrlen: UInt32(bytes.count))
    }
}

extension TransportSettings {
    /// The fields that differ from the library's defaults.
    func native(payload: Int, _ now: Instant) -> (ngtcp2_settings, ngtcp2_transport_params) {
        var settings = unsafe ngtcp2_settings()
        unsafe kwik_settings_default(&settings)
        unsafe settings.cc_algo = congestionControl == .cubic ? NGTCP2_CC_ALGO_CUBIC : NGTCP2_CC_ALGO_BBR2
        unsafe settings.initial_ts = now.nanoseconds
        unsafe settings.initial_rtt = UInt64(initialRoundTrip.nanoseconds)
        unsafe settings.handshake_timeout = UInt64(handshakeTimeout.nanoseconds)
        unsafe settings.max_tx_udp_payload_size = payload
        // `PathMTUDiscovery` shapes: each write gets as much room as a datagram may have. The library probes
        // as well, within that room: packets of the connection, whose acknowledgements open the window of a
        // new path by four datagrams (20 KB over 50 Mbit/s and 20 ms: a round trip less).
        unsafe settings.no_tx_udp_payload_size_shaping = 1
        unsafe settings.ack_thresh = min(acknowledgementThreshold, Acknowledging.least)
        var parameters = unsafe ngtcp2_transport_params()
        unsafe kwik_transport_params_default(&parameters)
        unsafe parameters.initial_max_data = connectionWindow
        unsafe parameters.initial_max_stream_data_bidi_local = streamWindow
        unsafe parameters.initial_max_stream_data_bidi_remote = streamWindow
        unsafe parameters.initial_max_streams_bidi = streams
        unsafe parameters.max_idle_timeout = UInt64(idleTimeout.nanoseconds)
        unsafe parameters.max_ack_delay = UInt64(maximumAckDelay.nanoseconds)
        // Spare ids let a peer whose NAT gave it another port move to it unlinked (RFC 9000 §9.5).
        unsafe parameters.active_connection_id_limit = 4
        return unsafe (settings, parameters)
    }
}
