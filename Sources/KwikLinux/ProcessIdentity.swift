internal import Glibc

extension Environment {
    public static var processID: Int32 { getpid() }
    public static var userID: UInt32 { getuid() }
}

extension Files {
    public static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }
}
