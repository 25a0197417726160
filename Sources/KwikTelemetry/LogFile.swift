internal import Glibc
internal import KwikLinux

/// A bounded log of a daemon that nobody else keeps one for: when the file is full it becomes `PATH.1`, in
/// the place of the one before, and begins anew.
final class LogFile {
    private let path: String
    private let descriptor: Int32
    private let limit: Int
    private var count = 0

    /// Bytes in one file.
    static let defaultLimit = 4 << 20

    /// - Parameter descriptor: becomes the file. Standard error: what the run-time says of a crash is there
    ///   too.
    init(_ path: String, as descriptor: Int32 = 2, limit: Int = defaultLimit) throws(Errno) {
        self.path = path
        self.descriptor = descriptor
        self.limit = limit
        try open()
    }

    private func open() throws(Errno) {
        let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
        let opened = unsafe Glibc.open(path, flags, 0o600)
        guard opened >= 0 else { throw Errno.last }
        let file = Descriptor(taking: opened)
        var status = stat()
        guard unsafe fstat(file.raw, &status) == 0, dup2(file.raw, descriptor) >= 0 else { throw Errno.last }
        count = Int(status.st_size)
    }

    /// One line, as a whole in one of the two files.
    func write(_ line: [UInt8]) {
        if count > 0, count + line.count > limit {
            // What can't be moved or made is written on.
            if unsafe rename(path, path + ".1") == 0 { try? open() }
        }
        count += line.count
        // A log that can't be written has nowhere to say so.
        try? Files.writeAll(descriptor, line)
    }
}
