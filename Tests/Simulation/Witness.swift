internal import KwikCore

/// Compares what one program reads, byte by byte, with what the primary's application alone would have sent.
final class Witness {
    private let world: World
    private let name: String
    /// Those whose bytes the program is to read: the primary's alone, or both of a quorum's.
    private var references: [Application]
    /// Everything the program wrote: a promoted replica's application is asked the same.
    private var upstream: [UInt8] = []
    private var inputEnded = false
    /// The applications that are the truth from `offset` on, after a promotion or by a quorum.
    private var successors: [(offset: UInt64, applications: [Application])] = []
    private var expected = [UInt8](repeating: 0, count: 65_536)
    /// Bytes that the program has read.
    private(set) var read: UInt64 = 0
    /// CRC32C of them.
    private(set) var digest: UInt32 = 0
    private let integrity = SimIntegrity.make()
    /// The primary, or who stands for it by now, is at an end of its own: what comes may stop short with an
    /// error, be it before the next byte.
    var truthMayFail: Bool {
        (references + successors.flatMap(\.applications)).contains { reference in
            switch reference.character {
            case .resetting, .refusing, .stalling, .shorter: true
            default: false
            }
        }
    }

    init(_ world: World, name: String, character: Character) {
        self.world = world
        self.name = name
        references = [Application(character)]
    }

    /// Bytes that the answers to everything written so far have.
    var total: UInt64 { references[0].total }
    var written: UInt64 { UInt64(upstream.count) }

    func wrote(_ bytes: UnsafeRawBufferPointer) {
        unsafe upstream.append(contentsOf: bytes)
        feed { unsafe $0.feed(bytes) }
        guard let complaint = references[0].complaint else { return }
        world.fail("model: \(name) wrote nonsense: \(complaint)")
    }

    func finishedWriting() {
        inputEnded = true
        feed { $0.endOfInput() }
    }

    private func feed(_ body: (inout Application) -> Void) {
        for index in references.indices { body(&references[index]) }
        for index in successors.indices {
            for place in successors[index].applications.indices {
                body(&successors[index].applications[place])
            }
        }
    }

    func check(_ bytes: UnsafeRawBufferPointer) {
        var place = 0
        while place < bytes.count {
            follow()
            var want = min(expected.count, bytes.count - place)
            if let next = successors.first { want = Int(min(UInt64(want), next.offset - read)) }
            let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[place..<(place + want)])
            for index in references.indices {
                guard produce(&references[index], want) == want else {
                    let total = references[index].total
                    return world.fail("\(name) read bytes past the \(total) that its primary sends")
                }
                if let wrong = unsafe firstDifference(part) {
                    return world.fail("\(name) read a wrong byte at offset \(read + UInt64(wrong))")
                }
            }
            place += want
            read += UInt64(want)
        }
        digest = unsafe integrity.crc32c(digest, bytes)
    }

    /// Others have the truth from where the program is.
    private func follow() {
        while let next = successors.first, read == next.offset {
            references = next.applications
            successors.removeFirst()
        }
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
        follow()
        for reference in references where !reference.hasEnded || read != reference.total {
            world.fail("\(name) saw an end of file after \(read) bytes; \(reference.total) are known to come")
        }
    }

    /// From `offset` on other servers' applications are the truth: one's, or what two have alike.
    func succeeded(by characters: [Character], at offset: UInt64) {
        guard offset >= read else {
            return world.fail("\(name): a successor at \(offset), below the \(read) bytes read")
        }
        let applications = characters.map { character in
            var application = Application(character)
            unsafe upstream.withUnsafeBytes { unsafe application.feed($0) }
            if inputEnded { application.endOfInput() }
            while application.written < offset {
                let want = Int(min(UInt64(expected.count), offset - application.written))
                guard produce(&application, want) == want else {
                    // Two agree on nothing where one has ended before.
                    if characters.count > 1 { break }
                    world.fail("\(name): promoted at \(offset), where the new primary has no bytes")
                    break
                }
            }
            return application
        }
        successors.append((offset, applications))
    }
}
