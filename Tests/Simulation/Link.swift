public import KwikCore

/// What a link is like. Times one way, rate in bytes per second.
public struct LinkTraits: Sendable {
    public var delay: Interval
    public var rate: Double
    /// Bytes that wait at most; what comes beyond is dropped (tail drop).
    public var queue: Int
    public var loss = 0.0
    public var duplication = 0.0
    /// Share of packets that are held back by up to 2·delay.
    public var reordering = 0.0
    /// Each packet is late by up to this much; their order is kept.
    public var jitter = Interval.zero

    public init(delay: Interval, rate: Double, queue: Int) {
        self.delay = delay
        self.rate = rate
        self.queue = queue
    }

    /// Mbit/s, milliseconds of round trip, queue in bandwidth-delay products.
    public static func of(megabits: Double, roundTrip milliseconds: Double, queue products: Double = 1)
        -> LinkTraits
    {
        let rate = megabits * 125_000
        let bytes = max(30_000, rate * milliseconds / 1_000 * products)
        return LinkTraits(delay: Interval(seconds: milliseconds / 2_000), rate: rate, queue: Int(bytes))
    }
}

/// A queue before a wire. Several links may share one: a common bottleneck.
public final class Bottleneck {
    private var freeAt = Instant(nanoseconds: 0)

    public init() {}

    /// When the last byte has left, or nil if the queue is full.
    func enqueue(_ size: Int, rate: Double, limit: Int, now: Instant) -> Instant? {
        let start = max(freeAt, now)
        let waiting = (start - now).seconds * rate
        guard waiting <= Double(limit) else { return nil }
        freeAt = start + Interval(seconds: Double(size) / max(rate, 1))
        return freeAt
    }

    func reset() { freeAt = Instant(nanoseconds: 0) }
}

/// One direction between two hosts. Everything about it may change while packets are under way.
public final class Link {
    public let world: World
    public var traits: LinkTraits
    /// By a fault, until it is revived.
    public var isKilled = false
    /// Its interface is there.
    public var isPlugged = true
    /// Silently drops everything.
    public var isDead: Bool { isKilled || !isPlugged }
    public private(set) var blackholeUntil = Instant(nanoseconds: 0)
    /// Bytes that came out at the far end.
    public private(set) var carried: UInt64 = 0

    private let bottleneck: Bottleneck
    private var chance: Chance
    private var lastArrival = Instant(nanoseconds: 0)

    public init(_ world: World, _ traits: LinkTraits, bottleneck: Bottleneck, chance: Chance) {
        self.world = world
        self.traits = traits
        self.bottleneck = bottleneck
        self.chance = chance
    }

    public func blackhole(for interval: Interval) {
        blackholeUntil = max(blackholeUntil, world.now + interval)
    }

    /// A rate changed at once: what waits is drained at the new rate too.
    public func heal(_ traits: LinkTraits) {
        self.traits = traits
        isKilled = false
        isPlugged = true
        blackholeUntil = Instant(nanoseconds: 0)
        lastArrival = Instant(nanoseconds: 0)
        bottleneck.reset()
    }

    public func send(_ size: Int, _ arrive: @escaping () -> Void) {
        let now = world.now
        guard !isDead, now >= blackholeUntil, !chance.chance(traits.loss) else { return }
        let leaves = bottleneck.enqueue(size, rate: traits.rate, limit: traits.queue, now: now)
        guard let leaves else { return }
        var arrival = leaves + traits.delay
        if traits.jitter > .zero {
            arrival = arrival + Interval(seconds: traits.jitter.seconds * chance.fraction())
        }
        if chance.chance(traits.reordering) {
            arrival = arrival + Interval(seconds: traits.delay.seconds * 2 * chance.fraction())
        } else {
            arrival = max(arrival, lastArrival)
            lastArrival = arrival
        }
        let copies = chance.chance(traits.duplication) ? 2 : 1
        for copy in 0..<copies {
            world.at(arrival + .microseconds(Int64(copy) * 50)) { [self] in
                guard !isDead else { return }
                carried += UInt64(size)
                arrive()
            }
        }
    }
}
