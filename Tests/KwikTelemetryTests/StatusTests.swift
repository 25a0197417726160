import Foundation
import KwikCore
import KwikLinux
import KwikTelemetry
import Testing

private let top = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../..").standardized

private let now = Instant(nanoseconds: 1_000_000_000_000)

private let servers = [
    StatusShape.Server(
        id: ServerID(1), name: "a.example.net", address: "192.0.2.10:4433", roles: [.origin, .replica]),
    StatusShape.Server(
        id: ServerID(2), name: "b.example.net", address: "[2001:db8::20]:4433", roles: .replica),
    StatusShape.Server(
        id: ServerID(3), name: "c.example.net", address: "192.0.2.30:4433", roles: .replica,
        refused: "certificate has expired"),
]

private func stream(_ id: UInt64, delivered: UInt64) -> StreamReport {
    StreamReport(
        stream: StreamID(id), primary: ServerID(1), delivered: delivered, sent: 312,
        parts: [
            StreamPart(server: ServerID(1), role: .primary, received: delivered / 2, ended: nil),
            StreamPart(
                server: ServerID(2), role: .replica, received: delivered / 2, ended: .mismatches(2),
                shift: id == 4 ? -3 : 0),
        ], internalChannels: id == 4 ? 3 : 0)
}

private var report: SessionReport {
    var report = SessionReport()
    report.paths = [
        PathReport(
            path: PathID(1), name: PathName(server: ServerID(1)), kind: .direct, state: .active,
            srtt: .microseconds(12_345), rate: 6_250_000, received: 1_610_612_736, sent: 4_096, streams: 2,
            internalChannels: 5, compresses: true, receivedWire: 536_870_912),
        PathReport(
            path: PathID(2), name: PathName(server: ServerID(2)), kind: .direct, state: .suspect,
            srtt: .milliseconds(150), rate: 0, received: 1_023, sent: 0, streams: 0),
        PathReport(
            path: PathID(3), name: PathName(server: ServerID(1), interface: InterfaceID(3)),
            kind: .interface, state: .active, srtt: .milliseconds(20), rate: 0, received: 0, sent: 0,
            streams: 0),
        PathReport(
            path: PathID(4), name: PathName(server: ServerID(1), relay: ServerID(2)), kind: .relay,
            state: .active, srtt: .milliseconds(30), rate: 1_000_000, received: 0, sent: 2_048, streams: 1),
    ]
    report.spare = PathID(3)
    report.streams = [stream(4, delivered: 3 << 30), stream(8, delivered: 0)]
    report.servers = [
        ServerTrustReport(server: ServerID(1), score: 1, quarantinedUntil: nil),
        ServerTrustReport(server: ServerID(2), score: 0.254, quarantinedUntil: now + .seconds(90)),
    ]
    return report
}

/// A path as its gateway reports it.
private var gatewayReport: SessionReport {
    var report = SessionReport()
    report.paths = [
        PathReport(
            path: PathID(1), name: PathName(server: ServerID(1)), kind: nil, state: .active,
            srtt: .milliseconds(20), rate: 0, received: 0, sent: 0, streams: 0)
    ]
    return report
}

private var status: JSON {
    var counters = Counters()
    counters.connects = 12
    counters.served = 10
    counters.native = 2
    var session = StatusShape.Session(report: report) { $0 == StreamID(4) ? 4_711 : nil }
    session.via = { name in
        if name.relay != nil { return "b.example.net" }
        return name.interface == .any ? nil : "wlan0"
    }
    let finished = [StatusShape.stream(stream(2, delivered: 2_048), program: 99) { _ in "a.example.net" }]
    let web = StatusShape.service(
        name: "www.example.net:80", policy: "fail", servers: servers, sessions: [session], finished: finished,
        now: now)
    let idle = StatusShape.service(
        name: "192.0.2.9:22", policy: nil, servers: [servers[0]], sessions: [], finished: [], now: now)
    let gateway = StatusShape.service(
        name: "a gateway's", policy: nil, servers: [servers[0]],
        sessions: [StatusShape.Session(report: gatewayReport)], finished: [], now: now)
    return StatusShape.document(
        pid: 4_700, uptime: .seconds(93_784), version: "0.1.0", counters: counters,
        services: [web, idle, gateway])
}

