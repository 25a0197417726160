/// A stream of a session, numbered by its opener: client even, primary odd.
public struct StreamID: Hashable, Comparable, Sendable {
    public var value: UInt64
    @inlinable
    public init(_ value: UInt64) { self.value = value }
    @inlinable
    public static func < (left: StreamID, right: StreamID) -> Bool { left.value < right.value }
}

/// One QUIC connection of a session. Local to the process; never reused within it.
public struct PathID: Hashable, Comparable, Sendable {
    public var value: UInt32
    @inlinable
    public init(_ value: UInt32) { self.value = value }
    @inlinable
    public static func < (left: PathID, right: PathID) -> Bool { left.value < right.value }
}

/// One server, numbered by the process that configured or discovered it. Local to the process.
public struct ServerID: Hashable, Comparable, Sendable {
    public var value: UInt32
    @inlinable
    public init(_ value: UInt32) { self.value = value }
    @inlinable
    public static func < (left: ServerID, right: ServerID) -> Bool { left.value < right.value }
}

/// The 128 random bits that the client draws for a session: the KCP header's `connection_id`.
public struct SessionID: Hashable, Sendable {
    public var high: UInt64
    public var low: UInt64
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// One bidirectional QUIC stream on one path. `number` is the QUIC stream id (RFC 9000 §2.1).
///
/// QUIC hands out ids in order, so the session picks the id of a channel that it opens (4, 8, 12 … at the
/// client;
/// 0 is the control stream) and the driver opens them in just that order.
public struct ChannelID: Hashable, Comparable, Sendable {
    public var path: PathID
    public var number: Int64
    @inlinable
    public init(path: PathID, number: Int64) {
        self.path = path
        self.number = number
    }
    @inlinable
    public static func < (left: ChannelID, right: ChannelID) -> Bool {
        left.path == right.path ? left.number < right.number : left.path < right.path
    }
}

/// What a server offers for a service (protocol.md §1). Several may hold.
public struct Roles: OptionSet, Hashable, Sendable {
    public var rawValue: UInt8
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let origin = Roles(rawValue: 1)
    public static let replica = Roles(rawValue: 2)
    public static let relay = Roles(rawValue: 4)
}

/// 16 KiB of a stream, aligned to its offset: the unit of tag and of lease.
public enum Block {
    /// Bytes in a block.
    public static let size: UInt64 = 16_384

    @inlinable
    public static func index(of offset: UInt64) -> UInt64 { offset / size }
    @inlinable
    public static func start(of index: UInt64) -> UInt64 { index * size }
    /// The first block boundary at or after `offset`.
    @inlinable
    public static func roundUp(_ offset: UInt64) -> UInt64 { (offset + size - 1) / size * size }
    @inlinable
    public static func roundDown(_ offset: UInt64) -> UInt64 { offset / size * size }
}

/// protocol.md §9. `backendUnreachable` is followed by an errno where it is reported.
public enum ErrorCode: UInt64, Sendable {
    case none = 0
    case protocolViolation = 1
    case internalError = 2
    case refusedByPolicy = 3
    case unauthenticated = 4
    case unknownService = 5
    case backendUnreachable = 6
    case flowControl = 7
    case integrity = 8
    case draining = 9
    case resourceLimit = 10
    /// Of a channel: an attach by another one is on its way, which this one may have overtaken.
    case reattached = 11
}
