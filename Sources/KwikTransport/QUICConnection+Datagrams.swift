internal import CNgtcp2
public import KwikCore

// Datagrams in and out, and time.
extension QUICConnection {
    /// Takes datagrams behind each other, each of `segment` bytes but the last, which may be shorter; nil: it
    /// is one. `ecn`: the two bits they came with. Anything that is not the peer's is ignored. Bytes of
    /// several datagrams are told together where there is a `gathering` for them.
    ///
    /// Returns whether they told something new that only the peer can tell, such as bytes or that ours came:
    /// anybody can send to a connection's ids, and send again what the peer has sent.
    @discardableResult
    public func receive(
        _ datagrams: UnsafeRawBufferPointer, segment: Int? = nil, gathering: Gathering? = nil,
        from remote: SocketAddressBytes, to local: SocketAddressBytes, ecn: UInt8, now: Instant,
        _ sink: (TransportEvent) -> Void
    ) throws(TransportError) -> Bool {
        try checkAlive()
        state.deliverDeferred(sink)
        // The library insists on a byte; UDP does not.
        guard datagrams.count > 0 else { return false }
        let segment = segment ?? datagrams.count
        precondition(segment > 0, "datagrams of no bytes")
        let before = state.news
        let due = unsafe ngtcp2_conn_get_expiry(native)
        let status = withoutActuallyEscaping(sink) { sink in
            state.sink = sink
            state.gathering = datagrams.count > segment ? gathering : nil
            defer {
                state.tellGathered()
                state.gathering = nil
                state.sink = nil
            }
            return unsafe Self.withPath(local, remote) { path in
                unsafe kwik_read_packets(
                    native, path, ecn, datagrams.bindMemory(to: UInt8.self).baseAddress, datagrams.count,
                    segment, now.nanoseconds)
            }
        }
        if status != 0 { throw end(status) }
        received += UInt64(datagrams.count)
        unsafe takeProbes(datagrams, segment, from: remote)
        acknowledging.came((datagrams.count + segment - 1) / segment, now: now)
        // What it says may wait for what was lost before; but a packet that is to be acknowledged is the
        // peer's, and new.
        guard unsafe state.news != before || ngtcp2_conn_get_expiry(native) < due else { return false }
        mtu.heard()
        let silence = now - heardAt
        heardAt = now
        if silence > Self.longSilence { try probeAgain(after: silence, now) }
        return true
    }

    /// Sends the probe that is due later (RFC 9002 §6.2) with the next `write`: the silence for which its
    /// timer backed off is over, and what is lost shows only once something newer is acknowledged. Without
    /// this a path stays unused after a blackout for as long as that took, in the worst case.
    private func probeAgain(after silence: Interval, _ now: Instant) throws(TransportError) {
        var stat = ngtcp2_conn_stat()
        unsafe kwik_get_conn_stat(native, &stat)
        let timer = stat.loss_detection_timer
        // Longer than acknowledgements can take: the timer of what was sent last is about to back off.
        let isOverdue =
            state.isHandshakeDone && silence.nanoseconds > Int64(clamping: stat.smoothed_rtt) * 5 / 4
        guard stat.pto_count > 0 || isOverdue, stat.bytes_in_flight > 0, timer > now.nanoseconds,
            timer < (now + Self.longestWait).nanoseconds
        else { return }
        // There is no other door to the timer than the time it is set for.
        let status = unsafe ngtcp2_conn_handle_expiry(native, timer)
        if status != 0 { throw end(status) }
    }

    /// Longer than between acknowledgements.
    private static let longSilence = Interval.milliseconds(50)
    /// Far below what idle connections live.
    private static let longestWait = Interval.seconds(5)

    /// When `expire` and then `write` must be called at the latest, if nothing else happens. May be in the
    /// past.
    public var deadline: Instant? {
        if ended != nil || closeSent { return nil }
        if heldBack != nil || !state.deferred.isEmpty || !probesHeard.isEmpty {
            return Instant(nanoseconds: 0)
        }
        // The largest value of the clock's is the library's "never".
        var due = Instant(nanoseconds: unsafe ngtcp2_conn_get_expiry(native))
        if let pacedUntil { due = min(due, pacedUntil) }
        if let probe = mtu.deadline { due = min(due, probe) }
        if let waited = acknowledging.due { due = min(due, waited) }
        return due.nanoseconds == .max ? nil : due
    }

