internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux

/// What one client may have forwarded, in each direction; shared by its paths.
final class RelayAccount {
    let host: String
    var toTarget: RateShaper
    var toClient: RateShaper
    /// Paths of the client.
    var count = 0

    init(host: String, rate: UInt64, now: Instant) {
        self.host = host
        toTarget = RateShaper(rate: rate, now: now)
        toClient = RateShaper(rate: rate, now: now)
    }
}

/// One path's datagrams on their way between a client and a target, in the batches that the kernel makes.
final class Forwarding {
    let id: String
    /// The path on which the client asked.
    unowned let control: PathLink
    let account: RelayAccount
    let target: SocketAddress
    /// Towards the client: its port is what the client was told.
    private let near: UDPSocket
    private let far: UDPSocket
    private let endpoint: Endpoint
    private var gate: RelayGate
    private var client: SocketAddress?
    private var watches: [Watch] = []
    private var timer: LoopTimer?
    private var toTarget = Queue()
    private var toClient = Queue()
    /// Bytes forwarded, both ways.
    private(set) var forwarded: UInt64 = 0

    /// Datagrams that wait for the rate. Beyond a tenth of a second's worth they are lost, as in any router.
    private struct Queue {
        var batches: [(bytes: ChunkSlice, segment: Int, ecn: UInt8)] = []
        var bytes = 0
    }

    private static let queueTime = Interval.milliseconds(100)
    private static let smallestQueue = 128 << 10
    private static let largestQueue = 4 << 20
    private static let receiveBatches = 16

    init(
        id: String, for control: PathLink, to target: SocketAddress, account: RelayAccount,
        endpoint: Endpoint
    ) throws(Errno) {
        self.id = id
        self.control = control
        self.target = target
        self.account = account
        self.endpoint = endpoint
        gate = RelayGate(now: Clock.now())
        guard let host = SocketAddress(host: control.local.host, port: 0) else { throw Errno(code: 22) }
        near = try UDPSocket(binding: host)
        far = try UDPSocket(binding: try UDPSocket.source(towards: target))
        timer = try endpoint.loop.timer { [unowned self] in self.drain() }
        watches = [
            try endpoint.loop.watch(near.fd, for: .readable) { [unowned self] _ in self.fromClient() },
            try endpoint.loop.watch(far.fd, for: .readable) { [unowned self] _ in self.fromTarget() },
        ]
        account.count += 1
    }

    /// Where the client is to send.
    var address: SocketAddress { near.localAddress }

    func isIdle(now: Instant) -> Bool { gate.isIdle(now: now) }

    func close() {
        guard !watches.isEmpty else { return }
        for watch in watches { watch.cancel() }
        watches = []
        timer?.cancel()
        account.count -= 1
    }

    // MARK: Datagrams

    private func fromClient() {
        let now = endpoint.now
        unsafe near.receive(batches: Self.receiveBatches) { bytes, segment, from, _, ecn in
            let isItsHost = from.host == control.remote.host
            guard gate.admits(bytes.count, isItsHost: isItsHost, port: from.port, now: now) else { return }
            client = from
            unsafe forward(bytes, segment, ecn, isUp: true)
        }
    }

    private func fromTarget() {
        let now = endpoint.now
        unsafe far.receive(batches: Self.receiveBatches) { bytes, segment, from, _, ecn in
            guard from == target else { return }
            let count = gate.returns(bytes.count, segment: segment, now: now)
            guard count > 0 else { return }
            unsafe forward(UnsafeRawBufferPointer(rebasing: bytes[..<count]), segment, ecn, isUp: false)
        }
    }

    private func forward(_ bytes: UnsafeRawBufferPointer, _ segment: Int, _ ecn: UInt8, isUp: Bool) {
        let isWaiting = isUp ? !toTarget.batches.isEmpty : !toClient.batches.isEmpty
        if !isWaiting, allowance(isUp: isUp) > 0 {
            unsafe send(bytes, segment, ecn, isUp: isUp)
            return
        }
        let rate = Double(account.toTarget.rate) * Self.queueTime.seconds
        let limit = min(max(Int(rate), Self.smallestQueue), Self.largestQueue)
        guard (isUp ? toTarget.bytes : toClient.bytes) + bytes.count <= limit else { return }
        let copy = unsafe ChunkSlice(copying: bytes)
        if isUp {
            toTarget.batches.append((copy, segment, ecn))
            toTarget.bytes += copy.count
        } else {
            toClient.batches.append((copy, segment, ecn))
            toClient.bytes += copy.count
        }
        arm()
    }

    private func allowance(isUp: Bool) -> Int {
        let now = endpoint.now
        let own = isUp ? account.toTarget.available(now: now) : account.toClient.available(now: now)
        return min(own, endpoint.allowance)
    }

    /// What the system does not take is lost, as on the way.
    private func send(_ bytes: UnsafeRawBufferPointer, _ segment: Int, _ ecn: UInt8, isUp: Bool) {
        let count = bytes.count
        if isUp {
            account.toTarget.spend(count)
            _ = unsafe far.send(bytes, segment: segment, to: target, ecn: ecn)
        } else if let client {
            account.toClient.spend(count)
            _ = unsafe near.send(bytes, segment: segment, to: client, ecn: ecn)
        }
        endpoint.spend(count)
        forwarded &+= UInt64(count)
    }

    private func drain() {
        drain(&toTarget, isUp: true)
        drain(&toClient, isUp: false)
        arm()
    }

    private func drain(_ queue: inout Queue, isUp: Bool) {
        var sent = 0
        while sent < queue.batches.count, allowance(isUp: isUp) > 0 {
            let batch = queue.batches[sent]
            unsafe send(batch.bytes.bytes, batch.segment, batch.ecn, isUp: isUp)
            queue.bytes -= batch.bytes.count
            sent += 1
        }
        queue.batches.removeFirst(sent)
    }

    private func arm() {
        var due = Instant.never
        if !toTarget.batches.isEmpty { due = min(due, account.toTarget.instant(for: Self.resumeBytes)) }
        if !toClient.batches.isEmpty { due = min(due, account.toClient.instant(for: Self.resumeBytes)) }
        guard due < .never else { return }
        timer?.arm(at: max(due, endpoint.instant(for: Self.resumeBytes)))
    }

    /// Under a rate limit, so many bytes are waited for, rather than waking up for each datagram.
    private static let resumeBytes = 6_000
}
