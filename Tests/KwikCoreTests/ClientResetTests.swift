import Testing

@testable import KwikCore

/// A program that resets its connection has had its earlier bytes sent, as with TCP, whose windows let them
/// out before.
@Suite struct ClientResetTests {
    private func reset(_ scene: ClientScene) {
        scene.world.handle(.localAborted(scene.stream, errno: 104))
    }

    private func told(_ scene: ClientScene) -> Frame? { scene.world.frames(scene.own).last }

    @Test("What a program wrote goes out before its reset, 64 KiB of it at most")
    func bytesBeforeReset() throws {
        let scene = try ClientScene.connected()
        scene.world.receive(scene.own, .window(read: 0, maximum: 1 << 20))
        #expect(scene.world.write(scene.stream, 200_000) == 200_000)
        #expect(scene.world.upstream(scene.own).isEmpty)
        reset(scene)
        let sent = scene.world.upstream(scene.own)
        #expect(sent.first?.start == 0 && sent.last?.end == 65_536)
        #expect(told(scene) == .reset(errno: 104, offset: 65_536))
    }

    @Test("A short request goes out whole before the reset")
    func shortRequest() throws {
        let scene = try ClientScene.connected()
        scene.world.write(scene.stream, 100)
        reset(scene)
        #expect(scene.world.upstream(scene.own) == [ByteRange(0, 100)])
        #expect(told(scene) == .reset(errno: 104, offset: 100))
    }

    /// A backend that is closed may still be sent bytes, and resets after its last word.
    @Test("A reset after both directions have ended is not answered on a channel that is finished")
    func resetAfterTheEnd() throws {
        let scene = try ClientScene.connected()
        scene.world.handle(.localEnded(scene.stream, closed: false))
        scene.world.pull()
        scene.world.data(scene.own, ByteRange(0, 34))
        scene.world.fin(scene.own, 34)
        #expect(scene.world.finished.contains(scene.own))
        let before = scene.world.sent[scene.own]?.count
        scene.world.receive(scene.own, .reset(errno: 104, offset: 34))
        scene.world.tick()
        #expect(scene.world.sent[scene.own]?.count == before)
        #expect(scene.world.released == [scene.stream])
    }

    @Test("Nothing goes out beyond the credit, nor twice")
    func credit() throws {
        let scene = try ClientScene.connected()
        #expect(scene.world.write(scene.stream, 100_000) == 65_536)
        scene.world.pull(room: 32_768)
        reset(scene)
        let sent = scene.world.upstream(scene.own)
        #expect(sent.reduce(0) { $0 + $1.count } == 65_536 && sent.last?.end == 65_536)
        #expect(told(scene) == .reset(errno: 104, offset: 65_536))
    }
}
