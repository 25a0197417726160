import KwikCore

/// A codec that remembers what it was given: compressed, a piece is a quarter as long and says which it was.
final class ToyCodec {
    private var known: [[UInt8]] = []
    /// Whether what is compressed gets shorter.
    var shrinks = true
    /// Calls for either.
    private(set) var tried = 0
    private(set) var restored = 0

    private static let mark: UInt8 = 0x54
    private static let headLength = 5

    var codec: Codec {
        unsafe Codec(
            compress: { [self] plain, target in unsafe compress(Array(plain), target) },
            decompress: { [self] packed, target in unsafe decompress(Array(packed), target) })
    }

    private func compress(_ plain: [UInt8], _ target: UnsafeMutableRawBufferPointer) -> Int? {
        tried += 1
        let packed = pack(plain)
        guard shrinks, packed.count <= target.count else { return nil }
        unsafe target.copyBytes(from: packed)
        return packed.count
    }

    /// As `compress` writes it, whether it shrinks or not.
    func pack(_ plain: [UInt8]) -> [UInt8] {
        known.append(plain)
        var packed: [UInt8] = [Self.mark]
        for shift in [24, 16, 8, 0] { packed.append(UInt8(truncatingIfNeeded: (known.count - 1) >> shift)) }
        return packed + [UInt8](repeating: 0, count: max(0, plain.count / 4 - Self.headLength))
    }

    private func decompress(_ packed: [UInt8], _ target: UnsafeMutableRawBufferPointer) -> Int? {
        guard let plain = unpack(packed), plain.count <= target.count else { return nil }
        restored += 1
        unsafe target.copyBytes(from: plain)
        return plain.count
    }

    func unpack(_ packed: [UInt8]) -> [UInt8]? {
        guard packed.count >= Self.headLength, packed[0] == Self.mark else { return nil }
        let index = packed[1..<Self.headLength].reduce(0) { $0 << 8 | Int($1) }
        return index < known.count ? known[index] : nil
    }
}

/// A DATA frame that says it is compressed.
func compressedPiece(_ packed: [UInt8], of plain: [UInt8], at offset: UInt64) -> [UInt8] {
    var writer = FrameWriter()
    let header = writer.dataHeader(
        offset: offset, length: packed.count, flags: 1, crc32c: GatewayChecks.crc(0, plain))
    return wireBytes(header) + packed
}
