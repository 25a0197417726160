import Glibc
import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct SocketAddressTests {
        @Test(arguments: [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("255.255.255.255:65535", "255.255.255.255:65535"),
            ("[::1]:443", "[::1]:443"),
            ("[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1"),
            ("[::ffff:192.0.2.1]:7", "[::ffff:192.0.2.1]:7"),
            ("[fe80::1%1]:9", "[fe80::1%1]:9"),
            ("[fe80::1%lo]:9", "[fe80::1%1]:9"),
        ])
        func parsesAndPrints(text: String, printed: String) throws {
            let address = try #require(SocketAddress(parsing: text))
            #expect(address.description == printed)
            #expect(SocketAddress(parsing: printed) == address)
            #expect(SocketAddress(bytes: address.bytes) == address)
        }

        @Test(arguments: [
            "", ":", ":80", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:+1",
            "192.0.2.1: 1", "192.0.2.1:000080", "192.0.2:80", "192.0.2.256:80", "192.0.2.01:80",
            "example.org:80",
            "::1:80", "[::1]", "[::1]80", "[192.0.2.1]:80", "[::1:80", "[]:80", "[::g]:80", "[fe80::1%]:1",
            "[fe80::1%no-such-link]:1", "[::1%0]:1",
        ])
        func refuses(text: String) { #expect(SocketAddress(parsing: text) == nil) }

        @Test func portAndHostDistinguish() throws {
            let one = try #require(SocketAddress(host: "192.0.2.1", port: 1))
            var other = one
            other.port = 2
            #expect(one != other)
            #expect(other.bytes[2...3] == [0, 2])
            #expect(SocketAddress(host: "::192.0.2.1", port: 1) != one)
            #expect(Set([one, other, one]).count == 2)
        }

        @Test func wildcardsLoopbacksAndMappedAddressesAreKnown() throws {
            func at(_ host: String) throws -> SocketAddress {
                try #require(SocketAddress(host: host, port: 5))
            }
            #expect(try at("0.0.0.0").isWildcard && at("::").isWildcard)
            #expect(try !at("0.0.0.1").isWildcard && !at("::1").isWildcard)
            #expect(try at("127.255.0.1").isLoopback && at("::ffff:127.0.0.1").isLoopback)
            #expect(try at("::1").isLoopback)
            #expect(try !at("128.0.0.1").isLoopback && !at("::2").isLoopback && !at("::").isLoopback)
            #expect(try at("::ffff:192.0.2.1").unmapped == at("192.0.2.1"))
            #expect(try at("2001:db8::1").unmapped == at("2001:db8::1"))
        }

        @Test func unixAddressesKeepTheirNames() throws {
            let path = try #require(SocketAddress.unix(path: "/run/x.sock"))
            #expect(path.description == "/run/x.sock" && path.bytes.count == 2 + 11 + 1)
            #expect(path.abstractName == nil)
            #expect(SocketAddress(bytes: path.bytes) == path)
            let name: [UInt8] = [1, 0, 2, 0]
            let abstract = try #require(SocketAddress.unix(abstract: name))
            #expect(abstract.abstractName == name && abstract.bytes.count == 2 + 1 + 4)
            #expect(SocketAddress(bytes: abstract.bytes) == abstract)
            #expect(SocketAddress.unix(path: String(repeating: "p", count: 107)) != nil)
            #expect(SocketAddress.unix(path: String(repeating: "p", count: 108)) == nil)
            #expect(SocketAddress.unix(path: "") == nil)
            #expect(SocketAddress.unix(path: "a\0b") == nil)
        }

        @Test(arguments: [
            [], [2], [2, 0, 0, 80, 127], [10, 0] + [UInt8](repeating: 0, count: 25), [99, 0, 1, 2],
        ])
        func bytesThatAreNoAddressAreRefused(raw: [UInt8]) { #expect(SocketAddress(bytes: raw) == nil) }
    }
}
