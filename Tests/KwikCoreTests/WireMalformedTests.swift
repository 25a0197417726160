import KwikCore
import Testing

/// Bytes that no reader may take, and what it must say.
struct WireCase: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let preface: Bool
    let bytes: [UInt8]
    let error: WireError

    init(_ name: String, _ bytes: [UInt8], _ error: WireError, preface: Bool = false) {
        testDescription = name
        self.preface = preface
        self.bytes = bytes
        self.error = error
    }
}

@Suite struct WireMalformedTests {
    private static let top = WireLimit.maximumOffset
    private static let lastBlock = Block.roundDown(WireLimit.maximumOffset)

    @Test(
        "A malformed preface is refused",
        arguments: [
            WireCase("magic", [0x4C, 0, 4], .badMagic, preface: true),
            WireCase("frame instead", WireRaw.frame(13, []), .badMagic, preface: true),
            WireCase("role", WireRaw.preface(6, 4), .unknownRole(6), preface: true),
            WireCase("large role", WireRaw.preface(top, 4), .unknownRole(top), preface: true),
            WireCase("lease in a block", WireRaw.preface(3, 4, 1, 100, 0, 0, 1), .badRange, preface: true),
            WireCase("empty lease", WireRaw.preface(3, 4, 0, 0, 0, 0, 0), .badRange, preface: true),
            WireCase("long lease", WireRaw.preface(3, 4, 0, 16 << 20 + 1, 0, 0, 0), .tooLarge, preface: true),
            WireCase(
                "lease past the top", WireRaw.preface(3, 4, lastBlock, 16_384, 0, 0, 0), .tooLarge,
                preface: true),
            WireCase("lease window", WireRaw.preface(3, 4, 0, 16_384, 9, 8, 0), .badRange, preface: true),
            WireCase("empty contribution", WireRaw.preface(4, 4, 5, 0), .badRange, preface: true),
            WireCase("long contribution", WireRaw.preface(4, 4, 5, 16 << 20 + 1), .tooLarge, preface: true),
            WireCase("contribution past the top", WireRaw.preface(4, 4, top, 1), .tooLarge, preface: true),
        ])
    func prefaces(malformed: WireCase) { check(malformed) }

    @Test(
        "Malformed DATA is refused",
        arguments: [
            WireCase("no bytes", WireRaw.data(0, count: 0), .badLength),
            WireCase("no room for the fields", WireRaw.frame(1, [0, 0, 0]), .badLength),
            WireCase("no fields", WireRaw.frame(1, []) + [0], .badLength),
            WireCase("over a boundary", WireRaw.data(16_383, count: 2), .badRange),
            WireCase("more than a block", WireRaw.data(0, count: 16_385), .tooLarge),
            WireCase("over every limit", [1] + WireRaw.varint(top), .tooLarge),
            WireCase("past the top", WireRaw.data(top, count: 1), .tooLarge),
            WireCase("flags", WireRaw.data(0, count: 4, flags: 2), .badFlags),
            WireCase("flags too", WireRaw.data(0, count: 4, flags: 0x81), .badFlags),
        ])
    func data(malformed: WireCase) { check(malformed) }

    @Test(
        "Malformed fixed-size frames are refused",
        arguments: [
            WireCase("FIN before its base", fin(5, 4, flags: 0), .badRange),
            WireCase("FIN flags", fin(4, 5, flags: 2), .badFlags),
            WireCase("FIN short", WireRaw.frame(2, 4, 5, 0), .badLength),
            WireCase("FIN long", WireRaw.frame(2, Array(fin(4, 5, flags: 1).dropFirst(2)) + [0]), .badLength),
            WireCase("RESET errno", WireRaw.frame(3, 1 << 31, 0), .tooLarge),
            WireCase("RESET short", WireRaw.frame(3, 104), .badLength),
            WireCase("RESET long", WireRaw.frame(3, 104, 0, 0), .badLength),
            WireCase("WINDOW backwards", WireRaw.frame(4, 2, 1), .badRange),
            WireCase("WINDOW short", WireRaw.frame(4, 2), .badLength),
            WireCase("WINDOW long", WireRaw.frame(4, 2, 3, 4), .badLength),
            WireCase("CARVE without a sequence", WireRaw.frame(5, 0, 0), .badSequence),
            WireCase("PROGRESS flags", WireRaw.frame(7, 2, 4), .badFlags),
            WireCase("PROGRESS short", WireRaw.frame(7, 2), .badLength),
            WireCase("PROGRESS long", WireRaw.frame(7, 2, 3, 3), .badLength),
            WireCase("URGENT empty", WireRaw.frame(12, []), .badLength),
            WireCase("URGENT cut", WireRaw.frame(12, [0xC0, 0]), .badLength),
            WireCase("URGENT long", WireRaw.frame(12, 1, 1), .badLength),
            WireCase("END long", WireRaw.frame(13, [0]), .badLength),
            WireCase("SUMREQ short", WireRaw.frame(14, 1), .badLength),
            WireCase("SUMREQ long", WireRaw.frame(14, 1, 1, 1), .badLength),
            WireCase("SUMREQ count", WireRaw.frame(14, 1, 1_025), .tooLarge),
            WireCase("SUMREQ past the top", WireRaw.frame(14, 1 << 48, 1), .tooLarge),
        ])
    func fixedFrames(malformed: WireCase) { check(malformed) }

