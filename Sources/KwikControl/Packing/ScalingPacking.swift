internal import CKwikMessages

extension BandwidthScalingRequest: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__BandwidthScalingRequest>) {
        unsafe kwik__kcp__v3__bandwidth_scaling_request__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__BandwidthScalingRequest) throws(UnknownValue) {
        self.init()
        connectionID = unsafe Unpack.text(c.connection_id)
        trigger = unsafe try Unpack.value(c.trigger.rawValue)
        currentBandwidthMbps = unsafe c.current_bandwidth_mbps
        targetBandwidthMbps = unsafe c.target_bandwidth_mbps
        policy = unsafe try Unpack.message(c.policy)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__BandwidthScalingRequest, _ arena: Arena) {
        unsafe c.connection_id = arena.text(connectionID)
        unsafe c.trigger = Kwik__Kcp__V3__BandwidthScalingRequest__ScalingTrigger(rawValue: trigger.rawValue)
        unsafe c.current_bandwidth_mbps = currentBandwidthMbps
        unsafe c.target_bandwidth_mbps = targetBandwidthMbps
        unsafe c.policy = arena.optional(policy)
    }
}

extension BandwidthScalingRequest.Policy: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__BandwidthScalingRequest__ScalingPolicy>
    ) {
        unsafe kwik__kcp__v3__bandwidth_scaling_request__scaling_policy__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__BandwidthScalingRequest__ScalingPolicy) throws(UnknownValue) {
        self.init()
        scaleUpThresholdPercent = unsafe c.scale_up_threshold_percent
        scaleDownThresholdPercent = unsafe c.scale_down_threshold_percent
        minPaths = unsafe c.min_paths
        maxPaths = unsafe c.max_paths
        cooldownSeconds = unsafe c.cooldown_seconds
        aggressiveScaling = unsafe c.aggressive_scaling != 0
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__BandwidthScalingRequest__ScalingPolicy, _ arena: Arena) {
        unsafe c.scale_up_threshold_percent = scaleUpThresholdPercent
        unsafe c.scale_down_threshold_percent = scaleDownThresholdPercent
        unsafe c.min_paths = minPaths
        unsafe c.max_paths = maxPaths
        unsafe c.cooldown_seconds = cooldownSeconds
        unsafe c.aggressive_scaling = aggressiveScaling ? 1 : 0
    }
}

extension BandwidthScalingResponse: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__BandwidthScalingResponse>) {
        unsafe kwik__kcp__v3__bandwidth_scaling_response__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__BandwidthScalingResponse) throws(UnknownValue) {
        self.init()
        connectionID = unsafe Unpack.text(c.connection_id)
        accepted = unsafe c.accepted != 0
        errorCode = unsafe c.error_code
        errorMessage = unsafe Unpack.text(c.error_message)
        grantedBandwidthMbps = unsafe c.granted_bandwidth_mbps
        activePaths = unsafe c.active_paths
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__BandwidthScalingResponse, _ arena: Arena) {
        unsafe c.connection_id = arena.text(connectionID)
        unsafe c.accepted = accepted ? 1 : 0
        unsafe c.error_code = errorCode
        unsafe c.error_message = arena.text(errorMessage)
        unsafe c.granted_bandwidth_mbps = grantedBandwidthMbps
        unsafe c.active_paths = activePaths
    }
}

extension PerformanceMetrics: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__PerformanceMetrics>) {
        unsafe kwik__kcp__v3__performance_metrics__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__PerformanceMetrics) throws(UnknownValue) {
        self.init()
        serverID = unsafe Unpack.text(c.server_id)
        bandwidthMbps = unsafe c.bandwidth_mbps
        latencyMilliseconds = unsafe c.latency_ms
        packetLossRate = unsafe c.packet_loss_rate
        bytesSent = unsafe c.bytes_sent
        bytesReceived = unsafe c.bytes_received
        activeStreams = unsafe c.active_streams
        intervalMilliseconds = unsafe c.interval_ms
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__PerformanceMetrics, _ arena: Arena) {
        unsafe c.server_id = arena.text(serverID)
        unsafe c.bandwidth_mbps = bandwidthMbps
        unsafe c.latency_ms = latencyMilliseconds
        unsafe c.packet_loss_rate = packetLossRate
        unsafe c.bytes_sent = bytesSent
        unsafe c.bytes_received = bytesReceived
        unsafe c.active_streams = activeStreams
        unsafe c.interval_ms = intervalMilliseconds
    }
}

extension LoadBalancingUpdate: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__LoadBalancingUpdate>) {
        unsafe kwik__kcp__v3__load_balancing_update__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__LoadBalancingUpdate) throws(UnknownValue) {
        self.init()
        servers = unsafe try Unpack.messages(c.n_servers, c.servers)
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__LoadBalancingUpdate, _ arena: Arena) {
        unsafe (c.n_servers, c.servers) = arena.messages(servers)
    }
}

extension LoadBalancingUpdate.ServerLoad: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__LoadBalancingUpdate__ServerLoad>)
    {
        unsafe kwik__kcp__v3__load_balancing_update__server_load__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__LoadBalancingUpdate__ServerLoad) throws(UnknownValue) {
        self.init()
        serverID = unsafe Unpack.text(c.server_id)
        loadPercent = unsafe c.load_percent
        weight = unsafe c.weight
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__LoadBalancingUpdate__ServerLoad, _ arena: Arena) {
        unsafe c.server_id = arena.text(serverID)
        unsafe c.load_percent = loadPercent
        unsafe c.weight = weight
    }
}

extension TrafficDistributionPlan: @unsafe Packable {
    @unsafe static func initialize(_ c: UnsafeMutablePointer<Kwik__Kcp__V3__TrafficDistributionPlan>) {
        unsafe kwik__kcp__v3__traffic_distribution_plan__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TrafficDistributionPlan) throws(UnknownValue) {
        self.init()
        shares = unsafe try Unpack.messages(c.n_shares, c.shares)
        validSeconds = unsafe c.valid_seconds
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__TrafficDistributionPlan, _ arena: Arena) {
        unsafe (c.n_shares, c.shares) = arena.messages(shares)
        unsafe c.valid_seconds = validSeconds
    }
}

extension TrafficDistributionPlan.TrafficShare: @unsafe Packable {
    @unsafe static func initialize(
        _ c: UnsafeMutablePointer<Kwik__Kcp__V3__TrafficDistributionPlan__TrafficShare>
    ) {
        unsafe kwik__kcp__v3__traffic_distribution_plan__traffic_share__init(c)
    }

    @unsafe init(_ c: Kwik__Kcp__V3__TrafficDistributionPlan__TrafficShare) throws(UnknownValue) {
        self.init()
        serverID = unsafe Unpack.text(c.server_id)
        percent = unsafe c.percent
    }

    @unsafe func fill(_ c: inout Kwik__Kcp__V3__TrafficDistributionPlan__TrafficShare, _ arena: Arena) {
        unsafe c.server_id = arena.text(serverID)
        unsafe c.percent = percent
    }
}
