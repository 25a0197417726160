internal import CNgtcp2
internal import KwikCore

// The path's MTU: probes and their answers.
extension QUICConnection {
    /// Probes of the peer's that wait for their answers at most: a few more than a round of ours has.
    private static let probeLimit = 8

    /// Of the ids that the peer puts into the datagrams to us.
    private var ownIDLength: Int { state.isServer ? ConnectionID.ownLength : 0 }

    /// By which the peer finds the connection.
    var peerID: ConnectionID {
        unsafe ConnectionID(ngtcp2_conn_get_dcid(native)) ?? ConnectionID.none
    }

    /// Picks out of datagrams those that the library ignores. Of another path than the current one they mean
    /// nothing.
    func takeProbes(_ datagrams: UnsafeRawBufferPointer, _ segment: Int, from remote: SocketAddressBytes) {
        for start in stride(from: 0, to: datagrams.count, by: segment)
        where unsafe PathMTUProbe.isOne(datagrams[start]) {
            let end = min(start + segment, datagrams.count)
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: datagrams[start..<end])
            guard let probe = unsafe PathMTUProbe(bytes, idLength: ownIDLength), remote == self.remote,
                state.isHandshakeDone
            else { continue }
            if !probe.isAnswer {
                if probesHeard.count < Self.probeLimit { probesHeard.append(probe) }
            } else if probe.token == mtu.token {
                mtu.answered(probe.size)
            }
        }
    }

    /// An answer that is due, or a probe of our own.
    func nextProbe(_ now: Instant) -> PathMTUProbe? {
        guard state.isHandshakeDone else { return nil }
        if !probesHeard.isEmpty {
            var answer = probesHeard.removeFirst()
            answer.isAnswer = true
            return answer
        }
        mtu.start()
        guard let due = mtu.deadline, due <= now else { return nil }
        return mtu.probe(srtt: sample.srtt, now: now).map {
            PathMTUProbe(isAnswer: false, token: mtu.token, size: $0)
        }
    }
}
