/// Numbers with units, as people write them: "50 Mbit/s", "16 MiB", "1.5 s".
enum Quantity {
    static let durations: [(String, Double)] = [("ms", 1e-3), ("s", 1), ("min", 60), ("h", 3_600)]
    static let sizes: [(String, Double)] = [("KiB", 1_024), ("MiB", 1_048_576), ("GiB", 1_073_741_824)]
    static let rates: [(String, Double)] = [("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9)]

    /// Digits, optionally a point and digits, optionally blanks, and one of the units. Nil for all else.
    static func parse(_ text: String, units: [(String, Double)]) -> Double? {
        let isNumber: (Character) -> Bool = { ("0"..."9").contains($0) || $0 == "." }
        let number = text.prefix(while: isNumber)
        let unit = text.dropFirst(number.count).drop { $0 == " " }
        guard number.first != ".", number.last != ".", number.utf8.count <= 20, let value = Double(number),
            let factor = units.first(where: { $0.0 == unit })?.1
        else { return nil }
        return value * factor
    }

    /// The shortest exact spelling with a unit.
    static func size(_ bytes: UInt64) -> String {
        for (unit, factor) in sizes.reversed() where bytes >= UInt64(factor) && bytes % UInt64(factor) == 0 {
            return "\(bytes / UInt64(factor)) \(unit)"
        }
        return "\(bytes) bytes"
    }
}

/// Base 64 (RFC 4648 §4), strict: padded, no line breaks.
enum Base64 {
    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count % 4 == 0, !digits.isEmpty else { return nil }
        let padding = digits.reversed().prefix { $0 == UInt8(ascii: "=") }.count
        guard padding <= 2 else { return nil }
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        for (index, digit) in digits.dropLast(padding).enumerated() {
            guard let value = value(digit) else { return nil }
            bits = bits << 6 | value
            if index % 4 == 3 {
                bytes.append(contentsOf: [
                    UInt8(bits >> 16 & 0xFF), UInt8(bits >> 8 & 0xFF), UInt8(bits & 0xFF),
                ])
                bits = 0
            }
        }
        switch padding {
        case 1: bytes.append(contentsOf: [UInt8(bits >> 10 & 0xFF), UInt8(bits >> 2 & 0xFF)])
        case 2: bytes.append(UInt8(bits >> 4 & 0xFF))
        default: break
        }
        return bytes
    }

    private static func value(_ digit: UInt8) -> UInt32? {
        switch digit {
        case 0x41...0x5A: UInt32(digit - 0x41)
        case 0x61...0x7A: UInt32(digit - 0x61) + 26
        case 0x30...0x39: UInt32(digit - 0x30) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
