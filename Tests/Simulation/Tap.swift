internal import KwikCore

/// Sees what is in channels: counts it, and shows it in a trace.
final class Tap {
    private let world: World
    private let name: String
    /// Of the channels that this side opens.
    private let parity: Int64
    private let onItem: (ChannelReader.Item, ChannelID) -> Void
    private var readers: [ChannelID: ChannelReader] = [:]
    /// Streams whose own preface has come, and those that others' prefaces referred to before it.
    private var begun: Set<StreamID> = []
    private var early: Set<StreamID> = []

    init(
        _ world: World, name: String, parity: Int64,
        onItem: @escaping (ChannelReader.Item, ChannelID) -> Void
    ) {
        self.world = world
        self.name = name
        self.parity = parity
        self.onItem = onItem
    }

    func received(_ channel: ChannelID, _ bytes: UnsafeRawBufferPointer, finished: Bool) {
        var reader =
            readers.removeValue(forKey: channel)
            ?? ChannelReader(expectsPreface: channel.number & 1 != parity)
        do throws(WireError) {
            var position = 0
            while let item = unsafe try reader.next(bytes, from: &position) {
                note(item, channel)
                if channel.number & 1 != parity { onItem(item, channel) }
            }
        } catch {
            world.trace("\(mark(channel)) malformed: \(error)")
        }
        if finished { world.trace("\(mark(channel)) finished") } else { readers[channel] = reader }
    }

    func closed(_ channel: ChannelID) { readers[channel] = nil }

    private func mark(_ channel: ChannelID) -> String {
        "\(name) <- \(channel.path.value)/\(channel.number)"
    }

    private func note(_ item: ChannelReader.Item, _ channel: ChannelID) {
        switch item {
        case .bytes, .dataEnd: break
        case .data(let header):
            world.count("DATA")
            world.trace("\(mark(channel)) data \(header.offset)+\(header.length)")
        case .preface(let preface):
            world.count(Census.name(of: preface.role))
            order(preface)
            world.trace("\(mark(channel)) stream \(preface.stream.value) \(preface.role)")
        case .frame(let frame):
            world.count(Census.name(of: frame))
            world.trace("\(mark(channel)) \(frame)")
        }
    }

    /// What overtakes its stream's beginning is known as such once that has come: it may be lost for good.
    private func order(_ preface: Preface) {
        switch preface.role {
        case .stream, .replica, .serverStream:
            begun.insert(preface.stream)
            if early.remove(preface.stream) != nil { world.count("overtaken") }
        case .attach, .lease: if !begun.contains(preface.stream) { early.insert(preface.stream) }
        case .contribution: break
        }
    }
}
