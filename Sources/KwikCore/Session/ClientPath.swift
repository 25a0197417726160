/// What a client's session knows of one path.
final class ClientPath {
    let id: PathID
    let traits: PathTraits
    var liveness: Liveness
    var rate = RateEstimator()
    var sample: PathSample
    /// The shortest of the smoothed round trips.
    private var shortest = Interval.seconds(3_600)
    /// Leased and not yet received, over all streams.
    var outstanding: UInt64 = 0
    /// Since when it has had leases to serve, none of which was taken back.
    var busySince = Instant(nanoseconds: 0)
    /// Of the stream whose own DATA came last: bytes that its primary had and had not sent, and whether its
    /// backend is what holds it back.
    var own: (outstanding: UInt64, isLimited: Bool) = (0, true)
    /// When DATA last came.
    var lastData: Instant?
    /// Payload bytes of DATA.
    var received: UInt64 = 0
    /// Channels to abandon once it answers again.
    var unsaid: [(channel: ChannelID, code: ErrorCode)] = []
    let unfinished = UnfinishedFrames()
    /// Streams whose own channel is on it.
    var ownStreams = 0
    var sent: UInt64 = 0
    /// `received` and `sent` as they stood on the wire.
    var receivedWire: UInt64 = 0
    var sentWire: UInt64 = 0
    private(set) var receipts = PathReceipts()
    var pressure = PathPressure()
    private var nextChannel: Int64 = 4
    /// The channels that the server has opened so far, by their order: late bytes on one are no new channel.
    private var opened = RangeSet()

    /// Before the first sample: RFC 9002's initial round-trip time would make every estimate useless.
    private static let unknown = PathSample(
        srtt: .milliseconds(50), rttVariation: .milliseconds(25), probeTimeout: .milliseconds(175),
        congestionWindow: UInt64(Tuning.initialCongestionWindow), inFlight: 0, received: 0)

    init(id: PathID, traits: PathTraits, now: Instant) {
        self.id = id
        self.traits = traits
        liveness = Liveness(now: now)
        sample = Self.unknown
    }

    /// What its transport says now. What came is what the link carried: bytes that wait for lost ones in
    /// their stream count when they come, and not in one heap with those.
    func measured(_ sample: PathSample, now: Instant) {
        let count = sample.received - min(self.sample.received, sample.received)
        self.sample = sample
        shortest = min(shortest, sample.srtt)
        receipts.count(datagrams: count, plain: received, wire: receivedWire)
        guard lastData != nil, count > 0 else { return }
        rate.received(
            UInt64(Double(count) * receipts.expansion), srtt: sample.srtt,
            outstanding: outstanding + (ownStreams > 0 ? own.outstanding : 0),
            limited: outstanding == 0 && own.isLimited, now: now)
    }

    var server: ServerID { traits.server }
    var isActive: Bool { liveness.state == .active }

    func takeChannel() -> ChannelID {
        defer { nextChannel += 4 }
        return ChannelID(path: id, number: nextChannel)
    }

    /// Whether the server opens this channel just now.
    func isNew(_ channel: ChannelID) -> Bool {
        let place = UInt64(channel.number >> 2)
        if opened.contains(place) { return false }
        opened.insert(ByteRange(place, place + 1))
        return true
    }

    /// Whether its round trips vary little.
    var isSteady: Bool { sample.rttVariation * Tuning.steady <= sample.srtt }

    /// Bytes per second.
    var estimate: Double { rate.rate(srtt: sample.srtt) }

    /// Bytes per second that the congestion window lets us send.
    var sendRate: Double { Double(sample.congestionWindow) / max(sample.srtt.seconds, 0.000_1) }

    /// When `count` more bytes would be at the far end, from now on (ECF).
    func sendTime(_ count: UInt64) -> Interval {
        sample.srtt / 2 + Interval(seconds: Double(count) / max(sendRate, 1))
    }

    /// When the acknowledgement of what is sent now is to be expected: behind what is queued, and as late as
    /// a gateway may tell it.
    var acknowledgementTime: Interval {
        sample.srtt * 2 + sample.rttVariation * 4 + Tuning.upstreamHorizon
    }

    var horizon: Interval { sample.srtt < Tuning.shortPath ? Tuning.shortHorizon : Tuning.horizon }

    /// How much may be leased on the path at once: rate·(srtt + horizon); three round trips and some
    /// leases while starting up, as the sender doubles and the estimate follows (cell E over interfaces, in
    /// virtual time: 0.93 of the sum with two round trips and one lease, 0.98 so). The fewer, the longer they
    /// have become: a queue that grows shows that the link gives no more, and what is asked then is waited
    /// for (cell F: 5 % of the bytes came twice, as such leases slipped; 0.5 % so).
    var target: UInt64 {
        let ahead = shortest * (Tuning.startingRounds + 1) - sample.srtt
        let roundTrip = rate.startingUp ? max(sample.srtt, ahead) : sample.srtt
        let bytes = UInt64(estimate * (roundTrip + horizon).seconds)
        return rate.startingUp ? max(bytes, 3 * Tuning.progressStep) : bytes
    }

    /// Bytes of one lease: rate·25 ms within bounds, whole blocks.
    var leaseLength: UInt64 {
        let length = UInt64(estimate * Tuning.leaseTime.seconds)
        return Block.roundUp(min(max(length, Block.size), Tuning.maximumLease))
    }

    /// When `extra` more bytes would be here, from now on.
    func eta(_ extra: UInt64) -> Interval {
        sample.srtt + Interval(seconds: Double(outstanding + extra) / max(estimate, 1))
    }

    /// How long a silence calls for a probe.
    func probeInterval(busy: Bool, now: Instant) -> Interval {
        if busy || outstanding > 0 { return Tuning.probeBusy }
        if let last = lastData, now - last < .seconds(1) { return Tuning.probeBusy }
        return ownStreams > 0 ? Tuning.probeOpen : Tuning.probeIdle
    }
}
