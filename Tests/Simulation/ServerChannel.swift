public import KwikCore

/// One channel that a server opened, as it came to the client.
public struct ServerChannel: Sendable {
    /// What its preface says that it is.
    public enum Kind: Hashable, Sendable {
        case contribution(ByteRange)
        case publicStream
    }

    public let id: ChannelID
    /// At the other end of its path.
    public let server: ServerID
    /// That the preface names.
    public let stream: StreamID
    public let kind: Kind
    /// Where the stream's program was when the preface came.
    public let readBefore: UInt64
    public let at: Interval
    public internal(set) var pieces: [ByteRange] = []
    public internal(set) var lastPieceAt: Interval?
    /// The furthest that a piece ended beyond what the program had read by then.
    public internal(set) var furthest: UInt64 = 0
    /// Of FIN.
    public internal(set) var sum: UInt64?
    /// All that the server has to say there has come.
    public internal(set) var isFinished = false
    /// The code by which the server ended it, and by which the client did.
    public internal(set) var reset: UInt64?
    public internal(set) var abandoned: ErrorCode?

    public var range: ByteRange? { if case .contribution(let range) = kind { range } else { nil } }
    /// No more of its bytes come.
    public var isOver: Bool { isFinished || reset != nil || abandoned != nil }
}

/// What servers opened toward the client in one run, and what the client made of it.
public struct SecondaryRecord: Sendable {
    public internal(set) var channels: [ServerChannel] = []
    /// Public streams that programs beside the client could accept.
    public internal(set) var offers: [(stream: StreamID, server: ServerID)] = []
    public internal(set) var events: [Event] = []
    /// Paths that the client ended.
    public internal(set) var endedPaths: [(server: ServerID, code: ErrorCode)] = []
    /// Channels of one stream that no program sees, at a look.
    public internal(set) var mostInternal = 0
    /// Those of all paths when everything had come to rest.
    public internal(set) var leftInternal = 0
    /// Bytes that the client put through checksums, sums and tags.
    public internal(set) var hashed: UInt64 = 0
    private var places: [ChannelID: Int] = [:]

    init() {}

    public var contributions: [ServerChannel] { channels.filter { $0.range != nil } }

    mutating func began(_ channel: ServerChannel) {
        places[channel.id] = channels.count
        channels.append(channel)
    }

    /// Of one that has begun.
    mutating func change(_ id: ChannelID, _ body: (inout ServerChannel) -> Void) {
        if let place = places[id] { body(&channels[place]) }
    }
}

final class Tally {
    var bytes: UInt64 = 0
}

extension Client {
    /// What a server says on a channel of its own.
    func record(_ item: ChannelReader.Item, on id: ChannelID) {
        switch item {
        case .preface(let preface):
            let kind: ServerChannel.Kind
            switch preface.role {
            case .contribution(let offset, let length):
                kind = .contribution(ByteRange(offset, offset + length))
            case .serverStream: kind = .publicStream
            case .stream, .attach, .replica, .lease: return
            }
            guard let server = dialler?.name(of: id.path)?.server else { return }
            let read = locals[preface.stream]?.delivered ?? 0
            record {
                $0.began(
                    ServerChannel(
                        id: id, server: server, stream: preface.stream, kind: kind, readBefore: read,
                        at: Interval(seconds: world.elapsed)))
            }
        case .data(let header):
            let end = header.offset + UInt64(header.length)
            record {
                $0.change(id) { channel in
                    let read = locals[channel.stream]?.delivered ?? end
                    channel.pieces.append(ByteRange(header.offset, end))
                    channel.lastPieceAt = Interval(seconds: world.elapsed)
                    channel.furthest = max(channel.furthest, end - min(end, read))
                }
            }
        case .frame(.fin(_, _, let sum, _)): record { $0.change(id) { $0.sum = sum } }
        case .bytes, .dataEnd, .frame: break
        }
    }

    /// Of what the specification's chapter on secondary streams is about.
    func record(_ event: Event) {
        switch event {
        case .contributed, .contributionFailed, .delegationExpired, .malformed, .policyViolation,
            .unknownStream, .integrityFailure, .streamClosed:
            record { $0.events.append(event) }
        default: break
        }
    }
}
