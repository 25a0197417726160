internal import KwikLinux

/// The PROXY protocol's binary header (haproxy.org, proxy-protocol.txt, §2.2).
enum ProxyHeader {
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let versionLocal: UInt8 = 0x20
    private static let versionProxy: UInt8 = 0x21
    private static let stream4: UInt8 = 0x11
    private static let stream6: UInt8 = 0x21
    /// 2: AF_INET, 10: AF_INET6.
    private static let inet: Int32 = 2

    /// A connection of the gateway's own: nothing is known of a client.
    static var local: [UInt8] { signature + [versionLocal, 0, 0, 0] }

    /// What a client's stream is shown as: a TCP connection between these two.
    static func v2(from client: SocketAddress, to gateway: SocketAddress) -> [UInt8] {
        let (from, to) = (client.unmapped, gateway.unmapped)
        let isIPv4 = from.family == inet && to.family == inet
        let hosts = isIPv4 ? host4(from) + host4(to) : host6(from) + host6(to)
        let body = hosts + port(from) + port(to)
        return signature + [versionProxy, isIPv4 ? stream4 : stream6, 0, UInt8(body.count)] + body
    }

    /// Of `struct sockaddr_in`.
    private static func host4(_ address: SocketAddress) -> [UInt8] { Array(address.bytes[4..<8]) }

    /// Of `struct sockaddr_in6`; an IPv4 address mapped.
    private static func host6(_ address: SocketAddress) -> [UInt8] {
        if address.family == inet {
            return [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF] + host4(address)
        }
        return Array(address.bytes[8..<24])
    }

    private static func port(_ address: SocketAddress) -> [UInt8] {
        [UInt8(address.port >> 8), UInt8(truncatingIfNeeded: address.port)]
    }
}
