import KwikConfiguration
import Testing

/// What is wrong with `text`, after the name of its file; nil: nothing.
private func engineProblem(_ text: String) throws -> String? {
    let directory = try Directory()
    let file = try directory.write("f", text)
    do {
        _ = try EngineConfiguration.load(file)
        return nil
    } catch {
        #expect(error.description.hasPrefix(file + ":"))
        return String(error.description.dropFirst(file.count + 1)).replacing(directory.path, with: "DIR")
    }
}

private func gatewayProblem(_ text: String) throws -> String? {
    let directory = try Directory()
    try directory.write("c.pem", pem)
    try directory.write("empty", "")
    let file = try directory.write("f", text)
    do {
        _ = try GatewayConfiguration.load(file)
        return nil
    } catch {
        #expect(error.description.hasPrefix(file + ":"))
        return String(error.description.dropFirst(file.count + 1)).replacing(directory.path, with: "DIR")
    }
}

/// A file that has only what `line` adds wrong.
private func service(_ line: String) -> String {
    """
    [[service]]
    name = "192.0.2.1:80"
    \(line)
    [[service.server]]
    name = "a"
    address = "192.0.2.1:4433"
    roles = ["origin"]
    """
}

private func server(_ lines: String) -> String {
    """
    [[service]]
    name = "192.0.2.1:80"
    [[service.server]]
    \(lines)
    """
}

/// A backend that sees the client.
private func seen(_ backend: String, more: String = "") -> String {
    gateway(service: more).replacing("127.0.0.1:80", with: backend)
        .replacing("backend_sees = \"gateway\"", with: "backend_sees = \"client\"")
}

private func gateway(_ line: String = "", service: String = "") -> String {
    """
    [gateway]
    listen = "0.0.0.0:4433"
    server_id = "a"
    certificate = "c.pem"
    key = "c.pem"
    \(line)
    [[service]]
    name = "www.example.net:80"
    backend = "127.0.0.1:80"
    backend_sees = "gateway"
    roles = ["origin"]
    \(service)
    """
}

/// A gateway that relays.
private func relay(_ lines: String) -> String {
    gateway(service: "[relay]\n\(lines)").replacing("[\"origin\"]", with: "[\"relay\", \"origin\"]")
}

