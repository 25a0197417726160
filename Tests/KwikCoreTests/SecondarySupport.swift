import Testing

@testable import KwikCore

/// What servers give of their own, in the words of the wire.
extension ClientWorld {
    static let mirrorName = Array("mirror".utf8)
    static let third = ServerID(3)
    static let thirdName = Array("third".utf8)
    static let thirdPath = PathID(3)

    /// DATA and FIN of a contribution; `lies`: other bytes, with sums to match.
    func give(
        _ channel: ChannelID, _ range: ByteRange, lies: Bool = false, sum: UInt64? = nil,
        finished: Bool = true
    ) {
        data(channel, range, lies: lies)
        tell(channel, range, lies: lies, sum: sum, finished: finished)
    }

    /// FIN of a contribution.
    func tell(
        _ channel: ChannelID, _ range: ByteRange, lies: Bool = false, sum: UInt64? = nil,
        finished: Bool = true
    ) {
        let told = GatewayChecks.fin(range) {
            lies ? GatewayWorld.content($0).map { ~$0 } : GatewayWorld.content($0)
        }
        receive(
            channel, .fin(base: range.start, final: range.end, sum: sum ?? told, closed: false),
            finished: finished)
    }

    /// A server says that it is called so; by default it is.
    func claim(_ name: [UInt8], by server: ServerID, bound: [UInt8]? = nil) {
        call { session.claim(name, by: server, bound: [bound ?? name], into: &$0) }
    }

    func contribute(_ channel: ChannelID, _ stream: StreamID, _ range: ByteRange) {
        preface(channel, .contribution(offset: range.start, length: range.count), stream)
        give(channel, range)
    }

    var failures: [Event] {
        events.filter { if case .contributionFailed = $0 { true } else { false } }
    }

    var expirations: Int {
        events.count { if case .delegationExpired = $0 { true } else { false } }
    }
}

extension ClientScene {
    /// The primary has sent two blocks and leaves the next two to the mirror; nobody is engaged.
    static func delegated(_ range: ByteRange = .blocks(2, 4)) throws -> ClientScene {
        let scene = try connected()
        let world = scene.world
        world.claim(ClientWorld.mirrorName, by: ClientWorld.mirror)
        world.claim(ClientWorld.thirdName, by: ClientWorld.third)
        world.up(ClientWorld.mirrorPath, ClientWorld.mirror, .replica)
        world.up(ClientWorld.thirdPath, ClientWorld.third, .replica)
        world.data(scene.own, .blocks(0, 2))
        world.receive(scene.own, .delegated([range], server: ClientWorld.mirrorName))
        return scene
    }

    var taken: [UInt8] { world.taken[stream] ?? [] }

    func hasRead(_ blocks: UInt64) -> Bool { taken == GatewayWorld.content(.blocks(0, blocks)) }

    /// FIN over `blocks` whole ones but the delegated, and what the program then sees.
    func finish(_ blocks: UInt64, without delegated: ByteRange) {
        let final = blocks * Block.size
        let sum =
            GatewayChecks.fin(ByteRange(0, final), GatewayWorld.content)
            &- GatewayChecks.fin(delegated, GatewayWorld.content)
        world.receive(own, .fin(base: 0, final: final, sum: sum, closed: false))
    }
}
