/// Which datagrams a relay forwards between one client and one target (protocol.md §2).
///
/// The client's address is that of its control connection, so it has been seen to receive there; the first
/// port that sends is its port. Until the client has answered what the target sent, no more than three times
/// of what came from it goes back (RFC 9000 §8), so that a relay is no amplifier either.
public struct RelayGate: Sendable {
    private var port: UInt16?
    private var fromClient: UInt64 = 0
    private var toClient: UInt64 = 0
    /// The client has sent after something went to it.
    private var isConfirmed = false
    /// When the last datagram was forwarded, in either direction.
    public private(set) var usedAt: Instant

    static let amplification: UInt64 = 3
    /// Without a datagram for so long, the forwarding ends.
    public static let idleTime = Interval.seconds(60)

    public init(now: Instant) { usedAt = now }

    /// Whether `bytes` in datagrams from this address go to the target.
    ///
    /// - Parameter isItsHost: the address is the one of the client's control connection.
    public mutating func admits(_ bytes: Int, isItsHost: Bool, port: UInt16, now: Instant) -> Bool {
        guard isItsHost, port == self.port ?? port else { return false }
        self.port = port
        if toClient > 0 { isConfirmed = true }
        fromClient &+= UInt64(bytes)
        usedAt = now
        return true
    }

    /// How many of `bytes`, in datagrams of `segment` bytes, go back to the client: whole datagrams.
    public mutating func returns(_ bytes: Int, segment: Int, now: Instant) -> Int {
        guard port != nil else { return 0 }
        var allowed = bytes
        if !isConfirmed {
            let left = Self.amplification * fromClient - min(toClient, Self.amplification * fromClient)
            if UInt64(bytes) > left { allowed = Int(left) / segment * segment }
        }
        guard allowed > 0 else { return 0 }
        toClient &+= UInt64(allowed)
        usedAt = now
        return allowed
    }

    public func isIdle(now: Instant) -> Bool { now >= usedAt + Self.idleTime }
}
