// When a piece is compressed (protocol.md §3): where both ends of the path offered it, the path and not the
// processor sets the pace, and what the stream has sent of late shrank by a tenth.

/// What one direction of one stream has shown to be worth.
struct Compressibility {
    /// Bytes that go out plain before the next sample.
    private var untried: UInt64 = 0
    private var nextUntried = Self.firstUntried
    /// Plain bytes for each byte on the wire, of late; 1 where nothing is compressed.
    private(set) var ratio = 1.0

    /// A piece that does not shrink by one part in so many goes out as it is.
    static let leastGain = 10
    /// Shorter pieces are not tried: a frame of zstd's has some 12 bytes of its own, and each a call.
    static let leastPiece = 1_024
    /// After a sample that did not shrink the next one comes so many bytes later, twice as many each further
    /// time: at the end one block in 256 is compressed in vain.
    private static let firstUntried: UInt64 = 64 << 10
    private static let mostUntried: UInt64 = 4 << 20
    private static let smoothing = 1.0 / 8

    /// Whether a piece of so many bytes is to be tried.
    func isDue(_ count: Int) -> Bool { untried == 0 && count >= Self.leastPiece }

    mutating func sentPlain(_ count: Int) {
        untried -= min(untried, UInt64(count))
        learn(1)
    }

    mutating func shrank(_ plain: Int, to wire: Int) {
        nextUntried = Self.firstUntried
        learn(Double(plain) / Double(max(wire, 1)))
    }

    mutating func resisted() {
        untried = nextUntried
        nextUntried = min(2 * nextUntried, Self.mostUntried)
    }

    private mutating func learn(_ sample: Double) { ratio += Self.smoothing * (sample - ratio) }
}

/// Whether one path sets the pace of what is sent on it.
struct PathPressure {
    private var fullAt: Instant?

    /// The path is the limit until it has taken all there was for max(this, 2·srtt).
    private static let memory = Interval.milliseconds(100)
    /// Bytes per second on the wire. On a faster path the processor would be the limit, here or at the other
    /// end: zstd takes 250 to 330 MB/s of one core, and 1.6 Gbit/s over loopback fell by a third with it.
    private static let fastest = 32e6

    /// There was more to send than the path had room for.
    mutating func full(now: Instant) { fullAt = now }

    /// - Parameter sample: nil: there is none yet.
    func isLimit(_ sample: PathSample?, now: Instant) -> Bool {
        let srtt = sample?.srtt ?? .zero
        guard let fullAt, now - fullAt <= max(Self.memory, srtt * 2) else { return false }
        return Double(sample?.congestionWindow ?? 0) <= Self.fastest * srtt.seconds
    }
}

/// Whether the processor sets the pace of the whole process.
struct ProcessorPressure {
    private var busyUntil: Instant?

    /// A loop that worked for more than this share of the time has none to spare.
    private static let busyShare = 0.85
    /// Then nothing is compressed for so long.
    private static let rest = Interval.seconds(1)

    /// - Parameter share: of the time since the last call in which there was work to do, 0 ... 1.
    mutating func worked(_ share: Double, now: Instant) {
        if share > Self.busyShare { busyUntil = now + Self.rest }
    }

    func isLimit(now: Instant) -> Bool { busyUntil.map { now < $0 } ?? false }
}

/// What was sent of a range.
struct SentPiece {
    /// Bytes of the stream.
    var plain: UInt64
    /// The same as they stand on the wire, without the frame's header.
    var wire: UInt64
}
