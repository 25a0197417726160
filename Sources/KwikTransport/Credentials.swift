internal import CGnuTLS

/// X.509 credentials and the priorities of the handshakes that use them.
@safe
final class Credentials {
    let native: gnutls_certificate_credentials_t
    let priorities: gnutls_priority_t

    /// TLS 1.3 alone; AES-GCM ahead of ChaCha20, which is 10 times slower where AES instructions exist.
    /// QUIC has no compatibility mode (RFC 9001 §8.4).
    private static let priority =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
        + "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%DISABLE_TLS13_COMPAT_MODE"

    /// Largest PEM text taken.
    static let limit = 1 << 20

    init() throws(TransportError) {
        var credentials: gnutls_certificate_credentials_t?
        var status = unsafe gnutls_certificate_allocate_credentials(&credentials)
        guard status == 0, let credentials = unsafe credentials else {
            throw .gnuTLS(status, "allocating credentials")
        }
        var priorities: gnutls_priority_t?
        status = unsafe gnutls_priority_init(&priorities, Self.priority, nil)
        guard status == 0, let priorities = unsafe priorities else {
            unsafe gnutls_certificate_free_credentials(credentials)
            throw .gnuTLS(status, "setting TLS priorities")
        }
        unsafe native = unsafe credentials
        unsafe self.priorities = unsafe priorities
        unsafe gnutls_certificate_set_verify_function(credentials) { session in
            unsafe TLSSession.verifyPeer(session)
        }
    }

    deinit {
        unsafe gnutls_certificate_free_credentials(native)
        unsafe gnutls_priority_deinit(priorities)
    }

    func addAuthorities(_ pem: [UInt8]) throws(TransportError) {
        try check(pem, "the CA list")
        let count = unsafe withDatum(pem) { datum in
            var datum = unsafe datum
            return unsafe gnutls_certificate_set_x509_trust_mem(native, &datum, GNUTLS_X509_FMT_PEM)
        }
        guard count > 0 else {
            let why = count == 0 ? "" : ": \(unsafe String(cString: gnutls_strerror(count)))"
            throw TransportError(.badArgument("no CA certificate in the CA list\(why)"))
        }
    }

    func setCertificate(_ chain: [UInt8], key: [UInt8]) throws(TransportError) {
        try check(chain, "the certificate")
        try check(key, "the key")
        let status = unsafe withDatum(chain) { chain in
            unsafe withDatum(key) { key in
                var chain = unsafe chain
                var key = unsafe key
                return unsafe gnutls_certificate_set_x509_key_mem2(
                    native, &chain, &key, GNUTLS_X509_FMT_PEM, nil, 0)
            }
        }
        guard status >= 0 else {
            let why = unsafe String(cString: gnutls_strerror(status))
            throw TransportError(.badArgument("the certificate and its key: \(why)"))
        }
    }

    private func check(_ pem: [UInt8], _ what: String) throws(TransportError) {
        guard !pem.isEmpty, pem.count <= Self.limit else {
            throw TransportError(.badArgument("\(what) has \(pem.count) bytes, not 1 ... \(Self.limit)"))
        }
    }
}

/// What a client trusts, and what it shows of itself. Shared by any number of connections.
public final class TrustStore {
    let credentials: Credentials

    /// All in PEM. `certificate` (with its chain, leaf first) and `key`: shown to servers that ask for one;
    /// both or neither. Throws `.badArgument` for what can't be read.
    public init(
        authorities: [UInt8], certificate: [UInt8]? = nil, key: [UInt8]? = nil
    ) throws(TransportError) {
        credentials = try Credentials()
        try credentials.addAuthorities(authorities)
        if let certificate, let key {
            try credentials.setCertificate(certificate, key: key)
        } else if certificate != nil || key != nil {
            throw TransportError(
                .badArgument("a client certificate needs its key, and a key its certificate"))
        }
    }
}

/// What a server shows of itself, and whether it asks clients for a certificate. Shared by any number of
/// connections.
public final class ServerIdentity {
    public enum ClientCertificate: Sendable {
        /// Not asked for.
        case none
        /// Asked for; one that is shown must be valid, none need be.
        case accepted
        /// A client without a valid one is refused.
        case required
    }

    let credentials: Credentials
    let clientCertificate: ClientCertificate

    /// All in PEM, the chain leaf first. `clientAuthorities`: whose client certificates are valid; needed
    /// unless `clientCertificate` is `none`. Throws `.badArgument` for what can't be read.
    public init(
        certificate: [UInt8], key: [UInt8], clientAuthorities: [UInt8]? = nil,
        clientCertificate: ClientCertificate = .none
    ) throws(TransportError) {
        credentials = try Credentials()
        self.clientCertificate = clientCertificate
        try credentials.setCertificate(certificate, key: key)
        if let clientAuthorities {
            try credentials.addAuthorities(clientAuthorities)
        } else if clientCertificate != .none {
            throw TransportError(.badArgument("client certificates need a list of CAs"))
        }
    }
}
