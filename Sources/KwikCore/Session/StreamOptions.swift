// What the sessions themselves read from the options of a program's socket, by Linux's numbers.

extension SocketOption {
    private static let socketLevel: Int32 = 1
    private static let tcpLevel: Int32 = 6
    private static let priorityName: Int32 = 12
    private static let sendBufferName: Int32 = 7
    private static let receiveBufferName: Int32 = 8
    private static let userTimeoutName: Int32 = 18

    private var number: UInt32? {
        guard value.count == 4 else { return nil }
        return value.reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// SO_PRIORITY as a share of a path; nil: another option. The classes are those of linux/pkt_sched.h.
    var weight: Int? {
        guard level == Self.socketLevel, name == Self.priorityName, let number else { return nil }
        switch number {
        case 0, 3: return StreamWeight.standard
        case 1: return 1
        case 2: return 2
        case 4: return 8
        default: return 16
        }
    }

    /// SO_SNDBUF in bytes, as the program asked for it; nil: another option.
    var sendBuffer: UInt64? { buffer(Self.sendBufferName) }

    /// SO_RCVBUF in bytes, as the program asked for it; nil: another option.
    var receiveBuffer: UInt64? { buffer(Self.receiveBufferName) }

    private func buffer(_ wanted: Int32) -> UInt64? {
        guard level == Self.socketLevel, name == wanted, let number, number > 0 else { return nil }
        return UInt64(number)
    }

    /// TCP_USER_TIMEOUT; nil: another option, or unset.
    var userTimeout: Interval? {
        guard level == Self.tcpLevel, name == Self.userTimeoutName, let number, number > 0 else { return nil }
        return .milliseconds(Int64(number))
    }
}

// The port of the program's socket goes in OPEN as if it were an option: with the address that the gateway
// sees it is how a backend tells the streams of one client apart, as it would its connections.
extension SocketOption {
    /// "KW", where Linux has no level.
    private static let kwikLevel: Int32 = 0x4b57
    private static let portName: Int32 = 1
    /// Ports below are root's (ip(7)), and some backends trust them: a client's word is not enough.
    private static let unprivileged: UInt16 = 1_024

    public static func port(_ port: UInt16) -> SocketOption {
        SocketOption(level: kwikLevel, name: portName, value: [UInt8(port >> 8), UInt8(port & 255)])
    }

    /// Nil: another option, or a port that is not believed.
    fileprivate var port: UInt16? {
        guard level == Self.kwikLevel, name == Self.portName, value.count == 2 else { return nil }
        let port = UInt16(value[0]) << 8 | UInt16(value[1])
        return port >= Self.unprivileged ? port : nil
    }
}

/// How much of a path a stream gets beside others: its quantum in deficit round robin, in quarters.
enum StreamWeight {
    static let standard = 4

    static func quantum(_ bytes: Int, weight: Int) -> Int { bytes * weight / standard }
}

extension SocketOptions {
    var weight: Int { lazy.compactMap(\.weight).last ?? StreamWeight.standard }
    var userTimeout: Interval? { lazy.compactMap(\.userTimeout).last }
    var sendBuffer: UInt64? { lazy.compactMap(\.sendBuffer).last }
    var receiveBuffer: UInt64? { lazy.compactMap(\.receiveBuffer).last }
    /// That of the client's program, as it says.
    public var port: UInt16? { lazy.compactMap(\.port).last }

    /// What frames can carry of them.
    var bounded: SocketOptions {
        Array(lazy.filter { $0.value.count <= WireLimit.optionValue }.prefix(WireLimit.options))
    }

    /// Takes the place of the same option's former value. False: no frame can carry it.
    mutating func set(_ option: SocketOption) -> Bool {
        guard option.value.count <= WireLimit.optionValue else { return false }
        if let index = firstIndex(where: { $0.level == option.level && $0.name == option.name }) {
            self[index] = option
            return true
        }
        guard count < WireLimit.options else { return false }
        append(option)
        return true
    }
}

/// Where the urgent byte of a direction stands (URGENT); only the last one counts, as in TCP.
struct UrgentMark {
    var offset: UInt64?

    /// How far the local socket may be given bytes at once: up to the urgent byte, or that one alone.
    func limit(from read: UInt64) -> UInt64 {
        guard let offset, offset >= read else { return .max }
        return offset == read ? offset + 1 : offset
    }

    func isNext(_ read: UInt64) -> Bool { offset == read }
}
