import Glibc
import KwikLinux

/// The abstract name of a program's end: by it every process that holds the descriptor knows what it is
/// (`shim/protocol.h`).
enum ProgramName {
    /// 16 random bytes of id make the name unique; they authorise nothing, since everybody can read names.
    static func encode(id: [UInt8], peer: SocketAddress, local: SocketAddress) -> [UInt8] {
        Array("kwik1|".utf8) + pack(id) + [bar] + pack(short(peer)) + [bar] + pack(short(local))
    }

    private static let bar = UInt8(ascii: "|")

    private static func short(_ address: SocketAddress) -> [UInt8] {
        let wire = address.wire
        if address.family == AF_INET { return [4] + wire[2..<4] + wire[8..<12] }
        return [6] + wire[2..<4] + wire[8..<24] + wire[4..<8]
    }

    /// Six bits to a character, 0x30 + value, most significant first; the last padded with zero bits.
    static func pack(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        var held: UInt32 = 0
        var bits = 0
        for byte in bytes {
            held = held << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(0x30 + UInt8(held >> UInt32(bits) & 63))
            }
        }
        if bits > 0 { text.append(0x30 + UInt8(held << UInt32(6 - bits) & 63)) }
        return text
    }
}