@Suite struct StatusText {
    @Test("The table of the status is the recorded one")
    func goldenTable() throws {
        let file = top.appendingPathComponent("Tests/Golden/kwikctl/status.txt")
        let text = StatusTable.status(status, colour: false)
        if ProcessInfo.processInfo.environment["KWIK_GOLDEN_UPDATE"] == "1" {
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(text == (try String(contentsOf: file, encoding: .utf8)))
    }

    @Test func aPathShowsWhatItsBytesWereOnTheWire() throws {
        let paths = try #require(status["services"]?.elements.first?["paths"]?.elements)
        #expect(paths.map { $0["compression"]?.text } == ["zstd", nil, nil, nil])
        #expect(paths.map { $0["received_wire_bytes"]?.integer } == [536_870_912, 1_023, 0, 0])
        #expect(paths.map { $0["sent_wire_bytes"]?.integer } == [4_096, 0, 0, 2_048])
    }

    @Test func channelsThatNoProgramSeesAreCounted() throws {
        let service = try #require(status["services"]?.elements.first)
        func counts(_ member: String) -> [Int64?]? {
            service[member]?.elements.map { $0["internal_channels"]?.integer }
        }
        #expect(counts("paths") == [5, 0, 0, 0])
        #expect(counts("streams") == [3, 0])
        #expect(counts("finished_streams") == [0])
    }

    @Test func aGatewayDoesNotSayHowAPathCame() throws {
        let path = try #require(status["services"]?.elements.last?["paths"]?.elements.first)
        #expect(path["kind"] == JSON.null && path["via"] == JSON.null)
    }

    @Test func coloursChangeNothingElse() {
        let plain = StatusTable.status(status, colour: false)
        let painted = StatusTable.status(status, colour: true)
        #expect(painted.contains("\u{1B}[32mactive"))
        #expect(painted.contains("\u{1B}[33msuspect"))
        #expect(painted.replacing(/\u{1B}\[[0-9]+m/, with: "") == plain)
    }

    @Test func theServersAloneAreAPartOfIt() {
        let text = StatusTable.servers(status, colour: false)
        #expect(text.contains("certificate has expired"))
        #expect(!text.contains("STREAM"))
        #expect(
            StatusTable.servers(.object([("services", .array([]))]), colour: false)
                == "no services are configured\n")
    }

    @Test func whatADaemonLeavesOutIsNoFailure() {
        #expect(StatusTable.status(.null, colour: false) == "kwik ?, pid ?, up 0 s\n")
        let bare = JSON.object([("services", .array([.object([("paths", .array([.null]))])]))])
        #expect(StatusTable.status(bare, colour: false).contains("PATH"))
    }

    @Test func onlyTheLastFinishedStreamsAreShown() {
        let many = (0..<100).map { number in
            StatusShape.stream(stream(UInt64(number), delivered: 0), program: nil) { _ in "a" }
        }
        let service = StatusShape.service(
            name: "s", policy: nil, servers: [], sessions: [], finished: many, now: now)
        let shown = service["finished_streams"]?.elements ?? []
        #expect(shown.count == StatusShape.finishedLimit)
        #expect(shown.last?["id"]?.integer == 99)
    }

    @Test func theVersionIsTheNewestOfTheChanges() throws {
        let changes = try String(contentsOf: top.appendingPathComponent("CHANGELOG.md"), encoding: .utf8)
        let newest = try #require(changes.firstMatch(of: /\n## ([0-9.]+)/))
        #expect(String(newest.1) == Version.text)
    }
}
