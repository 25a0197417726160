internal import KwikConfiguration
internal import KwikControl
internal import KwikCore
internal import KwikEndpoint
internal import KwikTransport

/// Why a client's hello is refused: what the path ends with, and what both logs say.
struct HelloRefusal: Error {
    var code: ErrorCode
    var reason: String
}

/// Checks what a client shows of itself (protocol.md §2).
enum Admission {
    static let version: UInt32 = 3

    static func service(
        for hello: ClientHello, in services: [GatewayService]
    ) throws(HelloRefusal) -> GatewayService {
        guard hello.version == version else {
            throw HelloRefusal(
                code: .protocolViolation,
                reason: "protocol version \(hello.version), this gateway speaks \(version)")
        }
        guard let service = services.first(where: { $0.name == hello.service }) else {
            throw HelloRefusal(code: .unknownService, reason: "unknown service")
        }
        if service.tokens.isEmpty { return service }
        guard case .bearerToken(let token) = hello.credential else {
            throw HelloRefusal(code: .unauthenticated, reason: "a token is required")
        }
        // Digests of one length, and all of them compared, so that time tells nothing of any.
        let shown = Cryptography.sha256(Array(token.utf8))
        var matches = false
        for known in service.tokens {
            if Cryptography.constantTimeEqual(Cryptography.sha256(Array(known.utf8)), shown) {
                matches = true
            }
        }
        guard matches else {
            throw HelloRefusal(code: .unauthenticated, reason: "wrong token")
        }
        return service
    }

    /// A further path of a session that is here needs the proof that it comes from the same client.
    static func join(
        _ session: ServedSession, _ hello: ClientHello, service: GatewayService, connection: QUICConnection,
        server: String
    ) throws(HelloRefusal) {
        let proof = Join.proof(
            secret: session.joinSecret, connection: connection, session: session.id, server: server)
        guard let proof, session.service.name == service.name,
            Cryptography.constantTimeEqual(proof, hello.joinProof)
        else {
            throw HelloRefusal(code: .unauthenticated, reason: "wrong join proof")
        }
    }
}
