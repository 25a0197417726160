internal import CKwikMessages

extension ServerDiscoveryRequest: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerDiscoveryRequest>) {
        unsafe kwik__kcp__v3__server_discovery_request__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerDiscoveryRequest) throws(UnknownValue) {
        self.init()
        clientID = unsafe Unpack.text(c.client_id)
        requiredCapabilities = unsafe Unpack.texts(c.n_required_capabilities, c.required_capabilities)
        desiredBandwidthMbps = unsafe c.desired_bandwidth_mbps
        geographicPreference = unsafe try Unpack.message(c.geo_preference)
        let quality: DiscoveryQuality? = unsafe try Unpack.message(c.qos_requirements)
        qualityOfService = quality?.value
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ServerDiscoveryRequest, _ arena: Arena) {
        unsafe c.client_id = arena.text(clientID)
        unsafe (c.n_required_capabilities, c.required_capabilities) = arena.texts(requiredCapabilities)
        unsafe c.desired_bandwidth_mbps = desiredBandwidthMbps
        unsafe c.geo_preference = arena.optional(geographicPreference)
        unsafe c.qos_requirements = arena.optional(qualityOfService.map { DiscoveryQuality($0) })
    }
}

extension ServerDiscoveryRequest.GeographicPreference: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerDiscoveryRequest__GeographicPreference>
    ) {
        unsafe kwik__kcp__v3__server_discovery_request__geographic_preference__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerDiscoveryRequest__GeographicPreference) throws(UnknownValue) {
        self.init()
        preferredRegions = unsafe Unpack.texts(c.n_preferred_regions, c.preferred_regions)
        maxLatencyMilliseconds = unsafe c.max_latency_ms
        requireSameCountry = unsafe c.require_same_country != 0
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ServerDiscoveryRequest__GeographicPreference, _ arena: Arena)
    {
        unsafe (c.n_preferred_regions, c.preferred_regions) = arena.texts(preferredRegions)
        unsafe c.max_latency_ms = maxLatencyMilliseconds
        unsafe c.require_same_country = requireSameCountry ? 1 : 0
    }
}

/// `QualityOfService` as this message spells it.
struct DiscoveryQuality: @unsafe Packable {
    var value: QualityOfService

    init(_ value: QualityOfService) { self.value = value }

    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerDiscoveryRequest__QualityOfServiceRequirements>
    ) {
        unsafe kwik__kcp__v3__server_discovery_request__quality_of_service_requirements__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerDiscoveryRequest__QualityOfServiceRequirements)
        throws(UnknownValue)
    {
        value = QualityOfService()
        value.minBandwidthMbps = unsafe c.min_bandwidth_mbps
        value.maxLatencyMilliseconds = unsafe c.max_latency_ms
        value.maxPacketLossRate = unsafe c.max_packet_loss_rate
        value.requireRedundancy = unsafe c.require_redundancy != 0
    }

    @unsafe func fill(
        _ c: inout Kwik__Kcp__V3__ServerDiscoveryRequest__QualityOfServiceRequirements, _ arena: Arena
    ) {
        unsafe c.min_bandwidth_mbps = value.minBandwidthMbps
        unsafe c.max_latency_ms = value.maxLatencyMilliseconds
        unsafe c.max_packet_loss_rate = value.maxPacketLossRate
        unsafe c.require_redundancy = value.requireRedundancy ? 1 : 0
    }
}

extension ServerDiscoveryResponse: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerDiscoveryResponse>) {
        unsafe kwik__kcp__v3__server_discovery_response__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerDiscoveryResponse) throws(UnknownValue) {
        self.init()
        servers = unsafe try Unpack.messages(c.n_servers, c.servers)
        totalAvailableBandwidthMbps = unsafe c.total_available_bandwidth_mbps
        recommendationReason = unsafe Unpack.text(c.recommendation_reason)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ServerDiscoveryResponse, _ arena: Arena) {
        unsafe (c.n_servers, c.servers) = arena.messages(servers)
        unsafe c.total_available_bandwidth_mbps = totalAvailableBandwidthMbps
        unsafe c.recommendation_reason = arena.text(recommendationReason)
    }
}

extension ServerDiscoveryResponse.AvailableServer: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer>
    ) {
        unsafe kwik__kcp__v3__server_discovery_response__available_server__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer) throws(UnknownValue) {
        self.init()
        address = unsafe Unpack.text(c.address)
        publicKeyHash = unsafe Unpack.bytes(c.tls_pubkey_hash_sha256)
        availableBandwidthMbps = unsafe c.available_bandwidth_mbps
        currentLoadPercent = unsafe c.current_load_percent
        latencyMilliseconds = unsafe c.latency_ms
        capabilities = unsafe Unpack.texts(c.n_capabilities, c.capabilities)
        location = unsafe try Unpack.message(c.location)
        metrics = unsafe try Unpack.message(c.metrics)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer, _ arena: Arena) {
        unsafe c.address = arena.text(address)
        unsafe c.tls_pubkey_hash_sha256 = arena.bytes(publicKeyHash)
        unsafe c.available_bandwidth_mbps = availableBandwidthMbps
        unsafe c.current_load_percent = currentLoadPercent
        unsafe c.latency_ms = latencyMilliseconds
        unsafe (c.n_capabilities, c.capabilities) = arena.texts(capabilities)
        unsafe c.location = arena.optional(location)
        unsafe c.metrics = arena.optional(metrics)
    }
}

extension ServerDiscoveryResponse.Location: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer__ServerLocation>
    ) {
        unsafe kwik__kcp__v3__server_discovery_response__available_server__server_location__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer__ServerLocation)
        throws(UnknownValue)
    {
        self.init()
        country = unsafe Unpack.text(c.country)
        region = unsafe Unpack.text(c.region)
        datacenter = unsafe Unpack.text(c.datacenter)
        latitude = unsafe c.latitude
        longitude = unsafe c.longitude
    }

    @unsafe func fill(
        _ c: inout Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer__ServerLocation, _ arena: Arena
    ) {
        unsafe c.country = arena.text(country)
        unsafe c.region = arena.text(region)
        unsafe c.datacenter = arena.text(datacenter)
        unsafe c.latitude = latitude
        unsafe c.longitude = longitude
    }
}

extension ServerDiscoveryResponse.Metrics: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer__ServerMetrics>
    ) {
        unsafe kwik__kcp__v3__server_discovery_response__available_server__server_metrics__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer__ServerMetrics)
        throws(UnknownValue)
    {
        self.init()
        activeConnections = unsafe c.active_connections
        bytesTransferredTotal = unsafe c.bytes_transferred_total
        processorUsagePercent = unsafe c.cpu_usage_percent
        memoryUsagePercent = unsafe c.memory_usage_percent
        uptimeSeconds = unsafe c.uptime_seconds
    }

    @unsafe func fill(
        _ c: inout Kwik__Kcp__V3__ServerDiscoveryResponse__AvailableServer__ServerMetrics, _ arena: Arena
    ) {
        unsafe c.active_connections = activeConnections
        unsafe c.bytes_transferred_total = bytesTransferredTotal
        unsafe c.cpu_usage_percent = processorUsagePercent
        unsafe c.memory_usage_percent = memoryUsagePercent
        unsafe c.uptime_seconds = uptimeSeconds
    }
}
