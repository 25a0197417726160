public import KwikCore

/// One request and its answer.
public struct Exchange: Sendable {
    public enum Kind: Sendable {
        case get
        case chunked
        /// The program sends the body and reads a digest of what arrived.
        case put
        /// The program sends and reads at the same time.
        case echo
    }

    public var kind: Kind
    /// Bytes of the body.
    public var size: UInt64
    public var seed: UInt64
    /// Bytes per second at which the application answers; 0: at once.
    public var pace: Int
    /// The program waits before it asks.
    public var think: Interval

    public init(_ kind: Kind, size: UInt64, seed: UInt64, pace: Int = 0, think: Interval = .zero) {
        self.kind = kind
        self.size = size
        self.seed = seed
        self.pace = pace
        self.think = think
    }

    var request: String {
        switch kind {
        case .get: "GET \(size) \(seed) \(pace)\n"
        case .chunked: "CHUNK \(size) \(seed) \(pace)\n"
        case .put: "PUT \(size) \(seed)\n"
        case .echo: "ECHO \(size)\n"
        }
    }

    /// The same with bytes that can be compressed.
    public var sparse: Exchange {
        var other = self
        other.seed = seed & (Pattern.sparse - 1) | Pattern.sparse
        return other
    }

    var upload: UInt64 { kind == .put || kind == .echo ? size : 0 }
}

/// What one program does with its connection.
public struct Workload: Sendable {
    public enum Ending: Sendable {
        /// Closes when it has read everything.
        case close
        /// Shuts its writing half down behind the last request, and reads to the end of file.
        case halfClose
        /// Asks the server to close first, and reads to the end of file.
        case bye
        /// Resets the connection after so many bytes.
        case abort(after: UInt64)
        /// Closes after so many bytes, whatever is still to come.
        case leave(after: UInt64)
        /// Stops reading (SHUT_RD) after so many bytes, sends what it has to, and closes.
        case deafen(after: UInt64)
        /// Closes as soon as all is written, whatever the answer: the server has to get every byte.
        case quit
    }

    /// Since the world began.
    public var start: Interval
    public var exchanges: [Exchange]
    /// All requests at once, or each behind the answer before it.
    public var isPipelined = false
    /// Bytes per second that the program reads; 0: all that comes.
    public var readRate = 0
    /// Reading pauses at these offsets.
    public var pauses: [(at: UInt64, for: Interval)] = []
    public var ending = Ending.close
    /// What the program set before it connected.
    public var options: SocketOptions = []
    /// What it sets later, since the world began.
    public var changes: [(at: Interval, SocketOption)] = []
    /// The last byte of each of its writes is urgent.
    public var marksUrgent = false
    /// The program bound its socket to interfaces.
    public var restriction = PathRestriction.none

    public init(start: Interval, exchanges: [Exchange]) {
        self.start = start
        self.exchanges = exchanges
    }

    /// TCP_USER_TIMEOUT, if the program set it.
    var userTimeout: Interval? {
        let isTimeout = { (option: SocketOption) in
            option.level == SocketOption.tcp && option.name == SocketOption.userTimeoutName
        }
        return options.last(where: isTimeout).map { option in
            .milliseconds(Int64(option.value.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
        }
    }

    /// Bytes in both directions, roughly.
    var bytes: UInt64 { exchanges.reduce(0) { $0 + $1.size + 100 + ($1.kind == .echo ? $1.size : 0) } }

    /// How long the program itself takes: thinking, pausing, slow reading, and the application's pace.
    var ownTime: Interval {
        var total = Interval.zero
        for exchange in exchanges {
            total = total + exchange.think
            if exchange.pace > 0 {
                total = total + Interval(seconds: Double(exchange.size) / Double(exchange.pace))
            }
        }
        for pause in pauses { total = total + pause.for }
        if readRate > 0 { total = total + Interval(seconds: Double(bytes) / Double(readRate)) }
        return total
    }
}

/// Linux's numbers.
extension SocketOption {
    static let socket: Int32 = 1
    static let tcp: Int32 = 6
    static let sendBufferName: Int32 = 7
    static let receiveBufferName: Int32 = 8
    static let priorityName: Int32 = 12
    static let userTimeoutName: Int32 = 18

    init(_ level: Int32, _ name: Int32, _ number: Int) {
        self.init(
            level: level, name: name, value: (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) })
    }
}
