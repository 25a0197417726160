import KwikCore
import Testing

@Suite struct WireChannelTests {
    @Test("What is written is read, at once and byte by byte", arguments: 0..<150 as Range<UInt64>)
    func roundTrip(seed: UInt64) {
        var chance = WireChance(state: seed)
        var writer = FrameWriter()
        let items = [.preface(chance.preface())] + (0..<6).map { _ in chance.item() }
        let bytes = items.flatMap { $0.encoded(&writer) }
        let expected = WireOutcome(items: items)
        #expect(wireRead(bytes, preface: true, finished: true) == expected)
        #expect(wireRead(bytes, preface: true, cuts: Array(1..<bytes.count), finished: true) == expected)
    }

    @Test("How the bytes are split does not matter", arguments: 0..<150 as Range<UInt64>)
    func randomSplits(seed: UInt64) {
        var chance = WireChance(state: seed)
        var writer = FrameWriter()
        let items = (0..<8).map { _ in chance.item() }
        let bytes = items.flatMap { $0.encoded(&writer) }
        for _ in 0..<6 {
            let cuts = (0..<chance.skewed(60)).map { _ in Int.random(in: 0...bytes.count, using: &chance) }
            #expect(wireRead(bytes, cuts: cuts.sorted(), finished: true) == WireOutcome(items: items))
        }
    }

    @Test("Every kind of frame survives a cut at each of its bytes")
    func everyCut() {
        for (name, item) in WireGolden.items {
            var writer = FrameWriter()
            let bytes = item.encoded(&writer)
            var isPreface = false
            if case .preface = item { isPreface = true }
            for cut in 1..<bytes.count {
                let outcome = wireRead(bytes, preface: isPreface, cuts: [cut], finished: true)
                #expect(outcome == WireOutcome(items: [item]), "\(name) cut at \(cut)")
                let short = wireRead(Array(bytes[..<cut]), preface: isPreface, finished: true)
                #expect(short.error == .truncated, "\(name) ended at \(cut)")
            }
        }
    }

    @Test("A channel may end between frames, not before its preface")
    func ends() {
        #expect(wireRead([], finished: true) == WireOutcome())
        #expect(wireRead([], preface: true, finished: true).error == .truncated)
        #expect(wireRead(WireRaw.frame(77, [1, 2]) + [77, 2, 1], finished: true).error == .truncated)
        #expect(wireRead(WireRaw.preface(0, 8), preface: true, finished: true).error == nil)
    }

    @Test(
        "Frames of unknown types are skipped, however long within the limit",
        arguments: [
            0, 16, 63, 77, 1 << 20, 1 << 62 - 1,
        ] as [UInt64])
    func unknownType(type: UInt64) {
        for count in [0, 1, 3_000, WireLimit.frameBody] {
            let skipped = WireRaw.frame(type, [UInt8](repeating: 4, count: count))
            let bytes = skipped + WireRaw.frame(12, 9) + skipped
            let expected = WireOutcome(items: [.frame(.urgent(offset: 9))])
            #expect(wireRead(bytes, finished: true) == expected)
            let cuts = Array(stride(from: 1, to: bytes.count, by: count < 10 ? 1 : 97))
            #expect(wireRead(bytes, cuts: cuts, finished: true) == expected)
        }
        let tooLong = WireRaw.varint(type) + WireRaw.varint(UInt64(WireLimit.frameBody) + 1)
        #expect(wireRead(tooLong).error == .tooLarge)
    }

    @Test("DATA bytes are ranges of the input, not copies")
    func dataRanges() throws {
        let head = Array(WireRaw.data(32_768, count: 100).prefix(12))
        let pieces = [head + [1, 2, 3], [UInt8](repeating: 7, count: 97) + WireRaw.frame(13, [])]
        var reader = ChannelReader(expectsPreface: false)
        let header = DataHeader(offset: 32_768, length: 100, flags: 0, crc32c: 0)
        let expected: [[ChannelReader.Item]] = [
            [.data(header), .bytes(12..<15)], [.bytes(0..<97), .dataEnd, .frame(.end)],
        ]
        for (piece, items) in zip(pieces, expected) {
            var position = 0
            for item in items {
                let got = try unsafe piece.withUnsafeBytes { try unsafe reader.next($0, from: &position) }
                #expect(got == item)
            }
            let rest = try unsafe piece.withUnsafeBytes { try unsafe reader.next($0, from: &position) }
            #expect(rest == nil)
        }
    }

    @Test("The end of DATA is told when its last byte is there, not with the next frame")
    func dataEndIsPrompt() {
        let outcome = wireRead(WireRaw.data(0, count: 1))
        #expect(outcome.items == [.data(DataHeader(offset: 0, length: 1, flags: 0, crc32c: 0), [0xDA])])
    }

    @Test("A reader that refused stays refused")
    func errorsStick() {
        var reader = ChannelReader(expectsPreface: false)
        var items: [WireItem] = []
        #expect(throws: WireError.badLength) { try wireFeed(&reader, [12, 0], into: &items) }
        #expect(throws: WireError.badLength) { try wireFeed(&reader, WireRaw.frame(12, 1), into: &items) }
        #expect(throws: WireError.badLength) { try wireFeed(&reader, [], into: &items) }
        #expect(throws: WireError.badLength) { try reader.finish() }
        #expect(items.isEmpty)
    }

    @Test("Slices keep their bytes while the writer goes on over many chunks")
    func slicesStay() {
        var chance = WireChance(state: 7)
        var writer = FrameWriter()
        let frames = (0..<2_000).map { _ in chance.frame() }
        let slices = frames.map { writer.frame($0) }
        for (frame, slice) in zip(frames, slices) {
            #expect(wireRead(wireBytes(slice)).items == [.frame(frame)])
        }
    }
}
