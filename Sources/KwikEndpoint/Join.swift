public import KwikCore
public import KwikTransport

/// The proof that a further path of a session comes from the client that has the session (protocol.md §2).
public enum Join {
    /// Bytes of a join secret.
    public static let secretLength = 32
    private static let exporter = "EXPORTER-kwik-join"

    /// HMAC-SHA-256(join secret, TLS exporter ‖ session id ‖ server id); nil before the handshake is done.
    public static func proof(
        secret: [UInt8], connection: QUICConnection, session: SessionID, server: String
    ) -> [UInt8]? {
        guard let exported = connection.exportKeyingMaterial(label: exporter, context: [], length: 32) else {
            return nil
        }
        var message = exported
        for word in [session.high, session.low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                message.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        message.append(contentsOf: server.utf8)
        return Cryptography.hmacSHA256(secret, message)
    }
}
