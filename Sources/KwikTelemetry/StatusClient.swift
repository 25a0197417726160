internal import Glibc
public import KwikCore
public import KwikLinux

/// Why a daemon gave no answer.
public enum StatusError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Nobody listens at the path.
    case absent(path: String, Errno)
    /// The socket belongs to another user.
    case foreign(path: String)
    case failed(Errno)
    case timedOut
    case tooLong
    /// It closed the connection without a whole answer.
    case incomplete
    case malformed(JSONError)
    /// The daemon's own words.
    case refused(String)

    public var description: String {
        switch self {
        case .absent(let path, let error): "no daemon answers at \(path): \(error)"
        case .foreign(let path): "\(path) belongs to another user"
        case .failed(let error): "asking the daemon failed: \(error)"
        case .timedOut: "the daemon does not answer in time"
        case .tooLong: "the daemon's answer is longer than \(StatusLimit.replyBytes) bytes"
        case .incomplete: "the daemon closed the connection before it had answered"
        case .malformed(let error): "the daemon's answer is not JSON: \(error)"
        case .refused(let what): "the daemon refuses: \(what)"
        }
    }
}

/// Asks a daemon through its control socket.
public enum StatusClient {
    /// Blocks for `timeout` at most.
    public static func ask(
        _ path: String, _ request: JSON, timeout: Interval = .seconds(2)
    ) throws(StatusError) -> JSON {
        let deadline = Clock.now() + timeout
        let socket = try connect(path)
        try send(Array((request.encode() + "\n").utf8), to: socket.raw, deadline)
        let line = try receive(from: socket.raw, deadline)
        let reply: JSON
        do {
            reply = try JSON.parse(line, limit: StatusLimit.replyBytes)
        } catch {
            throw .malformed(error)
        }
        if let problem = reply["error"]?.text { throw .refused(problem) }
        return reply
    }

    private static func connect(_ path: String) throws(StatusError) -> Descriptor {
        let socket: Descriptor
        do {
            socket = Descriptor(taking: try UnixSocket.connect(path: path))
        } catch {
            throw .absent(path: path, error)
        }
        let owner: UInt32
        do {
            owner = try UnixSocket.peerCredentials(socket.raw).uid
        } catch {
            throw .failed(error)
        }
        guard owner == geteuid() else { throw .foreign(path: path) }
        return socket
    }

    private static func send(_ bytes: [UInt8], to fd: Int32, _ deadline: Instant) throws(StatusError) {
        var written = 0
        while written < bytes.count {
            let result = unsafe bytes.withUnsafeBytes { all in
                unsafe StreamSocket.write(fd, UnsafeRawBufferPointer(rebasing: all[written...]))
            }
            switch result {
            case .count(let count): written += count
            case .wouldBlock: try wait(for: Int16(POLLOUT), on: fd, deadline)
            case .endOfFile: throw .incomplete
            case .failed(let error): throw .failed(error)
            }
        }
    }

    private static func receive(from fd: Int32, _ deadline: Instant) throws(StatusError) -> [UInt8] {
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let result = unsafe buffer.withUnsafeMutableBytes { unsafe StreamSocket.read(fd, into: $0) }
            switch result {
            case .count(let count):
                let end = buffer[..<count].firstIndex(of: UInt8(ascii: "\n"))
                line.append(contentsOf: buffer[..<(end ?? count)])
                if line.count > StatusLimit.replyBytes { throw .tooLong }
                if end != nil { return line }
            case .wouldBlock: try wait(for: Int16(POLLIN), on: fd, deadline)
            case .endOfFile: throw .incomplete
            case .failed(let error): throw .failed(error)
            }
        }
    }

    private static func wait(for events: Int16, on fd: Int32, _ deadline: Instant) throws(StatusError) {
        while true {
            let left = (deadline - Clock.now()).nanoseconds
            guard left > 0 else { throw .timedOut }
            var one = pollfd(fd: fd, events: events, revents: 0)
            let ready = unsafe poll(&one, 1, Int32(clamping: left / 1_000_000 + 1))
            if ready > 0 { return }
            if ready < 0 && errno != EINTR { throw .failed(Errno.last) }
        }
    }
}
