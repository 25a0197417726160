public import KwikLinux
import Glibc

/// The file by which the shim knows, without a question, which destinations are worth one
/// (`shim/protocol.h`).
public enum ServedMap {
    /// More than a `connect()` needs to search, and 1.2 MB.
    public static let maximalEntries = 65_536
    /// The file's name in the runtime directory.
    public static let name = "served"

    /// Replaces the file at `path` as a whole. Duplicates and addresses other than IPv4 and IPv6 are left
    /// out. EFBIG: more than `maximalEntries`.
    public static func write(_ path: String, _ addresses: [SocketAddress]) throws(Errno) {
        let bytes = encode(addresses)
        guard bytes.count <= head + maximalEntries * entryLength else { throw Errno(code: EFBIG) }
        try Files.write(path, bytes)
    }

    /// Without the file the shim asks nothing: every connect is native. One that stays costs each a question
    /// that nobody answers.
    public static func remove(_ path: String) { try? Files.remove(path) }

    private static let head = 16
    private static let entryLength = 18

    static func encode(_ addresses: [SocketAddress]) -> [UInt8] {
        let entries = Set(addresses.compactMap(entry))
        let sorted = entries.sorted { left, right in left.lexicographicallyPrecedes(right) }
        var bytes = Array("KWIKSRV1".utf8)
        for shift in stride(from: 0, to: 32, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: sorted.count >> shift))
        }
        bytes += [0, 0, 0, 0]
        for entry in sorted { bytes += entry }
        return bytes
    }

    /// An IPv6 or IPv4-mapped address and a port, both in network order.
    static func entry(_ address: SocketAddress) -> [UInt8]? {
        let wire = address.wire
        switch address.family {
        case AF_INET:
            return [UInt8](repeating: 0, count: 10) + [0xff, 0xff] + wire[8..<12] + wire[2..<4]
        case AF_INET6:
            return Array(wire[8..<24] + wire[2..<4])
        default:
            return nil
        }
    }
}
