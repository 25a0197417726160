internal import CGnuTLS
internal import CNgtcp2

/// ngtcp2's callbacks: each turns its arguments into a call or an event and nothing else.
enum Callbacks {
    static func table(server: Bool) -> ngtcp2_callbacks {
        var table = ngtcp2_callbacks()
        unsafe kwik_crypto_callbacks(&table, server ? 1 : 0)
        unsafe table.rand = { bytes, count, _ in
            let status = unsafe gnutls_rnd(GNUTLS_RND_RANDOM, bytes, count)
            precondition(status == 0, "no randomness")
        }
        addConnection(&table)
        addStreams(&table)
        return table
    }

    private static func addConnection(_ table: inout ngtcp2_callbacks) {
        unsafe table.handshake_completed = { _, user in
            guard let state = unsafe connectionState(user) else { return NGTCP2_ERR_CALLBACK_FAILURE }
            do throws(TransportError) {
                try state.session?.checkApplicationProtocol(state.applicationProtocol)
            } catch {
                state.failure = error
                return NGTCP2_ERR_CALLBACK_FAILURE
            }
            state.isHandshakeDone = true
            state.emit(.handshakeDone)
            return 0
        }
        unsafe table.get_new_connection_id = { _, id, token, length, user in
            guard let id = unsafe id, let token = unsafe token, let state = unsafe connectionState(user)
            else {
                return NGTCP2_ERR_CALLBACK_FAILURE
            }
            unsafe fillRandomly(id, count: length)
            unsafe Callbacks.resetToken(token, for: id, secret: state.resetSecret)
            if let added = unsafe ConnectionID(id) { state.connectionIDs?(added, true) }
            return 0
        }
        unsafe table.remove_connection_id = { _, id, user in
            if let removed = unsafe ConnectionID(id) {
                unsafe connectionState(user)?.connectionIDs?(removed, false)
            }
            return 0
        }
        unsafe table.extend_max_local_streams_bidi = { _, _, user in
            unsafe connectionState(user)?.emit(.streamCredit)
            return 0
        }
        unsafe table.recv_stateless_reset = { _, _, user in
            let close = PeerClose(code: 0, isApplication: false, reason: "stateless reset: it lost its state")
            unsafe connectionState(user)?.failure = TransportError(.closedByPeer(close))
            return 0
        }
    }

    private static func addStreams(_ table: inout ngtcp2_callbacks) {
        unsafe table.stream_open = { connection, id, user in
            guard let stream = unsafe connectionState(user)?.opened(id) else {
                return NGTCP2_ERR_CALLBACK_FAILURE
            }
            let pointer = unsafe Unmanaged.passUnretained(stream).toOpaque()
            return unsafe ngtcp2_conn_set_stream_user_data(connection, id, pointer)
        }
        unsafe table.recv_stream_data = { connection, flags, id, _, bytes, count, user, _ in
            let data = unsafe UnsafeRawBufferPointer(start: bytes, count: count)
            let finished = flags & NGTCP2_STREAM_DATA_FLAG_FIN != 0
            unsafe connectionState(user)?.received(id, data, finished: finished)
            unsafe ngtcp2_conn_extend_max_offset(connection, UInt64(count))
            return unsafe ngtcp2_conn_extend_max_stream_offset(connection, id, UInt64(count))
        }
        unsafe table.acked_stream_data_offset = { _, _, offset, count, user, stream in
            if let stream = unsafe sendStream(stream) {
                unsafe connectionState(user)?.acknowledged(stream, below: offset + count)
            }
            return 0
        }
        unsafe table.stream_reset = { _, id, _, code, user, _ in
            unsafe connectionState(user)?.emit(.streamReset(id, code: code))
            return 0
        }
        unsafe table.extend_max_stream_data = { _, _, _, user, stream in
            if let stream = unsafe sendStream(stream) { unsafe connectionState(user)?.unblocked(stream) }
            return 0
        }
        unsafe table.stream_close = { connection, _, id, _, user, _ in
            if unsafe ngtcp2_conn_is_local_stream(connection, id) == 0 {
                unsafe ngtcp2_conn_extend_max_streams_bidi(connection, 1)
            }
            let state = unsafe connectionState(user)
            state?.closed(id)
            state?.emit(.streamClosed(id))
            return 0
        }
    }

    static func resetToken(
        _ token: UnsafeMutablePointer<UInt8>, for id: UnsafePointer<ngtcp2_cid>, secret: [UInt8]
    ) {
        let status: Int32 =
            if secret.isEmpty {
                unsafe gnutls_rnd(GNUTLS_RND_RANDOM, token, Int(NGTCP2_STATELESS_RESET_TOKENLEN))
            } else {
                unsafe ngtcp2_crypto_generate_stateless_reset_token(token, secret, secret.count, id)
            }
        precondition(status == 0, "a reset token can't be made")
    }
}

private func connectionState(_ user: UnsafeMutableRawPointer?) -> ConnectionState? {
    guard let user = unsafe user else { return nil }
    return unsafe Unmanaged<ConnectionState>.fromOpaque(user).takeUnretainedValue()
}

private func sendStream(_ user: UnsafeMutableRawPointer?) -> SendStream? {
    guard let user = unsafe user else { return nil }
    return unsafe Unmanaged<SendStream>.fromOpaque(user).takeUnretainedValue()
}

private func fillRandomly(_ id: UnsafeMutablePointer<ngtcp2_cid>, count: Int) {
    let random = Cryptography.random(count)
    unsafe ngtcp2_cid_init(id, random, count)
}
