internal import CNgtcp2
public import KwikCore

/// A first datagram of a client, let in.
public struct InitialPacket: Sendable {
    let version: UInt32
    /// As in the datagram: the key by which the connection is found until the client knows a better one.
    public let destination: ConnectionID
    public let source: ConnectionID
    /// What the client chose first; differs from `destination` after a Retry.
    let originalDestination: ConnectionID
    let wasRetried: Bool
    let token: [UInt8]
}

/// What a server says without keeping anything: version negotiation, Retry, stateless reset (RFC 9000 §6,
/// §8.1, §10.3). The caller limits how often per source address.
public final class ServerDoor {
    let secret: [UInt8]

    public enum Verdict {
        /// A new connection: `QUICConnection.accept`.
        case accept(InitialPacket)
        /// Send the first `count` bytes of the buffer back.
        case reply(count: Int)
        case ignore
    }

    /// How long after a Retry its token is good.
    private static let tokenLifetime = Interval.seconds(10)
    /// Shorter ones are not answered by a reset, which must be shorter still and look like a packet.
    private static let resetTrigger = 43

    /// `secret`: 32 bytes; one that stays over restarts lets clients of a former process learn at once that
    /// it is gone.
    public init(secret: [UInt8]) {
        precondition(secret.count == 32, "the secret has 32 bytes")
        self.secret = secret
    }

    /// How many bytes of a batch, at least the first datagram's, are of datagrams that are for the same
    /// connection: those whose ids, of 8 bytes, are the first one's. Each has `segment` bytes but the last.
    public static func run(of batch: UnsafeRawBufferPointer, segment: Int) -> Int {
        let end = 1 + ConnectionID.ownLength
        func id(_ at: Int) -> UInt64? {
            guard batch.count - at >= end, unsafe batch[at] & 0x80 == 0 else { return nil }
            return unsafe batch.loadUnaligned(fromByteOffset: at + 1, as: UInt64.self)
        }
        guard let first = id(0) else { return min(segment, batch.count) }
        var at = segment
        while id(at) == first { at += segment }
        return min(at, batch.count)
    }

    /// The id by which to look up the connection that a datagram is for; nil: no QUIC.
    public static func destination(of datagram: UnsafeRawBufferPointer) -> ConnectionID? {
        guard datagram.count > ConnectionID.ownLength else { return nil }
        if unsafe datagram[0] & 0x80 == 0 {
            return unsafe ConnectionID(
                UnsafeRawBufferPointer(rebasing: datagram[1..<1 + ConnectionID.ownLength]))
        }
        // RFC 8999 §5.1: version in 1 ..< 5, then the id behind its length.
        guard datagram.count >= 6 else { return nil }
        let end = 6 + Int(unsafe datagram[5])
        guard end <= datagram.count else { return nil }
        return unsafe ConnectionID(UnsafeRawBufferPointer(rebasing: datagram[6..<end]))
    }

    /// For a datagram whose `destination` no connection knows. `demandRetry`: the client must first show
    /// that it gets what is sent to `remote`. `buffer`: 1,200 bytes at least.
    public func judge(
        _ datagram: UnsafeRawBufferPointer, from remote: SocketAddressBytes, demandRetry: Bool,
        into buffer: UnsafeMutableRawBufferPointer, now: Instant
    ) -> Verdict {
        precondition(buffer.count >= 1_200, "a buffer too small for an answer")
        // The library insists on a byte; UDP does not.
        guard datagram.count > 0, let bytes = unsafe datagram.bindMemory(to: UInt8.self).baseAddress,
            let out = unsafe buffer.bindMemory(to: UInt8.self).baseAddress
        else { return .ignore }
        var heads = unsafe ngtcp2_version_cid()
        let status = unsafe ngtcp2_pkt_decode_version_cid(
            &heads, bytes, datagram.count, ConnectionID.ownLength)
        if status == NGTCP2_ERR_VERSION_NEGOTIATION {
            return unsafe negotiate(heads, datagram.count, out, buffer.count)
        }
        guard status == 0 else { return .ignore }
        if unsafe heads.version == 0 { return unsafe reset(heads, datagram.count, out) }
        var header = unsafe ngtcp2_pkt_hd()
        let verdict = unsafe ngtcp2_accept(&header, bytes, datagram.count)
        guard verdict == 0 || verdict == NGTCP2_ERR_RETRY else { return .ignore }
        return unsafe admit(header, remote, demandRetry || verdict != 0, out, buffer.count, now)
    }

