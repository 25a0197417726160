internal import CLinux
internal import Glibc
public import KwikCore

/// CLOCK_MONOTONIC, the clock of the event loop's timers too.
public enum Clock {
    public static func now() -> Instant {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }
}

/// The kernel's random numbers (getrandom(2)), fit for keys.
public enum RandomBytes {
    public static func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        guard let base = buffer.baseAddress else { return }
        let result = unsafe kwik_random(base, buffer.count)
        precondition(result == 0, "the kernel gives no random numbers")
    }

    public static func word() -> UInt64 {
        var word: UInt64 = 0
        unsafe withUnsafeMutableBytes(of: &word) { bytes in unsafe fill(bytes) }
        return word
    }

    public static func bytes(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        unsafe bytes.withUnsafeMutableBytes { buffer in unsafe fill(buffer) }
        return bytes
    }
}
