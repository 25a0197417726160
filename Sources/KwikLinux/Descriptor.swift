internal import CLinux
internal import Glibc

/// Owns an open file descriptor and closes it at the end of its life.
public struct Descriptor: ~Copyable {
    public let raw: Int32

    public init(taking raw: Int32) {
        precondition(raw >= 0, "not a descriptor")
        self.raw = raw
    }

    /// Gives the ownership to the caller, who has to close the result.
    public consuming func release() -> Int32 {
        let raw = self.raw
        discard self
        return raw
    }

    deinit { _ = Glibc.close(raw) }

    /// Closes a descriptor that nobody owns as a value, such as one received by SCM_RIGHTS.
    public static func close(_ raw: Int32) { _ = Glibc.close(raw) }

    /// A second descriptor of the same open file, close-on-exec.
    public static func duplicate(_ raw: Int32) throws(Errno) -> Int32 {
        try checkedByErrno(fcntl(raw, F_DUPFD_CLOEXEC, 0))
    }

    /// F_GETFL.
    public static func statusFlags(_ raw: Int32) throws(Errno) -> Int32 {
        try checked(kwik_status_flags(raw))
    }

    /// F_SETFL.
    public static func setStatusFlags(_ raw: Int32, _ flags: Int32) throws(Errno) {
        try checked(kwik_set_status_flags(raw, flags))
    }

    public static func setCloseOnExec(_ raw: Int32, _ enabled: Bool) throws(Errno) {
        try checked(kwik_set_close_on_exec(raw, enabled ? 1 : 0))
    }
}
