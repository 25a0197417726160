internal import KwikCore

/// One connection of the application behind a gateway: the function, in time.
final class Backend {
    private let world: World
    private let socket: SocketEnd
    private let marksUrgent: Bool
    private var application: Application
    private var timer: Timer?
    private var nextWrite = Instant(nanoseconds: 0)
    private var inputEnded = false
    private var isOver = false
    private var scratch = [UInt8](repeating: 0, count: 32_768)

    /// A slow application puts out this many bytes at a time.
    static let burst = 4_000
    /// An application that can't write stops reading.
    static let heldAtMost: UInt64 = 262_144

    init(_ world: World, _ socket: SocketEnd, _ character: Character, marksUrgent: Bool = false) {
        self.world = world
        self.socket = socket
        self.marksUrgent = marksUrgent
        application = Application(character)
        timer = Timer(world) { [weak self] in self?.run() }
        socket.onEvent = { [weak self] in self?.timer?.arm(at: world.now) }
    }

    private func run() {
        guard !isOver else { return }
        if socket.failure != nil { return over() }
        read()
        write()
        // Who leaves in the middle of a request has it end there, and so has a gateway whose process dies.
        let isBrokenOff = inputEnded && (world.hasBrokenOff || socket.peer == nil)
        if let complaint = application.complaint, !isBrokenOff {
            world.fail("a backend got bytes that nobody sent: \(complaint)")
        }
        if application.hasEnded, application.isDrained, !isOver {
            isOver = true
            socket.close()
        }
    }

    private func over() {
        isOver = true
        socket.close()
    }

    private func read() {
        var isPaced = application.pace > 0
        while !isOver, application.total - application.written < Backend.heldAtMost || isPaced {
            let count = unsafe scratch.withUnsafeMutableBytes { target in
                let count = unsafe socket.read(into: target)
                unsafe application.feed(
                    UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(target)[0..<count]))
                return count
            }
            if count == 0 { break }
            isPaced = false
        }
        if socket.incoming.count == 0, socket.isPeerFinished, !inputEnded, !application.hasEnded {
            inputEnded = true
            application.endOfInput()
        }
    }

    private func write() {
        while !isOver, !application.isDrained {
            var room = min(socket.room, scratch.count)
            switch application.character {
            case .stalling(let after): room = min(room, Int(after - min(after, application.written)))
            case .resetting(let after) where application.written >= after:
                isOver = true
                return socket.reset(Errno.connectionReset)
            default: break
            }
            guard room > 0 else { return }
            let pace = application.pace
            if pace > 0 {
                guard nextWrite <= world.now else {
                    timer?.arm(at: nextWrite)
                    return
                }
                room = min(room, Backend.burst)
                nextWrite = world.now + Interval(seconds: Double(room) / Double(pace))
            }
            unsafe scratch.withUnsafeMutableBytes { target in
                let count = unsafe application.produce(
                    into: UnsafeMutableRawBufferPointer(rebasing: target[0..<room]))
                let written = unsafe socket.write(
                    UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(target)[0..<count]))
                if written < count, socket.failure == nil {
                    world.fail("model: a socket took less than its room")
                }
                if marksUrgent, written > 0 { socket.markUrgent() }
            }
            if socket.failure != nil { return over() }
        }
    }
}
