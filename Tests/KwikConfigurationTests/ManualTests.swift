import Foundation
import KwikConfiguration
import Testing

private let top = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../..").standardized

private func source(_ name: String) throws -> String {
    try String(contentsOf: top.appendingPathComponent(name), encoding: .utf8)
}

/// The terms that a manual explains (`.It Cm a , b`), by its subsection.
private func terms(_ manual: String) throws -> [String: Set<String>] {
    var found: [String: Set<String>] = [:]
    var section = ""
    for line in try source("man/\(manual)").split(separator: "\n") {
        if line.hasPrefix(".Ss ") { section = String(line.dropFirst(4)) }
        if line.hasPrefix(".Sh ") { section = "" }
        if line.hasPrefix(".It Cm ") {
            let words = line.dropFirst(7).split(separator: " ").map(String.init)
            found[section, default: []].formUnion(words.filter { $0 != "," })
        }
    }
    return found
}

/// The keys that a table takes, as the refusal of an unknown one lists them.
private func keys(_ load: (String) throws -> Void, _ text: String) throws -> Set<String> {
    let directory = try Directory()
    try directory.write("c.pem", pem)
    do {
        try load(try directory.write("f", text))
        Issue.record("an unknown key was taken")
        return []
    } catch let error as ConfigurationError {
        let list = try #require(error.message.firstMatch(of: /unknown key .*; known are (.*)/))
        return Set(String(list.1).split(separator: ", ").map(String.init))
    }
}

private func engine(_ text: String) throws -> Set<String> {
    try keys({ _ = try EngineConfiguration.load($0) }, text)
}

private func gateway(_ text: String) throws -> Set<String> {
    try keys({ _ = try GatewayConfiguration.load($0) }, text)
}

@Suite struct Manuals {
    @Test func theEnginesManualHasEveryKeyAndNoOther() throws {
        let terms = try terms("kwik.toml.5")
        #expect(terms["The [engine] table"] == (try engine("[engine]\nx = 1")))
        let server = "[[service.server]]\nname = \"a\"\naddress = \"192.0.2.1:1\"\nroles = [\"origin\"]\n"
        let service = "[[service]]\nname = \"192.0.2.1:80\"\n"
        var keys = try engine(service + "x = 1\n" + server)
        #expect(keys.remove("server") != nil)
        #expect(terms["The [[service]] table"] == keys)
        #expect(terms["The [[service.server]] table"] == (try engine(service + server + "x = 1")))
    }

    @Test func theGatewaysManualHasEveryKeyAndNoOther() throws {
        let terms = try terms("kwik-gateway.toml.5")
        let head = """
            [gateway]
            listen = "0.0.0.0:1"
            server_id = "a"
            certificate = "c.pem"
            key = "c.pem"

            """
        #expect(terms["The [gateway] table"] == (try gateway(head + "x = 1")))
        let service = """
            [[service]]
            name = "a:1"
            backend = "127.0.0.1:1"
            backend_sees = "gateway"
            roles = ["origin"]
            x = 1
            """
        #expect(terms["The [[service]] table"] == (try gateway(head + service)))
        let relay = "[relay]\nallow = [\"192.0.2.1:1\"]\nx = 1\n"
        #expect(terms["The [relay] table"] == (try gateway(head + relay)))
    }

    @Test func kwikctlsManualAndCompletionHaveEveryVerbAndOption() throws {
        let command = try source("Sources/kwikctl/Command.swift")
        let manual = try source("man/kwikctl.1")
        let completion = try source("packaging/completions/kwikctl.bash")
        let verbs = command.matches(of: /case "([a-z]+)":/).map { String($0.1) }
        #expect(verbs.count == 5)
        for verb in verbs {
            #expect(manual.contains("\n.It Cm \(verb)\n"), "\(verb)")
            #expect(completion.contains(verb), "\(verb)")
        }
        let options = command.matches(of: /Declaration\("([a-z]+)"/).map { String($0.1) }
        for option in Set(options).subtracting(["help"]) {
            #expect(manual.contains("\n.It Fl -\(option)"), "\(option)")
            #expect(completion.contains("--\(option)"), "\(option)")
        }
    }

    @Test func theDaemonsManualsNameTheirDefaultConfiguration() throws {
        for (program, manual) in [
            ("Sources/KwikEngine/EngineProgram.swift", "man/kwikd.8"),
            ("Sources/KwikGateway/GatewayProgram.swift", "man/kwik-gateway.8"),
        ] {
            let path = try #require(try source(program).firstMatch(of: /"(\/etc\/kwik\/[a-z.-]+)"/))
            #expect(try source(manual).contains("\n.It Pa \(path.1)\n"), "\(path.1)")
        }
    }

    @Test(arguments: [
        "kwikctl.1", "kwikd.8", "kwik-gateway.8", "kwik.toml.5", "kwik-gateway.toml.5", "libkwik.3",
    ])
    func mandocFindsNoFault(manual: String) throws {
        let mandoc = Process()
        mandoc.executableURL = URL(fileURLWithPath: "/usr/bin/mandoc")
        mandoc.arguments = ["-Tlint", "-W", "warning", top.appendingPathComponent("man/\(manual)").path]
        let output = Pipe()
        mandoc.standardOutput = output
        try mandoc.run()
        let faults = output.fileHandleForReading.readDataToEndOfFile()
        mandoc.waitUntilExit()
        #expect(String(decoding: faults, as: UTF8.self) == "")
        #expect(mandoc.terminationStatus == 0)
    }
}
