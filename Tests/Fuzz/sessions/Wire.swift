/// One channel, as the session's peer and its transport have it.
final class Channel {
    let id: ChannelID
    /// Of what the session writes.
    private var reader: ChannelReader
    /// The peer's half is complete, or taken back.
    var hasEnded = false
    /// The session's half is.
    var isFinished = false
    /// What the session opened it for, and asked on it.
    var preface: Preface?
    var asked: [Frame] = []
    /// What an honest server has answered: OPENED, and DATA up to here but for what was carved.
    var isAnswered = false
    var base: UInt64 = 0
    var next: UInt64 = 0
    var carved: [ByteRange] = []
    /// It has said how far the stream goes, and that it ends there.
    var saidEnd = false
    var saidFin = false
    /// The client takes bytes up to here.
    var window: UInt64 = 65_536

    init(_ id: ChannelID, isSessions: Bool) {
        self.id = id
        reader = ChannelReader(expectsPreface: isSessions)
    }

    fileprivate func read(_ slice: ChunkSlice) {
        var position = 0
        do throws(WireError) {
            while let item = try unsafe reader.next(slice.bytes, from: &position) { take(item) }
        } catch {
            preconditionFailure("no reader takes what was sent on \(id): \(error)")
        }
    }

    fileprivate func finish() {
        do throws(WireError) {
            try reader.finish()
        } catch {
            preconditionFailure("finished within a frame on \(id): \(error)")
        }
        isFinished = true
    }

    private func take(_ item: ChannelReader.Item) {
        switch item {
        case .preface(let preface): self.preface = preface
        case .frame(let frame):
            switch frame {
            case .carve, .sumRequest: asked.append(frame)
            case .window(_, let maximum): window = max(window, maximum)
            default: break
            }
        case .data, .bytes, .dataEnd: break
        }
    }
}

/// The transport under a session: its paths and channels, and what the session may do with them.
struct Wire {
    /// 0: the session's channels have even numbers, 1: odd ones.
    private let parity: Int64
    private(set) var paths: [PathID] = []
    private(set) var channels: [Channel] = []
    private var pathsEver: UInt32 = 0
    private var next: [PathID: [Int64]] = [:]

    init(parity: Int64) { self.parity = parity }

    // MARK: What the peer does

    mutating func addPath() -> PathID {
        pathsEver += 1
        let path = PathID(pathsEver)
        paths.append(path)
        // Channel 0 is the control stream.
        next[path] = [4, 1]
        return path
    }

    /// - Returns: false if it is gone already.
    mutating func removePath(_ path: PathID) -> Bool {
        guard let index = paths.firstIndex(of: path) else { return false }
        paths.remove(at: index)
        channels.removeAll { $0.id.path == path }
        return true
    }

    func path(_ script: inout Script) -> PathID? {
        paths.isEmpty ? nil : paths[script.below(paths.count)]
    }

    /// A channel of the peer's own.
    mutating func openChannel(on path: PathID) -> Channel {
        add(ChannelID(path: path, number: take(path, 1 - parity)))
    }

    func channel(_ script: inout Script, where isMeant: (Channel) -> Bool) -> Channel? {
        let meant = channels.filter(isMeant)
        return meant.isEmpty ? nil : meant[script.below(meant.count)]
    }

    /// Both halves are over: the transport forgets the channel.
    mutating func close(_ channel: Channel) { channels.removeAll { $0 === channel } }

    // MARK: What the session does

    mutating func opened(_ id: ChannelID) {
        require(paths.contains(id.path), "a channel is opened on a path that is gone")
        require(id.number == take(id.path, parity), "a channel is opened out of turn")
        _ = add(id)
    }

    func sent(_ id: ChannelID, _ slice: ChunkSlice) {
        require(slice.count > 0, "an empty send")
        writing(id).read(slice)
    }

    func finished(_ id: ChannelID) { writing(id).finish() }

    func abandoned(_ id: ChannelID) { channels.first { $0.id == id }?.isFinished = true }

    private func writing(_ id: ChannelID) -> Channel {
        guard let channel = channels.first(where: { $0.id == id }) else {
            preconditionFailure("bytes or an end on \(id), which is not known")
        }
        require(!channel.isFinished, "bytes or an end behind the end of \(id)")
        return channel
    }

    // MARK: Both

    private mutating func take(_ path: PathID, _ parity: Int64) -> Int64 {
        let number = next[path]?[Int(parity)] ?? 0
        next[path]?[Int(parity)] = number + 4
        return number
    }

    private mutating func add(_ id: ChannelID) -> Channel {
        let channel = Channel(id, isSessions: id.number & 1 == parity)
        channels.append(channel)
        return channel
    }
}

func require(_ holds: Bool, _ otherwise: @autoclosure () -> String) {
    if !holds { preconditionFailure(otherwise()) }
}
