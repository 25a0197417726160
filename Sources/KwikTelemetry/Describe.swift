internal import Glibc
public import KwikCore

/// One event as a line of the log.
public struct EventDescription: Hashable, Sendable {
    public var level: Log.Level
    public var message: String
    public var fields: [LogField]

    init(_ level: Log.Level, _ message: String, _ fields: [LogField]) {
        self.level = level
        self.message = message
        self.fields = fields
    }
}

/// `name` gives a server's name; without it servers show as their numbers.
public func describe(_ event: Event, name: (ServerID) -> String = { "\($0.value)" }) -> EventDescription {
    switch event {
    case .pathStateChanged(let path, let server, let from, let to):
        let level: Log.Level = to == .suspect || to == .failed ? .warning : .info
        return EventDescription(
            level, "path \(to.rawValue)",
            [LogField("path", path.value), LogField("server", name(server)), LogField("from", from.rawValue)])
    case .malformed(let channel, let error):
        return EventDescription(
            .warning, "malformed frame",
            channelFields(channel) + [LogField("reason", String(describing: error))])
    case .unknownStream(let channel, let stream):
        return EventDescription(
            .warning, "channel for an unknown stream",
            [LogField("stream", stream.value)] + channelFields(channel))
    case .policyViolation(let path, let server, let code):
        return EventDescription(
            .error, "server did what it may not",
            [
                LogField("path", path.value), LogField("server", name(server)),
            ] + codeFields(code))
    case .channelFailed(let channel, let stream, let code):
        return EventDescription(
            code.recovery.isAlert ? .warning : .notice, "channel of a stream ended by a fault",
            [LogField("stream", stream.value)] + channelFields(channel) + codeFields(code))
    case .blockMismatch(let stream, let block, let server):
        return EventDescription(
            .warning, "block of a replica does not match",
            [LogField("stream", stream.value), LogField("block", block), LogField("server", name(server))])
    case .integrityFailure(let stream, let offset):
        return EventDescription(
            .error, "checksum failed", [LogField("stream", stream.value), LogField("offset", offset)])
    case .streamOpened, .streamConnected, .streamClosed, .windowUsed, .reattached, .belowTarget:
        return describeStream(event, name)
    case .promoted, .quorum, .quorumDisagreed:
        return describeSuccession(event, name)
    case .replicaEngaged, .replicaEnded, .replicaQuarantined, .replicaShifted, .leaseMoved:
        return describeReplica(event, name)
    case .serverStreamRefused, .nameRefused, .contributed, .contributionFailed, .delegationExpired:
        return describeContribution(event, name)
    }
}

private func describeContribution(_ event: Event, _ name: (ServerID) -> String) -> EventDescription {
    func fields(_ stream: StreamID, _ server: ServerID, _ offset: UInt64) -> [LogField] {
        [
            LogField("stream", stream.value), LogField("server", name(server)), LogField("offset", offset),
        ]
    }
    switch event {
    case .serverStreamRefused(let stream, let server):
        return EventDescription(
            .warning, "stream of a server refused",
            [LogField("stream", stream.value), LogField("server", name(server))])
    case .nameRefused(let server, let claimed, let refusal):
        return EventDescription(
            .warning, "server's id not believed",
            [
                LogField("server", name(server)), LogField("id", String(decoding: claimed, as: UTF8.self)),
                LogField("reason", refusal.rawValue),
            ])
    case .contributed(let stream, let server, let offset, let length):
        return EventDescription(
            .debug, "contribution taken", fields(stream, server, offset) + [LogField("length", length)])
    case .contributionFailed(let stream, let server, let offset, let code):
        return EventDescription(
            .warning, "contribution not taken",
            fields(stream, server, offset) + [LogField("code", String(describing: code))])
    case .delegationExpired(let stream, let server, let offset, let length):
        return EventDescription(
            .warning, "delegated blocks did not come",
            fields(stream, server, offset) + [LogField("length", length)])
    default:
        preconditionFailure("not an event of a contribution")
    }
}

