internal import CGnuTLS
internal import CNgtcp2

/// One GnuTLS session and the way from it to its connection.
@safe
final class TLSSession {
    let native: gnutls_session_t
    private let link: UnsafeMutablePointer<kwik_session_link>
    private let credentials: Credentials

    /// `state` must outlive the session.
    static func client(
        trust: TrustStore, serverName: String, settings: TransportSettings, state: ConnectionState
    ) throws(TransportError) -> TLSSession {
        // A certificate that the server's list of CAs does not name is shown all the same: then the refusal
        // tells which it was, and not that there was none.
        let flags = UInt32(GNUTLS_CLIENT.rawValue | GNUTLS_FORCE_CLIENT_CERT.rawValue)
        let session = try TLSSession(flags, trust.credentials, settings, state)
        guard unsafe kwik_configure_client_session(UnsafeMutableRawPointer(session.native)) == 0 else {
            throw TransportError(.tls("the QUIC hooks can't be set"))
        }
        // Addresses may not be sent as server names (RFC 6066 §3).
        if !isAddress(serverName) {
            let length = serverName.utf8.count
            let status = unsafe gnutls_server_name_set(session.native, GNUTLS_NAME_DNS, serverName, length)
            guard status == 0 else { throw .gnuTLS(status, "setting the server's name") }
        }
        return session
    }

    static func server(
        identity: ServerIdentity, settings: TransportSettings, state: ConnectionState
    ) throws(TransportError) -> TLSSession {
        // A ticket would come after the handshake and is of no use: 0-RTT and resumption are off.
        let flags = UInt32(GNUTLS_SERVER.rawValue | GNUTLS_NO_TICKETS.rawValue)
        let session = try TLSSession(flags, identity.credentials, settings, state)
        guard unsafe kwik_configure_server_session(UnsafeMutableRawPointer(session.native)) == 0 else {
            throw TransportError(.tls("the QUIC hooks can't be set"))
        }
        let request =
            switch identity.clientCertificate {
            case .none: GNUTLS_CERT_IGNORE
            case .accepted: GNUTLS_CERT_REQUEST
            case .required: GNUTLS_CERT_REQUIRE
            }
        unsafe gnutls_certificate_server_set_request(session.native, request)
        return session
    }

    private init(
        _ flags: UInt32, _ credentials: Credentials, _ settings: TransportSettings, _ state: ConnectionState
    ) throws(TransportError) {
        var made: gnutls_session_t?
        let status = unsafe gnutls_init(&made, flags)
        guard status == 0, let made = unsafe made else { throw .gnuTLS(status, "making a session") }
        unsafe native = unsafe made
        unsafe link = .allocate(capacity: 1)
        self.credentials = credentials
        unsafe kwik_session_link_init(link, Unmanaged.passUnretained(state).toOpaque())
        unsafe gnutls_session_set_ptr(made, link)
        try configure(settings)
    }

    private func configure(_ settings: TransportSettings) throws(TransportError) {
        var status = unsafe gnutls_priority_set(native, credentials.priorities)
        guard status == 0 else { throw .gnuTLS(status, "setting TLS priorities") }
        let holder = unsafe UnsafeMutableRawPointer(credentials.native)
        status = unsafe gnutls_credentials_set(native, GNUTLS_CRD_CERTIFICATE, holder)
        guard status == 0 else { throw .gnuTLS(status, "setting credentials") }
        status = unsafe withDatum(Array(settings.applicationProtocol.utf8)) { name in
            var name = unsafe name
            return unsafe gnutls_alpn_set_protocols(native, &name, 1, GNUTLS_ALPN_MANDATORY.rawValue)
        }
        guard status == 0 else { throw .gnuTLS(status, "setting ALPN") }
    }

    deinit {
        unsafe gnutls_deinit(native)
        unsafe link.deallocate()
    }

    /// The handshake's callbacks reach the connection through the session.
    func bind(_ connection: OpaquePointer) {
        unsafe link.pointee.connection = unsafe connection
    }

    /// A peer that leaves ALPN out is not refused by the library.
    func checkApplicationProtocol(_ expected: String) throws(TransportError) {
        var name = unsafe gnutls_datum_t()
        let status = unsafe gnutls_alpn_get_selected_protocol(native, &name)
        let chosen = unsafe UnsafeRawBufferPointer(start: name.data, count: Int(name.size))
        guard status == 0, unsafe chosen.elementsEqual(expected.utf8) else {
            throw TransportError(.tls("no common application protocol (ALPN): \(expected) is needed"))
        }
    }

    /// RFC 8446 §7.5.
    func export(label: String, context: [UInt8], length: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: length)
        let status = unsafe bytes.withUnsafeMutableBytes { out in
            unsafe context.withUnsafeBufferPointer { context in
                unsafe gnutls_prf_rfc5705(
                    native, label.utf8.count, label, context.count,
                    UnsafeRawPointer(context.baseAddress)?.assumingMemoryBound(to: CChar.self), length,
                    out.baseAddress?.assumingMemoryBound(to: CChar.self))
            }
        }
        return status == 0 ? bytes : nil
    }

    static func isAddress(_ name: String) -> Bool {
        name.contains(":")
            || (!name.isEmpty && name.utf8.allSatisfy { $0 == 0x2e || (0x30...0x39).contains($0) })
    }
}