    @Test("Malformed CARVE and CARVED are refused", arguments: [5, 6] as [UInt64])
    func carve(type: UInt64) {
        let size = Block.size
        let many = (0..<1_025).flatMap { _ in [0x80, 0, 0x40, 0, 0x80, 0, 0x40, 0] as [UInt8] }
        let cases = [
            WireCase("unaligned start", WireRaw.frame(type, 1, 1, 1, size), .badRange),
            WireCase("unaligned gap", WireRaw.frame(type, 1, 2, size, size, 100, size), .badRange),
            WireCase("empty range", WireRaw.frame(type, 1, 1, size, 0), .badRange),
            WireCase("short block inside", WireRaw.frame(type, 1, 2, 0, 100, size, size), .badRange),
            WireCase("short block filled up", WireRaw.frame(type, 1, 2, 0, 100, size - 100, 9), .badRange),
            WireCase(
                "count", WireRaw.frame(type, WireRaw.varint(1) + WireRaw.varint(1_025) + many), .tooLarge),
            WireCase("missing pair", WireRaw.frame(type, 1, 2, 0, size), .badLength),
            WireCase("missing half", WireRaw.frame(type, 1, 1, 0), .badLength),
            WireCase("pair left over", WireRaw.frame(type, 1, 1, 0, size, 0, size), .badLength),
            WireCase("no count", WireRaw.frame(type, 1), .badLength),
            WireCase("past the top", WireRaw.frame(type, 1, 1, Self.lastBlock, size), .tooLarge),
            // What would be descending or overlapping had a gap been able to wrap round.
            WireCase("wrapping", WireRaw.frame(type, 1, 2, 0, size, Self.top, size), .tooLarge),
            WireCase("wrapping length", WireRaw.frame(type, 1, 1, size, Self.top), .tooLarge),
        ]
        for malformed in cases { check(malformed) }
    }

    @Test("Malformed TAG and SUM are refused", arguments: [(8, 16), (15, 4)] as [(UInt64, Int)])
    func perBlock(type: UInt64, size: Int) {
        let one = [UInt8](repeating: 1, count: size)
        let head = { (first: UInt64, count: UInt64) in WireRaw.varint(first) + WireRaw.varint(count) }
        for malformed in [
            WireCase("too few", WireRaw.frame(type, head(0, 2) + one), .badLength),
            WireCase("too many", WireRaw.frame(type, head(0, 1) + one + one), .badLength),
            WireCase("cut", WireRaw.frame(type, head(0, 1) + one.dropLast()), .badLength),
            WireCase("none", WireRaw.frame(type, 0), .badLength),
            WireCase("count", WireRaw.frame(type, head(0, 1_025)), .tooLarge),
            WireCase("past the top", WireRaw.frame(type, head(1 << 48, 1) + one), .tooLarge),
        ] { check(malformed) }
    }

    @Test(
        "Malformed socket options and addresses are refused",
        arguments: [
            WireCase("OPEN count", WireRaw.frame(9, 65), .tooLarge),
            WireCase("OPEN short", WireRaw.frame(9, 1), .badLength),
            WireCase("OPEN long", WireRaw.frame(9, 0, 0), .badLength),
            WireCase("OPTION level", WireRaw.frame(11, 1 << 32, 1, 0), .tooLarge),
            WireCase("OPTION name", WireRaw.frame(11, 1, 1 << 32, 0), .tooLarge),
            WireCase("OPTION value", WireRaw.frame(11, 1, 1, 257), .tooLarge),
            WireCase("OPTION value cut", WireRaw.frame(11, 1, 1, 2, 0), .badLength),
            WireCase("OPTION long", WireRaw.frame(11, 1, 1, 1, 0, 0), .badLength),
            WireCase("OPENED errno", WireRaw.frame(10, 1 << 31, 0, 0), .tooLarge),
            WireCase("OPENED address", WireRaw.frame(10, 0, 129), .tooLarge),
            WireCase("OPENED address cut", WireRaw.frame(10, 0, 2, 0), .badLength),
            WireCase("OPENED without peer", WireRaw.frame(10, 0, 0), .badLength),
            WireCase("OPENED long", WireRaw.frame(10, 0, 0, 0, 0), .badLength),
        ])
    func options(malformed: WireCase) { check(malformed) }

    @Test("A frame over the limit is refused at its length", arguments: 1...20 as ClosedRange<UInt64>)
    func longFrames(type: UInt64) {
        let length = WireRaw.varint(UInt64(WireLimit.frameBody) + 1)
        check(WireCase("length", WireRaw.varint(type) + length, .tooLarge))
    }

    private static func fin(_ base: UInt64, _ final: UInt64, flags: UInt8) -> [UInt8] {
        let sum = [UInt8](repeating: 9, count: 8)
        return WireRaw.frame(2, WireRaw.varint(base) + WireRaw.varint(final) + sum + [flags])
    }

    /// The same error however the bytes come, after what stands before it, and nothing after it.
    private func check(_ malformed: WireCase) {
        let (name, sound) = (malformed.testDescription, malformed.preface ? [] : WireRaw.frame(12, 3))
        let bytes = sound + malformed.bytes + WireRaw.frame(13, [])
        let whole = wireRead(bytes, preface: malformed.preface)
        #expect(whole.error == malformed.error, "\(name)")
        #expect(whole.items == (malformed.preface ? [] : [.frame(.urgent(offset: 3))]), "\(name)")
        let single = wireRead(bytes, preface: malformed.preface, cuts: Array(1..<bytes.count))
        #expect(single == whole, "\(name), byte by byte")
    }
}
