internal import CJansson

/// Why a text is not taken as JSON, and where (from 1; 0 where it concerns the whole).
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    public var line: Int
    public var column: Int
    public var message: String

    public init(line: Int, column: Int, message: String) {
        self.line = line
        self.column = column
        self.message = message
    }

    public var description: String { "\(line):\(column): \(message)" }
}

extension JSON {
    /// Values inside each other that `parse` takes.
    public static let depthLimit = 64

    /// Refuses texts longer than `limit` bytes or nested deeper than `depthLimit`, repeated keys, integers of
    /// more than 64 bits.
    public static func parse(_ text: [UInt8], limit: Int) throws(JSONError) -> JSON {
        guard text.count <= limit else {
            throw JSONError(line: 0, column: 0, message: "\(text.count) bytes, the limit is \(limit)")
        }
        var problem = json_error_t()
        let parsed = unsafe text.withUnsafeBytes { bytes in
            unsafe kwik_json_parse(
                bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, &problem)
        }
        guard let parsed = unsafe parsed else {
            let message = unsafe withUnsafeBytes(of: problem.text) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            throw JSONError(line: Int(problem.line), column: Int(problem.column), message: message)
        }
        defer { unsafe kwik_json_free(parsed) }
        return try unsafe value(parsed, depth: 1)
    }

    public static func parse(_ text: String, limit: Int) throws(JSONError) -> JSON {
        try parse(Array(text.utf8), limit: limit)
    }

    private static func value(_ c: UnsafeMutablePointer<json_t>, depth: Int) throws(JSONError) -> JSON {
        guard depth <= depthLimit else {
            throw JSONError(line: 0, column: 0, message: "nested deeper than \(depthLimit)")
        }
        switch unsafe json_type(UInt32(kwik_json_type(c))) {
        case JSON_TRUE: return .bool(true)
        case JSON_FALSE: return .bool(false)
        case JSON_INTEGER: return .integer(unsafe Int64(json_integer_value(c)))
        case JSON_REAL: return .number(unsafe json_real_value(c))
        case JSON_STRING:
            let bytes = unsafe UnsafeRawBufferPointer(
                start: json_string_value(c), count: json_string_length(c))
            return .string(unsafe String(decoding: bytes, as: UTF8.self))
        case JSON_ARRAY:
            var elements: [JSON] = []
            for index in 0..<(unsafe json_array_size(c)) {
                guard let element = unsafe json_array_get(c, index) else { break }
                elements.append(try unsafe value(element, depth: depth + 1))
            }
            return .array(elements)
        case JSON_OBJECT:
            var members: [(String, JSON)] = []
            var iterator = unsafe json_object_iter(c)
            while let member = unsafe iterator {
                if let key = unsafe json_object_iter_key(member),
                    let inner = unsafe json_object_iter_value(member)
                {
                    members.append((unsafe String(cString: key), try unsafe value(inner, depth: depth + 1)))
                }
                unsafe iterator = json_object_iter_next(c, member)
            }
            return .object(members)
        default: return .null
        }
    }
}
