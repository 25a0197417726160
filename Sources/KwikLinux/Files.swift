internal import Glibc

public enum Files {
    /// A whole file of at most `limit` bytes; EFBIG: it is longer.
    public static func read(_ path: String, limit: Int) throws(Errno) -> [UInt8] {
        let file = Descriptor(taking: try checkedByErrno(unsafe open(path, O_RDONLY | O_CLOEXEC)))
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: min(limit + 1, 65_536))
        while true {
            let count = unsafe Glibc.read(file.raw, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }
            if try checkedByErrno(count) == 0 { return bytes }
            bytes += piece[..<count]
            if bytes.count > limit { throw Errno(code: EFBIG) }
        }
    }

    /// Replaces the file as a whole: after a crash it has the old or the new content. Only the owner may
    /// read it.
    public static func write(_ path: String, _ bytes: [UInt8]) throws(Errno) {
        let temporary = path + "." + String(RandomBytes.word(), radix: 36)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        let file = Descriptor(taking: try checkedByErrno(unsafe open(temporary, flags, 0o600)))
        do throws(Errno) {
            try writeAll(file.raw, bytes)
            try checkedByErrno(fsync(file.raw))
            try checkedByErrno(unsafe rename(temporary, path))
        } catch {
            unsafe unlink(temporary)
            throw error
        }
    }

    /// Writes to a blocking descriptor, such as a terminal or a pipe, until all is gone.
    public static func writeAll(_ fd: Int32, _ bytes: [UInt8]) throws(Errno) {
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                let start = unsafe buffer.baseAddress.map { base in unsafe base + offset }
                return unsafe Glibc.write(fd, start, buffer.count - offset)
            }
            if count < 0 && errno == EINTR { continue }
            offset += try checkedByErrno(count)
        }
    }

    /// Makes and locks a file, until the result is closed or the process ends; nil: another process holds
    /// the lock.
    public static func lock(_ path: String) throws(Errno) -> Descriptor? {
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW
        let file = Descriptor(taking: try checkedByErrno(unsafe open(path, flags, 0o600)))
        if flock(file.raw, LOCK_EX | LOCK_NB) == 0 { return file }
        if errno == EWOULDBLOCK { return nil }
        throw Errno.last
    }

    /// No error if it is gone already.
    public static func remove(_ path: String) throws(Errno) {
        if unsafe unlink(path) != 0 && errno != ENOENT { throw Errno.last }
    }
}
