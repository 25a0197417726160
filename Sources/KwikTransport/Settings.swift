public import KwikCore

/// What one connection is allowed. The windows are sized so that KDP's credit, not QUIC's, is what limits a
/// peer that keeps to the protocol; they bound what one that does not can make us hold.
public struct TransportSettings: Sendable {
    public enum CongestionControl: Sendable {
        /// RFC 9438.
        case cubic
        /// Holds the rate at 0.1–1 % random loss; less fair than `cubic` (kwik.toml(5) has figures).
        case bbr2
    }

    /// Bytes that the peer may have in flight or out of order over all streams.
    public var connectionWindow: UInt64 = 64 << 20
    /// The same for each stream.
    public var streamWindow: UInt64 = 24 << 20
    /// Bidirectional streams that the peer may have open at a time. Unidirectional: none.
    public var streams: UInt64 = 65_536
    /// Silence after which both ends forget the connection; the lesser of the two ends' counts. Zero:
    /// never.
    public var idleTimeout: Interval = .seconds(30)
    /// From the first datagram to the end of the handshake.
    public var handshakeTimeout: Interval = .seconds(5)
    public var congestionControl: CongestionControl = .cubic
    /// How long acknowledgements may be held back (RFC 9000 §13.2.1). Less than 2^14 ms. Every probe timeout
    /// has it in it, so it is not the usual 25: the library holds them for an eighth of a round trip anyway.
    public var maximumAckDelay: Interval = .milliseconds(10)
    /// Datagrams after which an acknowledgement is sent at once at the latest; see `Acknowledging`. One costs
    /// both ends a datagram: a long download over 50 and 20 Mbit/s a fifth more of the engine's time where
    /// every second is acknowledged.
    public var acknowledgementThreshold = 8
    /// Upper bound, in bytes, of the IP packets that are sent: 1,280 ... 65,535. A connection begins with
    /// payloads of 1,200 and probes for this and the common sizes below it (RFC 8899).
    public var maximumMTU = 1_500
    /// Assumed until measured (RFC 9002 §6.2.2).
    public var initialRoundTrip: Interval = .milliseconds(333)

    /// Both ends must name the same (RFC 7301).
    var applicationProtocol = "kwik/3"

    public init() {}

    /// For a path to `remote`.
    func discovery(to remote: SocketAddressBytes, token: UInt64 = 0) -> PathMTUDiscovery {
        PathMTUDiscovery(mtu: maximumMTU, headers: PathMTUDiscovery.headers(to: remote), token: token)
    }

    func check() throws(TransportError) {
        let wrong: String? =
            if !(1_280...65_535).contains(maximumMTU) {
                "maximumMTU \(maximumMTU) is outside 1280...65535"
            } else if !(0..<16_384).contains(maximumAckDelay.milliseconds) {
                "maximumAckDelay is outside 0..<16384 ms"
            } else if idleTimeout < .zero || handshakeTimeout <= .zero || initialRoundTrip <= .zero {
                "a timeout is negative or zero"
            } else if connectionWindow >= 1 << 62 || streamWindow >= 1 << 62 || streams > 1 << 60 {
                "a window is larger than QUIC's integers"
            } else {
                nil
            }
        if let wrong { throw TransportError(.badArgument(wrong)) }
    }
}

/// What happened on a connection. Given out synchronously; bytes are valid until the sink returns.
@safe
public enum TransportEvent {
    /// Both sides' certificates are verified and application data flows.
    case handshakeDone
    /// In-order bytes of a stream; `finished`: these are the last. The QUIC credit for them is granted
    /// again.
    case received(stream: Int64, UnsafeRawBufferPointer, finished: Bool)
    /// RESET_STREAM: the peer's half ends without its data.
    case streamReset(Int64, code: UInt64)
    /// STOP_SENDING: the peer wants no more of our half; it was reset, unsent bytes are dropped. Told when
    /// there was more to send; a half with nothing left just closes. `code` is 0: ngtcp2 0.12.1 keeps it to
    /// itself.
    case stopSending(Int64, code: UInt64)
    /// Both halves are over and acknowledged: every slice is released, the id means nothing any more.
    case streamClosed(Int64)
    /// The peer allows more streams: `openStream` may succeed where it gave nil.
    case streamCredit
}

/// Datagrams written behind each other into the caller's buffer, for one send with segmentation offload.
public struct Batch: Sendable {
    /// Datagrams; 0: there is nothing to send now.
    public internal(set) var count = 0
    /// Bytes in each datagram but the last, which may be shorter.
    public internal(set) var segment = 0
    /// Bytes in all.
    public internal(set) var bytes = 0
    /// The ECN field to send them with (RFC 3168 §5).
    public internal(set) var ecn: UInt8 = 0
    public internal(set) var local: SocketAddressBytes
    public internal(set) var remote: SocketAddressBytes
}
