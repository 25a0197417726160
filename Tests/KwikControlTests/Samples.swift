import KwikControl
import KwikCore

/// One message of each kind with every field set, none to its default.
enum Samples {
    static var all: [(name: String, message: KCPMessage)] {
        payloads.map { name, payload in (name, KCPMessage(payload, header: header)) }
    }

    private static var payloads: [(String, KCPPayload)] {
        [
            ("client_hello", .clientHello(clientHello)), ("client_hello_hmac", .clientHello(hmacHello)),
            ("server_hello", .serverHello(serverHello)), ("add_path", .addPath(addPath)),
            ("remove_path", .removePath(removePath)), ("path_status", .pathStatus(pathStatus)),
            ("server_discovery_req", .serverDiscoveryRequest(discoveryRequest)),
            ("server_discovery_resp", .serverDiscoveryResponse(discoveryResponse)),
            ("capability_query", .capabilityQuery(capabilityQuery)),
            ("capability_response", .capabilityResponse(capabilityResponse)),
            ("transport_command", .transportCommand(transportCommand)),
            ("transport_response", .transportResponse(transportResponse)),
            ("scaling_request", .scalingRequest(scalingRequest)),
            ("scaling_response", .scalingResponse(scalingResponse)),
            ("performance_metrics", .performanceMetrics(metrics)),
            ("health_check_req", .healthCheckRequest(healthRequest)),
            ("health_check_resp", .healthCheckResponse(healthResponse)),
            ("load_balancing", .loadBalancing(loadBalancing)), ("traffic_plan", .trafficPlan(trafficPlan)),
        ]
    }

    static var header: MessageHeader {
        var header = MessageHeader(
            messageID: 7, session: SessionID(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210),
            priority: .high)
        header.timestampMilliseconds = 1_700_000_000_123
        header.timeToLiveSeconds = 30
        return header
    }

    static var clientHello: ClientHello {
        var hello = ClientHello()
        hello.clientID = "laptop-é"
        hello.version = 3
        hello.capabilities = ["replica", "sums"]
        hello.service = "files.example:443"
        hello.credential = .bearerToken("letmein")
        hello.joinProof = Array(0..<32)
        return hello
    }

    static var hmacHello: ClientHello {
        var hello = clientHello
        hello.credential = .hmac(keyID: "key-1", mac: [0, 255, 0, 1])
        return hello
    }

    static var limits: SessionLimits {
        var limits = SessionLimits()
        limits.maxStreams = 1_024
        limits.maxPaths = 8
        limits.maxWindowBytes = 1 << 40
        limits.idleTimeoutMilliseconds = 60_000
        return limits
    }

    static var serverHello: ServerHello {
        var hello = ServerHello()
        hello.accepted = true
        hello.error = .draining
        hello.errorMessage = "soon"
        hello.serverID = "server-a"
        hello.roles = [.origin, .relay]
        hello.limits = limits
        hello.joinSecret = [0, 1, 2, 254, 255]
        hello.resumed = true
        hello.version = 3
        hello.capabilities = ["sums"]
        return hello
    }

    static var addPath: AddPathCommand {
        var command = AddPathCommand()
        command.serverID = "server-b"
        command.serverName = "b.example"
        command.serverAddress = "192.0.2.2:4433"
        command.publicKeyHash = [1, 2, 3]
        command.roles = [.replica]
        return command
    }

    static var removePath: RemovePathCommand {
        var command = RemovePathCommand()
        command.errorCode = 9
        command.reason = "stopping"
        command.graceMilliseconds = 5_000
        return command
    }

    static var pathStatus: PathStatusUpdate {
        var update = PathStatusUpdate()
        update.status = .unavailable
        update.serverID = "server-a"
        update.capabilities = ["sums"]
        update.roles = [.origin]
        update.reason = "disk"
        return update
    }

    static var quality: QualityOfService {
        var quality = QualityOfService()
        quality.minBandwidthMbps = 10
        quality.maxLatencyMilliseconds = 50
        quality.maxPacketLossRate = 0.25
        quality.requireRedundancy = true
        return quality
    }

    static var discoveryRequest: ServerDiscoveryRequest {
        var request = ServerDiscoveryRequest()
        request.clientID = "laptop"
        request.requiredCapabilities = ["replica"]
        request.desiredBandwidthMbps = 100
        request.geographicPreference = ServerDiscoveryRequest.GeographicPreference()
        request.geographicPreference?.preferredRegions = ["eu-west", "eu-north"]
        request.geographicPreference?.maxLatencyMilliseconds = 40
        request.geographicPreference?.requireSameCountry = true
        request.qualityOfService = quality
        return request
    }

