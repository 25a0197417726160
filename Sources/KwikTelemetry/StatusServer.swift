internal import Glibc
public import KwikLinux

/// What asks may cost.
public enum StatusLimit {
    /// Bytes in a request, without its newline.
    public static let requestBytes = 4_096
    /// Bytes in a reply that a client reads.
    public static let replyBytes = 64 << 20
    /// Askers at a time; the next one takes the place of the oldest.
    public static let clients = 32
}

/// Answers one line of JSON, `{"verb": …}`, with one line of JSON, then closes. A Unix stream socket of mode
/// 0600 that answers its own user alone.
public final class StatusServer {
    private let loop: EventLoop
    private let listener: Descriptor
    private let path: String
    private let answer: (String, JSON) -> JSON
    private var watch: Watch?
    /// The oldest first.
    private var clients: [Client] = []

    /// Listens at `path`; EADDRINUSE: another daemon does, or something else is in its place. `answer` gets
    /// the verb and the whole request.
    public init(
        loop: EventLoop, path: String, answer: @escaping (_ verb: String, _ request: JSON) -> JSON
    ) throws(Errno) {
        self.loop = loop
        self.path = path
        self.answer = answer
        listener = Descriptor(taking: try UnixSocket.listen(path: path, mode: 0o600))
        watch = try loop.watch(listener.raw, for: .readable) { [unowned self] _ in accept() }
    }

    deinit { close() }

    /// Stops listening and removes the socket's name.
    public func close() {
        guard watch != nil else { return }
        watch?.cancel()
        watch = nil
        clients = []
        // A name that can't be removed is found abandoned by the next daemon.
        try? Files.remove(path)
    }

    private func accept() {
        while let fd = try? UnixSocket.accept(listener.raw) {
            let socket = Descriptor(taking: fd)
            guard let peer = try? UnixSocket.peerCredentials(fd), peer.uid == geteuid() else { continue }
            if clients.count == StatusLimit.clients { clients.removeFirst() }
            let client = Client(socket)
            let watch = try? loop.watch(fd, for: .readable) { [unowned self, unowned client] _ in turn(client)
            }
            guard let watch else { continue }
            client.watch = watch
            clients.append(client)
        }
    }

    private func turn(_ client: Client) {
        if client.reply.isEmpty {
            switch client.readLine() {
            case .more: return
            case .failed: return drop(client)
            case .line(let line): client.reply = Array((respond(to: line).encode() + "\n").utf8)
            }
        }
        if client.write() { drop(client) } else { client.watch?.set(.writable) }
    }

    private func respond(to line: [UInt8]) -> JSON {
        func problem(_ what: String) -> JSON { .object([("error", .string(what))]) }
        do {
            let request = try JSON.parse(line, limit: StatusLimit.requestBytes)
            guard let verb = request["verb"]?.text else { return problem("a request needs a \"verb\"") }
            return answer(verb, request)
        } catch {
            return problem("bad request: \(error)")
        }
    }

    private func drop(_ client: Client) {
        client.watch?.cancel()
        clients.removeAll { $0 === client }
    }
}

private final class Client {
    private let socket: Descriptor
    var watch: Watch?
    private var request: [UInt8] = []
    var reply: [UInt8] = []
    private var written = 0

    enum Progress {
        case more
        case line([UInt8])
        /// The end came before the line, the line is too long, or the socket failed.
        case failed
    }

    init(_ socket: consuming Descriptor) { self.socket = socket }

    deinit { watch?.cancel() }

    func readLine() -> Progress {
        var buffer = [UInt8](repeating: 0, count: StatusLimit.requestBytes + 1)
        let result = unsafe buffer.withUnsafeMutableBytes { unsafe StreamSocket.read(socket.raw, into: $0) }
        switch result {
        case .wouldBlock: return .more
        case .endOfFile, .failed: return .failed
        case .count(let count):
            request.append(contentsOf: buffer.prefix(count))
            if let end = request.firstIndex(of: UInt8(ascii: "\n")) {
                return end <= StatusLimit.requestBytes ? .line(Array(request[..<end])) : .failed
            }
            return request.count <= StatusLimit.requestBytes ? .more : .failed
        }
    }

    /// True when all is written, or no more can be.
    func write() -> Bool {
        while written < reply.count {
            let result = unsafe reply.withUnsafeBytes { bytes in
                unsafe StreamSocket.write(socket.raw, UnsafeRawBufferPointer(rebasing: bytes[written...]))
            }
            switch result {
            case .count(let count): written += count
            case .wouldBlock: return false
            case .endOfFile, .failed: return true
            }
        }
        return true
    }
}