    private func negotiate(
        _ heads: ngtcp2_version_cid, _ received: Int, _ out: UnsafeMutablePointer<UInt8>, _ room: Int
    ) -> Verdict {
        // Smaller ones are no first datagrams, and an answer must not amplify (RFC 9000 §14.1).
        guard received >= 1_200 else { return .ignore }
        var versions: [UInt32] = [NGTCP2_PROTO_VER_V1]
        let length = unsafe ngtcp2_pkt_write_version_negotiation(
            out, room, Cryptography.random(1)[0], heads.scid, heads.scidlen, heads.dcid, heads.dcidlen,
            &versions, versions.count)
        return length > 0 ? .reply(count: length) : .ignore
    }

    private func reset(
        _ heads: ngtcp2_version_cid, _ received: Int, _ out: UnsafeMutablePointer<UInt8>
    ) -> Verdict {
        guard received >= Self.resetTrigger else { return .ignore }
        var id = ngtcp2_cid()
        unsafe ngtcp2_cid_init(&id, heads.dcid, min(heads.dcidlen, ConnectionID.maximumLength))
        var token = [UInt8](repeating: 0, count: Int(NGTCP2_STATELESS_RESET_TOKENLEN))
        guard
            unsafe ngtcp2_crypto_generate_stateless_reset_token(&token, secret, secret.count, &id) == 0
        else { return .ignore }
        let noise = Cryptography.random(Self.resetTrigger - 1 - token.count)
        let length = unsafe ngtcp2_pkt_write_stateless_reset(
            out, Self.resetTrigger - 1, token, noise, noise.count)
        return length > 0 ? .reply(count: length) : .ignore
    }

    private func admit(
        _ header: ngtcp2_pkt_hd, _ remote: SocketAddressBytes, _ demandRetry: Bool,
        _ out: UnsafeMutablePointer<UInt8>, _ room: Int, _ now: Instant
    ) -> Verdict {
        var header = unsafe header
        guard let destination = unsafe ConnectionID(&header.dcid),
            let source = unsafe ConnectionID(&header.scid)
        else { return .ignore }
        let token = unsafe [UInt8](UnsafeBufferPointer(start: header.token.base, count: header.token.len))
        let isRetryToken = token.first == UInt8(NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY)
        if isRetryToken {
            var original = ngtcp2_cid()
            let status = unsafe remote.withBytes { address in
                unsafe ngtcp2_crypto_verify_retry_token(
                    &original, token, token.count, secret, secret.count, header.version,
                    address.bindMemory(to: ngtcp2_sockaddr.self).baseAddress, UInt32(address.count),
                    &header.dcid, UInt64(Self.tokenLifetime.nanoseconds), now.nanoseconds)
            }
            guard status == 0, let original = unsafe ConnectionID(&original) else {
                return unsafe refuse(&header, out, room)
            }
            return .accept(
                InitialPacket(
                    version: unsafe header.version, destination: destination, source: source,
                    originalDestination: original, wasRetried: true, token: token))
        }
        if demandRetry { return unsafe retry(&header, remote, out, room, now) }
        return .accept(
            InitialPacket(
                version: unsafe header.version, destination: destination, source: source,
                originalDestination: destination, wasRetried: false, token: []))
    }

    private func retry(
        _ header: inout ngtcp2_pkt_hd, _ remote: SocketAddressBytes, _ out: UnsafeMutablePointer<UInt8>,
        _ room: Int, _ now: Instant
    ) -> Verdict {
        var id = QUICConnection.randomID(ConnectionID.ownLength)
        var token = [UInt8](repeating: 0, count: 256)
        let made = unsafe remote.withBytes { address in
            unsafe ngtcp2_crypto_generate_retry_token(
                &token, secret, secret.count, header.version,
                address.bindMemory(to: ngtcp2_sockaddr.self).baseAddress, UInt32(address.count), &id,
                &header.dcid, now.nanoseconds)
        }
        guard made > 0 else { return .ignore }
        let length = unsafe ngtcp2_crypto_write_retry(
            out, room, header.version, &header.scid, &id, &header.dcid, token, made)
        return length > 0 ? .reply(count: length) : .ignore
    }

    /// A token that is ours no more, or somebody else's: INVALID_TOKEN (RFC 9000 §8.1.3).
    private func refuse(
        _ header: inout ngtcp2_pkt_hd, _ out: UnsafeMutablePointer<UInt8>, _ room: Int
    ) -> Verdict {
        let length = unsafe ngtcp2_crypto_write_connection_close(
            out, room, header.version, &header.scid, &header.dcid, UInt64(NGTCP2_INVALID_TOKEN), nil, 0)
        return length > 0 ? .reply(count: length) : .ignore
    }
}
