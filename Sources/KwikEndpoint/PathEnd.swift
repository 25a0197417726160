public import KwikCore
public import KwikTransport

/// Why a path is over, and what kind of trouble that is (protocol.md §9), whichever end found it.
public enum PathEnd: Hashable, Sendable {
    /// The connection failed, or the peer ended it.
    case failed(TransportError)
    /// This end closed it.
    case closed(ErrorCode, reason: String)

    /// What went wrong; nil: nothing did, this end has no more use for the path, or stops.
    public var fault: String? {
        switch self {
        case .failed(let error): "\(error)"
        case .closed(.none, _), .closed(.draining, _): nil
        case .closed(_, let reason): reason
        }
    }

    public var errorClass: ErrorClass {
        switch self {
        case .failed(let error): error.errorClass
        case .closed(let code, _): code.errorClass
        }
    }
}

extension TransportError {
    /// The codes of RFC 9000 §20.1 that say nothing against the peer: it closed or lost its state, it is at
    /// fault just now, it has too many connections.
    private static let noError: UInt64 = 0
    private static let internalError: UInt64 = 1
    private static let connectionRefused: UInt64 = 2

    /// What kind of trouble ended a connection.
    public var errorClass: ErrorClass {
        switch kind {
        case .certificate: .security
        case .closedByPeer(let close) where close.isApplication: ErrorCode(told: close.code).errorClass
        case .closedByPeer(let close):
            switch close.code {
            case Self.noError: .transient
            case Self.internalError: .path
            case Self.connectionRefused: .resource
            default: .fatal
            }
        case .idle, .handshake: .transient
        case .fatal: .path
        case .tls, .badArgument: .fatal
        }
    }
}
