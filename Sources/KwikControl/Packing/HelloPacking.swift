internal import CKwikMessages

extension MessageHeader: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__MessageHeader>) {
        unsafe kwik__kcp__v3__message_header__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__MessageHeader) throws(UnknownValue) {
        self.init()
        messageID = unsafe c.message_id
        timestampMilliseconds = unsafe c.timestamp_ms
        connectionID = unsafe Unpack.text(c.connection_id)
        priority = unsafe try Unpack.value(c.priority.rawValue)
        timeToLiveSeconds = unsafe c.ttl_seconds
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__MessageHeader, _ arena: Arena) {
        unsafe c.message_id = messageID
        unsafe c.timestamp_ms = timestampMilliseconds
        unsafe c.connection_id = arena.text(connectionID)
        unsafe c.priority = Kwik__Kcp__V3__MessagePriority(rawValue: priority.rawValue)
        unsafe c.ttl_seconds = timeToLiveSeconds
    }
}

extension ClientHello: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__ClientHello>) {
        unsafe kwik__kcp__v3__client_hello__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ClientHello) throws(UnknownValue) {
        self.init()
        clientID = unsafe Unpack.text(c.client_id)
        version = unsafe c.version
        capabilities = unsafe Unpack.texts(c.n_capabilities, c.capabilities)
        service = unsafe Unpack.text(c.service)
        joinProof = unsafe Unpack.bytes(c.join_proof)
        switch unsafe c.credential_case {
        case KWIK__KCP__V3__CLIENT_HELLO__CREDENTIAL_BEARER_TOKEN:
            credential = unsafe .bearerToken(Unpack.text(c.bearer_token))
        case KWIK__KCP__V3__CLIENT_HELLO__CREDENTIAL_HMAC:
            guard let hmac = unsafe c.hmac else { break }
            credential = unsafe .hmac(
                keyID: Unpack.text(hmac.pointee.key_id), mac: Unpack.bytes(hmac.pointee.mac))
        default:
            break
        }
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ClientHello, _ arena: Arena) {
        unsafe c.client_id = arena.text(clientID)
        unsafe c.version = version
        unsafe (c.n_capabilities, c.capabilities) = arena.texts(capabilities)
        unsafe c.service = arena.text(service)
        unsafe c.join_proof = arena.bytes(joinProof)
        switch credential {
        case .none:
            break
        case .bearerToken(let token):
            unsafe c.credential_case = KWIK__KCP__V3__CLIENT_HELLO__CREDENTIAL_BEARER_TOKEN
            unsafe c.bearer_token = arena.text(token)
        case .hmac(let keyID, let mac):
            let hmac = unsafe arena.allocate(Kwik__Kcp__V3__ClientHello__HMACCredential.self)
            unsafe kwik__kcp__v3__client_hello__hmaccredential__init(hmac)
            unsafe hmac.pointee.key_id = arena.text(keyID)
            unsafe hmac.pointee.mac = arena.bytes(mac)
            unsafe c.credential_case = KWIK__KCP__V3__CLIENT_HELLO__CREDENTIAL_HMAC
            unsafe c.hmac = unsafe hmac
        }
    }
}

extension ServerHello: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerHello>) {
        unsafe kwik__kcp__v3__server_hello__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerHello) throws(UnknownValue) {
        self.init()
        accepted = unsafe c.accepted != 0
        errorCode = unsafe c.error_code
        errorMessage = unsafe Unpack.text(c.error_message)
        serverID = unsafe Unpack.text(c.server_id)
        roles = unsafe Unpack.roles(c.n_roles, c.roles)
        limits = unsafe try Unpack.message(c.limits)
        joinSecret = unsafe Unpack.bytes(c.join_secret)
        resumed = unsafe c.resumed != 0
        version = unsafe c.version
        capabilities = unsafe Unpack.texts(c.n_capabilities, c.capabilities)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ServerHello, _ arena: Arena) {
        unsafe c.accepted = accepted ? 1 : 0
        unsafe c.error_code = errorCode
        unsafe c.error_message = arena.text(errorMessage)
        unsafe c.server_id = arena.text(serverID)
        unsafe (c.n_roles, c.roles) = arena.roles(roles)
        unsafe c.limits = arena.optional(limits)
        unsafe c.join_secret = arena.bytes(joinSecret)
        unsafe c.resumed = resumed ? 1 : 0
        unsafe c.version = version
        unsafe (c.n_capabilities, c.capabilities) = arena.texts(capabilities)
    }
}

extension SessionLimits: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__SessionLimits>) {
        unsafe kwik__kcp__v3__session_limits__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__SessionLimits) throws(UnknownValue) {
        self.init()
        maxStreams = unsafe c.max_streams
        maxPaths = unsafe c.max_paths
        maxWindowBytes = unsafe c.max_window_bytes
        idleTimeoutMilliseconds = unsafe c.idle_timeout_ms
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__SessionLimits, _ arena: Arena) {
        unsafe c.max_streams = maxStreams
        unsafe c.max_paths = maxPaths
        unsafe c.max_window_bytes = maxWindowBytes
        unsafe c.idle_timeout_ms = idleTimeoutMilliseconds
    }
}
