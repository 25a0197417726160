internal import KwikCore

/// Reads the keys of one table, each once; what was not asked for in the end is unknown.
struct Table {
    let document: Document
    /// As in messages: "[engine]", "[[service]]".
    let name: String
    /// Of the table's head.
    let place: Place
    private var entries: [Node.Entry]
    private var known: [String] = []

    init(_ document: Document, _ node: Node, name: String) throws(ConfigurationError) {
        guard case .table(let entries) = node.value else {
            throw document.error(node.place, "\(name) must be a table, this is \(node.kind)")
        }
        self.document = document
        self.name = name
        self.place = node.place
        self.entries = entries
    }

    /// To be called after the last key was read: refuses the first key that was never asked for.
    func finish() throws(ConfigurationError) {
        let strangers = entries.filter { entry in !known.contains(entry.key) }
        let first = strangers.min { left, right in
            (left.keyPlace.line, left.keyPlace.column) < (right.keyPlace.line, right.keyPlace.column)
        }
        if let first {
            throw document.error(
                first.keyPlace,
                "unknown key '\(first.key)' in \(name); known are \(known.sorted().joined(separator: ", "))")
        }
    }

    mutating func node(_ key: String) -> Node? {
        if !known.contains(key) { known.append(key) }
        return entries.first { $0.key == key }?.node
    }

    func missing(_ key: String) -> ConfigurationError {
        document.error(place, "'\(key)' is missing in \(name)")
    }

    func bad(_ node: Node, _ key: String, _ what: String) -> ConfigurationError {
        document.error(node.place, "'\(key)' \(what)")
    }

    mutating func string(_ key: String) throws(ConfigurationError) -> (text: String, node: Node)? {
        guard let node = node(key) else { return nil }
        return (try text(node, key), node)
    }

    mutating func required(_ key: String) throws(ConfigurationError) -> (text: String, node: Node) {
        guard let found = try string(key) else { throw missing(key) }
        return found
    }