private func describeStream(_ event: Event, _ name: (ServerID) -> String) -> EventDescription {
    switch event {
    case .streamOpened(let stream, let server):
        return EventDescription(
            .debug, "stream opened", [LogField("stream", stream.value), LogField("server", name(server))])
    case .streamConnected(let stream, let errno):
        if errno == 0 {
            return EventDescription(.debug, "stream connected", [LogField("stream", stream.value)])
        }
        return EventDescription(
            .notice, "backend refused",
            [LogField("stream", stream.value), LogField("error", errorText(errno))])
    case .streamClosed(let stream, let end, let received, let sent):
        let counts = [
            LogField("stream", stream.value), LogField("received", received), LogField("sent", sent),
        ]
        switch end {
        case .finished: return EventDescription(.info, "stream closed", counts)
        case .aborted(let errno):
            return EventDescription(.notice, "stream aborted", counts + [LogField("error", errorText(errno))])
        }
    case .windowUsed(let stream, let leased, let ahead, let again):
        return EventDescription(
            .debug, "window used",
            [
                LogField("stream", stream.value), LogField("leased", leased), LogField("read-ahead", ahead),
                LogField("resent", again),
            ])
    case .reattached(let stream, let path, let epoch):
        return EventDescription(
            .notice, "stream moved to another path",
            [LogField("stream", stream.value), LogField("path", path.value), LogField("epoch", epoch)])
    case .belowTarget(let stream, let isUpstream, let rate, let target, let remedy):
        return EventDescription(
            .notice, "stream below its target",
            [
                LogField("stream", stream.value),
                LogField("direction", isUpstream ? "upstream" : "downstream"),
                LogField("bytes_per_second", rate), LogField("target", target),
                LogField("changed", remedy.rawValue),
            ])
    default:
        preconditionFailure("not an event of a stream")
    }
}

private func describeSuccession(_ event: Event, _ name: (ServerID) -> String) -> EventDescription {
    func fields(_ stream: StreamID, _ servers: [(String, ServerID)], _ offset: UInt64) -> [LogField] {
        [LogField("stream", stream.value)] + servers.map { LogField($0.0, name($0.1)) }
            + [LogField("offset", offset)]
    }
    switch event {
    case .promoted(let stream, let from, let to, let offset):
        return EventDescription(
            .warning, "replica promoted to primary", fields(stream, [("from", from), ("to", to)], offset))
    case .quorum(let stream, let one, let other, let offset):
        return EventDescription(
            .warning, "two replicas in the primary's place",
            fields(stream, [("server", one), ("other", other)], offset))
    case .quorumDisagreed(let stream, let one, let other, let offset):
        return EventDescription(
            .error, "two replicas differ: stream ended",
            fields(stream, [("server", one), ("other", other)], offset))
    default:
        preconditionFailure("not an event of a primary's successors")
    }
}

private func describeReplica(_ event: Event, _ name: (ServerID) -> String) -> EventDescription {
    switch event {
    case .replicaEngaged(let stream, let server):
        return EventDescription(
            .info, "replica engaged", [LogField("stream", stream.value), LogField("server", name(server))])
    case .replicaEnded(let stream, let server, let end):
        let isFault = end != .streamDone && end != .promoted && end != .parked
        return EventDescription(
            isFault ? .notice : .debug, "replica ended",
            [
                LogField("stream", stream.value), LogField("server", name(server)),
                LogField("reason", describe(end)),
            ])
    case .replicaQuarantined(let server, let time):
        return EventDescription(
            .warning, "replica quarantined",
            [LogField("server", name(server)), LogField("seconds", Int64(time.seconds.rounded()))])
    case .replicaShifted(let stream, let server, let shift):
        return EventDescription(
            .notice, "replica is shifted",
            [
                LogField("stream", stream.value), LogField("server", name(server)),
                LogField("bytes", shift),
            ])
    case .leaseMoved(let stream, let offset, let length, let from, let to):
        return EventDescription(
            .debug, "lease moved",
            [
                LogField("stream", stream.value), LogField("offset", offset), LogField("length", length),
                LogField("from", name(from)), LogField("to", name(to)),
            ])
    default:
        preconditionFailure("not an event of a replica")
    }
}

/// As the status shows it.
public func describe(_ end: ReplicaEnd) -> String {
    switch end {
    case .mismatches(let count): count == 1 ? "1 mismatch" : "\(count) mismatches"
    case .behind: "too far behind"
    case .failed: "failed"
    case .pathDown: "path down"
    case .parked: "parked"
    case .promoted: "promoted"
    case .streamDone: "stream done"
    }
}

private func channelFields(_ channel: ChannelID) -> [LogField] {
    [LogField("path", channel.path.value), LogField("channel", channel.number)]
}

private func codeFields(_ code: ErrorCode) -> [LogField] {
    [LogField("code", String(describing: code)), LogField("class", code.errorClass.rawValue)]
}

func errorText(_ errno: Int32) -> String { unsafe String(cString: strerror(errno)) }
