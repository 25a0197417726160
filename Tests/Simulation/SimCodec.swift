internal import KwikCore

/// A codec of the simulation's own: leaves out the bytes that are zero. Two bytes of length, then for every
/// eight bytes which of them are not zero, and those.
enum SimCodec {
    static func make() -> Codec {
        unsafe Codec(
            compress: { unsafe compress($0, into: $1) }, decompress: { unsafe decompress($0, into: $1) })
    }

    private static func compress(
        _ plain: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> Int? {
        guard target.count > 2 else { return nil }
        unsafe target[0] = UInt8(plain.count >> 8)
        unsafe target[1] = UInt8(plain.count & 255)
        var place = 2
        var start = 0
        while start < plain.count {
            guard target.count - place >= 9 else { return nil }
            let mask = place
            place += 1
            var present: UInt8 = 0
            for bit in 0..<min(8, plain.count - start) {
                let byte = unsafe plain[start + bit]
                if byte == 0 { continue }
                present |= 1 << UInt8(bit)
                unsafe target[place] = byte
                place += 1
            }
            unsafe target[mask] = present
            start += 8
        }
        return place
    }

    private static func decompress(
        _ packed: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> Int? {
        guard packed.count > 2 else { return nil }
        let count = unsafe Int(packed[0]) << 8 | Int(packed[1])
        guard count > 0, count <= target.count else { return nil }
        var place = 2
        var present: UInt8 = 0
        for index in 0..<count {
            if index % 8 == 0 {
                guard place < packed.count else { return nil }
                present = unsafe packed[place]
                place += 1
            }
            var byte: UInt8 = 0
            if present & 1 << UInt8(index % 8) != 0 {
                guard place < packed.count else { return nil }
                byte = unsafe packed[place]
                place += 1
            }
            unsafe target[index] = byte
        }
        return place == packed.count ? count : nil
    }
}
