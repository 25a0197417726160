internal import CLinux
internal import Glibc

/// A file that one process writes in place while others read it. A lock on the whole file, which the kernel
/// takes away with the writer, tells them whether that lives (F_OFD_GETLK).
public struct PublishedFile: ~Copyable {
    private let file: Descriptor

    /// Puts a new file of `size` bytes, `head` and then zeros, in the place of what is at `path`. Everybody
    /// whom the directory lets in may read it. A new one each time: on the old one a reader could hold a
    /// lock that keeps ours out.
    public init(_ path: String, head: [UInt8], size: Int) throws(Errno) {
        let temporary = path + "." + String(RandomBytes.word(), radix: 36)
        let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
        let file = Descriptor(taking: try checkedByErrno(unsafe open(temporary, flags, 0o600)))
        do throws(Errno) {
            try checked(kwik_lock_file(file.raw))
            try checkedByErrno(ftruncate(file.raw, size))
            try Self.write(file.raw, head, at: 0)
            try checkedByErrno(fchmod(file.raw, 0o644))
            try checkedByErrno(unsafe rename(temporary, path))
        } catch {
            unsafe unlink(temporary)
            throw error
        }
        self.file = file
    }

    public func write(_ bytes: [UInt8], at offset: Int) throws(Errno) {
        try Self.write(file.raw, bytes, at: offset)
    }

    private static func write(_ fd: Int32, _ bytes: [UInt8], at offset: Int) throws(Errno) {
        let count = try checkedByErrno(unsafe pwrite(fd, bytes, bytes.count, offset))
        guard count == bytes.count else { throw Errno(code: ENOSPC) }
    }
}
