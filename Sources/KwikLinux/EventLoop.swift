internal import CLinux
internal import Glibc
public import KwikCore

/// What a descriptor is watched for, and what it turned out to be: the bits of epoll_ctl(2).
public struct Readiness: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let readable = Readiness(rawValue: 0x1)
    /// Urgent (out-of-band) data is in the queue (EPOLLPRI).
    public static let urgent = Readiness(rawValue: 0x2)
    public static let writable = Readiness(rawValue: 0x4)
    /// Reported even if not asked for, as is `hangup`.
    public static let error = Readiness(rawValue: 0x8)
    public static let hangup = Readiness(rawValue: 0x10)
    /// The peer has shut down its sending side (EPOLLRDHUP).
    public static let peerHangup = Readiness(rawValue: 0x2000)
    /// Report changes only (EPOLLET). An option of a watch, never reported.
    public static let edgeTriggered = Readiness(rawValue: 0x8000_0000)
}

/// The one loop of a daemon, over epoll. Every handler runs on the thread that calls `run`.
///
/// Time is cut into turns: one wait, then the handlers of the timers that are due and of all the descriptors
/// that were ready, each once, then the `afterEvents` handlers. So these see the work of many sources at
/// once and yet are never starved by a busy one, and a turn costs one system call, its timers included.
///
/// Not sd-event's: that waits once more for each source that was ready and sets a timer descriptor at each
/// change of the earliest deadline, which was 40 of the 169 µs of a one-byte exchange. Nor libuv's, whose
/// timers count milliseconds where pacing needs microseconds.
public final class EventLoop {
    private let poller: Poller
    private var signals: [Int32: (watch: Watch, descriptor: Int32)] = [:]
    private var turnEnds: [() -> Void] = []
    private var exitCode: Int32?

    public init() throws(Errno) { poller = Poller(epoll: try checked(kwik_epoll_create())) }

    deinit {
        poller.dropAll()
        for (_, signal) in signals { Descriptor.close(signal.descriptor) }
    }

    /// Watches `fd` for as long as the result lives. The caller keeps the descriptor, cancels the watch
    /// *before* closing it, and gives each descriptor to one watch at a time. Fails with EPERM for what
    /// cannot be polled, such as a regular file.
    public func watch(
        _ fd: Int32, for readiness: Readiness, _ handler: @escaping (Readiness) -> Void
    ) throws(Errno) -> Watch {
        let source = Source(fd: fd, handler)
        poller.add(source)
        do throws(Errno) {
            try poller.set(source, readiness)
        } catch {
            poller.drop(source)
            throw error
        }
        return Watch(poller, source)
    }

    /// A disarmed timer. It fires once for each `arm`, not before the instant that was asked for.
    public func timer(_ handler: @escaping () -> Void) throws(Errno) -> LoopTimer {
        LoopTimer(poller, Alarm(handler))
    }

    /// Blocks the signal in the calling thread (so: call this before starting others) and has it handled on
    /// the loop. EBUSY: this loop handles it already. The loop keeps the handler as long as it lives, so a
    /// handler that refers to the loop strongly keeps both for good.
    public func signal(_ number: Int32, _ handler: @escaping () -> Void) throws(Errno) {
        guard signals[number] == nil else { throw Errno(code: EBUSY) }
        let fd = try checked(kwik_signal_open(number))
        do throws(Errno) {
            let watch = try watch(fd, for: .readable) { _ in if kwik_signal_take(fd) > 0 { handler() } }
            signals[number] = (watch, fd)
        } catch {
            Descriptor.close(fd)
            throw error
        }
    }

    /// `handler` runs at the end of every turn in which anything was dispatched, in the order of
    /// registration. The loop keeps it, as a signal's.
    public func afterEvents(_ handler: @escaping () -> Void) throws(Errno) { turnEnds.append(handler) }

    /// Runs until `stop`, and returns its code. A `stop` that came before makes it return at once.
    public func run() throws(Errno) -> Int32 {
        while true {
            if let code = exitCode {
                exitCode = nil
                return code
            }
            if try poller.turn() { for handler in turnEnds { handler() } }
        }
    }

    /// How long it has waited for something to do, since it was made. The rest of the time it was at work, or
    /// kept from it by other processes.
    public var idle: Interval { poller.idle }

    /// Ends `run` at the end of this turn.
    public func stop(_ code: Int32) { exitCode = code }
}

/// A descriptor on the loop. Ends with `cancel` or with its last reference, either also within its own
/// handler.
public final class Watch {
    private let poller: Poller
    private let source: Source

    fileprivate init(_ poller: Poller, _ source: Source) {
        self.poller = poller
        self.source = source
    }

    deinit { cancel() }

    /// Replaces what is watched for; an edge-triggered watch reports again what is ready already. Empty:
    /// nothing is reported, not even errors, until the next `set`. No effect after `cancel`.
    public func set(_ readiness: Readiness) {
        do throws(Errno) {
            try poller.set(source, readiness)
        } catch {
            preconditionFailure("a watched descriptor was closed before its watch was cancelled")
        }
    }

    /// No call of the handler begins after this. Also drops the handler, and with it what it refers to.
    public func cancel() { poller.drop(source) }
}

