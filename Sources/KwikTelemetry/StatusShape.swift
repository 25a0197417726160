public import KwikCore

/// The one shape of the status, whoever gives it (kwikctl(1) documents it): kwikd and kwik-gateway build it
/// here.
public enum StatusShape {
    /// Finished streams that a service remembers.
    public static let finishedLimit = 64

    /// What the configuration says of a server.
    public struct Server: Sendable {
        public var id: ServerID
        public var name: String
        public var address: String
        public var roles: Roles
        /// Why it can't be used; nil where nothing is known against it.
        public var refused: String?

        public init(id: ServerID, name: String, address: String, roles: Roles, refused: String? = nil) {
            self.refused = refused
            self.id = id
            self.name = name
            self.address = address
            self.roles = roles
        }
    }

    /// One session of a service, as its owner knows it.
    public struct Session {
        public var report: SessionReport
        /// The program behind a stream; nil: not known (as at a gateway).
        public var program: (StreamID) -> Int32?
        /// The interface or relay that a path leaves by; nil: not known (as at a gateway).
        public var via: (PathName) -> String? = { _ in nil }

        public init(report: SessionReport, program: @escaping (StreamID) -> Int32? = { _ in nil }) {
            self.report = report
            self.program = program
        }
    }

    /// `services`: made by `service`.
    public static func document(
        pid: Int32, uptime: Interval, version: String, counters: Counters, services: [JSON]
    ) -> JSON {
        .object([
            (
                "engine",
                .object([
                    ("pid", .integer(Int64(pid))), ("uptime_s", .number(round(uptime.seconds, digits: 1))),
                    ("version", .string(version)),
                ])
            ),
            ("counters", counters.json), ("services", .array(services)),
        ])
    }

    /// `policy`: nil at a gateway. `finished`: made by `stream`, oldest first; the last `finishedLimit` are
    /// shown.
    public static func service(
        name: String, policy: String?, servers: [Server], sessions: [Session], finished: [JSON], now: Instant
    ) -> JSON {
        let paths = sessions.flatMap(\.report.paths)
        let shownPaths = sessions.flatMap { session in
            let spare = session.report.spare
            return session.report.paths.map {
                path($0, via: session.via($0.name), isSpare: $0.path == spare, name: serverName)
            }
        }
        let trust = sessions.flatMap(\.report.servers)
        func serverName(_ id: ServerID) -> String { servers.first { $0.id == id }?.name ?? "\(id.value)" }
        let streams = sessions.flatMap { session in
            session.report.streams.map { stream($0, program: session.program($0.stream), name: serverName) }
        }
        return .object([
            ("name", .string(name)), ("policy", JSON(policy)),
            ("servers", .array(servers.map { server($0, paths: paths, trust: trust, now: now) })),
            ("paths", .array(shownPaths)),
            ("streams", .array(streams)), ("finished_streams", .array(Array(finished.suffix(finishedLimit)))),
        ])
    }

    /// Also for a stream's last report, kept for `finished`.
    public static func stream(_ report: StreamReport, program: Int32?, name: (ServerID) -> String) -> JSON {
        let parts = report.parts.map { part in
            JSON.object([
                ("server", .string(name(part.server))), ("role", .string(part.role.rawValue)),
                ("bytes", JSON(part.received)), ("shift", .integer(part.shift)),
                ("note", JSON(part.ended.map { "ended: \(describe($0))" })),
            ])
        }
        return .object([
            ("id", JSON(report.stream.value)), ("pid", program.map { .integer(Int64($0)) } ?? .null),
            ("primary", .string(name(report.primary))), ("delivered_bytes", JSON(report.delivered)),
            ("sent_bytes", JSON(report.sent)), ("internal_channels", JSON(report.internalChannels)),
            ("parts", .array(parts)),
        ])
    }

    private static func path(
        _ report: PathReport, via: String?, isSpare: Bool, name: (ServerID) -> String
    ) -> JSON {
        .object([
            ("id", .integer(Int64(report.path.value))), ("server", .string(name(report.server))),
            ("kind", JSON(report.kind?.rawValue)), ("via", JSON(via)),
            ("state", .string(report.state.rawValue)),
            ("rtt_ms", .number(round(report.srtt.milliseconds, digits: 2))),
            ("rate_mbps", .number(round(report.rate * 8e-6, digits: 2))),
            ("received_bytes", JSON(report.received)), ("sent_bytes", JSON(report.sent)),
            ("compression", JSON(report.compresses ? "zstd" : nil)),
            ("received_wire_bytes", JSON(report.receivedWire)), ("sent_wire_bytes", JSON(report.sentWire)),
            ("streams", JSON(report.streams)), ("internal_channels", JSON(report.internalChannels)),
            ("spare", .bool(isSpare)),
        ])
    }

    /// A server's state is the best of its paths'; "unconnected" without any. Its trust is the worst that a
    /// session has found, 1 if none has an opinion.
    private static func server(
        _ server: Server, paths: [PathReport], trust: [ServerTrustReport], now: Instant
    ) -> JSON {
        let ranking: [PathState] = [.active, .suspect, .connecting, .failed, .closed]
        let states = paths.filter { $0.server == server.id }.map(\.state)
        let opinions = trust.filter { $0.server == server.id }
        let quarantine = opinions.compactMap(\.quarantinedUntil).max().map { max(0, ($0 - now).seconds) } ?? 0
        return .object([
            ("name", .string(server.name)), ("address", .string(server.address)),
            ("roles", .array(names(server.roles).map { .string($0) })),
            ("state", .string(ranking.first(where: states.contains)?.rawValue ?? "unconnected")),
            ("trust", .number(round(opinions.map(\.score).min() ?? 1, digits: 2))),
            ("quarantined_s", .number(round(quarantine, digits: 1))), ("refused", JSON(server.refused)),
        ])
    }

    private static func names(_ roles: Roles) -> [String] {
        let all: [(Roles, String)] = [(.origin, "origin"), (.replica, "replica"), (.relay, "relay")]
        return all.filter { roles.contains($0.0) }.map(\.1)
    }

    /// To so many digits after the point; 0 for what is not finite.
    private static func round(_ value: Double, digits: Int) -> Double {
        guard value.isFinite else { return 0 }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        return (value * scale).rounded() / scale
    }
}
