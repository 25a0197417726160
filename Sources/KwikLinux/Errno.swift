internal import Glibc

/// What the system said when it refused a call (errno(3)).
public struct Errno: Error, Equatable, Sendable, CustomStringConvertible {
    public let code: Int32

    public init(code: Int32) { self.code = code }

    /// The calling thread's current `errno`.
    public static var last: Errno { Errno(code: errno) }

    public var description: String { unsafe String(cString: strerror(code)) }
}

/// The result of a door function that returns a negative errno on failure.
@discardableResult
func checked<Number: FixedWidthInteger>(_ result: Number) throws(Errno) -> Number {
    if result < 0 { throw Errno(code: Int32(truncatingIfNeeded: 0 - result)) }
    return result
}

/// The result of a libc function that returns -1 and sets `errno` on failure.
@discardableResult
func checkedByErrno<Number: FixedWidthInteger>(_ result: Number) throws(Errno) -> Number {
    if result < 0 { throw Errno.last }
    return result
}