    /// Loss detection, acknowledgements, idle and handshake timeouts. Call `write` after it.
    public func expire(now: Instant, _ sink: (TransportEvent) -> Void) throws(TransportError) {
        try checkAlive()
        state.deliverDeferred(sink)
        guard unsafe ngtcp2_conn_get_expiry(native) <= now.nanoseconds else { return }
        acknowledging.stopWaiting()
        let status = unsafe ngtcp2_conn_handle_expiry(native, now.nanoseconds)
        if status != 0 { throw end(status) }
        var stat = ngtcp2_conn_stat()
        unsafe kwik_get_conn_stat(native, &stat)
        mtu.silent(timeouts: stat.pto_count)
    }

    /// Fills `buffer` with as many datagrams of one size as congestion control, pacing, flow control and
    /// `limit` allow. Call again until it gives none, but come back to the sockets in between.
    ///
    /// `limit`: bytes; exceeded by less than one datagram. `buffer` must hold the largest datagram at
    /// least; 64 KiB holds every batch.
    public func write(
        into buffer: UnsafeMutableRawBufferPointer, limit: Int, now: Instant
    ) throws(TransportError) -> Batch {
        var batch = Batch(local: local, remote: remote)
        if closeSent { return batch }
        try checkAlive()
        guard let base = buffer.baseAddress, buffer.count >= mtu.most else {
            preconditionFailure("a buffer smaller than a datagram")
        }
        guard limit > 0 else { return batch }
        if let held = heldBack {
            heldBack = nil
            unsafe buffer.copyMemory(from: held.datagram.bytes)
            batch.append(held.datagram.count, ecn: held.ecn)
            return batch
        }
        if waits(now) { return batch }
        acknowledging.stopWaiting()
        let usual = mtu.payload
        let quantum = min(unsafe ngtcp2_conn_get_send_quantum(native), Self.largestBatch)
        let most = max(1, min(Self.batchCount, quantum / max(usual, 1)))
        let limit = min(limit, paced(usual, now))
        var supply = unsafe StreamSupply(vectors: vectors)
        defer { settle(&supply) }
        while batch.count < most, batch.bytes < limit, buffer.count - batch.bytes >= usual {
            var info = ngtcp2_pkt_info()
            let length = try unsafe writeDatagram(base + batch.bytes, &info, &supply, now)
            if length == 0 { break }
            let moved = notePath()
            let ecn = UInt8(truncatingIfNeeded: info.ecn)
            if batch.count > 0, moved || length > batch.segment || ecn != batch.ecn {
                unsafe holdBack(base + batch.bytes, length, ecn)
                break
            }
            (batch.local, batch.remote) = (local, remote)
            batch.append(length, ecn: ecn)
            // A shorter one ends a batch.
            if length < batch.segment { break }
        }
        if pacer == nil, batch.count > 0 { unsafe ngtcp2_conn_update_pkt_tx_time(native, now.nanoseconds) }
        pacer?.sent(batch.bytes)
        if batch.count == 0, let probe = nextProbe(now) {
            batch.append(unsafe probe.write(to: peerID, into: buffer), ecn: 0)
        }
        return batch
    }

    /// Whether there are only acknowledgements to write, and those wait for more to acknowledge.
    private func waits(_ now: Instant) -> Bool {
        guard state.isHandshakeDone, state.unsent == 0, probesHeard.isEmpty, mtu.deadline ?? .never > now
        else { return false }
        var stat = ngtcp2_conn_stat()
        unsafe kwik_get_conn_stat(native, &stat)
        let srtt = Interval(nanoseconds: Int64(clamping: stat.smoothed_rtt))
        guard acknowledging.wait(srtt: srtt, now: now) else { return false }
        pacedUntil = nil
        return true
    }

