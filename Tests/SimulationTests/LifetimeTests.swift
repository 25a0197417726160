import KwikCore
import Testing

@testable import Simulation

/// A hundred thousand runs in one process must not need the memory of them all.
@Suite struct LifetimeTests {
    @Test("A program that is over is let go of with its world")
    func programs() {
        weak var program: Program?
        weak var world: World?
        do {
            let scenario = Stage(size: 100_000).scenario
            let place = World()
            let network = Network(place, scenario) { _, _ in }
            let client = Client(place, network, scenario)
            let dialler = Dialler(place, network, client, scenario)
            client.dialler = dialler
            dialler.wanted()
            let downloader = Program(place, index: 0, scenario.workloads[0])
            place.after(Stage.start) { client.start(downloader) }
            withExtendedLifetime(dialler) {
                place.run(until: place.now + .seconds(5)) { downloader.isOver }
            }
            #expect(downloader.state == .done)
            client.vanish()
            for server in network.servers { server.crash() }
            place.end()
            (program, world) = (downloader, place)
        }
        #expect(program == nil)
        #expect(world == nil)
    }
}
