import Foundation
import KwikConfiguration
import KwikCore
import Testing

/// A directory of files that goes away with its last reference.
final class Directory {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "kwik-configuration-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
        return "\(path)/\(name)"
    }
}

let examples = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../packaging/examples").standardized

let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"

@Suite struct GoodFiles {
    @Test func theEnginesExampleIsTakenAsItReads() throws {
        let configuration = try EngineConfiguration.load(examples.appendingPathComponent("kwik.toml").path)
        #expect(configuration.logLevel == .info)
        #expect(configuration.maxPaths == 8)
        #expect(configuration.idlePathTimeout == .seconds(60))
        #expect(configuration.runtimeDirectory == nil)
        #expect(configuration.services.count == 2)
        let web = try #require(configuration.services.first)
        #expect(web.name == "www.example.net:80")
        #expect(web.addresses.map(\.description) == ["192.0.2.10:80", "[2001:db8::10]:80"])
        #expect(web.policy == .promote)
        #expect(web.replicas == .auto)
        #expect(web.congestion == .bbr2)
        #expect(web.compression == .none)
        #expect(web.token == "a-long-random-secret")
        #expect(web.authorities == nil)
        #expect(web.servers.map(\.name) == ["a.example.net", "b.example.net"])
        #expect(web.servers.map(\.roles) == [[.origin, .replica], [.replica, .relay]])
        #expect(web.servers.map(\.address.port) == [4433, 4433])
        #expect(web.servers.map(\.pin) == [nil, Array(0..<32)])
        let database = configuration.services[1]
        #expect(database.addresses.map(\.description) == ["198.51.100.7:5432"])
        #expect(database.policy == .fail)
        #expect(database.replicas == .never)
        #expect(database.congestion == .cubic)
        #expect(database.compression == .zstd)
    }

    @Test func theGatewaysExampleIsTakenAsItReads() throws {
        let directory = try Directory()
        let text = try String(contentsOf: examples.appendingPathComponent("gateway.toml"), encoding: .utf8)
        let file = try directory.write("gateway.toml", text)
        try directory.write("a.example.net.pem", pem)
        try directory.write("a.example.net.key", "-----BEGIN PRIVATE KEY-----\n")
        let configuration = try GatewayConfiguration.load(file)
        #expect(configuration.listen.description == "0.0.0.0:4433")
        #expect(configuration.serverID == "a.example.net")
        #expect(configuration.identity.certificate.path == directory.path + "/a.example.net.pem")
        #expect(configuration.identity.certificate.bytes == Array(pem.utf8))
        #expect(configuration.clientAuthorities == nil)
        #expect(configuration.maxRate == 125_000_000)
        #expect(configuration.memory == 128 << 20)
        #expect(configuration.maxSessions == 2_000)
        #expect(configuration.logLevel == .notice)
        #expect(configuration.services.map(\.name) == ["www.example.net:80", "db.example.net:5432"])
        let web = configuration.services[0]
        #expect(web.backend == .tcp(try #require(AddressAndPort(parsing: "127.0.0.1:80"))))
        #expect(web.roles == [.origin, .replica, .relay])
        #expect(configuration.relay?.allow.map(\.description) == ["198.51.100.20:4433"])
        #expect(configuration.relay?.maxRate == 25_000_000 && configuration.relay?.maxPaths == 4)
        #expect(web.tokens == ["a-long-random-secret", "another-one"])
        #expect(web.maxWindow == 8 << 20)
        #expect(web.maxStreams == 500)
        #expect(configuration.services.map(\.compression) == [.none, .zstd])
        #expect(configuration.services[1].backend == .unix("/run/postgresql/.s.PGSQL.5432"))
        #expect(configuration.services[1].maxWindow == 16 << 20)
    }

    /// The backend is told who the client is: no consent is needed.
    @Test func theProxyProtocolTakesTheConsentsPlace() throws {
        let directory = try Directory()
        let example = try String(contentsOf: examples.appendingPathComponent("gateway.toml"), encoding: .utf8)
        let before = "backend_sees = \"gateway\"\nroles = [\"origin\"]"
        #expect(example.contains(before))
        let text = example.replacing(before, with: "proxy_protocol = \"v2\"\nroles = [\"origin\"]")
        try directory.write("a.example.net.pem", pem)
        try directory.write("a.example.net.key", "-----BEGIN PRIVATE KEY-----\n")
        let configuration = try GatewayConfiguration.load(try directory.write("gateway.toml", text))
        #expect(configuration.services.map(\.proxyProtocol) == [nil, .v2])
    }

    @Test func anEmptyFileIsAnEngineWithoutServices() throws {
        let directory = try Directory()
        let configuration = try EngineConfiguration.load(try directory.write("kwik.toml", ""))
        #expect(configuration.services.isEmpty)
        #expect(configuration.maxPaths == 8)
    }

    @Test func filesAreFoundBesideTheConfiguration() throws {
        let directory = try Directory()
        try directory.write("ca.pem", pem)
        try directory.write("me.pem", pem)
        try directory.write("me.key", "-----BEGIN PRIVATE KEY-----\n")
        try directory.write("token", "from-a-file\n")
        let file = try directory.write(
            "kwik.toml",
            """
            [[service]]
            name = "192.0.2.1:80"
            ca = "ca.pem"
            certificate = "\(directory.path)/me.pem"
            key = "me.key"
            token_file = "token"
            [[service.server]]
            name = "a"
            address = "192.0.2.1:4433"
            roles = ["origin"]
            """)
        let service = try #require(try EngineConfiguration.load(file).services.first)
        #expect(service.token == "from-a-file")
        #expect(service.authorities?.path == directory.path + "/ca.pem")
        #expect(service.clientIdentity?.certificate.bytes == Array(pem.utf8))
    }

    @Test func ratesAreBitsAndSizesAreBytes() throws {
        let directory = try Directory()
        try directory.write("c.pem", pem)
        for (rate, bytes) in [
            ("50 Mbit/s", 6_250_000), ("1 Gbit/s", 125_000_000), ("800 kbit/s", 100_000),
            ("2.5Mbit/s", 312_500),
        ] {
            let file = try directory.write("gateway.toml", gateway(rate: rate))
            #expect(try GatewayConfiguration.load(file).maxRate == UInt64(bytes))
        }
    }

    private func gateway(rate: String) -> String {
        """
        [gateway]
        listen = "[::]:0"
        server_id = "a"
        certificate = "c.pem"
        key = "c.pem"
        max_rate = "\(rate)"
        [[service]]
        name = "[::1]:80"
        backend = "[::1]:80"
        backend_sees = "gateway"
        roles = ["origin"]
        """
    }
}