    /// Bytes that may leave now. With BBR the library paces by the rate that it measured.
    private func paced(_ datagram: Int, _ now: Instant) -> Int {
        pacedUntil = nil
        guard state.isHandshakeDone, pacer != nil else { return .max }
        var stat = ngtcp2_conn_stat()
        unsafe kwik_get_conn_stat(native, &stat)
        guard stat.min_rtt >= UInt64(Pacer.leastRoundTrip.nanoseconds) else { return .max }
        pacer?.fill(
            window: stat.cwnd, srtt: Interval(nanoseconds: Int64(clamping: stat.smoothed_rtt)),
            isSlowStart: stat.cwnd < stat.ssthresh, datagram: datagram, now: now)
        guard let pacer else { return .max }
        if pacer.room <= 0 { pacedUntil = pacer.ready }
        return pacer.room
    }

    /// What UDP_SEGMENT takes: datagrams, and bytes in all.
    private static let batchCount = 64
    private static let largestBatch = 65_507

    /// One datagram, of as many streams as fit. 0: nothing to send, or not yet.
    private func writeDatagram(
        _ packet: UnsafeMutableRawPointer, _ info: inout ngtcp2_pkt_info, _ supply: inout StreamSupply,
        _ now: Instant
    ) throws(TransportError) -> Int {
        let bytes = unsafe packet.assumingMemoryBound(to: UInt8.self)
        while true {
            // Out of the connection's credit, streams must not be offered: only acknowledgements and the
            // like go.
            let hasCredit = unsafe ngtcp2_conn_get_max_data_left(native) > 0
            if !hasCredit { settle(&supply) } else if supply.isEmpty { replenish(&supply) }
            var taken = -1
            let written = unsafe kwik_writev_stream(
                native, path, &info, bytes, mtu.payload, &taken, supply.flags, supply.id, supply.next,
                supply.count, now.nanoseconds)
            if taken >= 0 { supply.took(taken) }
            if written >= 0 {
                if taken > 0, supply.isShared, let stream = supply.stream {
                    settle(&supply)
                    state.rotate(stream)
                }
                return written
            }
            if Int32(written) == NGTCP2_ERR_WRITE_MORE { continue }
            let stream = supply.stream
            settle(&supply)
            switch Int32(written) {
            case NGTCP2_ERR_STREAM_DATA_BLOCKED: stream?.isBlocked = true
            case NGTCP2_ERR_STREAM_SHUT_WR: if let stream { state.refused(stream) }
            case NGTCP2_ERR_STREAM_NOT_FOUND: if let stream { state.shut(stream) }
            default: throw end(Int32(written))
            }
        }
    }

    /// The bytes of the stream whose turn it is: as many as a batch may take if no other one waits, a
    /// datagram's if streams take turns.
    private func replenish(_ supply: inout StreamSupply) {
        settle(&supply)
        guard let stream = state.nextReady() else { return }
        let isShared = state.isShared(stream)
        supply.take(
            stream, capacity: Self.vectorCount, limit: isShared ? mtu.payload : Self.largestBatch,
            isShared: isShared)
    }

    /// Tells the stream what the library has taken of it.
    private func settle(_ supply: inout StreamSupply) {
        guard let stream = supply.stream else { return }
        if supply.taken > 0 || supply.isFinished {
            state.took(stream, supply.taken, last: supply.isFinished)
        }
        unsafe supply = StreamSupply(vectors: vectors)
    }

    /// Takes over the addresses of the datagram just written. True: they differ from the last one's.
    private func notePath() -> Bool {
        guard unsafe kwik_path_moved(path, lastPath) != 0 else { return false }
        let to = unsafe path.pointee.path.remote
        let from = unsafe path.pointee.path.local
        let remoteBytes = unsafe UnsafeRawBufferPointer(start: to.addr, count: Int(to.addrlen))
        let localBytes = unsafe UnsafeRawBufferPointer(start: from.addr, count: Int(from.addrlen))
        guard let remote = unsafe SocketAddressBytes(remoteBytes),
            let local = unsafe SocketAddressBytes(localBytes), remote != self.remote || local != self.local
        else { return false }
        self.remote = remote
        self.local = local
        mtu.begin()
        return true
    }

    private func holdBack(_ packet: UnsafeMutableRawPointer, _ length: Int, _ ecn: UInt8) {
        let bytes = unsafe UnsafeRawBufferPointer(start: packet, count: length)
        heldBack = (unsafe ChunkSlice(copying: bytes), ecn)
    }

