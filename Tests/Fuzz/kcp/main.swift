// libFuzzer's target for the control messages: what cuts the control stream, what walks a message before
// protobuf-c does, protobuf-c's own code for the schema, and what makes values of it.
//
// Input: one byte that seeds the splits, then the control stream's bytes.

import KwikControl

private struct Outcome: Equatable {
    var messages: [KCPMessage] = []
    var error: KCPError?
}

/// Reads the stream in pieces drawn from `seed`; all at once without one.
private func read(_ input: UnsafeRawBufferPointer, seed: UInt64?) -> Outcome {
    var outcome = Outcome()
    var reader = KCPReader()
    var state = seed ?? 0
    var start = 0
    do throws(KCPError) {
        while start < input.count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let drawn = 1 + Int(state >> 33) % (1 << Int(state >> 60))
            let end = seed == nil ? input.count : min(input.count, start + drawn)
            unsafe reader.append(UnsafeRawBufferPointer(rebasing: input[start..<end]))
            while let message = try reader.next() { outcome.messages.append(message) }
            start = end
        }
    } catch {
        outcome.error = error
    }
    return outcome
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let input = unsafe UnsafeRawBufferPointer(start: data, count: count)
    let seed = unsafe UInt64(input[0])
    let stream = unsafe UnsafeRawBufferPointer(rebasing: input[1...])
    let whole = unsafe read(stream, seed: nil)
    precondition(unsafe whole == read(stream, seed: seed), "messages depend on the split")
    for message in whole.messages {
        let again = unsafe message.encode().withUnsafeBytes { unsafe read($0, seed: nil) }
        precondition(again == Outcome(messages: [message]), "what was written is read as something else")
    }
    return 0
}
