internal import CToml

/// Where a value stands in its file.
struct Place {
    var line: Int
    var column: Int

    init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    init(_ place: kwik_toml_place) {
        self.init(line: Int(place.line), column: Int(place.column))
    }
}

/// One TOML value with its place.
struct Node {
    var place: Place
    var value: Value

    indirect enum Value {
        case string(String)
        case integer(Int64)
        case float(Double)
        case boolean(Bool)
        case array([Node])
        case table([Entry])
        /// Dates and times.
        case other
    }

    struct Entry {
        var key: String
        var keyPlace: Place
        var node: Node
    }

    /// What people call it.
    var kind: String {
        switch value {
        case .string: "a string"
        case .integer: "an integer"
        case .float: "a number with a fraction"
        case .boolean: "true or false"
        case .array: "an array"
        case .table: "a table"
        case .other: "a date or time"
        }
    }
}

/// A parsed file: makes the errors that name it.
struct Document {
    var file: String
    var root: Node

    init(_ text: [UInt8], file: String) throws(ConfigurationError) {
        self.file = file
        var problem = kwik_toml_error()
        let parsed = unsafe text.withUnsafeBytes { bytes in
            unsafe kwik_toml_parse(
                bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, &problem)
        }
        guard let parsed = unsafe parsed else {
            let message = unsafe withUnsafeBytes(of: problem.message) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            let place = Place(problem.place)
            throw ConfigurationError(file: file, line: place.line, column: place.column, message: message)
        }
        defer { unsafe kwik_toml_free(parsed) }
        root = unsafe Self.node(kwik_toml_root(parsed))
    }

    func error(_ place: Place, _ message: String) -> ConfigurationError {
        ConfigurationError(file: file, line: place.line, column: place.column, message: message)
    }

    private static func node(_ c: OpaquePointer?) -> Node {
        Node(place: Place(unsafe kwik_toml_place_of(c)), value: unsafe value(c))
    }

    private static func value(_ c: OpaquePointer?) -> Node.Value {
        switch unsafe kwik_toml_kind_of(c) {
        case kwik_toml_string:
            var length = 0
            let start = unsafe kwik_toml_string_of(c, &length)
            return .string(unsafe text(start, length))
        case kwik_toml_integer: return .integer(unsafe kwik_toml_integer_of(c))
        case kwik_toml_float: return .float(unsafe kwik_toml_float_of(c))
        case kwik_toml_boolean: return .boolean(unsafe kwik_toml_boolean_of(c) != 0)
        case kwik_toml_array:
            let items = unsafe range(c).map { unsafe node(kwik_toml_item(c, $0)) }
            return .array(items)
        case kwik_toml_table:
            let entries = unsafe range(c).map { index in
                let entry = unsafe kwik_toml_entry_at(c, index)
                return unsafe Node.Entry(
                    key: text(entry.key, entry.key_length), keyPlace: Place(entry.key_place),
                    node: node(entry.value))
            }
            return .table(entries)
        default: return .other
        }
    }

    private static func range(_ c: OpaquePointer?) -> Range<Int> { unsafe 0..<kwik_toml_count(c) }

    private static func text(_ start: UnsafePointer<CChar>?, _ length: Int) -> String {
        let bytes = unsafe UnsafeRawBufferPointer(start: start, count: length)
        return unsafe String(decoding: bytes, as: UTF8.self)
    }
}
