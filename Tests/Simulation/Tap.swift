internal import KwikCore

/// Shows what is in channels, for a trace.
final class Tap {
    private let world: World
    private let name: String
    /// Of the channels that this side opens.
    private let parity: Int64
    private var readers: [ChannelID: ChannelReader] = [:]

    init(_ world: World, name: String, parity: Int64) {
        self.world = world
        self.name = name
        self.parity = parity
    }

    func received(_ channel: ChannelID, _ bytes: UnsafeRawBufferPointer, finished: Bool) {
        var reader = readers[channel] ?? ChannelReader(expectsPreface: channel.number & 1 != parity)
        let mark = "\(name) <- \(channel.path.value)/\(channel.number)"
        do throws(WireError) {
            var position = 0
            while let item = unsafe try reader.next(bytes, from: &position) {
                switch item {
                case .bytes, .dataEnd: break
                case .data(let header): world.trace("\(mark) data \(header.offset)+\(header.length)")
                case .preface(let preface):
                    world.trace("\(mark) stream \(preface.stream.value) \(preface.role)")
                case .frame(let frame): world.trace("\(mark) \(frame)")
                }
            }
        } catch {
            world.trace("\(mark) malformed: \(error)")
        }
        if finished { world.trace("\(mark) finished") }
        readers[channel] = reader
    }
}
