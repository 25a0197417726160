/// QUIC's variable-length integers (RFC 9000 §16): 62 bits in 1, 2, 4 or 8 bytes.
public enum Varint {
    /// The largest value that can be written.
    public static let maximum: UInt64 = (1 << 62) - 1

    /// Bytes of the shortest encoding: 1, 2, 4 or 8.
    @inlinable
    public static func length(of value: UInt64) -> Int {
        if value < 1 << 6 { return 1 }
        if value < 1 << 14 { return 2 }
        return value < 1 << 30 ? 4 : 8
    }

    /// Writes the shortest encoding of `value` (0 ... `maximum`) and returns its length. The destination
    /// needs `length(of: value)` bytes of room.
    @discardableResult
    @unsafe
    public static func encode(_ value: UInt64, to destination: UnsafeMutableRawPointer) -> Int {
        precondition(value <= maximum, "integer over 62 bits")
        switch length(of: value) {
        case 1:
            unsafe destination.storeBytes(of: UInt8(value), as: UInt8.self)
            return 1
        case 2:
            unsafe destination.storeBytes(of: (UInt16(value) | 1 << 14).bigEndian, as: UInt16.self)
            return 2
        case 4:
            unsafe destination.storeBytes(of: (UInt32(value) | 2 << 30).bigEndian, as: UInt32.self)
            return 4
        default:
            unsafe destination.storeBytes(of: (value | 3 << 62).bigEndian, as: UInt64.self)
            return 8
        }
    }

    /// Reads the integer at `position` and moves past it. Any of the encodings of a value is taken.
    /// `nil` if the input ends before the integer does; `position` stays.
    public static func decode(_ input: UnsafeRawBufferPointer, at position: inout Int) -> UInt64? {
        guard position < input.count, let base = input.baseAddress else { return nil }
        let first = unsafe base.load(fromByteOffset: position, as: UInt8.self)
        let count = 1 << Int(first >> 6)
        guard count <= input.count - position else { return nil }
        let value: UInt64
        switch count {
        case 1:
            value = UInt64(first)
        case 2:
            let word = unsafe base.loadUnaligned(fromByteOffset: position, as: UInt16.self)
            value = UInt64(UInt16(bigEndian: word) & 0x3FFF)
        case 4:
            let word = unsafe base.loadUnaligned(fromByteOffset: position, as: UInt32.self)
            value = UInt64(UInt32(bigEndian: word) & 0x3FFF_FFFF)
        default:
            let word = unsafe base.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            value = UInt64(bigEndian: word) & maximum
        }
        position += count
        return value
    }
}
