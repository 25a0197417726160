internal import CKwikMessages

extension AddPathCommand: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__AddPathCommand>) {
        unsafe kwik__kcp__v3__add_path_command__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__AddPathCommand) throws(UnknownValue) {
        self.init()
        serverID = unsafe Unpack.text(c.server_id)
        serverName = unsafe Unpack.text(c.server_name)
        serverAddress = unsafe Unpack.text(c.server_address)
        publicKeyHash = unsafe Unpack.bytes(c.tls_pubkey_hash_sha256)
        roles = unsafe Unpack.roles(c.n_roles, c.roles)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__AddPathCommand, _ arena: Arena) {
        unsafe c.server_id = arena.text(serverID)
        unsafe c.server_name = arena.text(serverName)
        unsafe c.server_address = arena.text(serverAddress)
        unsafe c.tls_pubkey_hash_sha256 = arena.bytes(publicKeyHash)
        unsafe (c.n_roles, c.roles) = arena.roles(roles)
    }
}

extension RemovePathCommand: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__RemovePathCommand>) {
        unsafe kwik__kcp__v3__remove_path_command__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__RemovePathCommand) throws(UnknownValue) {
        self.init()
        errorCode = unsafe c.error_code
        reason = unsafe Unpack.text(c.reason)
        graceMilliseconds = unsafe c.grace_ms
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__RemovePathCommand, _ arena: Arena) {
        unsafe c.error_code = errorCode
        unsafe c.reason = arena.text(reason)
        unsafe c.grace_ms = graceMilliseconds
    }
}

extension PathStatusUpdate: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__PathStatusUpdate>) {
        unsafe kwik__kcp__v3__path_status_update__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__PathStatusUpdate) throws(UnknownValue) {
        self.init()
        status = unsafe try Unpack.value(c.status.rawValue)
        serverID = unsafe Unpack.text(c.server_id)
        capabilities = unsafe Unpack.texts(c.n_capabilities, c.capabilities)
        roles = unsafe Unpack.roles(c.n_roles, c.roles)
        reason = unsafe Unpack.text(c.reason)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__PathStatusUpdate, _ arena: Arena) {
        unsafe c.status = Kwik__Kcp__V3__PathStatusUpdate__PathStatus(rawValue: status.rawValue)
        unsafe c.server_id = arena.text(serverID)
        unsafe (c.n_capabilities, c.capabilities) = arena.texts(capabilities)
        unsafe (c.n_roles, c.roles) = arena.roles(roles)
        unsafe c.reason = arena.text(reason)
    }
}

extension HealthCheckRequest: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__HealthCheckRequest>) {
        unsafe kwik__kcp__v3__health_check_request__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__HealthCheckRequest) throws(UnknownValue) {
        self.init()
        nonce = unsafe c.nonce
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__HealthCheckRequest, _ arena: Arena) {
        unsafe c.nonce = nonce
    }
}

extension HealthCheckResponse: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__HealthCheckResponse>) {
        unsafe kwik__kcp__v3__health_check_response__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__HealthCheckResponse) throws(UnknownValue) {
        self.init()
        nonce = unsafe c.nonce
        status = unsafe try Unpack.value(c.status.rawValue)
        loadPercent = unsafe c.load_percent
        activeSessions = unsafe c.active_sessions
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__HealthCheckResponse, _ arena: Arena) {
        unsafe c.nonce = nonce
        unsafe c.status = Kwik__Kcp__V3__HealthCheckResponse__HealthStatus(rawValue: status.rawValue)
        unsafe c.load_percent = loadPercent
        unsafe c.active_sessions = activeSessions
    }
}

extension ServerCapabilityQuery: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerCapabilityQuery>) {
        unsafe kwik__kcp__v3__server_capability_query__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerCapabilityQuery) throws(UnknownValue) {
        self.init()
        clientID = unsafe Unpack.text(c.client_id)
        service = unsafe Unpack.text(c.service)
        capabilities = unsafe Unpack.texts(c.n_capabilities, c.capabilities)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ServerCapabilityQuery, _ arena: Arena) {
        unsafe c.client_id = arena.text(clientID)
        unsafe c.service = arena.text(service)
        unsafe (c.n_capabilities, c.capabilities) = arena.texts(capabilities)
    }
}

extension ServerCapabilityResponse: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerCapabilityResponse>) {
        unsafe kwik__kcp__v3__server_capability_response__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerCapabilityResponse) throws(UnknownValue) {
        self.init()
        serverID = unsafe Unpack.text(c.server_id)
        capabilities = unsafe Unpack.texts(c.n_capabilities, c.capabilities)
        roles = unsafe Unpack.roles(c.n_roles, c.roles)
        limits = unsafe try Unpack.message(c.limits)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ServerCapabilityResponse, _ arena: Arena) {
        unsafe c.server_id = arena.text(serverID)
        unsafe (c.n_capabilities, c.capabilities) = arena.texts(capabilities)
        unsafe (c.n_roles, c.roles) = arena.roles(roles)
        unsafe c.limits = arena.optional(limits)
    }
}
