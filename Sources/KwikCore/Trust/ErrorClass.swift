/// What kind of trouble an error code means (protocol.md §9).
public enum ErrorClass: String, CaseIterable, Sendable {
    /// Passes by itself.
    case transient
    /// This connection or channel is no good; another to the same server may be.
    case path
    /// This server can't do it; others may.
    case server
    /// Somebody does what he may not, or can't show that he may.
    case security
    /// Something is used up: later, there may be more of it.
    case resource
    /// The two ends do not fit: nothing changes before somebody changes one of them.
    case fatal

    public var recovery: Recovery {
        switch self {
        case .transient, .path: Recovery(attempt: .backingOff, asksAgain: true, isAlert: false)
        case .resource: Recovery(attempt: .backingOff, asksAgain: false, isAlert: false)
        case .server: Recovery(attempt: .late, asksAgain: false, isAlert: false)
        case .security, .fatal: Recovery(attempt: .late, asksAgain: false, isAlert: true)
        }
    }
}

/// What is done about an error.
public struct Recovery: Hashable, Sendable {
    public enum Attempt: Sendable {
        /// The server is connected to again after 1, 2, 4 … s.
        case backingOff
        /// Not before the longest delay.
        case late
    }

    public var attempt: Attempt
    /// A stream that its primary refused before it was answered is asked for again.
    public var asksAgain: Bool
    /// Somebody should look: it is logged as a warning, else as a notice.
    public var isAlert: Bool
}

extension ErrorCode {
    public var errorClass: ErrorClass {
        switch self {
        case .none, .draining, .reattached: .transient
        case .internalError, .flowControl: .path
        case .unknownService, .backendUnreachable: .server
        case .refusedByPolicy, .unauthenticated, .integrity: .security
        case .resourceLimit: .resource
        case .protocolViolation: .fatal
        }
    }

    public var recovery: Recovery { errorClass.recovery }

    /// A peer's word for why it ended something. A number that this version does not know is its affair.
    public init(told code: UInt64) { self = ErrorCode(rawValue: code) ?? .internalError }
}
