import Foundation
import Glibc
import KwikLinux
import Testing

@testable import KwikPrograms

/// The output of a C program that includes shim/protocol.h.
func outputOfC(_ body: String) throws -> [UInt8] {
    let program = try compile("""
        #include <arpa/inet.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/socket.h>
        #include "protocol.h"
        int main(void) { \(body) return 0; }
        """)
    defer { program.remove() }
    let pipe = Pipe()
    let process = try program.start([], output: pipe)
    let bytes = Array(pipe.fileHandleForReading.readDataToEndOfFile())
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return bytes
}

@Suite struct ProtocolTests {
    @Test func aConnectIsTheSameBytesInC() throws {
        let expected = try outputOfC("""
            struct kwik_request r = {.magic = KWIK_MAGIC, .kind = KWIK_CONNECT, .flags = KWIK_BLOCKING};
            r.destination.family = AF_INET6;
            r.destination.port = htons(8443);
            r.destination.scope = 7;
            inet_pton(AF_INET6, "fe80::1234", r.destination.address);
            fwrite(&r, sizeof(r), 1, stdout);
            """)
        var request = Request(kind: .connect)
        request.flags = .blocking
        request.destination = SocketAddress(host: "fe80::1234%7", port: 8443)
        #expect(request.encoded == expected)
        #expect(try Request(parsing: expected) == request)
    }

    @Test func anOptionIsTheSameBytesInC() throws {
        let expected = try outputOfC("""
            struct kwik_request r = {.magic = KWIK_MAGIC, .kind = KWIK_SETOPT, .level = 6, .name = -2,
                                     .flags = KWIK_TAKE_ERROR | KWIK_LEFT, .length = 4};
            fwrite(&r, sizeof(r), 1, stdout);
            fwrite("abcd", 4, 1, stdout);
            """)
        var request = Request(kind: .setOption)
        request.flags = [.takeError, .left]
        request.level = 6
        request.name = -2
        request.length = 4
        request.value = Array("abcd".utf8)
        #expect(request.encoded == expected)
        #expect(try Request(parsing: expected) == request)
    }

    @Test func aReplyIsTheSameBytesInC() throws {
        let expected = try outputOfC("""
            struct kwik_reply r = {.magic = KWIK_MAGIC, .kind = KWIK_GETOPT, .state = KWIK_DONE, .error = 92,
                                   .length = 3, .queued = 70000};
            fwrite(&r, sizeof(r), 1, stdout);
            fwrite("xyz", 3, 1, stdout);
            """)
        let reply = Reply(kind: .getOption, state: .done, error: 92, queued: 70_000, value: Array("xyz".utf8))
        #expect(reply.encoded == expected)
    }

    @Test func theNumbersAreTheSameInC() throws {
        let bytes = try outputOfC("""
            printf("%d %d %d ", KWIK_CONNECT, KWIK_SWAPPED, KWIK_STATUS);
            printf("%d %d %d ", KWIK_GETOPT, KWIK_SETOPT, KWIK_UNDO);
            printf("%d %d %d %d %d ", KWIK_UNKNOWN, KWIK_PENDING, KWIK_NEWS, KWIK_CONNECTED, KWIK_FAILED);
            printf("%d %d %d %d ", KWIK_NATIVE, KWIK_TAKEN, KWIK_BUSY, KWIK_DONE);
            printf("%d %d %d %d ", KWIK_BLOCKING, KWIK_CONSUME, KWIK_TAKE_ERROR, KWIK_LEFT);
            printf("%d %d %d %d", KWIK_VALUE_MAX, KWIK_SERVED_MAX, KWIK_SEND_BUFFER, KWIK_ID_BYTES);
            """)
        let kinds: [Wire.Kind] = [.connect, .swapped, .status, .getOption, .setOption, .undo]
        let states: [Wire.State] = [
            .unknown, .pending, .news, .connected, .failed, .native, .taken, .busy, .done,
        ]
        let flags: [Wire.Flags] = [.blocking, .consume, .takeError, .left]
        let limits = [Wire.maximalValue, ServedMap.maximalEntries, Int(ProgramConnection.sendBuffer), 16]
        let numbers = kinds.map { Int($0.rawValue) } + states.map { Int($0.rawValue) }
            + flags.map { Int($0.rawValue) } + limits
        #expect(String(decoding: bytes, as: UTF8.self) == numbers.map(String.init).joined(separator: " "))
    }

