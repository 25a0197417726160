internal import Glibc

public enum RuntimeDirectoryError: Error, Equatable, Sendable, CustomStringConvertible {
    case notADirectory(String)
    case ownedByAnother(String, uid: UInt32)
    /// Others than the owner may enter it.
    case openToOthers(String, mode: UInt32)
    case failed(String, Errno)

    public var description: String {
        switch self {
        case .notADirectory(let path): "\(path) is no directory"
        case .ownedByAnother(let path, let uid): "\(path) belongs to user \(uid)"
        case .openToOthers(let path, let mode):
            "\(path) has mode 0\(String(mode, radix: 8)), which lets others in; expected 0700"
        case .failed(let path, let errno): "\(path): \(errno)"
        }
    }
}

/// The directory of a user's local sockets, by the one rule that daemons, tools and the shim share:
/// `$XDG_RUNTIME_DIR/kwik` if that variable is an absolute path; else `/run/user/UID/kwik` if
/// `/run/user/UID` is a directory of this user; else `/tmp/kwik-UID`. UID is the effective user id.
public enum RuntimeDirectory {
    /// Makes the directory if need be, with mode 0700, and verifies that it is no symbolic link and only
    /// this user's.
    public static func resolve() throws(RuntimeDirectoryError) -> String {
        let uid = geteuid()
        let variable = Environment.get("XDG_RUNTIME_DIR")
        let path = path(variable: variable, uid: uid, users: "/run/user", fallback: "/tmp")
        try prepare(path, uid: uid)
        return path
    }

    /// Another place, by configuration; checked in the same way.
    public static func prepare(_ path: String) throws(RuntimeDirectoryError) {
        try prepare(path, uid: geteuid())
    }

    static func path(variable: String?, uid: UInt32, users: String, fallback: String) -> String {
        if let variable, variable.hasPrefix("/") { return variable + "/kwik" }
        let own = "\(users)/\(uid)"
        var status = stat()
        if unsafe lstat(own, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == uid {
            return own + "/kwik"
        }
        return "\(fallback)/kwik-\(uid)"
    }

    static func prepare(_ path: String, uid: UInt32) throws(RuntimeDirectoryError) {
        // A umask can only take bits away, and 0700 has none that a sane one takes.
        if unsafe mkdir(path, 0o700) != 0 && errno != EEXIST { throw .failed(path, Errno.last) }
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw .failed(path, Errno.last) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .notADirectory(path) }
        guard status.st_uid == uid else { throw .ownedByAnother(path, uid: status.st_uid) }
        guard status.st_mode & 0o077 == 0 else { throw .openToOthers(path, mode: status.st_mode & 0o7777) }
    }
}
