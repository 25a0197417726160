/// SplitMix64 (Steele, Lea, Flood 2014), one generator per purpose: drawing more for one purpose leaves the
/// others as they were.
public struct Chance {
    private var state: UInt64
    private let isDense: Bool

    /// From this seed on what is rare is common, so that it comes together.
    public static let firstDenseSeed: UInt64 = 1_000_000_000

    public init(seed: UInt64, purpose: String) {
        isDense = seed >= Chance.firstDenseSeed
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in purpose.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        state = Chance.mix(seed &+ 0x9e37_79b9_7f4a_7c15) ^ hash
    }

    @inlinable
    public static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Chance.mix(state)
    }

    /// In 0 ..< 1.
    public mutating func fraction() -> Double { Double(next() >> 11) * 0x1p-53 }

    public mutating func chance(_ probability: Double) -> Bool { probability > 0 && fraction() < probability }

    /// What only some scenarios have.
    public mutating func rarely(_ probability: Double) -> Bool {
        chance(isDense ? min(probability * 4, 0.6) : probability)
    }

    public mutating func integer(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    public mutating func number(_ range: ClosedRange<Double>) -> Double {
        range.lowerBound + fraction() * (range.upperBound - range.lowerBound)
    }

    /// Evenly in the logarithm: as likely between 1 and 10 as between 10 and 100.
    public mutating func logarithmic(_ range: ClosedRange<Int>) -> Int {
        var low = Double(max(range.lowerBound, 1))
        let high = Double(range.upperBound)
        // 2^k doublings, then evenly within the last: no logarithm needed.
        var doublings = 0
        var reach = low
        while reach * 2 <= high {
            reach *= 2
            doublings += 1
        }
        for _ in 0..<integer(0...doublings) { low *= 2 }
        return min(range.upperBound, Int(low * number(1...2)))
    }

    public mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[integer(0...(elements.count - 1))]
    }
}