/// A timer on the loop, monotonic.
public final class LoopTimer {
    private let poller: Poller
    private let alarm: Alarm

    fileprivate init(_ poller: Poller, _ alarm: Alarm) {
        self.poller = poller
        self.alarm = alarm
    }

    deinit { cancel() }

    /// Fires once at `instant`, or in the next turn if that has passed; replaces an earlier `arm`.
    /// `Instant.never` disarms. Costs nothing: the loop asks for the earliest instant when it waits.
    public func arm(at instant: Instant) { poller.arm(alarm, at: instant) }

    public func disarm() { alarm.due = .never }

    /// Disarms for good and drops the handler.
    public func cancel() {
        alarm.handler = nil
        alarm.due = .never
    }
}

/// A watched descriptor.
private final class Source {
    let fd: Int32
    var handler: ((Readiness) -> Void)?
    var isWatched = false
    /// Where the poller has it, and which of the sources that have been there.
    var token: UInt64 = 0

    init(fd: Int32, _ handler: @escaping (Readiness) -> Void) {
        self.fd = fd
        self.handler = handler
    }
}

private final class Alarm {
    var handler: (() -> Void)?
    var due = Instant.never
    /// The poller has it in its list.
    var isListed = false

    init(_ handler: @escaping () -> Void) { self.handler = handler }
}

/// The epoll descriptor and what hangs on it. Watches and timers may outlive their loop, so they share it.
@safe
private final class Poller {
    private let epoll: Int32
    /// Those that are armed, or were in the last turn: few, looked through in every turn.
    private var alarms: [Alarm] = []
    private var sources: [Source?] = []
    private var free: [Int] = []
    private var generation: UInt64 = 0
    private let ready: UnsafeMutablePointer<kwik_ready>
    private(set) var idle = Interval.zero

    private static let capacity = 64
    private static let indexBits: UInt64 = 32

    init(epoll: Int32) {
        self.epoll = epoll
        unsafe ready = .allocate(capacity: Self.capacity)
    }

    deinit {
        close(epoll)
        unsafe ready.deallocate()
    }

    func add(_ source: Source) {
        if free.isEmpty {
            free.append(sources.count)
            sources.append(nil)
        }
        let index = free.removeLast()
        sources[index] = source
        generation += 1
        source.token = generation << Self.indexBits | UInt64(index)
    }

    func drop(_ source: Source) {
        guard source.handler != nil else { return }
        source.handler = nil
        if source.isWatched { kwik_epoll_remove(epoll, source.fd) }
        source.isWatched = false
        let index = Int(source.token & ((1 << Self.indexBits) - 1))
        sources[index] = nil
        free.append(index)
    }

    func dropAll() {
        for source in sources { if let source { drop(source) } }
        for alarm in alarms { alarm.handler = nil }
        alarms = []
    }

    func arm(_ alarm: Alarm, at instant: Instant) {
        guard alarm.handler != nil else { return }
        alarm.due = instant
        guard instant != .never, !alarm.isListed else { return }
        alarm.isListed = true
        alarms.append(alarm)
    }

    /// Forgets the timers that are not armed; the earliest instant of the others.
    private func earliest() -> Instant {
        var earliest = Instant.never
        alarms.removeAll { alarm in
            alarm.isListed = alarm.due != .never
            earliest = min(earliest, alarm.due)
            return !alarm.isListed
        }
        return earliest
    }

    /// An empty set takes the descriptor out, for epoll reports errors whatever it was asked for.
    func set(_ source: Source, _ readiness: Readiness) throws(Errno) {
        guard source.handler != nil else { return }
        if !readiness.subtracting(.edgeTriggered).isEmpty {
            let change = source.isWatched ? kwik_epoll_change : kwik_epoll_add
            try checked(change(epoll, source.fd, readiness.rawValue, source.token))
            source.isWatched = true
        } else if source.isWatched {
            try checked(kwik_epoll_remove(epoll, source.fd))
            source.isWatched = false
        }
    }

    /// Waits, and calls the handlers of what came. Returns whether anything did.
    func turn() throws(Errno) -> Bool {
        let earliest = earliest()
        var patience: Int64 = -1
        let begun = Clock.now()
        if earliest != .never { patience = max(0, (earliest - begun).nanoseconds) }
        let count = unsafe kwik_epoll_wait(epoll, ready, Int32(Self.capacity), patience)
        let now = Clock.now()
        idle = idle + (now - begun)
        if count == -EINTR { return false }
        try checked(count)
        var dispatched = earliest != .never && fire(now: now)
        for index in 0..<Int(count) {
            let event = unsafe ready[index]
            guard let source = sources[Int(event.token & ((1 << Self.indexBits) - 1))],
                source.token == event.token, let handler = source.handler
            else { continue }
            handler(Readiness(rawValue: event.events))
            dispatched = true
        }
        return dispatched
    }

    /// In the order of their instants. Handlers may arm, make and cancel timers: what they arm waits for the
    /// next turn.
    private func fire(now: Instant) -> Bool {
        let due = alarms.filter { $0.due <= now }.sorted { $0.due < $1.due }
        for alarm in due where alarm.due <= now {
            alarm.due = .never
            alarm.handler?()
        }
        return !due.isEmpty
    }
}
