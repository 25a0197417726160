internal import KwikCore

/// Finds the largest datagram that a path carries (DPLPMTUD, RFC 8899). The library probes to 1,444 bytes at
/// most; with a full Ethernet frame's 1,472 there are two percent fewer datagrams to make. A probe is a
/// datagram beside the connection, so that one lost on purpose is no sign of congestion (RFC 9000 §14.4): all
/// sizes of interest leave in one round, and a second and third for those still without an answer.
struct PathMTUDiscovery {
    /// Bytes that the payload of a datagram may have now.
    private(set) var payload = base
    /// The largest of `sizes`.
    let most: Int
    /// The peer tells by it that it got a probe of ours. Only who sees the path knows it.
    let token: UInt64
    /// Payloads that are ever probed for, the largest first, and those of them in question now.
    private let sizes: [Int]
    private var open: [Int] = []
    /// Those of the current round that have not left.
    private var unsent: [Int] = []
    private var rounds = 0
    /// When the current round is given up.
    private var roundEnd: Instant?
    /// The path was silent: the search begins once the peer is heard.
    private var isWaiting = false

    /// What every path must carry for QUIC (RFC 9000 §14.1).
    static let base = 1_200
    /// MTUs that are common: Ethernet, PPPoE, WireGuard, IPv6's least.
    private static let common = [1_500, 1_492, 1_420, 1_280]
    private static let roundLimit = 3
    /// Probe timeouts in a row after which larger datagrams may be what does not come through
    /// (RFC 8899 §4.3).
    private static let silenceLimit = 3
    private static let leastRound = Interval.milliseconds(100)

    /// `mtu`: bytes of the largest IP packet; `headers`: of these, what IP and UDP take.
    init(mtu: Int, headers: Int, token: UInt64) {
        most = max(mtu - headers, Self.base)
        self.token = token
        sizes = ([mtu] + Self.common.filter { $0 < mtu }).map { $0 - headers }.filter { $0 > Self.base }
    }

    /// Of IP and UDP, before a payload to `remote`: an IPv4 address may be in IPv6's clothes.
    static func headers(to remote: SocketAddressBytes) -> Int {
        let (ipv4, ipv6, udp) = (20, 40, 8)
        return remote.isIPv4 ? ipv4 + udp : ipv6 + udp
    }

    /// The path is usable.
    mutating func start() {
        if rounds == 0 { begin() }
    }

    /// The path is another one than before.
    mutating func begin() {
        payload = Self.base
        isWaiting = false
        open = sizes
        unsent = sizes
        rounds = 1
        roundEnd = nil
    }

    /// The payload of a probe that is to leave now. Each call gives another one.
    mutating func probe(srtt: Interval, now: Instant) -> Int? {
        if let roundEnd, roundEnd <= now { endRound() }
        guard let next = unsent.first else { return nil }
        unsent.removeFirst()
        if unsent.isEmpty {
            roundEnd = now + max(Interval(nanoseconds: 3 * srtt.nanoseconds), Self.leastRound)
        }
        return next
    }

    /// The peer got a probe of this payload.
    mutating func answered(_ size: Int) {
        guard open.contains(size) else { return }
        payload = size
        open.removeAll { $0 <= size }
        unsent.removeAll { $0 <= size }
        if open.isEmpty { roundEnd = nil }
    }

    /// `timeouts`: probe timeouts of the connection in a row.
    mutating func silent(timeouts: Int) {
        guard timeouts >= Self.silenceLimit, !isWaiting, rounds > 0 else { return }
        isWaiting = true
        payload = Self.base
        (open, unsent, roundEnd) = ([], [], nil)
    }

    /// The peer told something new.
    mutating func heard() {
        if isWaiting { begin() }
    }

    /// When `probe` may give another one.
    var deadline: Instant? { unsent.isEmpty ? roundEnd : Instant(nanoseconds: 0) }

    private mutating func endRound() {
        roundEnd = nil
        guard rounds < Self.roundLimit else {
            open = []
            return
        }
        rounds += 1
        unsent = open
    }
}

/// A datagram that looks for the path's MTU, or says that one came: a short header with the fixed bit clear,
/// which no QUIC packet has (RFC 9000 §17.3.1), and a first byte that no protocol beside QUIC uses
/// (RFC 9443 §3); the destination's connection id; the token; the probe's size. Zeros fill a probe up.
struct PathMTUProbe: Equatable {
    var isAnswer: Bool
    var token: UInt64
    /// UDP payload bytes of the probe, 1,201 ... 65,527.
    var size: Int

    private static let probeByte: UInt8 = 4
    private static let answerByte: UInt8 = 5
    private static let tokenLength = 8
    private static let sizeLength = 2

    static func isOne(_ first: UInt8) -> Bool { first == probeByte || first == answerByte }

    /// nil: none, or one that is not of the size that it tells. `idLength`: of the connection ids that the
    /// datagram's receiver has.
    init?(_ datagram: UnsafeRawBufferPointer, idLength: Int) {
        let start = 1 + idLength
        let length = start + Self.tokenLength + Self.sizeLength
        guard datagram.count >= length, unsafe Self.isOne(datagram[0]) else { return nil }
        isAnswer = unsafe datagram[0] == Self.answerByte
        token = unsafe UInt64(bigEndian: datagram.loadUnaligned(fromByteOffset: start, as: UInt64.self))
        size = unsafe Int(
            UInt16(
                bigEndian: datagram.loadUnaligned(fromByteOffset: start + Self.tokenLength, as: UInt16.self)))
        guard size > PathMTUDiscovery.base, datagram.count == (isAnswer ? length : size) else { return nil }
    }

    init(isAnswer: Bool, token: UInt64, size: Int) {
        self.isAnswer = isAnswer
        self.token = token
        self.size = size
    }

    /// Bytes written to `buffer`, which has room for `size`.
    func write(to id: ConnectionID, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let start = 1 + id.count
        let length = start + Self.tokenLength + Self.sizeLength
        let count = isAnswer ? length : size
        precondition(buffer.count >= count && size <= Int(UInt16.max), "no room for a probe")
        unsafe buffer[0] = isAnswer ? Self.answerByte : Self.probeByte
        let afterFirst = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[1...])
        unsafe id.storage.withBytes { unsafe afterFirst.copyMemory(from: $0) }
        unsafe buffer.storeBytes(of: token.bigEndian, toByteOffset: start, as: UInt64.self)
        unsafe buffer.storeBytes(
            of: UInt16(size).bigEndian, toByteOffset: start + Self.tokenLength, as: UInt16.self)
        for index in length..<max(count, length) { unsafe buffer[index] = 0 }
        return count
    }
}
