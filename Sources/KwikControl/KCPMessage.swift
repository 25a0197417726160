public import KwikCore

/// One message of the Kwik control plane, as it stands on a path's control stream.
public struct KCPMessage: Hashable, Sendable {
    public var header: MessageHeader
    public var payload: KCPPayload

    public init(_ payload: KCPPayload, header: MessageHeader = MessageHeader()) {
        self.header = header
        self.payload = payload
    }
}

public struct MessageHeader: Hashable, Sendable {
    /// Chosen by whoever asks; a reply bears its request's.
    public var messageID: UInt64 = 0
    /// Milliseconds since 1970 by the sender's clock. For people: no decision rests on it.
    public var timestampMilliseconds: UInt64 = 0
    /// The session id as 32 hexadecimal digits (see `session`).
    public var connectionID: String = ""
    public var priority: MessagePriority = .normal
    /// The receiver drops the message if it has not begun it so many seconds after it arrived; 0: no limit.
    public var timeToLiveSeconds: UInt32 = 0

    public init() {}

    public init(messageID: UInt64, session: SessionID?, priority: MessagePriority = .normal) {
        self.messageID = messageID
        self.priority = priority
        self.session = session
    }

    /// What `connectionID` spells; nil if it isn't 32 hexadecimal digits.
    public var session: SessionID? {
        get { SessionID(hexadecimal: connectionID) }
        set { connectionID = newValue?.hexadecimal ?? "" }
    }
}

public enum MessagePriority: UInt32, Comparable, Sendable {
    case low = 0
    case normal = 1
    case high = 2
    case critical = 3

    public static func < (left: MessagePriority, right: MessagePriority) -> Bool {
        left.rawValue < right.rawValue
    }
}

public enum KCPPayload: Hashable, Sendable {
    /// A kind, or an enumerated value within one, that this version does not know: to be skipped.
    case unknown
    case clientHello(ClientHello)
    case serverHello(ServerHello)
    case addPath(AddPathCommand)
    case removePath(RemovePathCommand)
    case pathStatus(PathStatusUpdate)
    case serverDiscoveryRequest(ServerDiscoveryRequest)
    case serverDiscoveryResponse(ServerDiscoveryResponse)
    case capabilityQuery(ServerCapabilityQuery)
    case capabilityResponse(ServerCapabilityResponse)
    case transportCommand(TransportCommand)
    case transportResponse(TransportResponse)
    case scalingRequest(BandwidthScalingRequest)
    case scalingResponse(BandwidthScalingResponse)
    case performanceMetrics(PerformanceMetrics)
    case healthCheckRequest(HealthCheckRequest)
    case healthCheckResponse(HealthCheckResponse)
    case loadBalancing(LoadBalancingUpdate)
    case trafficPlan(TrafficDistributionPlan)

    /// Whether the message answers one with the same id.
    public var isReply: Bool {
        switch self {
        case .serverHello, .serverDiscoveryResponse, .capabilityResponse, .transportResponse,
            .scalingResponse,
            .healthCheckResponse:
            true
        default:
            false
        }
    }
}

/// Why bytes on a control stream were refused. The control stream is of no more use then: the path ends with
/// `ErrorCode.protocolViolation`.
public enum KCPError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Longer than `KCPLimit.messageBytes`.
    case tooLarge(UInt64)
    /// More fields than `KCPLimit.fields`.
    case tooManyFields
    /// Not a Protocol Buffers message of the schema.
    case malformed
    /// A text that isn't UTF-8 or holds a NUL.
    case badText
    /// A number that is infinite or none.
    case badNumber

    public var description: String {
        switch self {
        case .tooLarge(let length):
            "control message of \(length) bytes, the limit is \(KCPLimit.messageBytes)"
        case .tooManyFields: "control message with more than \(KCPLimit.fields) fields"
        case .malformed: "malformed control message"
        case .badText: "control message with text that is not UTF-8 or holds a NUL"
        case .badNumber: "control message with a number that is not finite"
        }
    }
}

/// What a peer may send on a control stream at most.
public enum KCPLimit {
    /// Bytes in a message, without its length.
    public static let messageBytes = 65_536
    /// Fields in a message with all that it contains: bounds what unpacking it allocates.
    public static let fields = 4_096
}

extension SessionID {
    /// 32 digits, high word first, lower case.
    public var hexadecimal: String {
        func digits(_ word: UInt64) -> String {
            let text = String(word, radix: 16)
            return String(repeating: "0", count: 16 - text.utf8.count) + text
        }
        return digits(high) + digits(low)
    }

    /// Refuses all but 32 hexadecimal digits.
    public init?(hexadecimal text: String) {
        let isDigits = text.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
        }
        guard text.utf8.count == 32, isDigits, let high = UInt64(text.prefix(16), radix: 16),
            let low = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }
}
