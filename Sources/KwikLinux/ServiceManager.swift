internal import CSystemd
internal import Glibc
public import KwikCore

/// The service manager: sockets it passes, what it is told, and its journal. All of it is silent where none
/// runs.
public enum ServiceManager {
    /// The sockets passed at the start (sd_listen_fds(3)), now close-on-exec, non-blocking (they are passed
    /// as they were made, and a loop that accepts until there is none would stand still) and the caller's.
    /// The environment that told of them is cleared, so a second call finds none.
    public static func listenDescriptors() -> [(name: String, fd: Int32)] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = unsafe sd_listen_fds_with_names(1, &names)
        var result: [(name: String, fd: Int32)] = []
        guard count > 0, let names = unsafe names else { return result }
        for index in 0..<Int(count) {
            let name = unsafe names[index]
            let fd = firstDescriptor + Int32(index)
            if let flags = try? Descriptor.statusFlags(fd) {
                try? Descriptor.setStatusFlags(fd, flags | O_NONBLOCK)
            }
            result.append((name: unsafe name.map { text in unsafe String(cString: text) } ?? "", fd: fd))
            unsafe free(name)
        }
        unsafe free(names)
        return result
    }

    /// SD_LISTEN_FDS_START
    private static let firstDescriptor: Int32 = 3

    public static func notifyReady() { notify("READY=1") }

    public static func notifyStopping() { notify("STOPPING=1") }

    /// Within how long the manager wants to hear of the daemon, or restarts it (WatchdogSec=); nil: never.
    public static func watchdogInterval() -> Interval? {
        var microseconds: UInt64 = 0
        guard unsafe sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
        return .microseconds(Int64(clamping: microseconds))
    }

    public static func notifyAlive() { notify("WATCHDOG=1") }

    /// One line for people, such as `systemctl status` shows.
    public static func status(_ text: String) { notify("STATUS=" + text) }

    /// Unlike sd_notify's usual use the variable stays set: it is told more than once.
    private static func notify(_ state: String) { unsafe sd_notify(0, state) }

    /// Standard error goes to the journal (JOURNAL_STREAM, systemd.exec(5)), so `journal` reaches one.
    public static var underJournal: Bool {
        guard let stream = Environment.get("JOURNAL_STREAM") else { return false }
        var status = stat()
        guard unsafe fstat(STDERR_FILENO, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// One entry. Names are as systemd.journal-fields(7) wants them: capitals, digits and underscores.
    /// Without a journal the entry is lost and no error is told: ask `underJournal` first.
    public static func journal(_ fields: [(name: String, value: String)]) throws(Errno) {
        var text: [UInt8] = []
        var lengths: [Int] = []
        for field in fields {
            let entry = Array("\(field.name)=\(field.value)".utf8)
            text += entry
            lengths.append(entry.count)
        }
        let result: Int32 = unsafe text.withUnsafeMutableBytes { buffer in
            var vectors: [iovec] = unsafe []
            var offset = 0
            for length in lengths {
                let start = unsafe buffer.baseAddress.map { base in unsafe base + offset }
                unsafe vectors.append(iovec(iov_base: start, iov_len: length))
                offset += length
            }
            return unsafe sd_journal_sendv(vectors, Int32(vectors.count))
        }
        try checked(result)
    }
}