private let badEngines: [(text: String, problem: String)] = [
    (
        "[engine]\nmax_path = 3",
        "2:1: unknown key 'max_path' in [engine]; known are client_id, idle_path_timeout, "
            + "interfaces, log_level, max_paths, runtime_dir"
    ),
    ("engine = 3", "1:10: [engine] must be a table, this is an integer"),
    ("[gateway]", "1:2: unknown key 'gateway' in the file; known are engine, service"),
    ("[engine]\nmax_paths = 0", "2:13: 'max_paths' must be 1 ... 64, this is 0"),
    ("[engine]\nmax_paths = \"3\"", "2:13: 'max_paths' must be an integer, this is a string"),
    (
        "[engine]\nlog_level = \"loud\"",
        "2:13: 'log_level' must be one of \"error\", \"warning\", \"notice\", "
            + "\"info\", \"debug\"; this is \"loud\""
    ),
    ("[engine]\nlog_level = true", "2:13: 'log_level' must be a string, this is true or false"),
    (
        "[engine]\nidle_path_timeout = \"soon\"",
        "2:21: 'idle_path_timeout' must be a duration such as \"30 s\", this is \"soon\""
    ),
    (
        "[engine]\nidle_path_timeout = \"2 h\"",
        "2:21: 'idle_path_timeout' must be 1 s ... 3600 s, this is \"2 h\""
    ),
    ("[engine]\ninterfaces = \"eth0\"", "2:14: 'interfaces' must be an array, this is a string"),
    ("[engine]\ninterfaces = []", "2:14: 'interfaces' is empty"),
    (
        "[engine]\ninterfaces = [\"eth0\", \"auto\"]",
        "2:23: 'interfaces' holds either \"auto\" alone or names of interfaces"
    ),
    (
        "[engine]\ninterfaces = [\"eth0\", \"eth0\"]",
        "2:23: 'interfaces' names an interface twice: \"eth0\""
    ),
    (
        "[engine]\ninterfaces = [\"eth 0\"]",
        "2:15: 'interfaces' holds what is no name of an interface: \"eth 0\""
    ),
    (
        service("interfaces = [\"a-name-of-16-bytes\"]"),
        "3:15: 'interfaces' holds what is no name of an interface: \"a-name-of-16-bytes\""
    ),
    ("[engine]\nruntime_dir = \"\"", "2:15: 'runtime_dir' is empty"),
    ("[engine]\nruntime_dir = \"a\\u0000b\"", "2:15: 'runtime_dir' holds a control character"),
    ("[[service]]", "1:1: 'name' is missing in [[service]]"),
    ("service = []", "1:11: 'service' is empty"),
    ("[[service]]\nname = \"www\"", "2:8: 'name' must be \"host:port\", this is \"www\""),
    ("[[service]]\nname = \"a b:80\"", "2:8: 'name' must be \"host:port\", this is \"a b:80\""),
    ("[[service]]\nname = \"::1:80\"", "2:8: 'name' must be \"host:port\", this is \"::1:80\""),
    ("[[service]]\nname = \"www:0\"", "2:8: 'name' must be \"host:port\", this is \"www:0\""),
    ("[[service]]\nname = \"www:+80\"", "2:8: 'name' must be \"host:port\", this is \"www:+80\""),
    (
        "[[service]]\nname = \"www:80\"",
        "1:1: 'addresses' is missing in [[service]]: connect(2) sees addresses, not the name \"www\""
    ),
    (
        "[[service]]\nname = \"www:80\"\naddresses = [\"www:80\"]",
        "3:14: 'addresses' must be \"address:port\" with a literal address, this is \"www:80\""
    ),
    (
        service("addresses = [\"192.0.2.1:80\", \"192.0.2.1:80\"]"),
        "3:30: 'addresses' holds an address that is used twice: 192.0.2.1:80"
    ),
    (service("") + "\n" + service(""), "9:8: 'name' is used twice: \"192.0.2.1:80\""),
    (
        service("policy = \"maybe\""),
        "3:10: 'policy' must be one of \"fail\", \"promote\", \"quorum\"; this is \"maybe\""
    ),
    (
        service("replicas = \"always\""),
        "3:12: 'replicas' must be one of \"auto\", \"never\"; this is \"always\""
    ),
    (
        service("congestion = \"reno\""),
        "3:14: 'congestion' must be one of \"cubic\", \"bbr2\"; this is \"reno\""
    ),
    (
        service("compression = \"gzip\""),
        "3:15: 'compression' must be one of \"none\", \"zstd\"; this is \"gzip\""
    ),
    (service("compression = true"), "3:15: 'compression' must be a string, this is true or false"),
    (
        service("token = \"a b\""),
        "3:9: 'token' holds a token that is longer than 4096 bytes or not plain text"
    ),
    (
        service("token_file = \"none\""),
        "3:14: 'token_file' names a file that can't be read: DIR/none: No such file or directory"
    ),
    (
        service("ca = \"none\""),
        "3:6: 'ca' names a file that can't be read: DIR/none: No such file or directory"
    ),
    (
        service("ca = \"/dev/null\""),
        "3:6: 'ca' names a file that can't be read: /dev/null: not a regular file"
    ),
    (service("ca = \"f\""), "3:6: 'ca' names a file that is not PEM: DIR/f"),
    (
        service("colour = 3"),
        "3:1: unknown key 'colour' in [[service]]; known are addresses, ca, certificate, "
            + "compression, congestion, interfaces, key, name, policy, replicas, server, token, token_file"
    ),
    ("[[service]]\nname = \"192.0.2.1:80\"", "1:1: 'server' is missing in [[service]]"),
    (
        server("name = \"a\"\naddress = \"192.0.2.1:4433\"\nroles = [\"replica\"]"),
        "1:1: no [[service.server]] of \"192.0.2.1:80\" has the role \"origin\""
    ),
    (server("name = \"a\"\nroles = [\"origin\"]"), "3:1: 'address' is missing in [[service.server]]"),
    (server("name = \"a\"\naddress = \"192.0.2.1:0\"\nroles = [\"origin\"]"), "5:11: 'address' has port 0"),
    (
        server("name = \"a\"\naddress = \"192.0.2.1:1\"\nroles = [\"relay\"]"),
        "1:1: no [[service.server]] of \"192.0.2.1:80\" has the role \"origin\""
    ),
    (
        server("name = \"a\"\naddress = \"192.0.2.1:1\"\nroles = [\"king\"]"),
        "6:10: 'roles' may hold \"origin\", \"replica\" and \"relay\", this is \"king\""
    ),
    (
        server("name = \"a\"\naddress = \"192.0.2.1:1\"\nroles = [\"origin\"]\npin = \"sha256//AAAA\""),
        "7:7: 'pin' must be \"sha256//\" and 32 bytes in base 64"
    ),
    ("[engine\n", "1:8: Error while parsing table header: expected ']', saw '\\n'"),
    ("a = 1\na = 2", "2:5: Error while parsing key-value pair: cannot redefine existing integer 'a'"),
]