    /// The CONNECTION_CLOSE to send, once: with `code` (protocol.md §9) and `reason`, or with why the
    /// connection failed. Nothing more is sent after it. Count 0: the peer need not or can't be told.
    public func close(
        code: UInt64, reason: String, into buffer: UnsafeMutableRawBufferPointer, now: Instant
    ) -> Batch {
        var batch = Batch(local: local, remote: remote)
        defer { closeSent = true }
        guard !closeSent, !isSilent, let base = buffer.baseAddress else { return batch }
        var info = ngtcp2_pkt_info()
        let phrase = Array(reason.utf8.prefix(TransportError.reasonLimit / 4))
        let written = unsafe phrase.withUnsafeBufferPointer { phrase in
            var error = unsafe closeError(code, phrase)
            return unsafe kwik_write_connection_close(
                native, path, &info, base.assumingMemoryBound(to: UInt8.self), buffer.count, &error,
                now.nanoseconds)
        }
        guard written > 0 else { return batch }
        _ = notePath()
        (batch.local, batch.remote) = (local, remote)
        batch.append(written, ecn: 0)
        return batch
    }

    private func closeError(
        _ code: UInt64, _ reason: UnsafeBufferPointer<UInt8>
    ) -> ngtcp2_connection_close_error {
        var error = unsafe ngtcp2_connection_close_error()
        unsafe ngtcp2_connection_close_error_default(&error)
        let alert = unsafe ngtcp2_conn_get_tls_alert(native)
        if ended == nil {
            unsafe ngtcp2_connection_close_error_set_application_error(
                &error, code, reason.baseAddress, reason.count)
        } else if case .tls = ended?.kind, alert == 0 {
            let noApplicationProtocol: UInt8 = 120
            unsafe ngtcp2_connection_close_error_set_transport_error_tls_alert(
                &error, noApplicationProtocol, reason.baseAddress, reason.count)
        } else if alert != 0 {
            unsafe ngtcp2_connection_close_error_set_transport_error_tls_alert(
                &error, alert, reason.baseAddress, reason.count)
        } else {
            unsafe ngtcp2_connection_close_error_set_transport_error_liberr(
                &error, endCode, reason.baseAddress, reason.count)
        }
        return unsafe error
    }

    /// Ends at which nothing is sent (RFC 9000 §10.1, §10.2.2).
    private var isSilent: Bool {
        guard let ended else { return false }
        if endCode == NGTCP2_ERR_DROP_CONN || endCode == NGTCP2_ERR_DRAINING { return true }
        return ended.kind == .idle
    }

    private func checkAlive() throws(TransportError) {
        if let ended { throw ended }
        if closeSent { throw TransportError(.badArgument("the connection is closed")) }
    }

    /// Why the library gave up: what a callback left, what the peer said, or the code itself.
    private func end(_ code: Int32) -> TransportError {
        endCode = code
        let alert = unsafe ngtcp2_conn_get_tls_alert(native)
        let error: TransportError =
            if let failure = state.failure {
                failure
            } else if code == NGTCP2_ERR_DRAINING, let close = peerClose {
                .peerClosed(close)
            } else if code == NGTCP2_ERR_IDLE_CLOSE {
                TransportError(.idle)
            } else if code == NGTCP2_ERR_HANDSHAKE_TIMEOUT {
                TransportError(.handshake("\(state.peerName) did not finish it in time"))
            } else if code == NGTCP2_ERR_RECV_VERSION_NEGOTIATION {
                TransportError(.handshake("\(state.peerName) does not speak QUIC version 1"))
            } else if code == NGTCP2_ERR_DROP_CONN || code == NGTCP2_ERR_RETRY {
                TransportError(.handshake("\(state.peerName) began none"))
            } else if code == NGTCP2_ERR_CRYPTO, alert != 0 {
                .alert(alert, fromPeer: false)
            } else {
                .library(code)
            }
        ended = error
        return error
    }
}

extension Batch {
    mutating func append(_ length: Int, ecn: UInt8) {
        if count == 0 {
            segment = length
            self.ecn = ecn
        }
        count += 1
        bytes += length
    }
}