// Verification of the peer's certificate.
extension TLSSession {
    /// GnuTLS's verify function: 0 accepts.
    static func verifyPeer(_ session: gnutls_session_t?) -> Int32 {
        guard let session = unsafe session, let pointer = unsafe gnutls_session_get_ptr(session),
            let opaque = unsafe pointer.assumingMemoryBound(to: kwik_session_link.self).pointee.state
        else { return GNUTLS_E_CERTIFICATE_ERROR }
        let state = unsafe Unmanaged<ConnectionState>.fromOpaque(opaque).takeUnretainedValue()
        do {
            try unsafe check(session, state)
            return 0
        } catch {
            state.failure = error
            return GNUTLS_E_CERTIFICATE_ERROR
        }
    }

    private static func check(_ session: gnutls_session_t, _ state: ConnectionState) throws(TransportError) {
        var count: UInt32 = 0
        let peers = unsafe gnutls_certificate_get_peers(session, &count)
        guard let leaf = unsafe peers, count > 0 else {
            // With `accepted` the library does not insist on one, and neither does this.
            if state.isServer, !state.needsPeerCertificate { return }
            throw TransportError(.certificate("\(state.peerName) showed none"))
        }
        let certificate = try unsafe Certificate(der: leaf.pointee)
        let owner = "\(certificate.subject) of \(state.peerName)"
        let trust = unsafe verdict(session, state)
        guard trust.status >= 0 else { throw .gnuTLS(trust.status, "verifying \(owner)") }
        guard trust.problems == 0 else {
            throw TransportError(.certificate("\(owner): \(explain(trust.problems))"))
        }
        if let pin = state.pin, !Cryptography.constantTimeEqual(pin, certificate.pin) {
            throw TransportError(.certificate("\(owner): its key is not the pinned one"))
        }
        state.peerPin = certificate.pin
    }

    /// Chain, validity in time, purpose and, at a client, name.
    private static func verdict(
        _ session: gnutls_session_t, _ state: ConnectionState
    ) -> (status: Int32, problems: UInt32) {
        var problems: UInt32 = 0
        let purpose = state.isServer ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER
        let status = unsafe purpose.withCString { purpose in
            unsafe state.peerName.withCString { name in
                var wanted = unsafe [
                    datum(GNUTLS_DT_KEY_PURPOSE_OID, purpose), datum(GNUTLS_DT_DNS_HOSTNAME, name),
                ]
                let count: UInt32 = state.isServer ? 1 : 2
                return unsafe gnutls_certificate_verify_peers(session, &wanted, count, &problems)
            }
        }
        return (status, problems)
    }

    /// Size 0: up to the NUL. The library matches an address in text form with the address names.
    private static func datum(_ type: gnutls_vdata_types_t, _ text: UnsafePointer<CChar>)
        -> gnutls_typed_vdata_st
    {
        let raw = unsafe UnsafeMutableRawPointer(mutating: text)
        return unsafe gnutls_typed_vdata_st(
            type: type, data: raw.assumingMemoryBound(to: UInt8.self), size: 0)
    }

    private static func explain(_ problems: UInt32) -> String {
        if problems & GNUTLS_CERT_UNEXPECTED_OWNER.rawValue != 0 { return "it is for another name" }
        var text = unsafe gnutls_datum_t()
        let status = unsafe gnutls_certificate_verification_status_print(problems, GNUTLS_CRT_X509, &text, 0)
        defer { unsafe kwik_gnutls_free(text.data) }
        guard status == 0, let data = unsafe text.data else { return "not trusted" }
        return unsafe String(decoding: UnsafeBufferPointer(start: data, count: Int(text.size)), as: UTF8.self)
    }
}

/// What is read from a peer's certificate beside the library's own checks.
private struct Certificate {
    let subject: String
    /// SHA-256 of the SubjectPublicKeyInfo.
    let pin: [UInt8]

    init(der: gnutls_datum_t) throws(TransportError) {
        var made: gnutls_x509_crt_t?
        var status = unsafe gnutls_x509_crt_init(&made)
        guard status == 0, let made = unsafe made else { throw .gnuTLS(status, "reading a certificate") }
        defer { unsafe gnutls_x509_crt_deinit(made) }
        var der = unsafe der
        status = unsafe gnutls_x509_crt_import(made, &der, GNUTLS_X509_FMT_DER)
        guard status == 0 else { throw .gnuTLS(status, "reading a certificate") }
        var pin = [UInt8](repeating: 0, count: 32)
        var length = pin.count
        status = unsafe gnutls_x509_crt_get_key_id(made, GNUTLS_KEYID_USE_SHA256.rawValue, &pin, &length)
        guard status == 0, length == 32 else { throw .gnuTLS(status, "reading a certificate's key") }
        self.pin = pin
        subject = unsafe Self.subject(made)
    }

    private static func subject(_ certificate: gnutls_x509_crt_t) -> String {
        var text = [CChar](repeating: 0, count: 256)
        var length = text.count
        guard unsafe gnutls_x509_crt_get_dn(certificate, &text, &length) == 0 else { return "a certificate" }
        return String(decoding: text[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
