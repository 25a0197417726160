/// Cuts a control stream into messages.
public struct KCPReader {
    private var buffer: [UInt8] = []
    /// Bytes of `buffer` that have been read already.
    private var position = 0

    public init() {}

    /// The stream's next bytes, cut anywhere.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if position > 0 {
            buffer.removeFirst(position)
            position = 0
        }
        unsafe buffer.append(contentsOf: bytes)
    }

    public mutating func append(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// The next whole message; nil until more bytes come. Call it until it gives nil after each `append`, so
    /// that no more than one unfinished message stays here. After an error the stream can't be read any
    /// further.
    public mutating func next() throws(KCPError) -> KCPMessage? {
        guard let (length, prefix) = LengthPrefix.decode(buffer, at: position) else { return nil }
        guard length <= UInt64(KCPLimit.messageBytes) else { throw .tooLarge(length) }
        let start = position + prefix
        let end = start + Int(length)
        guard buffer.count >= end else { return nil }
        let message = try KCPMessage.decode(buffer.span.extracting(start..<end))
        position = end
        return message
    }
}

/// The length before each message: a QUIC varint (RFC 9000 §16).
enum LengthPrefix {
    /// As short as can be; `length` ≤ `KCPLimit.messageBytes`.
    static func encode(_ length: Int) -> [UInt8] {
        switch length {
        case ..<64: [UInt8(length)]
        case ..<16_384: [0x40 | UInt8(length >> 8), UInt8(length & 0xFF)]
        default: [0x80, UInt8(length >> 16), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF)]
        }
    }

    /// The length and how many bytes spell it; nil if they aren't all there.
    static func decode(_ bytes: [UInt8], at position: Int) -> (length: UInt64, count: Int)? {
        guard position < bytes.count else { return nil }
        let count = 1 << Int(bytes[position] >> 6)
        guard bytes.count - position >= count else { return nil }
        var value = UInt64(bytes[position] & 0x3F)
        for offset in 1..<count { value = value << 8 | UInt64(bytes[position + offset]) }
        return (value, count)
    }
}
