internal import CKwikMessages

extension TransportCommand: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__TransportCommand>) {
        unsafe kwik__kcp__v3__transport_command__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TransportCommand) throws(UnknownValue) {
        self.init()
        commandID = unsafe Unpack.text(c.command_id)
        type = unsafe try Unpack.value(c.type.rawValue)
        connectionID = unsafe Unpack.text(c.connection_id)
        transportData = unsafe Unpack.bytes(c.transport_data)
        options = unsafe try Unpack.message(c.options)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__TransportCommand, _ arena: Arena) {
        unsafe c.command_id = arena.text(commandID)
        unsafe c.type = Kwik__Kcp__V3__TransportCommand__CommandType(rawValue: type.rawValue)
        unsafe c.connection_id = arena.text(connectionID)
        unsafe c.transport_data = arena.bytes(transportData)
        unsafe c.options = arena.optional(options)
    }
}

extension TransportCommand.Options: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__TransportCommand__TransportOptions>
    ) {
        unsafe kwik__kcp__v3__transport_command__transport_options__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TransportCommand__TransportOptions) throws(UnknownValue) {
        self.init()
        maxPaths = unsafe c.max_paths
        targetBandwidthMbps = unsafe c.target_bandwidth_mbps
        timeoutSeconds = unsafe c.timeout_seconds
        preferredServers = unsafe Unpack.texts(c.n_preferred_servers, c.preferred_servers)
        let quality: CommandQuality? = unsafe try Unpack.message(c.qos)
        qualityOfService = quality?.value
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__TransportCommand__TransportOptions, _ arena: Arena) {
        unsafe c.max_paths = maxPaths
        unsafe c.target_bandwidth_mbps = targetBandwidthMbps
        unsafe c.timeout_seconds = timeoutSeconds
        unsafe (c.n_preferred_servers, c.preferred_servers) = arena.texts(preferredServers)
        unsafe c.qos = arena.optional(qualityOfService.map { CommandQuality($0) })
    }
}

/// `QualityOfService` as this message spells it.
struct CommandQuality: @unsafe Packable {
    var value: QualityOfService

    init(_ value: QualityOfService) { self.value = value }

    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__TransportCommand__QoSRequirements>
    ) {
        unsafe kwik__kcp__v3__transport_command__qo_srequirements__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TransportCommand__QoSRequirements) throws(UnknownValue) {
        value = QualityOfService()
        value.minBandwidthMbps = unsafe c.min_bandwidth_mbps
        value.maxLatencyMilliseconds = unsafe c.max_latency_ms
        value.maxPacketLossRate = unsafe c.max_packet_loss_rate
        value.requireRedundancy = unsafe c.require_redundancy != 0
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__TransportCommand__QoSRequirements, _ arena: Arena) {
        unsafe c.min_bandwidth_mbps = value.minBandwidthMbps
        unsafe c.max_latency_ms = value.maxLatencyMilliseconds
        unsafe c.max_packet_loss_rate = value.maxPacketLossRate
        unsafe c.require_redundancy = value.requireRedundancy ? 1 : 0
    }
}

extension TransportResponse: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__TransportResponse>) {
        unsafe kwik__kcp__v3__transport_response__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TransportResponse) throws(UnknownValue) {
        self.init()
        commandID = unsafe Unpack.text(c.command_id)
        status = unsafe try Unpack.value(c.status.rawValue)
        errorMessage = unsafe Unpack.text(c.error_message)
        result = unsafe try Unpack.message(c.result)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__TransportResponse, _ arena: Arena) {
        unsafe c.command_id = arena.text(commandID)
        unsafe c.status = Kwik__Kcp__V3__TransportResponse__ResponseStatus(rawValue: status.rawValue)
        unsafe c.error_message = arena.text(errorMessage)
        unsafe c.result = arena.optional(result)
    }
}

extension TransportResponse.Result: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__TransportResponse__TransportResult>
    ) {
        unsafe kwik__kcp__v3__transport_response__transport_result__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TransportResponse__TransportResult) throws(UnknownValue) {
        self.init()
        activePaths = unsafe c.active_paths
        totalBandwidthMbps = unsafe c.total_bandwidth_mbps
        averageLatencyMilliseconds = unsafe c.average_latency_ms
        pathContributions = unsafe try Unpack.messages(c.n_path_contributions, c.path_contributions)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__TransportResponse__TransportResult, _ arena: Arena) {
        unsafe c.active_paths = activePaths
        unsafe c.total_bandwidth_mbps = totalBandwidthMbps
        unsafe c.average_latency_ms = averageLatencyMilliseconds
        unsafe (c.n_path_contributions, c.path_contributions) = arena.messages(pathContributions)
    }
}

extension TransportResponse.PathContribution: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__TransportResponse__TransportResult__PathContribution>
    ) {
        unsafe kwik__kcp__v3__transport_response__transport_result__path_contribution__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TransportResponse__TransportResult__PathContribution)
        throws(UnknownValue)
    {
        self.init()
        serverAddress = unsafe Unpack.text(c.server_address)
        bandwidthMbps = unsafe c.bandwidth_mbps
        latencyMilliseconds = unsafe c.latency_ms
        packetLossRate = unsafe c.packet_loss_rate
    }

    @unsafe func fill(
        _ c: inout Kwik__Kcp__V3__TransportResponse__TransportResult__PathContribution, _ arena: Arena
    ) {
        unsafe c.server_address = arena.text(serverAddress)
        unsafe c.bandwidth_mbps = bandwidthMbps
        unsafe c.latency_ms = latencyMilliseconds
        unsafe c.packet_loss_rate = packetLossRate
    }
}
