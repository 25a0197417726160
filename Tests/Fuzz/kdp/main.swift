// libFuzzer's target for the KDP codec. Compiled together with KwikCore into one module, see build.sh.
//
// Input: one byte whose bit 0 says whether the peer opened the channel and whose other bits seed the splits;
// then the channel's bytes.

/// What stands on a channel; the bytes of DATA are compared through a sum of them.
private enum Item: Equatable {
    case preface(Preface)
    case frame(Frame)
    case data(DataHeader, sum: UInt64, received: Int, complete: Bool)
}

private struct Outcome: Equatable {
    var items: [Item] = []
    var error: WireError?
    var endError: WireError?
}

@safe
private struct Reading {
    var reader: ChannelReader
    var outcome = Outcome()

    init(expectsPreface: Bool) { reader = ChannelReader(expectsPreface: expectsPreface) }

    mutating func feed(_ input: UnsafeRawBufferPointer) {
        var position = 0
        do throws(WireError) {
            while let item = try unsafe reader.next(input, from: &position) { unsafe take(item, of: input) }
            precondition(position == input.count, "nil before the input was exhausted")
        } catch {
            outcome.error = error
        }
    }

    mutating func end() {
        do throws(WireError) {
            try reader.finish()
        } catch {
            outcome.endError = error
        }
    }

    private mutating func take(_ item: ChannelReader.Item, of input: UnsafeRawBufferPointer) {
        switch item {
        case .preface(let preface):
            outcome.items.append(.preface(preface))
        case .frame(let frame):
            outcome.items.append(.frame(frame))
        case .data(let header):
            check(header)
            outcome.items.append(.data(header, sum: 0, received: 0, complete: false))
        case .bytes(let range):
            guard case .data(let header, var sum, let received, false) = outcome.items.last else {
                preconditionFailure("bytes outside DATA")
            }
            for index in range { unsafe sum = sum &* 31 &+ UInt64(input[index]) }
            outcome.items[outcome.items.count - 1] = .data(
                header, sum: sum, received: received + range.count, complete: false)
        case .dataEnd:
            guard case .data(let header, let sum, let received, false) = outcome.items.last else {
                preconditionFailure("end outside DATA")
            }
            precondition(received == header.length, "DATA not of its length")
            outcome.items[outcome.items.count - 1] = .data(
                header, sum: sum, received: received, complete: true)
        }
    }

    private func check(_ header: DataHeader) {
        precondition(header.length > 0 && header.flags & ~1 == 0, "malformed DATA was taken")
        let last = header.offset + UInt64(header.length) - 1
        precondition(Block.index(of: header.offset) == Block.index(of: last), "DATA across a block")
    }
}

/// Reads the channel in pieces drawn from `seed`, small and large ones; all at once without one.
private func read(_ input: UnsafeRawBufferPointer, expectsPreface: Bool, seed: UInt64?) -> Outcome {
    var reading = Reading(expectsPreface: expectsPreface)
    var state = seed ?? 0
    var start = 0
    while start < input.count, reading.outcome.error == nil {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let drawn = 1 + Int(state >> 33) % (1 << Int(state >> 60))
        let end = seed == nil ? input.count : min(input.count, start + drawn)
        unsafe reading.feed(UnsafeRawBufferPointer(rebasing: input[start..<end]))
        start = end
    }
    reading.end()
    return reading.outcome
}

/// What was taken can be written, and is then read as the same.
private func checkRewriting(_ items: [Item]) {
    var writer = FrameWriter()
    for item in items {
        let slice: ChunkSlice
        var isPreface = false
        switch item {
        case .preface(let preface):
            slice = writer.preface(preface)
            isPreface = true
        case .frame(let frame):
            slice = writer.frame(frame)
        case .data(let header, _, _, _):
            slice = writer.dataHeader(
                offset: header.offset, length: header.length, flags: header.flags, crc32c: header.crc32c)
        }
        let again = unsafe read(slice.bytes, expectsPreface: isPreface, seed: nil)
        precondition(again.error == nil && again.items.count == 1, "what was written is refused")
        if case .data(let header, _, _, _) = item, case .data(let other, _, _, _) = again.items.first {
            precondition(header == other, "DATA written differs")
        } else {
            precondition(again.items == [item] && again.endError == nil, "frame written differs")
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let input = unsafe UnsafeRawBufferPointer(start: data, count: count)
    let expectsPreface = unsafe input[0] & 1 != 0
    let seed = unsafe UInt64(input[0] >> 1)
    let channel = unsafe UnsafeRawBufferPointer(rebasing: input[1...])
    let whole = unsafe read(channel, expectsPreface: expectsPreface, seed: nil)
    let split = unsafe read(channel, expectsPreface: expectsPreface, seed: seed)
    precondition(whole == split, "items depend on the split")
    checkRewriting(whole.items)
    return 0
}
