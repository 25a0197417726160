import KwikCore
import KwikTelemetry
import Testing

private let path = PathID(2)
private let server = ServerID(3)
private let stream = StreamID(8)
private let channel = ChannelID(path: path, number: 12)

/// One event of each kind, and of each outcome that is told differently, with its line.
private let lines: [(Event, String)] = [
    (
        .pathStateChanged(path, server, from: .connecting, to: .active),
        "info path active path=2 server=b from=connecting"
    ),
    (
        .pathStateChanged(path, server, from: .active, to: .suspect),
        "warning path suspect path=2 server=b from=active"
    ),
    (.malformed(channel, .badMagic), "warning malformed frame path=2 channel=12 reason=badMagic"),
    (.unknownStream(channel, stream), "warning channel for an unknown stream stream=8 path=2 channel=12"),
    (
        .policyViolation(path, server, .refusedByPolicy),
        "error server did what it may not path=2 server=b code=refusedByPolicy class=security"
    ),
    (
        .channelFailed(channel, stream, .resourceLimit),
        "notice channel of a stream ended by a fault stream=8 path=2 channel=12"
            + " code=resourceLimit class=resource"
    ),
    (
        .channelFailed(channel, stream, .integrity),
        "warning channel of a stream ended by a fault stream=8 path=2 channel=12"
            + " code=integrity class=security"
    ),
    (
        .belowTarget(stream, isUpstream: false, rate: 7, target: 20, .unparked),
        "notice stream below its target stream=8 direction=downstream bytes_per_second=7 target=20"
            + " changed=\"parked paths are tried again\""
    ),
    (.streamOpened(stream, server), "debug stream opened stream=8 server=b"),
    (.streamConnected(stream, errno: 0), "debug stream connected stream=8"),
    (.streamConnected(stream, errno: 111), "notice backend refused stream=8 error=\"Connection refused\""),
    (
        .streamClosed(stream, .finished(closed: true), received: 5, sent: 6),
        "info stream closed stream=8 received=5 sent=6"
    ),
    (
        .streamClosed(stream, .aborted(errno: 104), received: 5, sent: 6),
        "notice stream aborted stream=8 received=5 sent=6 error=\"Connection reset by peer\""
    ),
    (.replicaEngaged(stream, server), "info replica engaged stream=8 server=b"),
    (
        .replicaEnded(stream, server, .mismatches(2)),
        "notice replica ended stream=8 server=b reason=\"2 mismatches\""
    ),
    (
        .replicaEnded(stream, server, .streamDone),
        "debug replica ended stream=8 server=b reason=\"stream done\""
    ),
    (.replicaQuarantined(server, time: .seconds(60)), "warning replica quarantined server=b seconds=60"),
    (.replicaShifted(stream, server, shift: -3), "notice replica is shifted stream=8 server=b bytes=-3"),
    (
        .blockMismatch(stream, block: 7, server),
        "warning block of a replica does not match stream=8 block=7 server=b"
    ),
    (
        .leaseMoved(stream, offset: 1, length: 2, from: server, to: ServerID(4)),
        "debug lease moved stream=8 offset=1 length=2 from=b to=4"
    ),
    (
        .windowUsed(stream, leased: 30, ahead: 20, again: 10),
        "debug window used stream=8 leased=30 read-ahead=20 resent=10"
    ),
    (.reattached(stream, path, epoch: 1), "notice stream moved to another path stream=8 path=2 epoch=1"),
    (
        .promoted(stream, from: ServerID(4), to: server, offset: 9),
        "warning replica promoted to primary stream=8 from=4 to=b offset=9"
    ),
    (
        .quorum(stream, server, ServerID(4), offset: 9),
        "warning two replicas in the primary's place stream=8 server=b other=4 offset=9"
    ),
    (
        .quorumDisagreed(stream, server, ServerID(4), offset: 9),
        "error two replicas differ: stream ended stream=8 server=b other=4 offset=9"
    ),
    (
        .nameRefused(server, name: Array("a b".utf8), .taken),
        "warning server's id not believed server=b id=\"a b\" reason=\"another server has it\""
    ),
    (.serverStreamRefused(stream, server), "warning stream of a server refused stream=8 server=b"),
    (
        .contributed(stream, server, offset: 9, length: 5),
        "debug contribution taken stream=8 server=b offset=9 length=5"
    ),
    (
        .contributionFailed(stream, server, offset: 9, .integrity),
        "warning contribution not taken stream=8 server=b offset=9 code=integrity"
    ),
    (
        .delegationExpired(stream, server, offset: 9, length: 5),
        "warning delegated blocks did not come stream=8 server=b offset=9 length=5"
    ),
    (.integrityFailure(stream, offset: 10), "error checksum failed stream=8 offset=10"),
]

