import KwikCore
import Testing

@testable import KwikTransport

@Suite struct HandshakeTests {
    private func identity(_ mode: ServerIdentity.ClientCertificate) throws -> ServerIdentity {
        try ServerIdentity(
            certificate: Fixture.gateway, key: Fixture.gatewayKey, clientAuthorities: Fixture.authority,
            clientCertificate: mode)
    }

    private func hex(_ bytes: [UInt8]?) -> String? {
        bytes.map { $0.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
    }

    private func unhex(_ text: String) -> [UInt8] {
        var digits = text.utf8.map { UInt8($0 > 0x39 ? $0 - 0x57 : $0 - 0x30) }[...]
        var bytes: [UInt8] = []
        while let high = digits.popFirst(), let low = digits.popFirst() { bytes.append(high << 4 | low) }
        return bytes
    }

    private func certificateText(_ error: TransportError?) -> String? {
        if case .certificate(let text) = error?.kind { text } else { nil }
    }

    private func tlsText(_ error: TransportError?) -> String? {
        if case .tls(let text) = error?.kind { text } else { nil }
    }

    @Test func `the handshake is done at both ends, and the client knows the server's key`() throws {
        let pair = try Pair()
        #expect(pair.client.connection?.exportKeyingMaterial(label: "x", context: [], length: 8) == nil)
        try pair.handshake()
        #expect(hex(pair.client.connection?.peerCertificatePin) == Fixture.gatewayPin)
        #expect(pair.server.connection?.peerCertificatePin == nil)
        #expect(pair.client.connection?.isHandshakeDone == true)
        #expect(pair.server.connection?.isServer == true)
    }

    @Test func `the exporter gives both ends the same, by label and context`() throws {
        let pair = try Pair()
        try pair.handshake()
        func export(_ end: End, _ label: String, _ context: [UInt8]) -> [UInt8]? {
            end.connection?.exportKeyingMaterial(label: label, context: context, length: 32)
        }
        let ours = try #require(export(pair.client, "EXPORTER-kwik-join", []))
        #expect(ours.count == 32)
        #expect(ours == export(pair.server, "EXPORTER-kwik-join", []))
        #expect(ours != export(pair.server, "EXPORTER-other", []))
        #expect(ours != export(pair.server, "EXPORTER-kwik-join", [1]))
    }

    @Test func `an address in the certificate serves as a name, another does not`() throws {
        try Pair(name: "192.0.2.1").handshake()
        let pair = try Pair(name: "192.0.2.9")
        try pair.run()
        #expect(certificateText(pair.client.error)?.contains("192.0.2.9") == true)
    }

    @Test func `the right pin passes`() throws {
        try Pair(pin: unhex(Fixture.gatewayPin)).handshake()
    }

    @Test func `a certificate from a foreign authority is refused, and both ends say so`() throws {
        let pair = try Pair(trust: TrustStore(authorities: Fixture.foreignAuthority))
        try pair.run()
        let text = try #require(certificateText(pair.client.error))
        #expect(text.contains("gateway.test") && text.contains("NOT trusted"), "\(text)")
        #expect(certificateText(pair.server.error)?.contains("the peer refused our certificate") == true)
        #expect(!pair.client.handshakeDone && !pair.server.handshakeDone)
    }

    @Test func `a certificate for another name is refused, and the error names both`() throws {
        let pair = try Pair(name: "elsewhere.test")
        try pair.run()
        let text = try #require(certificateText(pair.client.error))
        #expect(text.contains("CN=gateway of elsewhere.test") && text.contains("another name"), "\(text)")
        #expect(certificateText(pair.server.error) != nil)
        #expect(!pair.client.handshakeDone)
    }

    @Test func `another key than the pinned one is refused`() throws {
        let pair = try Pair(pin: [UInt8](repeating: 1, count: 32))
        try pair.run()
        #expect(certificateText(pair.client.error)?.contains("pinned") == true)
        #expect(certificateText(pair.server.error) != nil)
        #expect(!pair.client.handshakeDone)
    }

    @Test func `ends without a common application protocol part`() throws {
        var other = TransportSettings()
        other.applicationProtocol = "kwik/2"
        let pair = try Pair(settings: other, serverSettings: TransportSettings())
        try pair.run()
        #expect(tlsText(pair.server.error)?.contains("ALPN") == true, "\(pair.server.error as Any)")
        #expect(tlsText(pair.client.error)?.contains("ALPN") == true, "\(pair.client.error as Any)")
    }

    @Test func `a client's certificate is verified and known at the server`() throws {
        let trust = try TrustStore(
            authorities: Fixture.authority, certificate: Fixture.engine, key: Fixture.engineKey)
        for mode in [ServerIdentity.ClientCertificate.required, .accepted] {
            let pair = try Pair(trust: trust, identity: identity(mode))
            try pair.handshake()
            #expect(pair.server.connection?.peerCertificatePin?.count == 32)
        }
    }

    @Test func `a client that must show a certificate and has none is refused`() throws {
        let pair = try Pair(identity: identity(.required))
        try pair.run(for: .seconds(3))
        #expect(certificateText(pair.server.error) != nil, "\(pair.server.error as Any)")
        let answer = certificateText(pair.client.error)
        #expect(answer == "the peer refused our certificate: certificate required", "\(answer ?? "none")")
        #expect(!pair.server.handshakeDone)
    }

    @Test func `a client need not show what is only accepted`() throws {
        let pair = try Pair(identity: identity(.accepted))
        try pair.handshake()
        #expect(pair.server.connection?.peerCertificatePin == nil)
    }

    @Test(arguments: [true, false])
    func `a client's certificate from a foreign authority is refused`(required: Bool) throws {
        let trust = try TrustStore(
            authorities: Fixture.authority, certificate: Fixture.stranger, key: Fixture.strangerKey)
        let pair = try Pair(trust: trust, identity: identity(required ? .required : .accepted))
        try pair.run(for: .seconds(3))
        #expect(!pair.server.handshakeDone)
        #expect(pair.server.connection?.peerCertificatePin == nil)
        #expect(certificateText(pair.server.error)?.contains("CN=stranger") == true)
        #expect(certificateText(pair.client.error)?.contains("refused our") == true)
    }

    @Test func `a server's certificate does not pass for a client's`() throws {
        let trust = try TrustStore(
            authorities: Fixture.authority, certificate: Fixture.gateway, key: Fixture.gatewayKey)
        let pair = try Pair(trust: trust, identity: identity(.required))
        try pair.run(for: .seconds(3))
        #expect(certificateText(pair.server.error)?.contains("CN=gateway of the client") == true)
    }

    @Test func `a server that demands it is reached by way of Retry`() throws {
        let pair = try Pair()
        pair.demandRetry = true
        try pair.handshake()
        #expect(pair.retries == 1)
    }

    @Test func `a client gives up on a silent server in time`() throws {
        let pair = try Pair()
        pair.weather.loss = 100
        let begin = pair.now
        try pair.run()
        guard case .handshake = pair.client.error?.kind else {
            Issue.record("\(pair.client.error as Any)")
            return
        }
        #expect(pair.now - begin >= TransportSettings().handshakeTimeout)
    }

    @Test func `credentials that can't be read are refused with a reason`() throws {
        #expect(throws: TransportError.self) { try TrustStore(authorities: Array("nonsense".utf8)) }
        #expect(throws: TransportError.self) { try TrustStore(authorities: []) }
        #expect(throws: TransportError.self) {
            try TrustStore(authorities: Fixture.authority, certificate: Fixture.engine)
        }
        #expect(throws: TransportError.self) {
            try ServerIdentity(certificate: Fixture.gateway, key: Fixture.engineKey)
        }
        #expect(throws: TransportError.self) {
            try ServerIdentity(
                certificate: Fixture.gateway, key: Fixture.gatewayKey, clientCertificate: .required)
        }
        #expect(throws: TransportError.self) { try Pair(name: "") }
        #expect(throws: TransportError.self) { try Pair(pin: [1, 2, 3]) }
    }

    @Test func `settings out of their range are refused`() throws {
        var small = TransportSettings()
        small.maximumMTU = 1_279
        #expect(throws: TransportError.self) { try Pair(settings: small) }
        var slow = TransportSettings()
        slow.maximumAckDelay = .seconds(17)
        #expect(throws: TransportError.self) { try Pair(settings: slow) }
    }
}
