/// A path's datagrams beside the DATA that came of them.
struct PathReceipts {
    /// Plain bytes for each byte of DATA lately, at least 1: leases and rates are of plain bytes.
    private(set) var expansion = 1.0
    /// Datagram bytes that wait in their streams for lost ones. What belongs to channels that were abandoned
    /// looks the same, and fades as other bytes come.
    private(set) var heldBack: UInt64 = 0
    /// Of DATA, when that was measured.
    private var plain: UInt64 = 0
    private var wire: UInt64 = 0

    /// Headers and what is no DATA are less than this share of the datagrams: heldBack does not creep up.
    private static let overhead: UInt64 = 16

    /// - Parameters:
    ///   - count: bytes of datagrams since the last call.
    ///   - plain: payload bytes of all DATA so far; `wire`: as they stood on the wire.
    mutating func count(datagrams count: UInt64, plain: UInt64, wire: UInt64) {
        let (newPlain, newWire) = (plain - self.plain, wire - self.wire)
        let released = newWire + newWire / Self.overhead
        heldBack = heldBack + count - min(released, heldBack + count)
        if newPlain > 0, newWire > 0 {
            let ratio = max(1, Double(newPlain) / Double(newWire))
            expansion = self.wire == 0 ? ratio : expansion + (ratio - expansion) / 8
        }
        (self.plain, self.wire) = (plain, wire)
    }
}
