import Foundation
import KwikCore
import Testing

/// One of each, with the bytes that every version of this protocol gives it.
enum WireGolden {
    static let items: [(String, WireItem)] = prefaces + frames + data

    private static let prefaces: [(String, WireItem)] = [
        ("preface-stream", role(.stream)),
        ("preface-attach", role(.attach(epoch: 2, received: 70_000))),
        ("preface-replica", role(.replica)),
        (
            "preface-lease",
            role(.lease(offset: 1 << 20, length: 65_536, read: 16_384, window: 1 << 24, carves: true))
        ),
        ("preface-contribution", role(.contribution(offset: 100, length: 5_000))),
        ("preface-server-stream", .preface(Preface(stream: StreamID(1 << 40 + 1), role: .serverStream))),
    ]

    private static let frames: [(String, WireItem)] = [
        ("fin", .frame(.fin(base: 0, final: 100_000, sum: 0x0123_4567_89AB_CDEF, closed: false))),
        ("fin-closed", .frame(.fin(base: 16_384, final: 16_384, sum: 0, closed: true))),
        ("reset", .frame(.reset(errno: 104, offset: 12_345))),
        ("window", .frame(.window(read: 40, maximum: 65_576))),
        ("carve", .frame(.carve(sequence: 7, [ByteRange(16_384, 49_152), ByteRange(131_072, 147_456)]))),
        ("carve-short-end", .frame(.carve(sequence: 8, [ByteRange(0, 16_384), ByteRange(16_384, 16_390)]))),
        ("carved", .frame(.carved(sequence: 7, [ByteRange(32_768, 49_152)]))),
        ("carved-none", .frame(.carved(sequence: 7, []))),
        ("progress", .frame(.progress(produced: 1 << 33, ended: false, applicationLimited: true))),
        ("progress-ended", .frame(.progress(produced: 900, ended: true, applicationLimited: false))),
        (
            "tag",
            .frame(.tag(firstBlock: 9, [BlockTag(high: 1, low: 2), BlockTag(high: .max, low: 1 << 63)]))
        ),
        ("open", .frame(.open([]))),
        (
            "open-options",
            .frame(
                .open([
                    SocketOption(level: 6, name: 1, value: [1, 0, 0, 0]),
                    SocketOption(level: 1, name: 9, value: []),
                ]))
        ),
        ("opened", .frame(.opened(errno: 0, local: [2, 0, 0x1F, 0x90, 127, 0, 0, 1], peer: [1, 0, 0x2F]))),
        ("opened-refused", .frame(.opened(errno: 111, local: [], peer: []))),
        ("option", .frame(.option(SocketOption(level: 6, name: 18, value: [0x10, 0x27, 0, 0])))),
        ("option-negative", .frame(.option(SocketOption(level: -1, name: .min, value: [])))),
        ("urgent", .frame(.urgent(offset: (1 << 62) - 1))),
        ("end", .frame(.end)),
        ("sumreq", .frame(.sumRequest(firstBlock: 64, count: 32))),
        ("sum", .frame(.sums(firstBlock: 64, [0x0102_0304, 0, .max]))),
    ]

    private static let data: [(String, WireItem)] = [
        ("data", piece(offset: 0, flags: 0, Array("kwik".utf8))),
        ("data-compressed", piece(offset: 1 << 32, flags: 1, [0xFF])),
        ("data-block-end", piece(offset: 16_383, flags: 0, [0x0A])),
    ]

    private static func role(_ role: Preface.Role) -> WireItem {
        .preface(Preface(stream: StreamID(4), role: role))
    }

    private static func piece(offset: UInt64, flags: UInt8, _ bytes: [UInt8]) -> WireItem {
        .data(DataHeader(offset: offset, length: bytes.count, flags: flags, crc32c: 0xDEAD_BEEF), bytes)
    }
}

@Suite struct WireGoldenTests {
    private var file: URL {
        URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../Golden/kdp/frames.hex").standardizedFileURL
    }

    @Test("The bytes on the wire are those of the golden file")
    func golden() throws {
        var writer = FrameWriter()
        let lines = WireGolden.items.map { name, item in
            name + " " + item.encoded(&writer).map { String(format: "%02x", $0) }.joined()
        }
        if ProcessInfo.processInfo.environment["KWIK_GOLDEN_UPDATE"] == "1" {
            try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: file)
        }
        let golden = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
        #expect(lines == golden)
    }

    @Test("The golden file's bytes are read as what they were written from")
    func goldenIsRead() throws {
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == WireGolden.items.count)
        for (line, (name, item)) in zip(lines, WireGolden.items) {
            let hex = Array(line.split(separator: " ").last ?? "")
            let bytes = stride(from: 0, to: hex.count, by: 2).compactMap {
                UInt8(String(hex[$0...($0 + 1)]), radix: 16)
            }
            let outcome = wireRead(bytes, preface: name.hasPrefix("preface"), finished: true)
            #expect(outcome == WireOutcome(items: [item]), "\(name)")
        }
    }
}