    static var discoveryResponse: ServerDiscoveryResponse {
        var location = ServerDiscoveryResponse.Location()
        location.country = "IE"
        location.region = "eu-west"
        location.datacenter = "dub1"
        location.latitude = 53.25
        location.longitude = -6.25
        var metrics = ServerDiscoveryResponse.Metrics()
        metrics.activeConnections = 12
        metrics.bytesTransferredTotal = 1 << 50
        metrics.processorUsagePercent = 12.5
        metrics.memoryUsagePercent = 50
        metrics.uptimeSeconds = 86_400
        var server = ServerDiscoveryResponse.AvailableServer()
        server.address = "[2001:db8::1]:4433"
        server.publicKeyHash = [9, 8, 7]
        server.availableBandwidthMbps = 900
        server.currentLoadPercent = 10
        server.latencyMilliseconds = 12
        server.capabilities = ["replica"]
        server.location = location
        server.metrics = metrics
        var bare = ServerDiscoveryResponse.AvailableServer()
        bare.address = "192.0.2.3:4433"
        var response = ServerDiscoveryResponse()
        response.servers = [server, bare]
        response.totalAvailableBandwidthMbps = 1_000
        response.recommendationReason = "nearest"
        return response
    }

    static var capabilityQuery: ServerCapabilityQuery {
        var query = ServerCapabilityQuery()
        query.clientID = "laptop"
        query.service = "files.example:443"
        query.capabilities = ["sums"]
        return query
    }

    static var capabilityResponse: ServerCapabilityResponse {
        var response = ServerCapabilityResponse()
        response.serverID = "server-a"
        response.capabilities = ["sums"]
        response.roles = [.origin, .replica]
        response.limits = limits
        return response
    }

    static var transportCommand: TransportCommand {
        var command = TransportCommand()
        command.commandID = "c-1"
        command.type = .syncState
        command.connectionID = "conn"
        command.transportData = Array("192.0.2.9:4433".utf8)
        command.options = TransportCommand.Options()
        command.options?.maxPaths = 4
        command.options?.targetBandwidthMbps = 200
        command.options?.timeoutSeconds = 5
        command.options?.preferredServers = ["server-a"]
        command.options?.qualityOfService = quality
        return command
    }

    static var transportResponse: TransportResponse {
        var contribution = TransportResponse.PathContribution()
        contribution.serverAddress = "192.0.2.9:50000"
        contribution.bandwidthMbps = 100
        contribution.latencyMilliseconds = 12.5
        contribution.packetLossRate = 0.125
        var response = TransportResponse()
        response.commandID = "c-1"
        response.status = .failure
        response.errorMessage = "not allowed"
        response.result = TransportResponse.Result()
        response.result?.activePaths = 2
        response.result?.totalBandwidthMbps = 150
        response.result?.averageLatencyMilliseconds = 20.5
        response.result?.pathContributions = [contribution]
        return response
    }

    static var scalingRequest: BandwidthScalingRequest {
        var request = BandwidthScalingRequest()
        request.connectionID = "conn"
        request.trigger = .costOptimization
        request.currentBandwidthMbps = 50
        request.targetBandwidthMbps = 100
        request.policy = BandwidthScalingRequest.Policy()
        request.policy?.scaleUpThresholdPercent = 80
        request.policy?.scaleDownThresholdPercent = 30
        request.policy?.minPaths = 1
        request.policy?.maxPaths = 8
        request.policy?.cooldownSeconds = 10
        request.policy?.aggressiveScaling = true
        return request
    }

    static var scalingResponse: BandwidthScalingResponse {
        var response = BandwidthScalingResponse()
        response.connectionID = "conn"
        response.accepted = true
        response.errorCode = 10
        response.errorMessage = "partly"
        response.grantedBandwidthMbps = 80
        response.activePaths = 3
        return response
    }

    static var metrics: PerformanceMetrics {
        var metrics = PerformanceMetrics()
        metrics.serverID = "server-a"
        metrics.bandwidthMbps = 94
        metrics.latencyMilliseconds = 1.5
        metrics.packetLossRate = 0.5
        metrics.bytesSent = 1 << 33
        metrics.bytesReceived = 1 << 34
        metrics.activeStreams = 5
        metrics.intervalMilliseconds = 1_000
        return metrics
    }

    static var healthRequest: HealthCheckRequest {
        var request = HealthCheckRequest()
        request.nonce = .max
        return request
    }

    static var healthResponse: HealthCheckResponse {
        var response = HealthCheckResponse()
        response.nonce = .max
        response.status = .stopping
        response.loadPercent = 99
        response.activeSessions = 3
        return response
    }

    static var loadBalancing: LoadBalancingUpdate {
        var load = LoadBalancingUpdate.ServerLoad()
        load.serverID = "server-a"
        load.loadPercent = 80
        load.weight = 3
        var update = LoadBalancingUpdate()
        update.servers = [load]
        return update
    }

    static var trafficPlan: TrafficDistributionPlan {
        var share = TrafficDistributionPlan.TrafficShare()
        share.serverID = "server-b"
        share.percent = 60
        var plan = TrafficDistributionPlan()
        plan.shares = [share]
        plan.validSeconds = 30
        return plan
    }
}
