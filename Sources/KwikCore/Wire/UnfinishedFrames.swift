/// What of frames other than DATA has come on the channels of a session, or of a path, and is not whole yet.
final class UnfinishedFrames {
    fileprivate(set) var bytes = 0
}

/// One channel's part of that: it ends with the channel.
final class UnfinishedFrame {
    private let all: UnfinishedFrames
    private var bytes = 0

    init(of all: UnfinishedFrames) { self.all = all }

    deinit { all.bytes -= bytes }

    func has(_ count: Int) {
        all.bytes += count - bytes
        bytes = count
    }
}
