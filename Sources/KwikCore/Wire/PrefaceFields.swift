/// The preface on the wire: 0x4B · role · stream id · the role's fields in the order in which `Role` names
/// them, all but the first byte varints.
extension Preface {
    static let magic: UInt8 = 0x4B

    /// `nil`: the bytes end within the preface.
    static func decode(_ cursor: inout WireCursor) throws(WireError) -> Preface? {
        guard let first = cursor.byte() else { return nil }
        guard first == magic else { throw .badMagic }
        guard let number = cursor.varint() else { return nil }
        guard number <= 5 else { throw .unknownRole(number) }
        guard let stream = cursor.varint(), let role = try decodeRole(number, &cursor) else { return nil }
        return Preface(stream: StreamID(stream), role: role)
    }

    private static func decodeRole(
        _ number: UInt64, _ cursor: inout WireCursor
    ) throws(WireError) -> Role? {
        switch number {
        case 0:
            return .stream
        case 1:
            guard let epoch = cursor.varint(), let received = cursor.varint() else { return nil }
            return .attach(epoch: epoch, received: received)
        case 2:
            return .replica
        case 3:
            guard let offset = cursor.varint() else { return nil }
            guard let length = cursor.varint() else { return nil }
            try checkRange(offset: offset, length: length)
            guard let read = cursor.varint(), let window = cursor.varint() else { return nil }
            guard read <= window else { throw .badRange }
            guard let carves = cursor.varint() else { return nil }
            guard carves <= 1 else { throw .badFlags }
            guard carves == 0 || offset % Block.size == 0 else { throw .badRange }
            return .lease(offset: offset, length: length, read: read, window: window, carves: carves == 1)
        case 4:
            guard let offset = cursor.varint(), let length = cursor.varint() else { return nil }
            try checkRange(offset: offset, length: length)
            return .contribution(offset: offset, length: length)
        default:
            return .serverStream
        }
    }

    private static func checkRange(offset: UInt64, length: UInt64) throws(WireError) {
        guard length > 0 else { throw .badRange }
        guard length <= WireLimit.leaseLength else { throw .tooLarge }
        guard offset + length <= WireLimit.maximumOffset else { throw .tooLarge }
    }

    func encode(to output: inout WireOutput) {
        output.byte(Preface.magic)
        switch role {
        case .stream:
            output.varint(0)
            output.varint(stream.value)
        case .attach(let epoch, let received):
            output.varint(1)
            output.varint(stream.value)
            output.varint(epoch)
            output.varint(received)
        case .replica:
            output.varint(2)
            output.varint(stream.value)
        case .lease(let offset, let length, let read, let window, let carves):
            precondition((!carves || offset % Block.size == 0) && read <= window, "malformed lease")
            Preface.requireRange(offset: offset, length: length)
            output.varint(3)
            output.varint(stream.value)
            output.varint(offset)
            output.varint(length)
            output.varint(read)
            output.varint(window)
            output.varint(carves ? 1 : 0)
        case .contribution(let offset, let length):
            Preface.requireRange(offset: offset, length: length)
            output.varint(4)
            output.varint(stream.value)
            output.varint(offset)
            output.varint(length)
        case .serverStream:
            output.varint(5)
            output.varint(stream.value)
        }
    }

    private static func requireRange(offset: UInt64, length: UInt64) {
        precondition(
            offset <= WireLimit.maximumOffset && length > 0 && length <= WireLimit.leaseLength
                && offset + length <= WireLimit.maximumOffset, "malformed range in a preface")
    }
}
