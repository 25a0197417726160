internal import KwikCore

/// Compares what one program reads, byte by byte, with what the primary's application alone would have sent.
final class Witness {
    private let world: World
    private let name: String
    private var reference: Application
    /// Everything the program wrote: a promoted replica's application is asked the same.
    private var upstream: [UInt8] = []
    private var inputEnded = false
    /// The application that is the truth from `offset` on, after a promotion.
    private var successor: (offset: UInt64, application: Application)?
    private var expected = [UInt8](repeating: 0, count: 65_536)
    /// Bytes that the program has read.
    private(set) var read: UInt64 = 0
    /// CRC32C of them.
    private(set) var digest: UInt32 = 0
    private let integrity = SimIntegrity.make()
    /// The primary is at an end of its own: what comes may stop short with an error.
    var truthMayFail: Bool {
        switch reference.character {
        case .resetting, .refusing, .stalling, .shorter: true
        default: false
        }
    }

    init(_ world: World, name: String, character: Character) {
        self.world = world
        self.name = name
        reference = Application(character)
    }

    /// Bytes that the answers to everything written so far have.
    var total: UInt64 { reference.total }
    var written: UInt64 { UInt64(upstream.count) }

    func wrote(_ bytes: UnsafeRawBufferPointer) {
        unsafe upstream.append(contentsOf: bytes)
        unsafe reference.feed(bytes)
        unsafe successor?.application.feed(bytes)
        if let complaint = reference.complaint { world.fail("model: \(name) wrote nonsense: \(complaint)") }
    }

    func finishedWriting() {
        inputEnded = true
        reference.endOfInput()
        successor?.application.endOfInput()
    }

    func check(_ bytes: UnsafeRawBufferPointer) {
        var place = 0
        while place < bytes.count {
            if let next = successor, read == next.offset {
                reference = next.application
                successor = nil
            }
            var want = min(expected.count, bytes.count - place)
            if let next = successor { want = Int(min(UInt64(want), next.offset - read)) }
            guard produce(&reference, want) == want else {
                return world.fail("\(name) read bytes past the \(reference.total) that its primary sends")
            }
            let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[place..<(place + want)])
            if let wrong = unsafe firstDifference(part) {
                return world.fail("\(name) read a wrong byte at offset \(read + UInt64(wrong))")
            }
            place += want
            read += UInt64(want)
        }
        digest = unsafe integrity.crc32c(digest, bytes)
    }

    private func firstDifference(_ bytes: UnsafeRawBufferPointer) -> Int? {
        unsafe expected.withUnsafeBytes { expected in
            var place = 0
            while place + 8 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
                let truth = unsafe expected.loadUnaligned(fromByteOffset: place, as: UInt64.self)
                guard word == truth else { break }
                place += 8
            }
            while place < bytes.count {
                if unsafe bytes[place] != expected[place] { return place }
                place += 1
            }
            return nil
        }
    }

    private func produce(_ application: inout Application, _ count: Int) -> Int {
        unsafe expected.withUnsafeMutableBytes { buffer in
            unsafe application.produce(into: UnsafeMutableRawBufferPointer(rebasing: buffer[0..<count]))
        }
    }

    func endOfFile() {
        if !reference.hasEnded || read != reference.total {
            world.fail("\(name) saw an end of file after \(read) bytes; \(reference.total) are known to come")
        }
    }

    /// From `offset` on another server's application is the truth.
    func promoted(_ character: Character, at offset: UInt64) {
        guard offset >= read else {
            return world.fail("\(name): promoted at \(offset), below the \(read) bytes read")
        }
        var application = Application(character)
        unsafe upstream.withUnsafeBytes { unsafe application.feed($0) }
        if inputEnded { application.endOfInput() }
        while application.written < offset {
            let want = Int(min(UInt64(expected.count), offset - application.written))
            guard produce(&application, want) == want else {
                return world.fail("\(name): promoted at \(offset), where the new primary has no bytes")
            }
        }
        successor = (offset, application)
    }
}
