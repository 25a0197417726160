internal import CLinux
internal import Glibc

/// The environment of this process.
public enum Environment {
    public static func get(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// nil removes it. EINVAL: no name for a variable.
    public static func set(_ name: String, _ value: String?) throws(Errno) {
        if let value {
            try checkedByErrno(unsafe setenv(name, value, 1))
        } else {
            try checkedByErrno(unsafe unsetenv(name))
        }
    }

    /// All of it, as `NAME=value`.
    public static var all: [String] {
        var result: [String] = []
        guard var next = unsafe kwik_environment() else { return result }
        while let entry = unsafe next.pointee {
            result.append(unsafe String(cString: entry))
            unsafe next += 1
        }
        return result
    }
}

/// Starting programs.
public enum Launch {
    /// Becomes `file`, looked up in PATH if it has no slash (execvp(3)). `arguments` begins with the name
    /// by which the program is called. Returns only to fail, with ENOENT for instance.
    public static func become(_ file: String, _ arguments: [String]) throws(Errno) -> Never {
        _ = unsafe withStrings(arguments) { argv in
            unsafe argv.map { argv in unsafe execvp(file, argv) }
        }
        throw Errno.last
    }

    /// Starts a daemon: nobody's child, in a session of its own, with default signals, `/dev/null` as input
    /// and output and only the given descriptors. Returns its pid once its program runs; the errno of a
    /// failed exec is thrown.
    /// - Parameters:
    ///   - file: looked up in PATH if it has no slash.
    ///   - arguments: begin with the name by which the program is called.
    ///   - environment: `NAME=value` each.
    ///   - keeping: become 3, 4, … in the daemon; at most 16.
    ///   - errorOutput: nil is `/dev/null`.
    public static func detached(
        _ file: String, _ arguments: [String], environment: [String], keeping: [Int32] = [],
        errorOutput: Int32? = nil
    ) throws(Errno) -> Int32 {
        let result = unsafe withStrings(arguments) { argv in
            unsafe withStrings(environment) { envp in
                unsafe kwik_spawn_detached(file, argv, envp, keeping, keeping.count, errorOutput ?? -1)
            }
        }
        return try checked(result)
    }
}

/// A null-terminated array of C strings, valid during `body`.
func withStrings<Result>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> Result
) -> Result {
    var pointers = unsafe strings.map { string in unsafe strdup(string) }
    unsafe pointers.append(nil)
    defer { for unsafe pointer in unsafe pointers { unsafe free(pointer) } }
    return unsafe pointers.withUnsafeMutableBufferPointer { buffer in unsafe body(buffer.baseAddress) }
}

/// What a tool needs to know of its terminal.
public enum Terminal {
    public static func isTerminal(_ fd: Int32) -> Bool { isatty(fd) == 1 }

    /// Nil: the descriptor is no terminal, or it does not say.
    public static func size(_ fd: Int32) -> (columns: Int, rows: Int)? {
        var columns: Int32 = 0
        var rows: Int32 = 0
        guard unsafe kwik_window_size(fd, &columns, &rows) == 0, columns > 0, rows > 0 else { return nil }
        return (Int(columns), Int(rows))
    }
}
