internal import KwikCore

/// How a server's application differs from the others'.
public enum Character: Hashable, Sendable {
    case honest
    /// A field in each response's header differs, of the same length (`Date:`).
    case dated(UInt64)
    /// Other bytes of the same length in every response's body, from this offset in the body on.
    case lying(from: UInt64)
    /// Each response's header is three bytes longer.
    case shifted
    /// In each body so many bytes more, or fewer if less than 0, stand from this offset on.
    case displaced(by: Int, from: UInt64)
    /// Each body ends a thousand bytes early, and the connection with it.
    case shorter
    /// After so many bytes nothing more comes.
    case stalling(after: UInt64)
    /// After so many bytes the connection is reset.
    case resetting(after: UInt64)
    /// Refuses every connection.
    case refusing

    /// Whether both answer with the same bytes, as far as they answer.
    func isLike(_ other: Character) -> Bool { content == other.content }

    private var content: Character {
        switch self {
        case .honest, .stalling, .resetting, .refusing: .honest
        case .dated(let date): .dated(date % 7)
        case .lying, .shifted, .displaced, .shorter: self
        }
    }
}

/// Bytes that are a function of a seed and their offset.
enum Pattern {
    /// Every other byte is zero: what `SimCodec` makes shorter.
    static let sparse: UInt64 = 1 << 56
    private static let half: UInt64 = 0x00ff_00ff_00ff_00ff

    static func fill(_ target: UnsafeMutableRawBufferPointer, seed: UInt64, offset: UInt64) {
        var place = 0
        while place < target.count {
            let at = offset + UInt64(place)
            var word = Chance.mix(seed &+ (at / 8 &+ 1) &* 0x9e37_79b9_7f4a_7c15)
            if seed >> 56 == 1 { word &= half }
            if at % 8 == 0, place + 8 <= target.count {
                unsafe target.storeBytes(of: word, toByteOffset: place, as: UInt64.self)
                place += 8
            } else {
                unsafe target[place] = UInt8(truncatingIfNeeded: word >> (8 * (at % 8)))
                place += 1
            }
        }
    }
}

/// The unmodified application as a function: bytes in, bytes out, nothing to do with time.
///
/// A connection carries lines, each answered in turn: `GET size seed pace`, `CHUNK size seed pace`,
/// `PUT size seed` with a body, `ECHO size` with a body, `BYE` (the server closes first).
struct Application {
    /// What is still to come out.
    private enum Output {
        case bytes([UInt8], pace: Int)
        case pattern(seed: UInt64, from: UInt64, to: UInt64, pace: Int)
    }

    private enum Body {
        case upload(seed: UInt64, size: UInt64, digest: UInt64)
        case echo
    }

    let character: Character
    private var output = Fifo<Output>()
    private var line: [UInt8] = []
    private var body: Body?
    private var bodyRemaining: UInt64 = 0
    private var bodyOffset: UInt64 = 0
    /// Bytes put out so far, and in all that is known.
    private(set) var written: UInt64 = 0
    private(set) var total: UInt64 = 0
    /// No more comes after `total`.
    private(set) var hasEnded = false
    /// A request that no program sends: upstream bytes were spoilt.
    private(set) var complaint: String?

    static let longestLine = 100

    init(_ character: Character) { self.character = character }

    var isDrained: Bool { output.isEmpty }

    /// Bytes per second at which the next bytes come; 0: at once.
    var pace: Int {
        switch output.first {
        case .bytes(_, let pace), .pattern(_, _, _, let pace): pace
        case nil: 0
        }
    }

    // MARK: In

    mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        var rest = unsafe bytes[...]
        while unsafe !rest.isEmpty, !hasEnded {
            if body != nil {
                let count = unsafe Int(min(UInt64(rest.count), bodyRemaining))
                unsafe take(UnsafeRawBufferPointer(rebasing: rest.prefix(count)))
                unsafe rest = rest.dropFirst(count)
                continue
            }
            let byte = unsafe rest.removeFirst()
            if byte == UInt8(ascii: "\n") {
                answer(String(decoding: line, as: UTF8.self))
                line = []
            } else {
                line.append(byte)
                if line.count > Application.longestLine { return complain("an endless line") }
            }
        }
    }

    mutating func endOfInput() {
        if body != nil || !line.isEmpty { complain("the input ended within a request") }
        hasEnded = true
    }

    private mutating func complain(_ what: String) {
        if complaint == nil { complaint = what }
        hasEnded = true
    }

    private mutating func take(_ bytes: UnsafeRawBufferPointer) {
        switch body {
        case .upload(let seed, let size, var digest):
            for index in bytes.indices { digest = (digest ^ UInt64(unsafe bytes[index])) &* 0x100_0000_01b3 }
            body = .upload(seed: seed, size: size, digest: digest)
            if UInt64(bytes.count) == bodyRemaining {
                put(Array("TOOK \(size) \(seed) digest \(digest)\n".utf8), pace: 0)
            }
        case .echo:
            put(unsafe bytes.map { $0 ^ 0x5a }, pace: 0)
        case nil: break
        }
        bodyRemaining -= UInt64(bytes.count)
        bodyOffset += UInt64(bytes.count)
        if bodyRemaining == 0 { body = nil }
    }

    private mutating func answer(_ request: String) {
        let words = request.split(separator: " ")
        let numbers = words.dropFirst().compactMap { UInt64($0) }
        guard let verb = words.first, numbers.count == words.count - 1 else { return complain(request) }
        switch (verb, numbers.count) {
        case ("GET", 3): get(size: numbers[0], seed: numbers[1], pace: Int(numbers[2]))
        case ("CHUNK", 3): chunks(size: numbers[0], seed: numbers[1], pace: Int(numbers[2]))
        case ("PUT", 2):
            body = .upload(seed: numbers[1], size: numbers[0], digest: 0xcbf2_9ce4_8422_2325)
            bodyRemaining = numbers[0]
        case ("ECHO", 1):
            body = .echo
            bodyRemaining = numbers[0]
        case ("BYE", 0): hasEnded = true
        default: complain(request)
        }
        if bodyRemaining == 0 { body = nil }
    }

    // MARK: Out

    private mutating func header(_ text: String) {
        var date: UInt64 = 20_261_121
        if case .dated(let other) = character { date = 20_261_122 + other % 7 }
        put(Array("\(text) Date: \(date) Server: model\(character == .shifted ? "/42" : "")\n".utf8), pace: 0)
    }

    private mutating func get(size: UInt64, seed: UInt64, pace: Int) {
        header("OK \(size)")
        var size = size
        if case .shorter = character { size -= min(size, 1_000) }
        if case .lying(let from) = character, from < size {
            put(seed: seed, from: 0, to: from, pace: pace)
            put(seed: ~seed, from: from, to: size, pace: pace)
        } else if case .displaced(let count, let from) = character, from < size {
            put(seed: seed, from: 0, to: from, pace: pace)
            put(Array(repeating: UInt8(ascii: "+"), count: max(0, count)), pace: pace)
            put(seed: seed, from: from + UInt64(max(0, -count)), to: size, pace: pace)
        } else {
            put(seed: seed, from: 0, to: size, pace: pace)
        }
        if case .shorter = character { hasEnded = true }
    }

    /// Pieces of 1 ... 30,000 bytes, each behind its length, as chunked coding has it.
    private mutating func chunks(size: UInt64, seed: UInt64, pace: Int) {
        header("CHUNKED")
        var chance = Chance(seed: seed, purpose: "chunks")
        var offset: UInt64 = 0
        while offset < size {
            let length = min(UInt64(chance.integer(1...30_000)), size - offset)
            put(Array("\(length)\r\n".utf8), pace: pace)
            put(seed: seed, from: offset, to: offset + length, pace: pace)
            offset += length
        }
        put(Array("0\r\n\r\n".utf8), pace: pace)
    }

    private mutating func put(_ bytes: [UInt8], pace: Int) {
        output.append(.bytes(bytes, pace: pace))
        total += UInt64(bytes.count)
    }

    private mutating func put(seed: UInt64, from: UInt64, to: UInt64, pace: Int) {
        guard from < to else { return }
        output.append(.pattern(seed: seed, from: from, to: to, pace: pace))
        total += to - from
    }

    /// The next bytes of the answer; returns how many.
    mutating func produce(into target: UnsafeMutableRawBufferPointer) -> Int {
        var done = 0
        while done < target.count, let next = output.first {
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: target[done...])
            switch next {
            case .bytes(let bytes, let pace):
                let count = min(bytes.count, room.count)
                unsafe room.copyBytes(from: bytes.prefix(count))
                done += count
                consume(count == bytes.count ? nil : .bytes(Array(bytes.dropFirst(count)), pace: pace))
            case .pattern(let seed, let from, let to, let pace):
                let count = Int(min(to - from, UInt64(room.count)))
                unsafe Pattern.fill(
                    UnsafeMutableRawBufferPointer(rebasing: room[0..<count]), seed: seed, offset: from)
                done += count
                let rest = from + UInt64(count)
                consume(rest == to ? nil : .pattern(seed: seed, from: rest, to: to, pace: pace))
            }
        }
        written += UInt64(done)
        return done
    }

    private mutating func consume(_ rest: Output?) {
        if let rest { output.replaceFirst(rest) } else { _ = output.removeFirst() }
    }
}
