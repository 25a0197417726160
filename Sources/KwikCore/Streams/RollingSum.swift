/// The rolling sum of a block, by which a replica's bytes are found where they stand displaced against the
/// primary's (protocol.md §6): rsync's (A. Tridgell, P. Mackerras, "The rsync algorithm", Australian National
/// University, TR-CS-96-05, 1996), over the middle half of the block, so that one block is enough to find it
/// displaced by a quarter of its length either way.
///
/// The sum proposes a shift and proves nothing: the tags decide.
enum RollingSum {
    /// The most bytes by which what is looked for may be displaced either way.
    static let reach = Int(Block.size) / 4
    /// Where in a block its sum begins, and over how many bytes it goes.
    static let start = reach
    static let length = Int(Block.size) / 2
    /// Bytes of a block up to the end of what its sum goes over: a shorter block has none.
    static let needed = UInt64(start + length)

    /// - Parameter block: `needed` bytes of it at least.
    static func sum(_ block: UnsafeRawBufferPointer) -> UInt32 {
        precondition(block.count >= Int(needed), "sum of a part of a block")
        return unsafe State(block, from: start).value
    }

    /// Where in `block`, all of it, the bytes of that sum stand: so many bytes behind their place in it, or
    /// before it if less than 0. Of several the least far, nil if nowhere.
    static func displacement(of sum: UInt32, in block: UnsafeRawBufferPointer) -> Int? {
        precondition(block.count == Int(Block.size), "search in a part of a block")
        var nearest: Int?
        var state = unsafe State(block, from: 0)
        var place = 0
        while true {
            let distance = place - start
            if state.value == sum, abs(distance) < nearest.map({ abs($0) }) ?? .max { nearest = distance }
            guard place + length < block.count else { return nearest }
            unsafe state.roll(out: block[place], in: block[place + length])
            place += 1
        }
    }

    /// a = Σ x_i, b = Σ (length - i) x_i; both count modulo 2^16 in the end.
    private struct State {
        private var a: UInt32 = 0
        private var b: UInt32 = 0

        init(_ bytes: UnsafeRawBufferPointer, from start: Int) {
            for index in start..<(start + RollingSum.length) {
                a &+= UInt32(unsafe bytes[index])
                b &+= a
            }
        }

        mutating func roll(out: UInt8, in next: UInt8) {
            a = a &- UInt32(out) &+ UInt32(next)
            b = b &- UInt32(RollingSum.length) &* UInt32(out) &+ a
        }

        var value: UInt32 { (a & 0xffff) | b << 16 }
    }
}
