import Foundation
import Glibc
import KwikCore
@testable import KwikLinux
import Testing

/// The suites run one after the other: some change the environment, and a process that others start holds
/// copies of all descriptors until its program runs.
@Suite(.serialized) enum LinuxTests {}

/// An empty directory, removed with what is in it at the end.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = "/tmp/kwik-linux-test-" + String(RandomBytes.word(), radix: 36)
        try #require(unsafe mkdir(path, 0o700) == 0)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// An end that only a broken loop reaches: it makes a test fail instead of hang.
let hangLimit = Interval.seconds(20)
let hung: Int32 = -99

func run(_ loop: EventLoop) throws -> Int32 {
    let guardian = try loop.timer { loop.stop(hung) }
    guardian.arm(at: Clock.now() + hangLimit)
    let code = try loop.run()
    try #require(code != hung, "the loop waited in vain")
    guardian.cancel()
    return code
}

/// Blocks until the descriptor is ready for `events`.
func wait(_ fd: Int32, _ events: Int32) throws {
    var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
    let limit = Int32(hangLimit.nanoseconds / 1_000_000)
    try #require(unsafe poll(&entry, 1, limit) == 1, "descriptor \(fd) never became ready")
}

/// Two connected local streams, closed with the last reference.
final class Pair {
    let near: Int32
    let far: Int32

    init() throws { (near, far) = try UnixSocket.pair(.stream) }

    deinit {
        Descriptor.close(near)
        Descriptor.close(far)
    }
}

func bytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
    }
}

/// For long lists: an `#expect` on them would spend minutes on telling how they differ.
func expectSame<Element: Equatable>(
    _ left: [Element], _ right: [Element], _ location: SourceLocation = #_sourceLocation
) {
    let place = zip(left, right).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    let differs = place != nil || left.count != right.count
    #expect(
        !differs, "\(left.count) and \(right.count) elements, first different at \(place ?? -1)",
        sourceLocation: location)
}

func read(_ fd: Int32, _ capacity: Int) -> (IOResult, [UInt8]) {
    var buffer = [UInt8](repeating: 0, count: capacity)
    let result = unsafe buffer.withUnsafeMutableBytes { space in unsafe StreamSocket.read(fd, into: space) }
    guard case .count(let count) = result else { return (result, []) }
    return (result, Array(buffer.prefix(count)))
}

/// Reads until the end of the file, waiting for what comes.
func readAll(_ fd: Int32) throws -> [UInt8] {
    var all: [UInt8] = []
    while true {
        var piece = [UInt8](repeating: 0, count: 4_096)
        let count = unsafe Glibc.read(fd, &piece, piece.count)
        if count < 0 && errno == EAGAIN {
            try wait(fd, POLLIN)
            continue
        }
        try #require(count >= 0)
        if count == 0 { return all }
        all += piece.prefix(count)
    }
}

func write(_ fd: Int32, _ text: String) -> IOResult {
    let all = Array(text.utf8)
    return unsafe all.withUnsafeBytes { buffer in unsafe StreamSocket.write(fd, buffer) }
}

func slice(_ content: [UInt8]) -> ChunkSlice {
    unsafe content.withUnsafeBytes { buffer in unsafe ChunkSlice(copying: buffer) }
}

func isOpen(_ fd: Int32) -> Bool { (try? Descriptor.statusFlags(fd)) != nil }
