internal import CNgtcp2
public import KwikCore

// Streams. An id that is not open, or no more, is no error: its end may be on its way to the caller.
extension QUICConnection {
    /// The next bidirectional stream of ours: 0, 4, 8 … at a client. nil: no credit now (`streamCredit`
    /// comes). The peer hears of it with the first bytes.
    public func openStream() throws(TransportError) -> Int64? {
        if let ended { throw ended }
        var id: Int64 = -1
        let status = unsafe ngtcp2_conn_open_bidi_stream(native, &id, nil)
        if status == NGTCP2_ERR_STREAM_ID_BLOCKED { return nil }
        guard status == 0 else { throw .library(status) }
        let pointer = unsafe Unmanaged.passUnretained(state.opened(id)).toOpaque()
        _ = unsafe ngtcp2_conn_set_stream_user_data(native, id, pointer)
        return id
    }

    /// Queues bytes, which stay where they are until acknowledged. After `finish` and `reset` they are
    /// dropped.
    public func send(_ stream: Int64, _ slice: ChunkSlice) { state.send(stream, slice) }

    /// Our half ends with the bytes queued so far.
    public func finish(_ stream: Int64) { state.finish(stream) }

    /// RESET_STREAM: our half ends here; what was not sent is dropped.
    public func reset(_ stream: Int64, code: UInt64) {
        guard let sending = state.stream(stream) else { return }
        state.shut(sending)
        acknowledging.stopWaiting()
        _ = unsafe ngtcp2_conn_shutdown_stream_write(native, stream, code)
    }

    /// STOP_SENDING: what comes on the stream is discarded and no more reported.
    public func stopSending(_ stream: Int64, code: UInt64) {
        acknowledging.stopWaiting()
        _ = unsafe ngtcp2_conn_shutdown_stream_read(native, stream, code)
    }

    /// Bytes queued in all streams and not yet in a datagram.
    public var unsent: Int { state.unsent }

    public func unsent(_ stream: Int64) -> Int { state.stream(stream)?.unsent ?? 0 }
}

// What is known of the connection.
extension QUICConnection {
    public var sample: PathSample {
        var stat = ngtcp2_conn_stat()
        unsafe kwik_get_conn_stat(native, &stat)
        // The smoothed time is the assumed one until there is a sample.
        return PathSample(
            srtt: Interval(nanoseconds: Int64(clamping: stat.smoothed_rtt)),
            rttVariation: Interval(nanoseconds: Int64(clamping: stat.rttvar)),
            probeTimeout: Interval(nanoseconds: Int64(clamping: unsafe ngtcp2_conn_get_pto(native))),
            congestionWindow: stat.cwnd, inFlight: stat.bytes_in_flight, received: received)
    }

    public var isHandshakeDone: Bool { state.isHandshakeDone }
    public var isServer: Bool { state.isServer }

    /// SHA-256 of the SubjectPublicKeyInfo of the peer's verified certificate; nil if it showed none (yet).
    public var peerCertificatePin: [UInt8]? { state.peerPin }

    /// Where datagrams go and come from now; changes when the peer's address does (RFC 9000 §9).
    public var remoteAddress: SocketAddressBytes { remote }
    public var localAddress: SocketAddressBytes { local }

    /// What the peer's CONNECTION_CLOSE said; nil without one.
    public var peerClose: PeerClose? {
        var error = unsafe ngtcp2_connection_close_error()
        unsafe ngtcp2_conn_get_connection_close_error(native, &error)
        guard unsafe ngtcp2_conn_is_in_draining_period(native) != 0 else { return nil }
        let length = unsafe min(error.reasonlen, TransportError.reasonLimit)
        let bytes = unsafe UnsafeBufferPointer(start: error.reason, count: error.reason == nil ? 0 : length)
        let application = NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION
        return PeerClose(
            code: unsafe error.error_code, isApplication: unsafe error.type == application,
            reason: unsafe String(decoding: bytes, as: UTF8.self))
    }

    /// RFC 8446 §7.5; both ends get the same. nil before the handshake is done.
    public func exportKeyingMaterial(label: String, context: [UInt8], length: Int) -> [UInt8]? {
        state.isHandshakeDone ? session.export(label: label, context: context, length: length) : nil
    }

    /// The ids by which the peer's datagrams are known now; at a client the one of no bytes. At a server that
    /// is also the client's first choice, until the handshake is done.
    public var sourceConnectionIDs: [ConnectionID] {
        let count = unsafe ngtcp2_conn_get_num_scid(native)
        var ids = [ngtcp2_cid](repeating: ngtcp2_cid(), count: count)
        let got = unsafe ngtcp2_conn_get_scid(native, &ids)
        var list: [ConnectionID] = []
        for index in 0..<min(got, count) {
            if let id = unsafe ConnectionID(&ids[index]) { list.append(id) }
        }
        if state.isServer, !state.isHandshakeDone,
            let first = unsafe ConnectionID(ngtcp2_conn_get_client_initial_dcid(native))
        {
            list.append(first)
        }
        return list
    }

    /// Called when an id is added (true) or removed (false), from within `receive`, `write` and `expire`.
    /// Those that exist when it is set are in `sourceConnectionIDs`.
    public var onConnectionID: ((ConnectionID, _ added: Bool) -> Void)? {
        get { state.connectionIDs }
        set { state.connectionIDs = newValue }
    }
}
