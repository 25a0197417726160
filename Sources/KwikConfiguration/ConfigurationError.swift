/// What is wrong with a configuration, and where.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    public var file: String
    /// From 1.
    public var line: Int
    /// From 1.
    public var column: Int
    public var message: String

    public init(file: String, line: Int, column: Int, message: String) {
        self.file = file
        self.line = line
        self.column = column
        self.message = message
    }

    public var description: String { "\(file):\(line):\(column): \(message)" }
}

/// What a configuration may hold at most.
public enum ConfigurationLimit {
    /// Bytes in the configuration itself.
    public static let fileBytes = 1 << 20
    /// Bytes in a file that it names: certificate, key, list of authorities, token.
    public static let attachedBytes = 1 << 20
    public static let services = 1_024
    /// Servers of one service.
    public static let servers = 64
    /// Addresses of one service.
    public static let addresses = 64
    /// Interfaces that are named.
    public static let interfaces = 16
    /// Bytes in an interface's name, as the system has it (IFNAMSIZ, less its NUL).
    public static let interfaceBytes = 15
    /// Addresses to which a gateway relays.
    public static let relayTargets = 256
    /// Tokens of one service.
    public static let tokens = 1_024
    /// Bytes in a token.
    public static let tokenBytes = 4_096
    /// Bytes in a name, as in DNS (RFC 1035 §2.3.4).
    public static let nameBytes = 253
}
