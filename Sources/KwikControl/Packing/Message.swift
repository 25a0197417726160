internal import CKwikMessages

extension KCPMessage {
    /// The message behind its length, as it goes onto the control stream.
    public func encode() -> [UInt8] {
        let arena = Arena()
        let message = unsafe arena.allocate(Kwik__Kcp__V3__KCPMessage.self)
        unsafe kwik__kcp__v3__kcpmessage__init(message)
        unsafe message.pointee.header = arena.message(header)
        unsafe fill(&message.pointee, arena)
        let size = unsafe kwik__kcp__v3__kcpmessage__get_packed_size(message)
        precondition(size <= KCPLimit.messageBytes, "a message that no peer would take")
        var out = LengthPrefix.encode(size)
        let prefix = out.count
        out.append(contentsOf: repeatElement(0, count: size))
        unsafe out.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let written = unsafe kwik__kcp__v3__kcpmessage__pack(message, base + prefix)
            precondition(written == size, "protobuf-c packed another size than it announced")
        }
        return out
    }

    @unsafe
    private func fill(_ c: inout Kwik__Kcp__V3__KCPMessage, _ arena: Arena) {
        switch payload {
        case .unknown: break
        case .clientHello(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_CLIENT_HELLO
            unsafe c.client_hello = arena.message(value)
        case .serverHello(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SERVER_HELLO
            unsafe c.server_hello = arena.message(value)
        case .addPath(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_ADD_PATH
            unsafe c.add_path = arena.message(value)
        case .removePath(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_REMOVE_PATH
            unsafe c.remove_path = arena.message(value)
        case .pathStatus(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_PATH_STATUS
            unsafe c.path_status = arena.message(value)
        case .serverDiscoveryRequest(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SERVER_DISCOVERY_REQ
            unsafe c.server_discovery_req = arena.message(value)
        case .serverDiscoveryResponse(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SERVER_DISCOVERY_RESP
            unsafe c.server_discovery_resp = arena.message(value)
        case .capabilityQuery(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_CAPABILITY_QUERY
            unsafe c.capability_query = arena.message(value)
        case .capabilityResponse(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_CAPABILITY_RESPONSE
            unsafe c.capability_response = arena.message(value)
        case .transportCommand(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_TRANSPORT_COMMAND
            unsafe c.transport_command = arena.message(value)
        case .transportResponse(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_TRANSPORT_RESPONSE
            unsafe c.transport_response = arena.message(value)
        case .scalingRequest(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SCALING_REQUEST
            unsafe c.scaling_request = arena.message(value)
        case .scalingResponse(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SCALING_RESPONSE
            unsafe c.scaling_response = arena.message(value)
        case .performanceMetrics(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_PERFORMANCE_METRICS
            unsafe c.performance_metrics = arena.message(value)
        case .healthCheckRequest(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_HEALTH_CHECK_REQ
            unsafe c.health_check_req = arena.message(value)
        case .healthCheckResponse(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_HEALTH_CHECK_RESP
            unsafe c.health_check_resp = arena.message(value)
        case .loadBalancing(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_LOAD_BALANCING
            unsafe c.load_balancing = arena.message(value)
        case .trafficPlan(let value):
            unsafe c.payload_case = KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_TRAFFIC_PLAN
            unsafe c.traffic_plan = arena.message(value)
        }
    }

    /// `bytes`: one message without its length.
    static func decode(_ bytes: Span<UInt8>) throws(KCPError) -> KCPMessage {
        guard bytes.count <= KCPLimit.messageBytes else { throw .tooLarge(UInt64(bytes.count)) }
        var check = WireCheck()
        unsafe try withUnsafePointer(to: kwik__kcp__v3__kcpmessage__descriptor) {
            descriptor throws(KCPError) in
            unsafe try check.check(bytes, descriptor)
        }
        let unpacked = unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe kwik__kcp__v3__kcpmessage__unpack(nil, buffer.count, buffer.baseAddress)
        }
        guard let unpacked = unsafe unpacked else { throw .malformed }
        defer { unsafe kwik__kcp__v3__kcpmessage__free_unpacked(unpacked, nil) }
        let header = unsafe unpackedHeader(unpacked.pointee)
        let payload = (unsafe try? unpackedPayload(unpacked.pointee)) ?? .unknown
        return KCPMessage(payload, header: header)
    }

    /// A priority that this version does not know counts as normal.
    private static func unpackedHeader(_ c: Kwik__Kcp__V3__KCPMessage) -> MessageHeader {
        guard let header = unsafe c.header else { return MessageHeader() }
        if unsafe MessagePriority(rawValue: header.pointee.priority.rawValue) == nil {
            unsafe header.pointee.priority = KWIK__KCP__V3__MESSAGE_PRIORITY__NORMAL
        }
        return (unsafe try? MessageHeader(header.pointee)) ?? MessageHeader()
    }

    private static func unpackedPayload(_ c: Kwik__Kcp__V3__KCPMessage) throws(UnknownValue) -> KCPPayload {
        func value<M: Packable>(_ pointer: UnsafeMutablePointer<M.C>?) throws(UnknownValue) -> M {
            guard let message: M = unsafe try Unpack.message(pointer) else { throw UnknownValue() }
            return message
        }
        switch unsafe c.payload_case {
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_CLIENT_HELLO:
            return unsafe .clientHello(try value(c.client_hello))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SERVER_HELLO:
            return unsafe .serverHello(try value(c.server_hello))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_ADD_PATH: return unsafe .addPath(try value(c.add_path))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_REMOVE_PATH:
            return unsafe .removePath(try value(c.remove_path))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_PATH_STATUS:
            return unsafe .pathStatus(try value(c.path_status))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SERVER_DISCOVERY_REQ:
            return unsafe .serverDiscoveryRequest(try value(c.server_discovery_req))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SERVER_DISCOVERY_RESP:
            return unsafe .serverDiscoveryResponse(try value(c.server_discovery_resp))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_CAPABILITY_QUERY:
            return unsafe .capabilityQuery(try value(c.capability_query))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_CAPABILITY_RESPONSE:
            return unsafe .capabilityResponse(try value(c.capability_response))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_TRANSPORT_COMMAND:
            return unsafe .transportCommand(try value(c.transport_command))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_TRANSPORT_RESPONSE:
            return unsafe .transportResponse(try value(c.transport_response))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SCALING_REQUEST:
            return unsafe .scalingRequest(try value(c.scaling_request))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_SCALING_RESPONSE:
            return unsafe .scalingResponse(try value(c.scaling_response))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_PERFORMANCE_METRICS:
            return unsafe .performanceMetrics(try value(c.performance_metrics))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_HEALTH_CHECK_REQ:
            return unsafe .healthCheckRequest(try value(c.health_check_req))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_HEALTH_CHECK_RESP:
            return unsafe .healthCheckResponse(try value(c.health_check_resp))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_LOAD_BALANCING:
            return unsafe .loadBalancing(try value(c.load_balancing))
        case KWIK__KCP__V3__KCPMESSAGE__PAYLOAD_TRAFFIC_PLAN:
            return unsafe .trafficPlan(try value(c.traffic_plan))
        default: throw UnknownValue()
        }
    }
}
