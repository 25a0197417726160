import Foundation
import KwikControl
import KwikCore
import Testing

/// Reads all messages of `bytes`.
func read(_ bytes: [UInt8]) throws -> [KCPMessage] {
    var reader = KCPReader()
    reader.append(bytes)
    var messages: [KCPMessage] = []
    while let message = try reader.next() { messages.append(message) }
    return messages
}

/// `body` behind its length, as two bytes of QUIC varint.
func framed(_ body: [UInt8]) -> [UInt8] {
    [0x40 | UInt8(body.count >> 8), UInt8(body.count & 0xFF)] + body
}

/// A field of a Protocol Buffers message that holds bytes.
func field(_ number: UInt8, _ contents: [UInt8]) -> [UInt8] {
    precondition(number < 16 && contents.count < 128)
    return [number << 3 | 2, UInt8(contents.count)] + contents
}

@Suite struct KCPCodec {
    @Test(arguments: Samples.all.map(\.name))
    func everyMessageComesBackAsItWent(name: String) throws {
        let message = try #require(Samples.all.first { $0.name == name }).message
        #expect(try read(message.encode()) == [message])
    }

    @Test func defaultsComeBackAsDefaults() throws {
        for payload: KCPPayload in [
            .clientHello(ClientHello()), .serverHello(ServerHello()),
            .healthCheckRequest(HealthCheckRequest()),
            .trafficPlan(TrafficDistributionPlan()), .unknown,
        ] {
            let message = KCPMessage(payload)
            #expect(try read(message.encode()) == [message])
        }
    }

    @Test("Every message is recorded byte for byte")
    func goldenMessages() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../Golden/kcp/messages.hex").standardized
        let now = Samples.all.map { name, message in
            "\(name) \(message.encode().map { String(format: "%02x", $0) }.joined())\n"
        }.joined()
        if ProcessInfo.processInfo.environment["KWIK_GOLDEN_UPDATE"] == "1" {
            try now.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(now == (try String(contentsOf: file, encoding: .utf8)))
    }

