public import Glibc

/// The address of an IPv4, IPv6 or Unix socket.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// AF_INET, AF_INET6 or AF_UNIX.
    public let family: Int32
    /// 0 for a Unix address.
    public var port: UInt16
    private let scope: UInt32
    /// The bits of an IPv6 address; an IPv4 address is the low 32 bits of `low`.
    private let high: UInt64
    private let low: UInt64
    /// A Unix address: the path without its closing NUL, or a NUL and the abstract name. Empty: unnamed.
    private let path: [UInt8]

    private init(
        family: Int32, port: UInt16 = 0, high: UInt64 = 0, low: UInt64 = 0, scope: UInt32 = 0,
        path: [UInt8] = []
    ) {
        self.family = family
        self.port = port
        self.high = high
        self.low = low
        self.scope = scope
        self.path = path
    }

    /// The longest path of a Unix address (unix(7)).
    public static let maximalPath = 107

    /// An address literal without a port: `192.0.2.1`, `2001:db8::1` or `fe80::1%eth0`. No names, no
    /// brackets.
    public init?(host literal: String, port: UInt16) {
        if let address = Self.parseIPv4(literal) {
            self.init(family: AF_INET, port: port, low: UInt64(address))
            return
        }
        let parts = literal.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let bits = Self.parseIPv6(String(first)) else { return nil }
        var scope: UInt32 = 0
        if parts.count == 2 {
            let zone = String(parts[1])
            scope = unsafe UInt32(zone) ?? if_nametoindex(zone)
            if scope == 0 { return nil }
        }
        self.init(family: AF_INET6, port: port, high: bits.high, low: bits.low, scope: scope)
    }

    /// `192.0.2.1:80` or `[2001:db8::1]:80`.
    public init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Self.parsePort(text[text.index(after: colon)...])
        else { return nil }
        let host = text[..<colon]
        if host.hasPrefix("[") && host.hasSuffix("]") {
            let literal = String(host.dropFirst().dropLast())
            guard literal.contains(":") else { return nil }
            self.init(host: literal, port: port)
        } else {
            guard !host.contains(":") else { return nil }
            self.init(host: String(host), port: port)
        }
    }

    /// Nil if the path is empty, too long or contains a NUL.
    public static func unix(path: String) -> SocketAddress? {
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count <= maximalPath, !bytes.contains(0) else { return nil }
        return SocketAddress(family: AF_UNIX, path: bytes)
    }

    /// A name in the abstract space, 1 to 107 bytes, which may contain anything (unix(7)).
    public static func unix(abstract name: [UInt8]) -> SocketAddress? {
        guard !name.isEmpty, name.count <= maximalPath else { return nil }
        return SocketAddress(family: AF_UNIX, path: [0] + name)
    }

    /// The bytes of a `sockaddr_in`, `sockaddr_in6` or `sockaddr_un`. Nil if they are none.
    public init?(bytes: [UInt8]) {
        guard let address = unsafe bytes.withUnsafeBytes({ buffer in unsafe SocketAddress(raw: buffer) })
        else { return nil }
        self = address
    }

    /// The same from memory that need not be aligned.
    public init?(raw buffer: UnsafeRawBufferPointer) {
        guard buffer.count >= 2 else { return nil }
        let family = Int32(unsafe buffer.loadUnaligned(fromByteOffset: 0, as: sa_family_t.self))
        func big<Number: FixedWidthInteger>(_ offset: Int, _ type: Number.Type) -> Number {
            Number(bigEndian: unsafe buffer.loadUnaligned(fromByteOffset: offset, as: type))
        }
        switch family {
        case AF_INET where buffer.count >= Self.ipv4Length:
            self.init(family: family, port: big(2, UInt16.self), low: UInt64(big(4, UInt32.self)))
        case AF_INET6 where buffer.count >= Self.ipv6Length:
            let scope = unsafe buffer.loadUnaligned(fromByteOffset: 24, as: UInt32.self)
            self.init(family: family, port: big(2, UInt16.self), high: big(8, UInt64.self),
                      low: big(16, UInt64.self), scope: scope)
        case AF_UNIX where buffer.count <= 2 + Self.maximalPath + 1:
            var path = unsafe Array(buffer.dropFirst(2))
            if path.first != 0 { path = Array(path.prefix { byte in byte != 0 }) }
            self.init(family: family, path: path)
        default:
            return nil
        }
    }

    private static let ipv4Length = 16
    private static let ipv6Length = 28

    /// The bytes of the system's `sockaddr` for this address.
    public var bytes: [UInt8] {
        unsafe withSockaddr { pointer, length in
            unsafe Array(UnsafeRawBufferPointer(start: pointer, count: Int(length)))
        }
    }

    /// The pointer is valid during `body`.
    public func withSockaddr<Result, Failure: Error>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var storage = sockaddr_storage()
        let length = unsafe withUnsafeMutableBytes(of: &storage) { buffer in unsafe encode(into: buffer) }
        return try unsafe withUnsafePointer(to: &storage) { pointer throws(Failure) in
            let general = unsafe UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
            return try unsafe body(general, socklen_t(length))
        }
    }

    private func encode(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        unsafe buffer.storeBytes(of: sa_family_t(family), toByteOffset: 0, as: sa_family_t.self)
        if family == AF_UNIX {
            for (index, byte) in path.enumerated() { unsafe buffer[2 + index] = byte }
            let isPathname = path.first.map { first in first != 0 } ?? false
            return 2 + path.count + (isPathname ? 1 : 0)
        }
        unsafe buffer.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
        if family == AF_INET {
            let address = UInt32(truncatingIfNeeded: low)
            unsafe buffer.storeBytes(of: address.bigEndian, toByteOffset: 4, as: UInt32.self)
            return Self.ipv4Length
        }
        unsafe buffer.storeBytes(of: high.bigEndian, toByteOffset: 8, as: UInt64.self)
        unsafe buffer.storeBytes(of: low.bigEndian, toByteOffset: 16, as: UInt64.self)
        unsafe buffer.storeBytes(of: scope, toByteOffset: 24, as: UInt32.self)
        return Self.ipv6Length
    }

    /// The name of an abstract Unix address, without the NUL before it.
    public var abstractName: [UInt8]? { path.first == 0 ? Array(path.dropFirst()) : nil }

    /// `0.0.0.0` or `::`.
    public var isWildcard: Bool { family != AF_UNIX && high == 0 && low == 0 }

    /// 127.0.0.0/8, also IPv4-mapped, or `::1`.
    public var isLoopback: Bool {
        let plain = unmapped
        if plain.family == AF_INET { return plain.low >> 24 == 127 }
        return plain.family == AF_INET6 && high == 0 && low == 1
    }

    /// 169.254.0.0/16 (RFC 3927) or fe80::/10.
    public var isLinkLocal: Bool {
        let plain = unmapped
        if plain.family == AF_INET { return plain.low >> 16 == 0xa9fe }
        return plain.family == AF_INET6 && high >> 54 == 0xfe80 >> 6
    }

    /// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) as the IPv4 address it means; any other as it is.
    public var unmapped: SocketAddress {
        guard family == AF_INET6, high == 0, low >> 32 == 0xffff else { return self }
        return SocketAddress(family: AF_INET, port: port, low: low & 0xffff_ffff)
    }

    /// The literal without a port; a Unix address's path, or `@` and the abstract name.
    public var host: String {
        switch family {
        case AF_INET:
            return (0..<4).map { index in String(low >> (24 - 8 * index) & 0xff) }.joined(separator: ".")
        case AF_INET6:
            return ipv6Text + (scope == 0 ? "" : "%\(scope)")
        default:
            guard path.first == 0 else { return String(decoding: path, as: UTF8.self) }
            return "@" + String(decoding: path.dropFirst(), as: UTF8.self)
        }
    }

    public var description: String {
        switch family {
        case AF_INET: "\(host):\(port)"
        case AF_INET6: "[\(host)]:\(port)"
        default: host
        }
    }

    private var ipv6Text: String {
        var address = in6_addr()
        unsafe withUnsafeMutableBytes(of: &address) { buffer in
            unsafe buffer.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe buffer.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        let longest = Int(INET6_ADDRSTRLEN)
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: longest) { buffer in
            guard let base = buffer.baseAddress,
                unsafe inet_ntop(AF_INET6, &address, base, socklen_t(buffer.count)) != nil
            else { return "" }
            return unsafe String(cString: base)
        }
    }

    private static func parseIPv4(_ literal: String) -> UInt32? {
        var address = in_addr()
        guard unsafe inet_pton(AF_INET, literal, &address) == 1 else { return nil }
        return UInt32(bigEndian: address.s_addr)
    }

    private static func parseIPv6(_ literal: String) -> (high: UInt64, low: UInt64)? {
        var address = in6_addr()
        guard unsafe inet_pton(AF_INET6, literal, &address) == 1 else { return nil }
        return unsafe withUnsafeBytes(of: &address) { buffer in
            (UInt64(bigEndian: unsafe buffer.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
             UInt64(bigEndian: unsafe buffer.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    private static func parsePort(_ text: Substring) -> UInt16? {
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        let isDecimal = text.utf8.allSatisfy { character in digits.contains(character) }
        guard isDecimal, (1...5).contains(text.utf8.count) else { return nil }
        return UInt16(text)
    }
}
