import Glibc
import KwikCore
@testable import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct FilesTests {
        private let directory: TemporaryDirectory
        private let uid = geteuid()

        init() throws { directory = try TemporaryDirectory() }

        private func mode(_ path: String) -> UInt32 {
            var status = stat()
            return unsafe lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
        }

        @Test func theVariableDecidesThenTheUsersDirectoryThenTheFallback() throws {
            let users = directory.path + "/users"
            let own = users + "/\(uid)"
            func path(_ variable: String?) -> String {
                RuntimeDirectory.path(variable: variable, uid: uid, users: users, fallback: "/fallback")
            }
            #expect(path("/somewhere") == "/somewhere/kwik")
            for unusable in [nil, "", "relative"] { #expect(path(unusable) == "/fallback/kwik-\(uid)") }
            try #require(unsafe mkdir(users, 0o700) == 0)
            try Files.write(own, [])
            #expect(path(nil) == "/fallback/kwik-\(uid)")
            try Files.remove(own)
            try #require(unsafe symlink(directory.path, own) == 0)
            #expect(path(nil) == "/fallback/kwik-\(uid)")
            try Files.remove(own)
            try #require(unsafe mkdir(own, 0o700) == 0)
            #expect(path(nil) == own + "/kwik")
            let other = uid + 1
            let stranger = RuntimeDirectory.path(variable: nil, uid: other, users: users, fallback: "/tmp")
            #expect(stranger == "/tmp/kwik-\(other)")
            #expect(path("/somewhere") == "/somewhere/kwik")
        }

        @Test func theRuntimeDirectoryIsMadeForItsOwnerAlone() throws {
            let path = directory.path + "/kwik"
            try RuntimeDirectory.prepare(path, uid: uid)
            #expect(mode(path) == 0o700)
            try RuntimeDirectory.prepare(path, uid: uid)
        }

        @Test func aRuntimeDirectoryThatOthersMayTouchIsRefused() throws {
            let path = directory.path + "/kwik"
            let (uid, other) = (uid, uid + 1)
            try RuntimeDirectory.prepare(path, uid: uid)
            #expect(throws: RuntimeDirectoryError.ownedByAnother(path, uid: uid)) {
                try RuntimeDirectory.prepare(path, uid: other)
            }
            for bits: UInt32 in [0o755, 0o710, 0o701, 0o1770] {
                try #require(unsafe chmod(path, bits) == 0)
                #expect(throws: RuntimeDirectoryError.openToOthers(path, mode: bits)) {
                    try RuntimeDirectory.prepare(path, uid: uid)
                }
            }
            try #require(unsafe chmod(path, 0o700) == 0)
            let link = directory.path + "/link"
            try #require(unsafe symlink(path, link) == 0)
            #expect(throws: RuntimeDirectoryError.notADirectory(link)) {
                try RuntimeDirectory.prepare(link, uid: uid)
            }
            let file = directory.path + "/file"
            try Files.write(file, [])
            #expect(throws: RuntimeDirectoryError.notADirectory(file)) {
                try RuntimeDirectory.prepare(file, uid: uid)
            }
            let orphan = directory.path + "/absent/kwik"
            #expect(throws: RuntimeDirectoryError.failed(orphan, Errno(code: ENOENT))) {
                try RuntimeDirectory.prepare(orphan, uid: uid)
            }
        }

        @Test func aFileIsReplacedAsAWholeAndReadUpToItsLimit() throws {
            let path = directory.path + "/file"
            let content = bytes(200_000)
            try Files.write(path, [1, 2, 3])
            try Files.write(path, content)
            #expect(mode(path) == 0o600)
            expectSame(try Files.read(path, limit: content.count), content)
            let tooSmall = content.count - 1
            #expect(throws: Errno(code: EFBIG)) { _ = try Files.read(path, limit: tooSmall) }
            let absent = directory.path + "/absent"
            #expect(throws: Errno(code: ENOENT)) { _ = try Files.read(absent, limit: 10) }
            let folder = directory.path + "/folder"
            try #require(unsafe mkdir(folder, 0o700) == 0)
            #expect(throws: Errno(code: EISDIR)) { try Files.write(folder, [1]) }
            // No temporary file is left, also not by the failure.
            try Files.remove(path)
            try Files.remove(path)
            #expect(unsafe rmdir(folder) == 0)
            #expect(unsafe rmdir(directory.path) == 0)
        }

        @Test func aLockHasOneHolder() throws {
            let path = directory.path + "/lock"
            #expect(try Files.lock(path) != nil)
            guard let first = try Files.lock(path) else {
                Issue.record("the lock outlived its holder")
                return
            }
            #expect(try Files.lock(path) == nil)
            Descriptor.close(first.release())
            #expect(try Files.lock(path) != nil)
        }

        @Test func ownersOfDescriptorsCloseThem() throws {
            let (near, far) = try UnixSocket.pair(.stream)
            do { _ = Descriptor(taking: near) }
            try wait(far, POLLIN)
            #expect(read(far, 1).0 == .endOfFile)
            let copy = try Descriptor.duplicate(far)
            #expect(fcntl(copy, F_GETFD) == FD_CLOEXEC)
            try Descriptor.setCloseOnExec(copy, false)
            #expect(fcntl(copy, F_GETFD) == 0)
            let released = Descriptor(taking: copy).release()
            #expect(released == copy && isOpen(copy))
            let flags = try Descriptor.statusFlags(far)
            #expect(flags & O_NONBLOCK != 0)
            try Descriptor.setStatusFlags(far, flags & ~O_NONBLOCK)
            #expect(try Descriptor.statusFlags(copy) & O_NONBLOCK == 0)
            Descriptor.close(copy)
            Descriptor.close(far)
        }

        @Test func randomBytesAndTheClockMove() {
            #expect(RandomBytes.bytes(32) != RandomBytes.bytes(32))
            #expect(RandomBytes.bytes(0) == [])
            let first = Clock.now()
            #expect(first.nanoseconds > 0 && Clock.now() >= first)
        }
    }
}
