internal import CKwikMessages

/// Walks a message before protobuf-c unpacks it: protobuf-c takes bad UTF-8, cuts text at a NUL, and
/// allocates for as many fields as there are bytes.
struct WireCheck {
    private var fieldsLeft = KCPLimit.fields

    @unsafe
    mutating func check(
        _ bytes: Span<UInt8>, _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>
    ) throws(KCPError) {
        var position = 0
        while position < bytes.count {
            guard fieldsLeft > 0 else { throw .tooManyFields }
            fieldsLeft -= 1
            let key = try Self.number(bytes, &position)
            guard key >> 3 >= 1, key >> 3 <= 0x1FFF_FFFF else { throw .malformed }
            let field = unsafe protobuf_c_message_descriptor_get_field(descriptor, UInt32(key >> 3))
            switch key & 7 {
            case 0:
                _ = try Self.number(bytes, &position)
            case 1:
                try Self.skip(8, bytes, &position)
            case 2:
                let length = try Self.number(bytes, &position)
                let start = position
                try Self.skip(length, bytes, &position)
                if let field = unsafe field {
                    unsafe try checkContents(bytes.extracting(start..<position), field.pointee)
                }
            case 5:
                let start = position
                try Self.skip(4, bytes, &position)
                if let field = unsafe field, unsafe field.pointee.type == PROTOBUF_C_TYPE_FLOAT {
                    // Little-endian: the exponent is the top byte's lower seven bits and the next one's top
                    // bit.
                    let exponent = UInt16(bytes[start + 3] & 0x7F) << 1 | UInt16(bytes[start + 2] >> 7)
                    if exponent == 0xFF { throw .badNumber }
                }
            default:
                throw .malformed
            }
        }
    }

    private mutating func checkContents(
        _ contents: Span<UInt8>, _ field: ProtobufCFieldDescriptor
    ) throws(KCPError) {
        switch unsafe field.type {
        case PROTOBUF_C_TYPE_STRING:
            guard Self.isText(contents) else { throw .badText }
        case PROTOBUF_C_TYPE_MESSAGE:
            guard let nested = unsafe field.descriptor else { throw .malformed }
            // The schema has no recursion, so its depth bounds ours.
            unsafe try check(contents, nested.assumingMemoryBound(to: ProtobufCMessageDescriptor.self))
        case PROTOBUF_C_TYPE_BYTES:
            break
        default:
            // Packed numbers: one field for each byte at most.
            fieldsLeft -= contents.count
            if fieldsLeft < 0 { throw .tooManyFields }
        }
    }

    private static func isText(_ contents: Span<UInt8>) -> Bool {
        for index in contents.indices where contents[index] == 0 { return false }
        return unsafe contents.withUnsafeBufferPointer { buffer in
            unsafe String(validating: buffer, as: UTF8.self) != nil
        }
    }

    /// A Protocol Buffers varint of at most ten bytes.
    private static func number(_ bytes: Span<UInt8>, _ position: inout Int) throws(KCPError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < bytes.count, shift < 70 {
            let byte = bytes[position]
            position += 1
            if shift == 63, byte > 1 { throw .malformed }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw .malformed
    }

    private static func skip(_ length: UInt64, _ bytes: Span<UInt8>, _ position: inout Int) throws(KCPError) {
        guard length <= UInt64(bytes.count - position) else { throw .malformed }
        position += Int(length)
    }
}
