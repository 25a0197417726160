/// One channel, as the session's peer and its transport have it.
struct Channel {
    let id: ChannelID
    /// What the session wrote.
    var reader: ChannelReader
    /// The peer's half is complete, or taken back.
    var hasEnded = false
    /// The session's half is.
    var isFinished = false
    /// What the session opened it for, and asked on it.
    var preface: Preface?
    var asked: [Frame] = []
    /// What an honest server has answered: OPENED, and DATA up to here but for what was carved.
    var isAnswered = false
    var next: UInt64 = 0
    var carved: [ByteRange] = []

    fileprivate mutating func take(_ item: ChannelReader.Item) {
        switch item {
        case .preface(let preface): self.preface = preface
        case .frame(let frame):
            switch frame {
            case .carve, .sumRequest: asked.append(frame)
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
    var channels: [Channel] = []
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

    mutating func path(_ script: inout Script) -> PathID? {
        paths.isEmpty ? nil : paths[script.below(paths.count)]
    }

    /// A channel of the peer's own.
    mutating func openChannel(on path: PathID) -> Int {
        add(ChannelID(path: path, number: take(path, 1 - parity)))
    }

    /// One of those that the peer may still write to.
    func writable(_ script: inout Script) -> Int? {
        let indices = channels.indices.filter { !channels[$0].hasEnded }
        return indices.isEmpty ? nil : indices[script.below(indices.count)]
    }

    mutating func end(_ index: Int) { channels[index].hasEnded = true }

    mutating func finish(_ index: Int) { channels[index].isFinished = true }

    /// Both halves are over: the transport forgets the channel.
    mutating func close(_ script: inout Script) -> ChannelID? {
        let over = channels.filter { $0.hasEnded && $0.isFinished }
        guard !over.isEmpty else { return nil }
        let id = over[script.below(over.count)].id
        channels.removeAll { $0.id == id }
        return id
    }

    // MARK: What the session does

    mutating func opened(_ id: ChannelID) {
        require(paths.contains(id.path), "a channel is opened on a path that is gone")
        require(id.number == take(id.path, parity), "a channel is opened out of turn")
        _ = add(id)
    }

    mutating func sent(_ id: ChannelID, _ slice: ChunkSlice) {
        require(slice.count > 0, "an empty send")
        let index = writing(id)
        var position = 0
        do throws(WireError) {
            while let item = try unsafe channels[index].reader.next(slice.bytes, from: &position) {
                channels[index].take(item)
            }
        } catch {
            preconditionFailure("no reader takes what was sent on \(id): \(error)")
        }
    }

    mutating func finished(_ id: ChannelID) {
        let index = writing(id)
        do throws(WireError) {
            try channels[index].reader.finish()
        } catch {
            preconditionFailure("finished within a frame on \(id): \(error)")
        }
        channels[index].isFinished = true
    }

    mutating func abandoned(_ id: ChannelID) {
        guard let index = channels.firstIndex(where: { $0.id == id }) else { return }
        channels[index].isFinished = true
    }

    private func writing(_ id: ChannelID) -> Int {
        guard let index = channels.firstIndex(where: { $0.id == id }) else {
            preconditionFailure("bytes or an end on \(id), which is not known")
        }
        require(!channels[index].isFinished, "bytes or an end behind the end of \(id)")
        return index
    }

    // MARK: Both

    private mutating func take(_ path: PathID, _ parity: Int64) -> Int64 {
        let number = next[path]?[Int(parity)] ?? 0
        next[path]?[Int(parity)] = number + 4
        return number
    }

    private mutating func add(_ id: ChannelID) -> Int {
        let isSessions = id.number & 1 == parity
        channels.append(Channel(id: id, reader: ChannelReader(expectsPreface: isSessions)))
        return channels.count - 1
    }
}

func require(_ holds: Bool, _ otherwise: @autoclosure () -> String) {
    if !holds { preconditionFailure(otherwise()) }
}