private let badGateways: [(text: String, problem: String)] = [
    ("", "1:1: '[gateway]' is missing in the file"),
    ("[gateway]\nserver_id = \"a\"", "1:1: 'listen' is missing in [gateway]"),
    (
        "[gateway]\nlisten = \"localhost:1\"",
        "2:10: 'listen' must be \"address:port\" with a literal address, this is \"localhost:1\""
    ),
    ("[gateway]\nlisten = \"0.0.0.0:1\"\nserver_id = \"a\"", "1:1: 'certificate' is missing in [gateway]"),
    (
        "[gateway]\nlisten = \"0.0.0.0:1\"\nserver_id = \"a\"\ncertificate = \"c.pem\"",
        "1:1: 'certificate' needs 'key' beside it in [gateway]"
    ),
    (
        gateway("max_rate = \"50 MB/s\""),
        "6:12: 'max_rate' must be a rate such as \"50 Mbit/s\", this is \"50 MB/s\""
    ),
    (
        gateway("max_rate = \"1 kbit/s\""),
        "6:12: 'max_rate' must be 8 kbit/s ... 10000 Gbit/s, this is \"1 kbit/s\""
    ),
    (gateway("max_rate = 50"), "6:12: 'max_rate' must be a string, this is an integer"),
    (gateway("memory = \"1 KiB\""), "6:10: 'memory' must be 1 MiB ... 1024 GiB, this is \"1 KiB\""),
    (gateway("memory = \"lots\""), "6:10: 'memory' must be a size such as \"16 MiB\", this is \"lots\""),
    (gateway("max_sessions = 1979-05-27"), "6:16: 'max_sessions' must be an integer, this is a date or time"),
    (
        gateway().replacing("backend_sees = \"gateway\"", with: "backend_sees = \"nobody\""),
        "10:16: 'backend_sees' must be one of \"gateway\", \"client\"; this is \"nobody\""
    ),
    (seen("127.0.0.1:80"), "1:1: 'runtime_dir' is missing in [gateway]"),
    (
        seen("[::1]:80"),
        "10:16: 'backend_sees' can be \"client\" only for a backend at an IPv4 address: one that listens on "
            + "[::] is at 127.0.0.1 too"
    ),
    (
        seen("unix:/run/x"),
        "10:16: 'backend_sees' can be \"client\" only for a backend at an IPv4 address: one that listens on "
            + "[::] is at 127.0.0.1 too"
    ),
    (
        seen("127.0.0.1:80", more: "proxy_protocol = \"v2\""),
        "10:16: 'backend_sees' can't be \"client\" beside 'proxy_protocol'"
    ),
    (
        gateway().replacing("backend_sees = \"gateway\"\n", with: ""),
        "7:1: 'backend_sees' is missing in [[service]]: write backend_sees = \"gateway\" to agree that the "
            + "backend sees the gateway's address instead of the client's, backend_sees = \"client\" if it "
            + "runs under libkwik.so, or tell it the client's by proxy_protocol = \"v2\""
    ),
    (
        gateway(service: "proxy_protocol = \"v1\""),
        "12:18: 'proxy_protocol' must be one of \"v2\"; this is \"v1\""
    ),
    (
        gateway().replacing("127.0.0.1:80", with: "unix:relative"),
        "9:11: 'backend' must be \"unix:\" and an absolute path of at most 107 bytes"
    ),
    (
        gateway().replacing("127.0.0.1:80", with: "www:80"),
        "9:11: 'backend' must be \"address:port\" with a literal address or \"unix:/path\", "
            + "this is \"www:80\""
    ),
    (
        gateway(service: "compression = \"lz4\""),
        "12:15: 'compression' must be one of \"none\", \"zstd\"; this is \"lz4\""
    ),
    (
        gateway(service: "max_window = \"1 KiB\""),
        "12:14: 'max_window' must be 64 KiB ... 1 GiB, this is \"1 KiB\""
    ),
    (gateway(service: "tokens = [\"ok\", \"\"]"), "12:17: 'tokens' is empty"),
    (gateway(service: "tokens = []"), "12:10: 'tokens' is empty"),
    (
        gateway(service: "token_file = \"empty\""),
        "12:14: 'token_file' must name a file of 1 ... 1024 lines, DIR/empty has 0"
    ),
    (
        gateway(service: "[[service]]\nname = \"www.example.net:80\""),
        "13:8: 'name' is used twice: \"www.example.net:80\""
    ),
    (
        gateway(service: "[relay]\nallow = [\"192.0.2.1:1\"]"),
        "1:1: [relay] is of no use: no [[service]] has the role \"relay\""
    ),
    (
        gateway().replacing("[\"origin\"]", with: "[\"origin\", \"relay\"]"),
        "7:1: the role \"relay\" needs a table [relay] that says what may be reached through it"
    ),
    (relay("allow = []"), "13:9: 'allow' is empty"),
    (relay("max_rate = \"1 Gbit/s\""), "12:1: 'allow' is missing in [relay]"),
    (
        relay("allow = [\"www:80\"]"),
        "13:10: 'allow' must be \"address:port\" with a literal address, this is \"www:80\""
    ),
    (relay("allow = [\"192.0.2.1:0\"]"), "13:10: 'allow' holds an address with port 0"),
    (
        relay("allow = [\"0.0.0.0:4433\"]"),
        "13:10: 'allow' holds an address that is no single machine's: 0.0.0.0:4433"
    ),
    (
        relay("allow = [\"192.0.2.1:1\", \"[ff02::1]:4433\"]"),
        "13:25: 'allow' holds an address that is no single machine's: [ff02::1]:4433"
    ),
    (
        relay("allow = [\"192.0.2.1:1\", \"192.0.2.1:1\"]"),
        "13:25: 'allow' holds an address twice: 192.0.2.1:1"
    ),
    (
        relay("allow = [\"192.0.2.1:1\"]\nmax_paths = 0"),
        "14:13: 'max_paths' must be 1 ... 64, this is 0"
    ),
    (
        relay("allow = [\"192.0.2.1:1\"]\ndeny = []"),
        "14:1: unknown key 'deny' in [relay]; known are allow, max_paths, max_rate"
    ),
    (
        relay("allow = [\"192.0.2.1:1\"]").replacing("[\"relay\", \"origin\"]", with: "[\"relay\"]"),
        "9:11: 'backend' is of no use where \"relay\" is the only role"
    ),
    (
        String(gateway().prefix { $0 != "w" }.dropLast("[[service]]\nname = \"".count)),
        "1:1: '[[service]]' is missing in the file"
    ),
]

@Suite struct BadFiles {
    @Test(arguments: badEngines.map(\.text))
    func anEnginesFileIsRefusedWithThePlace(text: String) throws {
        let found = try engineProblem(text)
        let expected = badEngines.first { $0.text == text }?.problem
        #expect(found == expected)
    }

    @Test(arguments: badGateways.map(\.text))
    func aGatewaysFileIsRefusedWithThePlace(text: String) throws {
        let found = try gatewayProblem(text)
        let expected = badGateways.first { $0.text == text }?.problem
        #expect(found == expected)
    }

    @Test func whatThoseTablesChangeIsGoodOtherwise() throws {
        #expect(try engineProblem(service("")) == nil)
        #expect(try gatewayProblem(gateway()) == nil)
        #expect(try gatewayProblem(relay("allow = [\"192.0.2.1:4433\"]")) == nil)
    }

    @Test func aMissingFileIsNamed() {
        #expect(
            throws: ConfigurationError(
                file: "/nonexistent/kwik.toml", line: 1, column: 1,
                message: "cannot read /nonexistent/kwik.toml: No such file or directory")
        ) { try EngineConfiguration.load("/nonexistent/kwik.toml") }
    }
}
