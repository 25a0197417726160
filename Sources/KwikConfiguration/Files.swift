internal import Glibc

/// The system's own view of addresses and files.
enum Literal {
    /// inet_ntop(3)'s spelling of a literal IPv4 or IPv6 address; nil if it is none.
    static func canonical(_ text: String) -> String? {
        for family in [AF_INET, AF_INET6] {
            var address = in6_addr()
            guard unsafe inet_pton(family, text, &address) == 1 else { continue }
            var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            guard unsafe inet_ntop(family, &address, &buffer, socklen_t(buffer.count)) != nil else {
                return nil
            }
            return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
        return nil
    }

    /// Whether a literal address can be one machine's.
    static func isUnicast(_ text: String) -> Bool {
        var bytes = in6_addr()
        func first() -> UInt8 { unsafe withUnsafeBytes(of: bytes) { buffer in unsafe buffer[0] } }
        if unsafe inet_pton(AF_INET, text, &bytes) == 1 { return (1..<224).contains(first()) }
        guard unsafe inet_pton(AF_INET6, text, &bytes) == 1 else { return false }
        let isUnspecified = unsafe withUnsafeBytes(of: bytes) { buffer in
            unsafe buffer.allSatisfy { $0 == 0 }
        }
        return !isUnspecified && first() != 0xFF
    }
}

/// Why a file could not be read, for people.
struct FileProblem: Error {
    var what: String
}

enum SmallFile {
    /// The whole of a regular file.
    static func read(_ path: String, limit: Int) throws(FileProblem) -> [UInt8] {
        let fd = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard fd >= 0 else { throw problem(path) }
        defer { close(fd) }
        var status = stat()
        guard unsafe fstat(fd, &status) == 0 else { throw problem(path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FileProblem(what: "\(path): not a regular file")
        }
        var bytes: [UInt8] = []
        while true {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = unsafe Glibc.read(fd, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw problem(path) }
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk.prefix(count))
            guard bytes.count <= limit else { throw FileProblem(what: "\(path): longer than \(limit) bytes") }
        }
    }

    private static func problem(_ path: String) -> FileProblem {
        FileProblem(what: "\(path): \(unsafe String(cString: strerror(errno)))")
    }
}
