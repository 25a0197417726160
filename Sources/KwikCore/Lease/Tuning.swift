/// The constants of the client's algorithm (algorithm.md), each with its unit and why it is what it is. They
/// are a validated start: change one only with a measurement beside it.
public enum Tuning {
    // Outstanding work per path: rate·(srtt + horizon).

    /// Less starves the pipe (20 ms: 91 % of it), more only adds delay (500 ms: p99 head-of-line 435 ms).
    static let horizon = Interval.milliseconds(100)
    /// On short paths the loop turns often enough for less.
    static let shortHorizon = Interval.milliseconds(25)
    static let shortPath = Interval.milliseconds(5)

    /// A lease lasts this long on its path, but is a block at least: longer ones would leave a slow path idle
    /// between one and the next, or be waited for (cell E in virtual time: 0.86 of the sum where none was
    /// shorter than 64 KiB and the window did not allow for start-up, 0.94 so).
    static let leaseTime = Interval.milliseconds(25)
    /// What a gateway hands to its transport ahead of time (20 ms), and twice that in doubt: of what its own
    /// sender has begun nothing can be carved, and a lease over it brings it twice.
    static let carveMargin = Interval.milliseconds(40)
    /// Gateways tell what their backends have produced in steps of this.
    static let progressStep: UInt64 = 64 << 10
    static let maximumLease: UInt64 = 1 << 20

    /// How often leases are looked at while any is outstanding.
    static let tick = Interval.milliseconds(5)
    static let releasesPerTick = 4
    /// A lease has slipped when it is later than its own promise by more than max(this, srtt).
    static let slip = Interval.milliseconds(50)
    /// Another path must beat it by more than max(this, srtt/2).
    static let gain = Interval.milliseconds(20)
    /// A lease whose server brings nothing for max(this, 4·srtt) is given elsewhere whatever it costs.
    static let stuck = Interval.seconds(1)
    /// Duplicates: 5 % of what was received, and this.
    static let duplicateAllowance: UInt64 = 256 << 10
    static let duplicateShare: Double = 0.05
    /// How far ahead of the front a slow path may be given blocks, in time.
    static let slide = Interval.milliseconds(300)
    /// Slow paths slide only where srtts differ by less than this factor.
    static let slideRatio: Int64 = 5

    /// A backend that has room and produced nothing for so long has given its answer.
    static let endingAfter = Interval.milliseconds(100)

    /// The others' rates are the best that they showed: what is left takes them longer by this factor.
    static let finishMargin = 1.3
    /// How far ahead of what has come a primary is that starts up, against its rate so far.
    static let startingAhead = 3.0
    /// Round trips that a path which starts up takes for what it is asked for.
    static let startingRounds: Int64 = 3

    /// Downstream window per stream: 3·Σrate·(srtt + horizon) within these. Too small starves (0.5 MiB: 71
    /// %).
    static let minimumWindow: UInt64 = 1 << 20
    static let maximumWindow: UInt64 = 16 << 20
    /// What a peer may send before the first WINDOW.
    public static let initialWindow: UInt64 = 64 << 10

    /// The read offset is told after this many bytes at the latest: half of the least that a gateway holds.
    static let windowStep = initialWindow / 2

    /// A stream is bulk after this many bytes or this long.
    static let bulkBytes: UInt64 = 256 << 10
    static let bulkTime = Interval.milliseconds(100)
    /// Upstream bytes kept from the first one on, for replay to replicas.
    static let replayLimit: UInt64 = 64 << 10
    /// Upstream bytes that are sent at once when the program resets, if there is credit for them.
    static let beforeReset = 64 << 10
    /// What follows an upstream write stays with the primary: Date and its like stand there.
    static let primaryAfterWrite: UInt64 = 16 << 10

    // Upstream over several paths (algorithm.md, upstream).

    /// A stream with so many upstream bytes that are not acknowledged takes every path to its primary.
    static let upstreamBulk: UInt64 = 128 << 10
    /// Beyond a round trip: what waits in a transport's queue, and a gateway's delayed acknowledgement.
    static let upstreamHorizon = Interval.milliseconds(50)
    /// A piece that holds up the others goes out again when its acknowledgement is overdue by
    /// max(min(1.1·srtt, the first), the second).
    static let reinjectAtMost = Interval.milliseconds(500)
    static let reinjectAtLeast = Interval.milliseconds(20)

    // Marginal gain.

    /// A path must raise the stream's rate by this factor, else it is parked, where it shares a bottleneck
    /// with the others.
    static let worthwhile: Double = 1.10
    /// What is engaged is judged after max(this, 10·srtt), and again and again.
    static let trial = Interval.seconds(1)
    /// Bytes per second from which on machines may be the bottleneck, which replicas only burden: then a
    /// trial takes max(this, 10·srtt). Three servers to one on loopback, 1 GiB.
    static let fastRate: Double = 64 * 1_048_576
    static let fastTrial = Interval.milliseconds(100)

    static func trialTime(longest srtt: Interval, rate: Double) -> Interval {
        max(rate < fastRate ? trial : fastTrial, srtt * 10)
    }

