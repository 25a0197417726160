internal import CNgtcp2

/// Up to 32 bytes without an allocation. Unused bytes are zero, so that equality is that of the bytes.
struct InlineBytes: Hashable, Sendable {
    private var words = Words()
    private(set) var count = 0

    private struct Words: Hashable, Sendable {
        var first: UInt64 = 0
        var second: UInt64 = 0
        var third: UInt64 = 0
        var fourth: UInt64 = 0
    }

    static let capacity = 32

    init() {}

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count <= Self.capacity else { return nil }
        count = bytes.count
        unsafe withUnsafeMutableBytes(of: &words) { unsafe $0.copyMemory(from: bytes) }
    }

    @inline(__always)
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe withUnsafeBytes(of: words) { unsafe body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
}

/// The bytes of a `struct sockaddr_in` or `struct sockaddr_in6`, held in place.
public struct SocketAddressBytes: Hashable, Sendable {
    let storage: InlineBytes

    /// nil unless `bytes` begins with a whole IPv4 or IPv6 socket address; what follows it is left out.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 2 else { return nil }
        let family = unsafe bytes.loadUnaligned(as: UInt16.self)
        let size = family == 2 ? 16 : family == 10 ? 28 : 0
        guard size > 0, bytes.count >= size,
            let storage = unsafe InlineBytes(UnsafeRawBufferPointer(rebasing: bytes[..<size]))
        else { return nil }
        self.storage = storage
    }

    public init?(_ bytes: [UInt8]) {
        guard let made = unsafe bytes.withUnsafeBytes({ unsafe SocketAddressBytes($0) }) else { return nil }
        self = made
    }

    public var bytes: [UInt8] { unsafe storage.withBytes { unsafe [UInt8]($0) } }

    @inline(__always)
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe storage.withBytes(body)
    }

    /// Whether packets to it are IPv4's: those to a mapped address are (RFC 4291 §2.5.5.2).
    var isIPv4: Bool {
        let bytes = bytes
        guard bytes.count == 28 else { return true }
        return bytes[8..<18].allSatisfy { $0 == 0 } && bytes[18] == 0xff && bytes[19] == 0xff
    }
}

/// A QUIC connection id (RFC 9000 §5.1), 0 ... 20 bytes, held in place.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    let storage: InlineBytes

    /// Bytes in every id that this module makes: those of a UInt64.
    public static let ownLength = 8
    public static let maximumLength = 20

    /// The id of no bytes.
    static let none = ConnectionID(storage: InlineBytes())

    private init(storage: InlineBytes) { self.storage = storage }

    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count <= Self.maximumLength, let storage = unsafe InlineBytes(bytes) else { return nil }
        self.storage = storage
    }

    public var bytes: [UInt8] { unsafe storage.withBytes { unsafe [UInt8]($0) } }
    public var count: Int { storage.count }

    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

extension ConnectionID {
    init?(_ id: UnsafePointer<ngtcp2_cid>?) {
        guard let id = unsafe id else { return nil }
        let length = unsafe id.pointee.datalen
        let made = unsafe withUnsafeBytes(of: id.pointee.data) { bytes in
            unsafe ConnectionID(UnsafeRawBufferPointer(rebasing: bytes[..<min(length, bytes.count)]))
        }
        guard let made else { return nil }
        self = made
    }

    var native: ngtcp2_cid {
        var id = ngtcp2_cid()
        unsafe storage.withBytes {
            unsafe ngtcp2_cid_init(&id, $0.bindMemory(to: UInt8.self).baseAddress, $0.count)
        }
        return id
    }
}
