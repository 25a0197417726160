extension ClientSession {
    /// What `kwikctl status` shows; `streams` that are released are not in it any more.
    public func report(now: Instant) -> SessionReport {
        var report = SessionReport()
        for path in paths {
            let count = streams.count { uses(path, $0) }
            report.paths.append(
                PathReport(
                    path: path.id, name: path.traits.name, kind: path.traits.kind,
                    state: path.liveness.state, srtt: path.sample.srtt,
                    rate: path.rate.recent(srtt: path.sample.srtt, now: now), received: path.received,
                    sent: path.sent, streams: count))
        }
        for stream in streams { report.streams.append(streamReport(stream)) }
        report.servers = trust.report(now: now)
        return report
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

    private func uses(_ path: ClientPath, _ stream: ClientStream) -> Bool {
        stream.own?.path == path.id || stream.parts.contains { $0.ended == nil && $0.channel.path == path.id }
    }

    func streamReport(_ stream: ClientStream) -> StreamReport {
        var parts: [StreamPart] = []
        if let primary = stream.primary {
            parts.append(
                StreamPart(server: primary, role: .primary, received: stream.primaryReceived, ended: nil))
        }
        for part in stream.parts where part.server != stream.primary {
            parts.append(
                StreamPart(server: part.server, role: .replica, received: part.received, ended: part.ended))
        }
        return StreamReport(
            stream: stream.id, primary: stream.primary ?? ServerID(0), delivered: stream.down.read,
            sent: stream.up.produced, parts: parts)
    }
}