    /// The own path's rate is no lower than this share of the best that it showed: it is not disturbed. Loss
    /// makes bytes come in bursts, so the best looks better than it was by up to a half.
    static let undisturbed: Double = 0.5
    /// Paths that share a bottleneck bring together at least this share of the best that the own one showed
    /// (R: the primary's link falls to 5 %, and the pause to see why took 1 s of what the other brought).
    static let sharedLeast: Double = 0.6
    /// Together they bring no more than this times the best that one of them showed: they may share what
    /// limits them.
    static let sharedMost: Double = 1.2
    /// That is only to be told from round trips that vary by no more than srtt over this (J50: 0.73 of the
    /// sum for 0.84, as a path of its own was taken for one that shares).
    static let steady: Int64 = 8
    /// A path that rests may share a bottleneck where the others take over at once this share of what it
    /// gave: as much as their congestion windows allow.
    static let takenOver: Double = 0.4
    /// A path rests if it gives between these shares of the bytes: less is not to be told from noise, and
    /// what more leaves behind the others' congestion windows need seconds to take over. That is worth it
    /// only in a transfer that has lasted `trialLate`.
    static let trialLeast: Double = 0.1
    static let trialMost: Double = 0.36
    static let trialLate = Interval.seconds(10)
    /// A path that gives less than this share of the bytes is parked, once it has been so for max(the time,
    /// 10·srtt), or in a trial where bytes come fast (D: a path that gave 4 % was parked in 4 transfers of 6,
    /// as one second was judged: 0.98 of aria2, 1.01 so).
    static let leastShare: Double = 0.03
    static let idleTime = Interval.seconds(5)
    /// From engaging replicas to their full rate: max(this, 3·srtt).
    static let trialRamp = Interval.milliseconds(100)
    /// Leases of a path that is to rest have this long to come in.
    static let trialDrain = Interval.milliseconds(60)
    /// The others without it are looked at for max(this, 2·srtt): long enough to count, short enough to cost
    /// little.
    static let trialLook = Interval.milliseconds(120)
    static let trialAgain = Interval.seconds(60)
    /// The same at first where a look leaves doubts; twice as long each time.
    static let trialSoon = Interval.seconds(1)
    /// A path has its capacity to itself where the others take over less than this share of what it gave;
    /// between this and `takenOver` the look says nothing.
    static let leftAlone: Double = 0.2

    /// How long a path that proved its worth is left alone, for the first time or after so many. Where bytes
    /// come fast there is always a doubt: the machine may have been busy with something else (three servers
    /// to one on loopback: 0.71 to 0.75 of one in 4 runs of 10).
    static func settledTime(rate: Double, isSure: Bool, times: Int) -> Interval {
        if isSure, rate < fastRate { return trialAgain }
        return min(trialSoon * (1 << Int64(min(times, 10))), trialAgain)
    }
    static let parkFirst = Interval.seconds(30)
    static let parkMost = Interval.seconds(600)

    // Streams that are slower than their paths.

    /// A stream is below its target after so long at less than `targetShare` of its paths' rates.
    static let targetTime = Interval.seconds(5)
    static let targetShare: Double = 0.5

    // Liveness (protocol.md §2).

    static let probeBusy = Interval.milliseconds(25)
    static let probeOpen = Interval.seconds(1)
    static let probeIdle = Interval.seconds(3)
    static let suspectAtLeast = Interval.milliseconds(50)
    /// Peers acknowledge within this (RFC 9000 §18.2, max_ack_delay).
    static let maximumAckDelay = Interval.milliseconds(10)
    /// Not one second, as the design has: the probes of a suspect path find a link that is back sooner than
    /// a new path's handshake does (K: 0.91 of the sum over servers, 0.87 with one second).
    static let failAtLeast = Interval.seconds(5)
    /// All the primary's paths gone for this: promote; or suspect, and a probe without an answer for this and
    /// 50 ms, or 1.5·srtt if that is more. The design waits 2·PTO once they are suspect (X1000: gaps of
    /// 670 ms; 410 with one; 290 so).
    static let promoteAtLeast = Interval.milliseconds(200)
    /// Under `fail` a silent primary ends the stream after this.
    static let failTime = Interval.seconds(30)

    /// A contribution waits max(this, 3·srtt) for the delegation that it refers to (protocol.md §3).
    static let unknownWait = Interval.seconds(1)

    /// A rolling sum is waited for max(this, 3·srtt); the replica that it is about may be idle meanwhile.
    static let sumWait = Interval.seconds(1)

    /// max(`least`, 3·srtt).
    static func wait(least: Interval, srtt: Interval?) -> Interval {
        max(least, (srtt ?? .zero) * 3)
    }

    // Trust.

    /// Mismatching blocks in a row that end a replica's part in a stream.
    static let mismatchesInRow = 2
    /// So many in all end it too, if they are more than one in this many that match.
    static let mismatchesStrewn = 4
    static let mismatchShare = 8
    /// Streams with such an end that quarantine it.
    static let endsToQuarantine = 3
    static let quarantineFirst = Interval.seconds(60)
    static let quarantineMost = Interval.seconds(86_400)

    /// Packet bytes that a path may send in its first round trip (RFC 9002 §7.2).
    static let initialCongestionWindow: Double = 12_000
    /// A closed stream's channel is waited for this long.
    static let linger = Interval.seconds(10)
}
