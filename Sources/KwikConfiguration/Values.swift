/// A literal IPv4 or IPv6 address with a port.
public struct AddressAndPort: Hashable, Sendable, CustomStringConvertible {
    /// In the canonical form of inet_ntop(3), without brackets.
    public var host: String
    public var port: UInt16

    /// Refuses what is no literal address.
    public init?(host: String, port: UInt16) {
        guard let canonical = Literal.canonical(host) else { return nil }
        self.host = canonical
        self.port = port
    }

    /// "192.0.2.1:80" or "[2001:db8::1]:80".
    public init?(parsing text: String) {
        guard let parts = HostAndPort(parsing: text) else { return nil }
        self.init(host: parts.host, port: parts.port)
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A host, by name or literal address, with a port.
struct HostAndPort {
    var host: String
    var port: UInt16

    init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
            text[text.index(after: colon)...].utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.count <= ConfigurationLimit.nameBytes else { return nil }
        self.host = String(host)
        self.port = port
    }

    /// Letters, digits, hyphens, underscores and dots; or a literal address.
    var isValid: Bool {
        Literal.canonical(host) != nil
            || host.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20)
                    || byte == UInt8(ascii: "-")
                    || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
            }
    }
}

/// A file that the configuration names, already read.
public struct AttachedFile: Hashable, Sendable {
    /// As it was opened: relative names are taken from the configuration's directory.
    public var path: String
    public var bytes: [UInt8]

    public init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
    }
}

/// A certificate chain with its private key, both PEM.
public struct CertificateAndKey: Hashable, Sendable {
    public var certificate: AttachedFile
    /// Secret: never logged.
    public var key: AttachedFile

    public init(certificate: AttachedFile, key: AttachedFile) {
        self.certificate = certificate
        self.key = key
    }
}

/// How much is logged: each level holds those before it.
public enum LogLevel: String, CaseIterable, Sendable {
    case error
    case warning
    case notice
    case info
    case debug
}

public enum CongestionControl: String, CaseIterable, Sendable {
    case cubic
    case bbr2
}

/// Whether pieces may be compressed. Not unless the operator says so: their lengths tell of their content.
public enum Compression: String, CaseIterable, Sendable {
    case none
    case zstd
}

/// By which local interfaces the paths of a service leave.
public enum InterfaceChoice: Hashable, Sendable {
    /// By each that has an address of its own and a route to the server.
    case auto
    /// By these of them, in this order.
    case named([String])
}

/// What happens to a stream whose primary is gone (protocol.md §7).
public enum FailurePolicy: String, CaseIterable, Sendable {
    /// The stream waits, then ends with ETIMEDOUT.
    case fail
    /// A replica that has matched in every block becomes the primary.
    case promote
    /// It goes on with what two replicas agree on.
    case quorum
}

/// Whether streams of a service may use replicas.
public enum ReplicaUse: String, CaseIterable, Sendable {
    /// Those that turn out to be bulk and limited by the network.
    case auto
    case never
}
