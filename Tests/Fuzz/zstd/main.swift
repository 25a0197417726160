// libFuzzer's target for the codec of compressed pieces. Compiled together with KwikEndpoint's file of it.
//
// Input: two bytes, little-endian, that say how much room there is (1 ... 16384), then the frame.

import KwikCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard count > 2, let data = unsafe data else { return 0 }
    let input = unsafe UnsafeRawBufferPointer(start: data, count: count)
    let room = unsafe (Int(input[0]) | Int(input[1]) << 8) % 16_384 + 1
    let frame = unsafe UnsafeRawBufferPointer(rebasing: input[2...])
    let codec = Codec.zstd()
    // Of its own, so that the sanitizer sees a byte beyond it.
    let target = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 1)
    defer { unsafe target.deallocate() }
    if let length = unsafe codec.decompress(frame, target) {
        precondition(length > 0 && length <= room, "more than there is room for")
    }
    unsafe checkRoundTrip(codec, UnsafeRawBufferPointer(rebasing: frame.prefix(16_384)))
    return 0
}

/// Any bytes come back, whatever the piece before them was.
private func checkRoundTrip(_ codec: Codec, _ plain: UnsafeRawBufferPointer) {
    guard plain.count > 0 else { return }
    var packed = [UInt8](repeating: 0, count: 20_000)
    var again = [UInt8](repeating: 0, count: plain.count)
    let length = unsafe packed.withUnsafeMutableBytes { unsafe codec.compress(plain, $0) }
    guard let length else { preconditionFailure("no room in more than enough") }
    let back = unsafe packed.withUnsafeBytes { packed in
        unsafe again.withUnsafeMutableBytes {
            unsafe codec.decompress(UnsafeRawBufferPointer(rebasing: packed[..<length]), $0)
        }
    }
    precondition(unsafe back == plain.count && again.elementsEqual(plain), "something else came back")
}
