internal import CGnuTLS
internal import CNgtcp2

/// Why a connection could not be made or came to its end. It ends that connection only.
public struct TransportError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Hashable, Sendable {
        /// TLS failed for another reason than a certificate (no common ALPN, cipher, version).
        case tls(String)
        /// A certificate was missing, untrusted, for another name or not the pinned one; the text says
        /// which check failed, whose it was, and whether the peer refused ours.
        case certificate(String)
        /// The QUIC handshake came to no end.
        case handshake(String)
        /// The peer sent CONNECTION_CLOSE or a stateless reset.
        case closedByPeer(PeerClose)
        /// Nothing was heard for the idle timeout.
        case idle
        /// The peer broke QUIC, or the library can't go on. `code` is libngtcp2's.
        case fatal(code: Int32, String)
        /// The caller's: unreadable PEM, a setting out of its range, a closed connection.
        case badArgument(String)
    }

    public let kind: Kind

    init(_ kind: Kind) { self.kind = kind }

    public var description: String {
        switch kind {
        case .tls(let text): "TLS: \(text)"
        case .certificate(let text): "certificate: \(text)"
        case .handshake(let text): "handshake: \(text)"
        case .closedByPeer(let close): "closed by the peer: \(close)"
        case .idle: "idle for too long"
        case .fatal(let code, let text): "QUIC error \(code): \(text)"
        case .badArgument(let text): text
        }
    }
}

/// What the peer said when it ended the connection (RFC 9000 §19.19).
public struct PeerClose: Hashable, Sendable, CustomStringConvertible {
    public let code: UInt64
    /// True: `code` is one of protocol.md §9; false: one of RFC 9000 §20.1.
    public let isApplication: Bool
    /// At most 1,024 bytes of it, repaired UTF-8.
    public let reason: String

    public var description: String {
        "\(isApplication ? "code" : "transport code") \(code)\(reason.isEmpty ? "" : ", \(reason)")"
    }
}

extension TransportError {
    /// Largest part of a peer's reason phrase that is kept.
    static let reasonLimit = 1_024

    static func library(_ code: Int32) -> TransportError {
        TransportError(.fatal(code: code, unsafe String(cString: ngtcp2_strerror(code))))
    }

    static func gnuTLS(_ code: Int32, _ doing: String) -> TransportError {
        TransportError(.tls("\(doing): \(unsafe String(cString: gnutls_strerror(code)))"))
    }

    /// A TLS alert (RFC 8446 §6.2), ours or the peer's.
    static func alert(_ number: UInt8, fromPeer: Bool) -> TransportError {
        let name = name(ofAlert: number)
        switch number {
        case 42...46, 48, 116:
            let text = fromPeer ? "the peer refused our certificate: \(name)" : "the peer's failed: \(name)"
            return TransportError(.certificate(text))
        case 120:
            return TransportError(.tls("no common application protocol (ALPN)"))
        default:
            return TransportError(.tls(fromPeer ? "alert from the peer: \(name)" : name))
        }
    }

    private static func name(ofAlert number: UInt8) -> String {
        // certificate_required is newer than the library's table of names.
        if number == 116 { return "certificate required" }
        guard let name = unsafe gnutls_alert_get_name(gnutls_alert_description_t(UInt32(number))) else {
            return "alert \(number)"
        }
        return unsafe String(cString: name)
    }

    /// CONNECTION_CLOSE of the transport type: TLS alerts stand at 0x100 (RFC 9001 §4.8).
    static func peerClosed(_ close: PeerClose) -> TransportError {
        if !close.isApplication, (0x100...0x1ff).contains(close.code) {
            return alert(UInt8(close.code - 0x100), fromPeer: true)
        }
        return TransportError(.closedByPeer(close))
    }
}