    /// No text in a configuration is empty or holds control characters.
    func text(_ node: Node, _ key: String) throws(ConfigurationError) -> String {
        guard case .string(let text) = node.value else {
            throw bad(node, key, "must be a string, this is \(node.kind)")
        }
        if text.isEmpty { throw bad(node, key, "is empty") }
        if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            throw bad(node, key, "holds a control character")
        }
        return text
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int64>) throws(ConfigurationError) -> Int? {
        guard let node = node(key) else { return nil }
        guard case .integer(let value) = node.value else {
            throw bad(node, key, "must be an integer, this is \(node.kind)")
        }
        guard range.contains(value) else {
            throw bad(node, key, "must be \(range.lowerBound) ... \(range.upperBound), this is \(value)")
        }
        return Int(value)
    }

    mutating func choice<E: RawRepresentable & CaseIterable>(
        _ key: String, _ type: E.Type
    ) throws(ConfigurationError) -> E? where E.RawValue == String {
        guard let (text, node) = try string(key) else { return nil }
        guard let value = E(rawValue: text) else {
            let choices = E.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            throw bad(node, key, "must be one of \(choices); this is \"\(text)\"")
        }
        return value
    }

    /// Nil when the key is missing; an empty array is refused.
    mutating func array(_ key: String, limit: Int) throws(ConfigurationError) -> (items: [Node], node: Node)?
    {
        guard let node = node(key) else { return nil }
        guard case .array(let items) = node.value else {
            throw bad(node, key, "must be an array, this is \(node.kind)")
        }
        if items.isEmpty { throw bad(node, key, "is empty") }
        if items.count > limit { throw bad(node, key, "has \(items.count) items, the limit is \(limit)") }
        return (items, node)
    }

    /// An array of tables, `[[key]]`; none is an empty list.
    mutating func tables(_ key: String, name: String, limit: Int) throws(ConfigurationError) -> [Table] {
        guard let (items, _) = try array(key, limit: limit) else { return [] }
        var tables: [Table] = []
        for item in items { tables.append(try Table(document, item, name: name)) }
        return tables
    }

    mutating func table(_ key: String) throws(ConfigurationError) -> Table? {
        guard let node = node(key) else { return nil }
        return try Table(document, node, name: "[\(key)]")
    }

    mutating func roles(_ key: String) throws(ConfigurationError) -> Roles? {
        guard let (items, _) = try array(key, limit: 8) else { return nil }
        var roles: Roles = []
        for item in items {
            switch try text(item, key) {
            case "origin": roles.insert(.origin)
            case "replica": roles.insert(.replica)
            case "relay": roles.insert(.relay)
            case let other:
                throw bad(
                    item, key, "may hold \"origin\", \"replica\" and \"relay\", this is \"\(other)\"")
            }
        }
        return roles
    }

    /// Names of network interfaces, or "auto" alone.
    mutating func interfaces(_ key: String) throws(ConfigurationError) -> InterfaceChoice? {
        guard let (items, _) = try array(key, limit: ConfigurationLimit.interfaces) else { return nil }
        var names: [String] = []
        for item in items {
            let name = try text(item, key)
            // dev_valid_name() of the kernel.
            guard name.utf8.count <= ConfigurationLimit.interfaceBytes, name != ".", name != "..",
                !name.contains(where: { "/: ".contains($0) })
            else { throw bad(item, key, "holds what is no name of an interface: \"\(name)\"") }
            if names.contains(name) { throw bad(item, key, "names an interface twice: \"\(name)\"") }
            if name == "auto" || names.contains("auto"), items.count > 1 {
                throw bad(item, key, "holds either \"auto\" alone or names of interfaces")
            }
            names.append(name)
        }
        return names == ["auto"] ? .auto : .named(names)
    }

    mutating func duration(
        _ key: String, in range: ClosedRange<Interval>
    ) throws(ConfigurationError) -> Interval? {
        guard let (text, node) = try string(key) else { return nil }
        guard let seconds = Quantity.parse(text, units: Quantity.durations) else {
            throw bad(node, key, "must be a duration such as \"30 s\", this is \"\(text)\"")
        }
        let interval = Interval(seconds: min(seconds, 1e9))
        guard range.contains(interval) else {
            let low = range.lowerBound.seconds, high = range.upperBound.seconds
            throw bad(node, key, "must be \(Int(low)) s ... \(Int(high)) s, this is \"\(text)\"")
        }
        return interval
    }

    /// Bytes.
    mutating func size(_ key: String, in range: ClosedRange<UInt64>) throws(ConfigurationError) -> UInt64? {
        guard let (text, node) = try string(key) else { return nil }
        guard let bytes = Quantity.parse(text, units: Quantity.sizes) else {
            throw bad(node, key, "must be a size such as \"16 MiB\", this is \"\(text)\"")
        }
        guard bytes >= Double(range.lowerBound), bytes <= Double(range.upperBound) else {
            let low = Quantity.size(range.lowerBound), high = Quantity.size(range.upperBound)
            throw bad(node, key, "must be \(low) ... \(high), this is \"\(text)\"")
        }
        return UInt64(bytes)
    }

    /// Bytes per second, from bits per second.
    mutating func rate(_ key: String) throws(ConfigurationError) -> UInt64? {
        guard let (text, node) = try string(key) else { return nil }
        guard let bits = Quantity.parse(text, units: Quantity.rates) else {
            throw bad(node, key, "must be a rate such as \"50 Mbit/s\", this is \"\(text)\"")
        }
        guard bits >= 8_000, bits <= 1e13 else {
            throw bad(node, key, "must be 8 kbit/s ... 10000 Gbit/s, this is \"\(text)\"")
        }
        return UInt64(bits / 8)
    }

    mutating func address(_ key: String) throws(ConfigurationError) -> (address: AddressAndPort, node: Node)?
    {
        guard let (text, node) = try string(key) else { return nil }
        return (try address(text, node, key), node)
    }

    func address(_ text: String, _ node: Node, _ key: String) throws(ConfigurationError) -> AddressAndPort {
        guard let address = AddressAndPort(parsing: text) else {
            throw bad(node, key, "must be \"address:port\" with a literal address, this is \"\(text)\"")
        }
        return address
    }
}
