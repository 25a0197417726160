extension ClientSession {
    /// What `kwikctl status` shows; `streams` that are released are not in it any more.
    public func report(now: Instant) -> SessionReport {
        var report = SessionReport()
        let loads = loads()
        for path in paths {
            let load = loads[path.id] ?? Load()
            report.paths.append(
                PathReport(
                    path: path.id, name: path.traits.name, kind: path.traits.kind,
                    state: path.liveness.state, srtt: path.sample.srtt,
                    rate: path.rate.recent(srtt: path.sample.srtt, now: now), received: path.received,
                    sent: path.sent, streams: load.streams, internalChannels: load.internalChannels,
                    compresses: compresses(path), receivedWire: path.receivedWire, sentWire: path.sentWire))
        }
        for stream in streams { report.streams.append(streamReport(stream)) }
        report.servers = trust.report(now: now)
        report.spare = spare(report.paths)
        return report
    }

    /// Who would take over: a path to the server that most streams rest on, else to another origin, the
    /// quickest first.
    private func spare(_ reports: [PathReport]) -> PathID? {
        let idle = paths.filter { path in
            path.isActive && reports.contains { $0.path == path.id && $0.streams == 0 }
        }
        let primaries = streams.compactMap(\.primary)
        func worth(_ path: ClientPath) -> Int {
            if primaries.contains(path.server) { return 2 }
            return path.traits.roles.contains(.origin) ? 1 : 0
        }
        let best = idle.max {
            worth($0) != worth($1) ? worth($0) < worth($1) : $0.sample.srtt > $1.sample.srtt
        }
        return primaries.isEmpty ? nil : best.flatMap { worth($0) > 0 ? $0.id : nil }
    }

    /// One stream's figures; those of a released one until the next tick.
    public func report(of id: StreamID) -> StreamReport? {
        ended.first { $0.stream == id } ?? find(id).map(streamReport)
    }

    /// What TCP_INFO shows of a stream.
    public func figures(of id: StreamID) -> StreamFigures? {
        find(id).map { stream in
            StreamFigures(
                path: stream.own.flatMap { path($0.path)?.sample }, produced: stream.up.produced,
                sent: stream.upSent, acknowledged: stream.upAcknowledged, received: stream.down.front)
        }
    }

    /// What one path carries.
    private struct Load {
        var streams = 0
        var internalChannels = 0
    }

    /// One look at each stream, of which there may be thousands, whatever the number of paths.
    private func loads() -> [PathID: Load] {
        var loads: [PathID: Load] = [:]
        for stream in streams {
            var carriers: [PathID] = []
            if let own = stream.own { carriers.append(own.path) }
            forEachInternalChannel(of: stream) { path in
                loads[path, default: Load()].internalChannels += 1
                if !carriers.contains(path) { carriers.append(path) }
            }
            for path in carriers { loads[path, default: Load()].streams += 1 }
        }
        return loads
    }

    func streamReport(_ stream: ClientStream) -> StreamReport {
        var parts: [StreamPart] = []
        if let primary = stream.primary {
            let isOneOfTwo = stream.quorumServers.contains(primary)
            let role = isOneOfTwo ? StreamPart.PartRole.quorum : .primary
            parts.append(
                StreamPart(server: primary, role: role, received: stream.primaryReceived, ended: nil))
        }
        for part in stream.parts where part.server != stream.primary {
            let isOneOfTwo = stream.quorumServers.contains(part.server)
            let role = isOneOfTwo ? StreamPart.PartRole.quorum : .replica
            parts.append(
                StreamPart(
                    server: part.server, role: role, received: part.received, ended: part.ended,
                    shift: part.anchor.shift))
        }
        var hidden = 0
        forEachInternalChannel(of: stream) { _ in hidden += 1 }
        return StreamReport(
            stream: stream.id, primary: stream.primary ?? stream.quorum?.lead.server ?? ServerID(0),
            delivered: stream.down.read, sent: stream.up.produced, parts: parts, internalChannels: hidden)
    }

    /// Channels of the stream that no program sees, by their paths.
    private func forEachInternalChannel(of stream: ClientStream, _ body: (PathID) -> Void) {
        for lease in stream.book.leases { body(lease.channel.path) }
        for contribution in stream.contributions { body(contribution.channel.path) }
        for part in stream.parts where part.ended == nil { body(part.channel.path) }
        for side in stream.sides { body(side.path) }
    }
}
