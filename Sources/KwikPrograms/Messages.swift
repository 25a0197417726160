import Glibc
import KwikLinux

/// Why a message of the local protocol was refused. Its conversation ends with it.
public enum ProtocolError: Error, Equatable, Sendable {
    /// Shorter than a request's head, or another length than the head says.
    case length
    case magic
    case kind(UInt16)
    /// No address of IPv4 or IPv6 where one must be.
    case destination
    /// More option bytes than `Wire.maximalValue`.
    case value
    /// None, too many, or one where none belongs.
    case descriptors
    /// In the wrong order, or too many in one conversation.
    case sequence
}

/// The messages of `shim/protocol.h`, mirrored by hand. Native byte order: both ends are on one machine.
enum Wire {
    static let magic: UInt32 = 0x314b_574b
    /// Longest option value in either direction, in bytes.
    static let maximalValue = 512
    static let requestHead = 48
    static let replyHead = 24
    static let addressLength = 24

    enum Kind: UInt16 {
        case connect = 1
        case swapped = 2
        case status = 3
        case getOption = 4
        case setOption = 5
        case undo = 6
    }

    struct Flags: OptionSet {
        let rawValue: UInt16
        static let blocking = Flags(rawValue: 1)
        static let consume = Flags(rawValue: 2)
        static let takeError = Flags(rawValue: 4)
        static let left = Flags(rawValue: 8)
        static let mark = Flags(rawValue: 16)
    }

    enum State: UInt16 {
        case unknown = 0
        case pending = 1
        case news = 2
        case connected = 3
        case failed = 4
        case native = 5
        case taken = 6
        case busy = 7
        case done = 8
    }
}

struct Request: Equatable {
    var kind: Wire.Kind
    var flags: Wire.Flags = []
    var level: Int32 = 0
    var name: Int32 = 0
    /// GETOPT: how many bytes the program has room for.
    var length = 0
    /// Of CONNECT only.
    var destination: SocketAddress?
    /// Of SETOPT only.
    var value: [UInt8] = []

    init(kind: Wire.Kind) { self.kind = kind }

    init(parsing bytes: [UInt8]) throws(ProtocolError) {
        guard bytes.count >= Wire.requestHead else { throw .length }
        guard load(bytes, 0, UInt32.self) == Wire.magic else { throw .magic }
        let number = load(bytes, 4, UInt16.self)
        guard let kind = Wire.Kind(rawValue: number) else { throw .kind(number) }
        self.kind = kind
        flags = Wire.Flags(rawValue: load(bytes, 6, UInt16.self))
        level = load(bytes, 8, Int32.self)
        name = load(bytes, 12, Int32.self)
        let length = load(bytes, 16, UInt32.self)
        guard length <= Wire.maximalValue else { throw .value }
        self.length = Int(length)
        value = Array(bytes[Wire.requestHead...])
        guard value.count == (kind == .setOption ? self.length : 0) else { throw .length }
        if kind == .connect {
            let address = Array(bytes[24..<24 + Wire.addressLength])
            guard let destination = SocketAddress(wire: address) else { throw .destination }
            self.destination = destination
        }
    }

    /// What the shim sends; for tests.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        append(Wire.magic, to: &bytes)
        append(kind.rawValue, to: &bytes)
        append(flags.rawValue, to: &bytes)
        append(level, to: &bytes)
        append(name, to: &bytes)
        append(UInt32(length), to: &bytes)
        append(UInt32(0), to: &bytes)
        bytes += destination?.wire ?? [UInt8](repeating: 0, count: Wire.addressLength)
        return bytes + value
    }
}

struct Reply: Equatable {
    var kind: Wire.Kind
    var state: Wire.State
    var error: Int32 = 0
    var queued = 0
    var value: [UInt8] = []

    var encoded: [UInt8] {
        precondition(value.count <= Wire.maximalValue, "a longer value than the shim has room for")
        var bytes: [UInt8] = []
        append(Wire.magic, to: &bytes)
        append(kind.rawValue, to: &bytes)
        append(state.rawValue, to: &bytes)
        append(error, to: &bytes)
        append(UInt32(value.count), to: &bytes)
        append(UInt32(clamping: queued), to: &bytes)
        append(UInt32(0), to: &bytes)
        return bytes + value
    }
}

extension SocketAddress {
    /// `struct kwik_address`: family, port in network order, scope, 16 bytes.
    var wire: [UInt8] {
        let system = bytes
        var wire = [UInt8](repeating: 0, count: Wire.addressLength)
        wire[0..<4] = system[0..<4]
        if family == AF_INET {
            wire[8..<12] = system[4..<8]
        } else if family == AF_INET6 {
            wire[4..<8] = system[24..<28]
            wire[8..<24] = system[8..<24]
        }
        return wire
    }

    init?(wire: [UInt8]) {
        guard wire.count == Wire.addressLength else { return nil }
        var system: [UInt8]
        switch Int32(load(wire, 0, UInt16.self)) {
        case AF_INET:
            system = wire[0..<4] + wire[8..<12] + [UInt8](repeating: 0, count: 8)
        case AF_INET6:
            system = wire[0..<4] + [0, 0, 0, 0] + wire[8..<24] + wire[4..<8]
        default:
            return nil
        }
        self.init(bytes: system)
    }
}

private func load<Number: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: [UInt8], _ offset: Int, _ type: Number.Type
) -> Number {
    precondition(offset + MemoryLayout<Number>.size <= bytes.count, "a field outside its message")
    return unsafe bytes.withUnsafeBytes { buffer in
        unsafe buffer.loadUnaligned(fromByteOffset: offset, as: type)
    }
}

private func append<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number, to bytes: inout [UInt8]) {
    unsafe withUnsafeBytes(of: number) { buffer in unsafe bytes.append(contentsOf: buffer) }
}
