import KwikTelemetry
import Testing

private func parse(_ text: String, limit: Int = 1_000) throws -> JSON { try JSON.parse(text, limit: limit) }

@Suite struct JSONText {
    @Test func valuesComeBackAsTheyWent() throws {
        let value = JSON.object([
            ("zulu", .null), ("alpha", .array([.bool(true), .bool(false), .integer(.min), .integer(.max)])),
            ("number", .number(-0.125)), ("large", .number(1e300)),
            ("text", .string("a\"b\\c\n\r\t\u{1}\u{7f}é😀/")), ("empty", .object([])), ("none", .array([])),
        ])
        #expect(try parse(value.encode()) == value)
    }

    @Test func encodingIsCompactAndKeepsTheOrder() {
        let value = JSON.object([("b", .integer(1)), ("a", .array([.string("x\n"), .number(2.5), .null]))])
        #expect(value.encode() == #"{"b":1,"a":["x\n",2.5,null]}"#)
    }

    @Test func numbersThatAreNotFiniteAreNull() {
        #expect(JSON.array([.number(.infinity), .number(.nan)]).encode() == "[null,null]")
    }

    @Test func lookingIntoWhatIsNoObjectGivesNothing() throws {
        let value = try parse(#"{"a":{"b":[1,2.5,"c"]}}"#)
        #expect(value["a"]?["b"]?.elements == [.integer(1), .number(2.5), .string("c")])
        #expect(value["a"]?["b"]?["c"] == nil)
        #expect(value["x"] == nil)
        #expect(value["a"]?["b"]?.elements.map(\.number) == [1, 2.5, nil])
    }

    @Test(arguments: [
        ("", "1:0: unexpected token near end of file"),
        ("{\"a\":1,\n \"b\" 2}", "2:6: ':' expected near '2'"),
        ("{\"a\":1,\"a\":2}", "1:10: duplicate object key near '\"a\"'"),
        ("[1] x", "1:5: end of file expected near 'x'"),
        ("\"\\u0000\"", "1:8: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"'"),
        ("\"\u{1}\"", "1:1: control character 0x1 near '\"'"),
        ("99999999999999999999", "1:20: too big integer near '99999999999999999999'"),
    ])
    func whatIsNoJSONIsRefusedWithThePlace(text: String, problem: String) {
        do {
            _ = try parse(text)
            Issue.record("taken: \(text)")
        } catch {
            #expect("\(error)" == problem)
        }
    }

    @Test func badUTF8IsRefused() {
        #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xFF, 0x22], limit: 10) }
    }

    @Test func lengthAndDepthAreLimited() throws {
        #expect(try parse("[123]", limit: 5) == .array([.integer(123)]))
        #expect(throws: JSONError(line: 0, column: 0, message: "5 bytes, the limit is 4")) {
            try parse("[123]", limit: 4)
        }
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(throws: Never.self) { try parse(nested(JSON.depthLimit)) }
        #expect(throws: JSONError(line: 0, column: 0, message: "nested deeper than 64")) {
            try parse(nested(JSON.depthLimit + 1))
        }
    }
}
