internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikPrograms

/// One program's connection and the stream that carries it.
final class Program {
    let connection: ProgramConnection
    let openedAt: Instant
    /// By what its socket is bound to.
    let restriction: PathRestriction
    private let stream: StreamID
    private let driver: SessionDriver
    private let pump: LocalPump
    /// The program's connect has not been answered.
    private(set) var isPending = true
    private var isOver = false

    init(
        _ connection: ProgramConnection, stream: StreamID, session: ClientSession, driver: SessionDriver,
        restriction: PathRestriction, openedAt: Instant
    ) {
        self.connection = connection
        self.stream = stream
        self.driver = driver
        self.restriction = restriction
        self.openedAt = openedAt
        let socket = unsafe LocalPump.Socket(
            read: { [unowned connection] in unsafe connection.read(into: $0) },
            discard: { _ in .wouldBlock },
            write: { [unowned connection] in connection.write($0) },
            wasUrgent: { [unowned connection] in connection.wasUrgent },
            isDrained: { [unowned connection] in connection.isDrained },
            writeUrgent: { [unowned connection] in connection.writeUrgent($0) })
        pump = LocalPump(stream: stream, socket: socket, driver: driver)
        pump.isClosed = { [unowned connection] in connection.isClosedByProgram }
        connection.onOption = { [unowned driver, unowned session] option in
            driver.call { _, actions in session.setOption(option, for: stream, into: &actions) }
        }
        connection.figures = { [unowned session] in session.figures(of: stream) }
    }

    func watch(loop: EventLoop) {
        connection.onReadiness = { [unowned self] readiness in self.ready(readiness) }
    }

    private func ready(_ readiness: Readiness) {
        guard !isOver else { return }
        if isPending {
            // The program gave up while its connect was pending.
            if !readiness.isDisjoint(with: [.hangup, .error]) {
                driver.input(.localAborted(stream, errno: 0))
            }
            return
        }
        if readiness.contains(.writable) { pump.writable() }
        let mayHaveEnded = !readiness.isDisjoint(with: [.peerHangup, .hangup, .error])
        if mayHaveEnded || readiness.contains(.readable) { pump.readable(mayHaveEnded: mayHaveEnded) }
        if !isOver { pump.checkClosed() }
    }

    func opened(errno: Int32, local: [UInt8], peer: [UInt8]) {
        isPending = false
        if errno == 0 {
            connection.established(local: SocketAddress(bytes: local), peer: SocketAddress(bytes: peer))
        } else {
            isOver = true
            connection.refused(errno: errno)
        }
    }

    func deliver() { pump.deliver() }

    func accept() {
        if !isPending { pump.readable() }
    }

    func end(_ end: StreamEnd) {
        guard !isOver else { return }
        pump.flush()
        if case .aborted = end {
            isOver = true
            pump.stop()
        }
        connection.close(end)
    }

    /// The stream is forgotten, the connection goes on without it.
    func abandon() {
        isOver = true
        pump.stop()
        connection.onReadiness = { _ in }
        connection.onOption = { _ in }
        connection.figures = { nil }
    }

    func close() {
        pump.stop()
        guard !isOver else { return }
        isOver = true
        connection.release()
    }
}
