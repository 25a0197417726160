internal import CLinux
internal import Glibc

/// Why a command line was refused, in words for its author.
public struct OptionError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
}

/// A command line's options and operands, as getopt_long(3) reads them, but names must be written in full.
/// Options end at `--` or at the first operand, so that a program to run keeps its own.
public struct Options: Sendable {
    public struct Declaration: Sendable {
        let name: String
        let letter: Character?
        let takesValue: Bool

        /// `name` without its dashes; `letter`, an ASCII letter or digit, is a short form.
        public init(_ name: String, letter: Character? = nil, takesValue: Bool = false) {
            let isLetter = letter.map { letter in letter.isASCII && (letter.isLetter || letter.isNumber) }
            precondition(isLetter ?? true, "no option letter")
            self.name = name
            self.letter = letter
            self.takesValue = takesValue
        }
    }

    /// What follows the options.
    public let operands: [String]
    private let given: [(name: String, value: String?)]

    /// `arguments` without the program's name.
    public init(_ arguments: [String], declared: [Declaration]) throws(OptionError) {
        let result = unsafe withStrings(["kwik"] + arguments) { argv in
            unsafe Self.parse(arguments, argv, declared)
        }
        let parsed = try result.get()
        given = parsed.given
        operands = parsed.operands
    }

    public func has(_ name: String) -> Bool { given.contains { option in option.name == name } }

    /// The last value given; nil: none.
    public func value(_ name: String) -> String? { values(name).last }

    /// All values, in their order.
    public func values(_ name: String) -> [String] {
        given.compactMap { option in option.name == name ? option.value : nil }
    }

    private typealias Parsed = (given: [(name: String, value: String?)], operands: [String])

    private static func parse(
        _ arguments: [String], _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?,
        _ declared: [Declaration]
    ) -> Result<Parsed, OptionError> {
        // "+": stop at the first operand. ":": tell a missing value from an unknown option.
        let letters = "+:" + declared.compactMap { option in
            option.letter.map { letter in "\(letter)" + (option.takesValue ? ":" : "") }
        }.joined()
        return unsafe withNames(declared) { names in
            var given: [(name: String, value: String?)] = []
            var step = unsafe kwik_option()
            var restart: Int32 = 1
            while true {
                unsafe kwik_next_option(Int32(arguments.count + 1), argv, letters, names, restart, &step)
                restart = 0
                if unsafe step.value == -1 {
                    return .success((given, Array(arguments.dropFirst(unsafe Int(step.next) - 1))))
                }
                let element = arguments[unsafe Int(step.element) - 1]
                guard let option = unsafe declaration(step.value, declared), isInFull(element, option) else {
                    return .failure(unsafe refusal(step.value, step.offender, element, declared))
                }
                let value = unsafe step.argument.map { text in unsafe String(cString: text) }
                given.append((option.name, value))
            }
        }
    }

    /// getopt's value of a long option is its index behind all characters; of a short one its character.
    private static let firstLong: Int32 = 256

    private static func declaration(_ value: Int32, _ declared: [Declaration]) -> Declaration? {
        if value >= firstLong { return declared[Int(value - firstLong)] }
        return declared.first { option in option.letter?.asciiValue.map(Int32.init) == value }
    }

    private static func isInFull(_ element: String, _ option: Declaration) -> Bool {
        guard element.hasPrefix("--") else { return true }
        return element.dropFirst(2).prefix { character in character != "=" } == option.name
    }

    private static func refusal(
        _ value: Int32, _ offender: Int32, _ element: String, _ declared: [Declaration]
    ) -> OptionError {
        let shown: String
        if element.hasPrefix("--") {
            shown = String(element.prefix { character in character != "=" })
        } else {
            shown = "-" + (UInt8(exactly: offender).map { code in String(Unicode.Scalar(code)) } ?? "")
        }
        let known = declaration(offender, declared).map { option in isInFull(element, option) } ?? false
        guard known else { return OptionError(description: "unknown option \(shown)") }
        let isMissing = value == Int32(UInt8(ascii: ":"))
        return OptionError(description: "option \(shown) \(isMissing ? "needs a value" : "takes no value")")
    }

    private static func withNames<R>(_ declared: [Declaration], _ body: (UnsafePointer<option>?) -> R) -> R {
        unsafe withStrings(declared.map(\.name)) { names in
            var table: [option] = unsafe []
            for (index, each) in declared.enumerated() {
                let argument = each.takesValue ? required_argument : no_argument
                unsafe table.append(option(
                    name: names?[index], has_arg: argument, flag: nil, val: firstLong + Int32(index)))
            }
            unsafe table.append(option(name: nil, has_arg: 0, flag: nil, val: 0))
            return unsafe table.withUnsafeBufferPointer { buffer in unsafe body(buffer.baseAddress) }
        }
    }
}
