internal import KwikCore

/// `struct tcp_info` of linux/tcp.h, whose length grows with the kernel.
enum TCPInfo {
    /// What a segment is to the fields that count segments: QUIC's least datagram (RFC 9000 §14), so that
    /// cwnd · mss is the congestion window in bytes.
    private static let segment: UInt64 = 1_200

    /// Puts a stream's figures in the place of the kernel's, which knows of no connection. A program that
    /// asked for less gets less.
    static func show(_ figures: StreamFigures, in info: inout [UInt8]) {
        put(UInt32(segment), at: 16, in: &info)  // tcpi_snd_mss
        put(UInt32(segment), at: 20, in: &info)  // tcpi_rcv_mss
        put(segments(figures.sent - min(figures.acknowledged, figures.sent)), at: 24, in: &info)  // unacked
        if let path = figures.path {
            put(microseconds(path.probeTimeout), at: 8, in: &info)  // tcpi_rto
            put(microseconds(path.srtt), at: 68, in: &info)  // tcpi_rtt
            put(microseconds(path.rttVariation), at: 72, in: &info)  // tcpi_rttvar
            put(segments(path.congestionWindow), at: 80, in: &info)  // tcpi_snd_cwnd
        }
        put(figures.acknowledged, at: 120, in: &info)  // tcpi_bytes_acked
        put(figures.received, at: 128, in: &info)  // tcpi_bytes_received
        let waiting = figures.produced - min(figures.sent, figures.produced)
        put(UInt32(clamping: waiting), at: 144, in: &info)  // tcpi_notsent_bytes
        put(figures.sent, at: 200, in: &info)  // tcpi_bytes_sent
    }

    private static func segments(_ bytes: UInt64) -> UInt32 {
        UInt32(clamping: (bytes + segment - 1) / segment)
    }

    private static func microseconds(_ interval: Interval) -> UInt32 {
        UInt32(clamping: interval.nanoseconds / 1_000)
    }

    private static func put<Number: FixedWidthInteger & BitwiseCopyable>(
        _ number: Number, at offset: Int, in bytes: inout [UInt8]
    ) {
        let size = MemoryLayout<Number>.size
        guard offset + size <= bytes.count else { return }
        unsafe withUnsafeBytes(of: number) { source in
            for index in 0..<size { unsafe bytes[offset + index] = source[index] }
        }
    }
}