    @Test func whatIsNotExactlyARequestIsRefused() {
        var request = Request(kind: .connect)
        request.destination = SocketAddress(parsing: "192.0.2.1:80")
        let whole = request.encoded
        for length in 0..<whole.count {
            #expect(throws: ProtocolError.length) { try Request(parsing: Array(whole.prefix(length))) }
        }
        #expect(throws: ProtocolError.length) { try Request(parsing: whole + [0]) }
        var other = whole
        other[0] ^= 1
        #expect(throws: ProtocolError.magic) { try Request(parsing: other) }
        other = whole
        other[4] = 200
        #expect(throws: ProtocolError.kind(200)) { try Request(parsing: other) }
        other = whole
        other[24] = 99
        #expect(throws: ProtocolError.destination) { try Request(parsing: other) }
        var option = Request(kind: .setOption)
        option.value = [UInt8](repeating: 1, count: Wire.maximalValue + 1)
        option.length = option.value.count
        #expect(throws: ProtocolError.value) { try Request(parsing: option.encoded) }
        option.length = 3
        #expect(throws: ProtocolError.length) { try Request(parsing: option.encoded) }
    }

    @Test func aNameIsTextThatFitsAndHoldsWhatItSays() {
        let peer = SocketAddress(host: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", port: 65_535)!
        let name = ProgramName.encode(id: [UInt8](repeating: 0xff, count: 16), peer: peer, local: peer)
        #expect(name.count <= SocketAddress.maximalPath)
        #expect(name.allSatisfy { byte in byte > 0x20 && byte < 0x7f })
        #expect(ProgramName.pack([0x00]) == Array("00".utf8))
        #expect(ProgramName.pack([0xff, 0x00, 0xff]) == Array("o`3o".utf8))
        #expect(ProgramName.pack([0x80, 0x01]) == Array("P04".utf8))
    }
}

@Suite struct ServedMapTests {
    @Test func entriesAreSortedMappedAndSingle() {
        let bytes = ServedMap.encode([
            SocketAddress(parsing: "[2001:db8::1]:443")!, SocketAddress(parsing: "10.0.0.2:80")!,
            SocketAddress(parsing: "10.0.0.1:8080")!, SocketAddress(parsing: "[::ffff:10.0.0.1]:8080")!,
            SocketAddress.unix(path: "/nowhere")!,
        ])
        #expect(bytes.count == 16 + 3 * 18)
        #expect(Array(bytes[0..<16]) == Array("KWIKSRV1".utf8) + [3, 0, 0, 0, 0, 0, 0, 0])
        let first: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1, 0x1f, 0x90]
        #expect(Array(bytes[16..<34]) == first)
        #expect(Array(bytes[34..<52].suffix(6)) == [10, 0, 0, 2, 0, 80])
        #expect(bytes[52] == 0x20)
    }

    @Test func itIsWrittenForTheOwnerAloneAndTakenAway() throws {
        let path = "/tmp/kwik-served-\(getpid())-\(String(RandomBytes.word(), radix: 36))"
        defer { unsafe unlink(path) }
        try ServedMap.write(path, [SocketAddress(parsing: "10.0.0.1:80")!])
        try ServedMap.write(path, [])
        #expect(try Files.read(path, limit: 100).count == 16)
        var status = stat()
        #expect(unsafe lstat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        ServedMap.remove(path)
        #expect(unsafe lstat(path, &status) != 0)
        ServedMap.remove(path)
    }

    @Test func tooManyAreRefused() {
        let all = (0...ServedMap.maximalEntries).map { index in
            SocketAddress(host: "10.0.\(index >> 8 & 255).\(index & 255)", port: UInt16(index >> 16) + 1)!
        }
        #expect(throws: Errno(code: EFBIG)) { try ServedMap.write("/tmp/kwik-never", all) }
    }
}