    @Test func aStreamMayBeCutAnywhere() throws {
        let messages = Samples.all.map(\.message)
        let bytes = messages.flatMap { $0.encode() }
        for size in [1, 2, 7, 100] {
            var reader = KCPReader()
            var read: [KCPMessage] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                reader.append(Array(bytes[start..<min(start + size, bytes.count)]))
                while let message = try reader.next() { read.append(message) }
            }
            #expect(read == messages)
        }
    }

    @Test func aLengthOverTheLimitIsRefusedBeforeItsBytesCome() {
        #expect(throws: KCPError.tooLarge(65_537)) { try read([0x80, 0x01, 0x00, 0x01]) }
        #expect(throws: KCPError.tooLarge((1 << 62) - 1)) { try read([UInt8](repeating: 0xFF, count: 8)) }
    }

    @Test func aMessageOfJustTheLimitIsTaken() throws {
        var command = TransportCommand()
        command.transportData = [UInt8](repeating: 7, count: KCPLimit.messageBytes - 40)
        var message = KCPMessage(.transportCommand(command))
        let spare = KCPLimit.messageBytes - (message.encode().count - 4)
        command.transportData += [UInt8](repeating: 8, count: spare)
        message.payload = .transportCommand(command)
        let bytes = message.encode()
        #expect(bytes.count == KCPLimit.messageBytes + 4)
        #expect(try read(bytes) == [message])
    }

    @Test func badTextIsRefusedWhereverItStands() {
        // ClientHello (10) is beyond the one-byte keys of `field`, hence its two-byte key.
        func hello(_ contents: [UInt8]) -> [UInt8] { framed([0x52, UInt8(contents.count)] + contents) }
        #expect(throws: KCPError.badText) { try read(hello(field(1, [0xFF]))) }
        #expect(throws: KCPError.badText) { try read(hello(field(1, Array("a\0b".utf8)))) }
        #expect(throws: KCPError.badText) { try read(hello(field(3, [0xC3]))) }
        #expect(throws: KCPError.badText) { try read(hello(field(5, [0xED, 0xA0, 0x80]))) }
        #expect(throws: KCPError.badText) { try read(hello(field(6, field(1, [0])))) }
        #expect(throws: KCPError.badText) { try read(framed(field(1, field(3, [0xC0, 0x80])))) }
        #expect(throws: Never.self) { try read(hello(field(7, [0xFF, 0]))) }
    }

    @Test func whatIsNoMessageIsRefused() {
        let bad: [[UInt8]] = [
            [0x52],  // a key without its length
            [0x52, 0x05, 0x0A],  // longer than the message
            [0x08, 0xFF],  // a truncated varint
            [0x08] + [UInt8](repeating: 0xFF, count: 10) + [0x01],  // more than 64 bits
            [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02],
            [0x02, 0x00],  // field 0
            [0x0B],  // a group
            [0x0A, 0x02, 0x08, 0x80],  // truncated inside the header
            [0x52, 0x01, 0x10],  // ClientHello.version without a value
            [0x0D, 0x00, 0x00],  // four bytes that are two
        ]
        for body in bad {
            #expect(throws: KCPError.malformed, "\(body)") { try read(framed(body)) }
        }
    }

    @Test func numbersThatAreNotFiniteAreRefused() {
        // PerformanceMetrics (52), latency_ms (3), little-endian infinity and NaN.
        for bytes: [UInt8] in [[0, 0, 0x80, 0x7F], [0, 0, 0xC0, 0x7F], [0, 0, 0x80, 0xFF]] {
            #expect(throws: KCPError.badNumber) { try read(framed([0xA2, 0x03, 0x05, 0x1D] + bytes)) }
        }
        #expect(throws: Never.self) { try read(framed([0xA2, 0x03, 0x05, 0x1D, 0xFF, 0xFF, 0x7F, 0x7F])) }
    }

    @Test func fieldsAreCounted() {
        // 2,200 empty servers in a plan are more than 4,096 fields only with what they contain.
        let share: [UInt8] = [0x0A, 0x02, 0x10, 0x01]
        func plan(_ count: Int) -> [UInt8] {
            let contents = [[UInt8]](repeating: share, count: count).flatMap { $0 }
            return framed(
                [0xBA, 0x04, 0x80 | UInt8(contents.count & 0x7F), UInt8(contents.count >> 7)] + contents)
        }
        #expect(throws: Never.self) { try read(plan(2_047)) }
        #expect(throws: KCPError.tooManyFields) { try read(plan(2_048)) }
    }

    @Test func unknownKindsAndValuesAreSkippedButBearTheirHeader() throws {
        let header = field(1, [0x08, 0x2A, 0x20, 0x09])
        // Field 100; TransportCommand (40) of type 99; both with a header of priority 9.
        for body: [UInt8] in [[0xA2, 0x06, 0x00], [0xC2, 0x02, 0x02, 0x10, 0x63]] {
            let message = try #require(try read(framed(header + body)).first)
            #expect(message.payload == .unknown)
            #expect(message.header.messageID == 42)
            #expect(message.header.priority == .normal)
        }
    }

    @Test func unknownRolesAreLeftOut() throws {
        // ServerHello (11) with roles 0, 9 and 2, packed.
        let message = try #require(try read(framed([0x5A, 0x05, 0x2A, 0x03, 0x00, 0x09, 0x02])).first)
        var hello = ServerHello()
        hello.roles = [.origin, .relay]
        #expect(message.payload == .serverHello(hello))
    }

    @Test func aNULInOurOwnTextIsLeftOut() throws {
        var command = RemovePathCommand()
        command.reason = "a\0b"
        guard case .removePath(let back)? = try read(KCPMessage(.removePath(command)).encode()).first?.payload
        else {
            Issue.record("another kind came back")
            return
        }
        #expect(back.reason == "ab")
    }

    @Test func damagedMessagesAreRefusedOrReadAsOthersButHarmNothing() throws {
        // xorshift64 (Marsaglia, 2003), from a fixed seed.
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let originals = Samples.all.map { $0.message.encode() }
        var read = 0
        for _ in 0..<5_000 {
            var bytes = originals[next(originals.count)]
            for _ in 0...next(4) { bytes[next(bytes.count)] = UInt8(next(256)) }
            var reader = KCPReader()
            reader.append(bytes)
            guard let message = try? reader.next() else { continue }
            read += 1
            var again = KCPReader()
            again.append(message.encode())
            let back = try again.next()
            #expect(back == message)
        }
        #expect(read > 500)
    }

    @Test func sessionIdsAreThirtyTwoDigits() {
        let session = SessionID(high: 0x1, low: 0xabcd_ef00_0000_0001)
        #expect(session.hexadecimal == "0000000000000001abcdef0000000001")
        #expect(SessionID(hexadecimal: session.hexadecimal) == session)
        for bad in ["", "1", "+000000000000001abcdef0000000001", "0000000000000001abcdef000000000g"] {
            #expect(SessionID(hexadecimal: bad) == nil)
        }
    }
}
