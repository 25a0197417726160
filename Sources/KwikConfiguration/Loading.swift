/// What both configurations have in common: the file itself and the files it names.
struct Loading {
    let document: Document

    init(path: String) throws(ConfigurationError) {
        let text: [UInt8]
        do {
            text = try SmallFile.read(path, limit: ConfigurationLimit.fileBytes)
        } catch {
            throw ConfigurationError(file: path, line: 1, column: 1, message: "cannot read \(error.what)")
        }
        document = try Document(text, file: path)
    }

    /// Relative names are taken from the configuration's directory.
    func resolve(_ name: String) -> String {
        guard !name.hasPrefix("/"), let slash = document.file.lastIndex(of: "/") else { return name }
        return document.file[...slash] + name
    }

    /// The file that `key` names, if the key is there.
    func attached(_ key: String, in table: inout Table) throws(ConfigurationError) -> AttachedFile? {
        guard let (name, node) = try table.string(key) else { return nil }
        let path = resolve(name)
        do {
            let bytes = try SmallFile.read(path, limit: ConfigurationLimit.attachedBytes)
            return AttachedFile(path: path, bytes: bytes)
        } catch {
            throw table.bad(node, key, "names a file that can't be read: \(error.what)")
        }
    }

    /// As `attached`, and it must look like PEM.
    func pem(_ key: String, in table: inout Table) throws(ConfigurationError) -> AttachedFile? {
        let place = table
        guard let file = try attached(key, in: &table) else { return nil }
        let mark = Array("-----BEGIN ".utf8)
        let isPEM = file.bytes.indices.contains { start in
            file.bytes[start...].starts(with: mark)
        }
        guard isPEM else {
            var reader = place
            let node = reader.node(key)
            throw document.error(
                node?.place ?? table.place, "'\(key)' names a file that is not PEM: \(file.path)")
        }
        return file
    }

    /// `certificate` and `key`: both or neither.
    func identity(in table: inout Table) throws(ConfigurationError) -> CertificateAndKey? {
        let certificate = try pem("certificate", in: &table)
        let key = try pem("key", in: &table)
        switch (certificate, key) {
        case (let certificate?, let key?): return CertificateAndKey(certificate: certificate, key: key)
        case (nil, nil): return nil
        case (_?, nil):
            throw document.error(table.place, "'certificate' needs 'key' beside it in \(table.name)")
        case (nil, _?):
            throw document.error(table.place, "'key' needs 'certificate' beside it in \(table.name)")
        }
    }

    /// The lines of a token file.
    func tokens(_ key: String, limit: Int, in table: inout Table) throws(ConfigurationError) -> [String]? {
        guard let (name, node) = try table.string(key) else { return nil }
        let path = resolve(name)
        let bytes: [UInt8]
        do {
            bytes = try SmallFile.read(path, limit: ConfigurationLimit.attachedBytes)
        } catch {
            throw table.bad(node, key, "names a file that can't be read: \(error.what)")
        }
        var tokens: [String] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let isText = line.allSatisfy { (0x21...0x7E).contains($0) }
            guard isText, line.count <= ConfigurationLimit.tokenBytes else {
                throw table.bad(node, key, "names a file with a line that is no token: \(path)")
            }
            tokens.append(String(decoding: line, as: UTF8.self))
        }
        guard !tokens.isEmpty, tokens.count <= limit else {
            throw table.bad(
                node, key, "must name a file of 1 ... \(limit) lines, \(path) has \(tokens.count)")
        }
        return tokens
    }

    /// A token that stands in the configuration itself.
    func checkToken(_ token: String, _ node: Node, _ key: String, in table: Table) throws(ConfigurationError)
    {
        let isText = token.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard isText, token.utf8.count <= ConfigurationLimit.tokenBytes else {
            throw table.bad(
                node, key,
                "holds a token that is longer than \(ConfigurationLimit.tokenBytes) bytes or not plain text")
        }
    }

    /// "host:port".
    func serviceName(in table: inout Table) throws(ConfigurationError) -> (
        name: String, host: String, node: Node
    ) {
        let (text, node) = try table.required("name")
        guard let parts = HostAndPort(parsing: text), parts.isValid, parts.port > 0 else {
            throw table.bad(node, "name", "must be \"host:port\", this is \"\(text)\"")
        }
        return (text, parts.host, node)
    }
}
