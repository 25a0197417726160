import Testing

@testable import KwikCore

private let size = Int(Block.size)

/// Bytes with no order in them.
private func noise(_ range: Range<Int>) -> [UInt8] {
    range.map { index in
        var value = UInt64(index &+ 1) &* 0x9E37_79B9_7F4A_7C15
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        return UInt8(truncatingIfNeeded: value >> 32)
    }
}

private func sum(_ bytes: [UInt8]) -> UInt32 {
    unsafe bytes.withUnsafeBytes { unsafe RollingSum.sum($0) }
}

private func displacement(_ wanted: UInt32, _ bytes: [UInt8]) -> Int? {
    unsafe bytes.withUnsafeBytes { unsafe RollingSum.displacement(of: wanted, in: $0) }
}

@Suite struct RollingSumTests {
    @Test("Its value is rsync's, over bytes 4096 ... 12287 of the block")
    func value() {
        // a = 8192, b = 8192 · 8193 / 2, both modulo 2^16.
        #expect(sum(Array(repeating: 1, count: size)) == 0x1000_2000)
        var block = [UInt8](repeating: 0, count: size)
        block[4_096] = 3
        block[12_287] = 5
        #expect(sum(block) == (3 * 8_192 + 5) << 16 | 8)
        block[4_095] = 1
        block[12_288] = 1
        #expect(sum(block) == (3 * 8_192 + 5) << 16 | 8)
        #expect(sum(Array(block[..<12_288])) == sum(block))
    }

    @Test("A block's bytes are found wherever they stand up to 4096 bytes off, and no further")
    func search() {
        let wanted = sum(noise(100_000..<(100_000 + size)))
        func found(_ distance: Int) -> Int? {
            displacement(wanted, noise((100_000 - distance)..<(100_000 - distance + size)))
        }
        for distance in [-4_096, -4_095, -1, 0, 1, 3, 700, 4_095, 4_096] {
            #expect(found(distance) == distance)
        }
        for distance in [-4_097, 4_097, 100_000] {
            #expect(found(distance) == nil)
        }
    }

    @Test("Of several places the nearest counts")
    func nearest() {
        let zeros = [UInt8](repeating: 0, count: size)
        #expect(displacement(sum(zeros), zeros) == 0)
        let wave = (0..<size + 100).map { UInt8($0 % 100) }
        #expect(displacement(sum(Array(wave[..<size])), Array(wave[30..<size + 30])) == -30)
        #expect(displacement(sum(Array(wave[..<size])), Array(wave[70..<size + 70])) == 30)
    }
}