@Suite struct Events {
    @Test(arguments: lines.indices)
    func everyEventHasItsLine(index: Int) {
        let (event, line) = lines[index]
        let description = describe(event) { $0 == server ? "b" : "\($0.value)" }
        #expect(Log.line(description.level, description.message, description.fields) == line)
    }

    @Test func endsOfReplicasHaveWords() {
        let words = [ReplicaEnd.mismatches(1), .behind, .failed, .pathDown, .promoted, .streamDone].map {
            describe($0)
        }
        #expect(words == ["1 mismatch", "too far behind", "failed", "path down", "promoted", "stream done"])
    }

    @Test func countersCountByKindAndBytes() {
        var counters = Counters()
        counters.connects = 3
        for (event, _) in lines { counters.count(event) }
        counters.count(.streamClosed(stream, .finished(closed: false), received: 100, sent: 200))
        let json = counters.json
        let expected: [(String, Int64)] = [
            ("connects", 3), ("served", 0), ("streams_opened", 1), ("streams_closed", 2),
            ("streams_aborted", 1), ("bytes_received", 110), ("bytes_sent", 212),
            ("bytes_leased", 30), ("bytes_read_ahead", 20), ("bytes_resent", 10), ("backends_refused", 1),
            ("paths_activated", 1), ("paths_suspected", 1), ("paths_failed", 0), ("replicas_engaged", 1),
            ("replicas_ended", 2), ("replicas_quarantined", 1), ("block_mismatches", 1), ("leases_moved", 1),
            ("reattachments", 1), ("promotions", 1), ("quorums", 1),
            ("quorum_disagreements", 1), ("names_refused", 1), ("malformed", 2), ("policy_violations", 1),
            ("server_streams_refused", 1), ("contributions", 1), ("contributions_failed", 1),
            ("delegations_expired", 1), ("replicas_shifted", 1),
            ("integrity_failures", 1), ("channel_failures", 2), ("below_target", 1),
        ]
        for (name, count) in expected { #expect(json[name]?.integer == count, "\(name)") }
    }
}

@Suite struct Logs {
    @Test func onlyWhatIsUrgentEnoughIsWritten() {
        var written: [String] = []
        let log = Log(level: .notice) { level, message, fields in
            written.append(Log.line(level, message, fields))
        }
        for level in Log.Level.allCases { log.write(level, "m") }
        #expect(written == ["error m", "warning m", "notice m"])
    }

    @Test func valuesAreQuotedWhereTheyMustBe() {
        let fields = [
            LogField("a", "plain"), LogField("b", "two words"), LogField("c", ""), LogField("d", "x=y"),
            LogField("e", "say \"hi\""), LogField("f", "one\ntwo"), LogField("g", 7), LogField("h", "é"),
        ]
        #expect(
            Log.line(.info, "made\nup", fields)
                == #"info made up a=plain b="two words" c="" d="x=y" e="say \"hi\"" f="one\ntwo" g=7 h=é"#)
    }

    @Test func aLineFitsOneWrite() {
        let line = Log.line(.info, String(repeating: "é", count: 5_000), [])
        #expect(line.utf8.count < Log.lineLimit)
        #expect(line.hasSuffix("…"))
    }
}
