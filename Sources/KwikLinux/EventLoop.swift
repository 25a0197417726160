internal import CSystemd
internal import Glibc
public import KwikCore

/// What a descriptor is watched for, and what it turned out to be: the bits of epoll_ctl(2).
public struct Readiness: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let readable = Readiness(rawValue: 0x1)
    public static let writable = Readiness(rawValue: 0x4)
    /// Reported even if not asked for, as is `hangup`.
    public static let error = Readiness(rawValue: 0x8)
    public static let hangup = Readiness(rawValue: 0x10)
    /// The peer has shut down its sending side (EPOLLRDHUP).
    public static let peerHangup = Readiness(rawValue: 0x2000)
    /// Report changes only (EPOLLET). An option of a watch, never reported.
    public static let edgeTriggered = Readiness(rawValue: 0x8000_0000)
}

/// The one loop of a daemon, over sd-event. Every handler runs on the thread that calls `run`.
///
/// Time is cut into turns: a turn is over when no source is ready, or when a source comes up for the second
/// time. So the `afterEvents` handlers see the work of many sources at once and yet are never starved by a
/// busy one.
@safe
public final class EventLoop {
    private let event: OpaquePointer
    private let turn = Turn()
    private var kept: [Source] = []
    private var exitCode: Int32?

    public init() throws(Errno) {
        var event: OpaquePointer?
        try unsafe checked(sd_event_new(&event))
        guard let event = unsafe event else { throw Errno(code: ENOMEM) }
        unsafe self.event = event
    }

    deinit {
        for source in kept { source.cancel() }
        unsafe sd_event_unref(event)
    }

    /// Watches `fd` for as long as the result lives. The caller keeps the descriptor, cancels the watch
    /// *before* closing it, and gives each descriptor to one watch at a time. Fails with EPERM for what
    /// cannot be polled, such as a regular file.
    public func watch(
        _ fd: Int32, for readiness: Readiness, _ handler: @escaping (Readiness) -> Void
    ) throws(Errno) -> Watch {
        let source = Source(turn) { bits in handler(Readiness(rawValue: bits)) }
        try unsafe checked(sd_event_add_io(
            event, &source.reference, fd, readiness.rawValue,
            { _, _, bits, userdata in unsafe Source.dispatch(userdata, bits) }, source.userdata))
        let watch = Watch(source)
        watch.set(readiness)
        return watch
    }

    /// A disarmed timer. It fires once for each `arm`, not before the instant that was asked for.
    public func timer(_ handler: @escaping () -> Void) throws(Errno) -> LoopTimer {
        let source = Source(turn) { _ in handler() }
        // An accuracy of 0 would stand for sd-event's 250 ms.
        let accuracy: UInt64 = 1
        try unsafe checked(sd_event_add_time(
            event, &source.reference, CLOCK_MONOTONIC, 0, accuracy,
            { _, _, userdata in unsafe Source.dispatch(userdata, 0) }, source.userdata))
        try unsafe checked(sd_event_source_set_enabled(source.reference, Int32(SD_EVENT_OFF)))
        return LoopTimer(source)
    }

    /// Blocks the signal in the calling thread (so: call this before starting others) and has it handled on
    /// the loop. EBUSY: this loop handles it already. The loop keeps the handler as long as it lives, so a
    /// handler that refers to the loop strongly keeps both for good.
    public func signal(_ number: Int32, _ handler: @escaping () -> Void) throws(Errno) {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        guard unsafe sigaddset(&signals, number) == 0 else { throw Errno.last }
        let blocked = unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        if blocked != 0 { throw Errno(code: blocked) }
        let source = Source(turn) { _ in handler() }
        try unsafe checked(sd_event_add_signal(
            event, &source.reference, number,
            { _, _, userdata in unsafe Source.dispatch(userdata, 0) }, source.userdata))
        kept.append(source)
    }

    /// `handler` runs at the end of every turn in which anything was dispatched, in the order of
    /// registration. The loop keeps it, as a signal's.
    public func afterEvents(_ handler: @escaping () -> Void) throws(Errno) { turn.handlers.append(handler) }

    /// Runs until `stop`, and returns its code. A `stop` that came before makes it return at once.
    public func run() throws(Errno) -> Int32 {
        while true {
            if let code = exitCode {
                turn.end()
                exitCode = nil
                return code
            }
            let dispatched = try unsafe checked(sd_event_run(event, turn.isOpen ? 0 : UInt64.max))
            if dispatched == 0 { turn.end() }
        }
    }

    /// Ends `run` after the handler that is running now, and after this turn's `afterEvents` handlers.
    public func stop(_ code: Int32) { exitCode = code }

    /// Tells the service manager's watchdog, if there is one, that the loop still turns.
    public func watchdog() { unsafe sd_event_set_watchdog(event, 1) }
}

/// A descriptor on the loop. Ends with `cancel` or with its last reference, either also within its own
/// handler.
public final class Watch {
    private let source: Source

    fileprivate init(_ source: Source) { self.source = source }

    deinit { source.cancel() }

    /// Replaces what is watched for; an edge-triggered watch reports again what is ready already. Empty:
    /// nothing is reported, not even errors, until the next `set`. No effect after `cancel`.
    public func set(_ readiness: Readiness) {
        guard let reference = unsafe source.reference else { return }
        let isEmpty = readiness.subtracting(.edgeTriggered).isEmpty
        if !isEmpty {
            let result = unsafe sd_event_source_set_io_events(reference, readiness.rawValue)
            precondition(result >= 0, "a watched descriptor was closed before its watch was cancelled")
        }
        let enabled = isEmpty ? SD_EVENT_OFF : SD_EVENT_ON
        let result = unsafe sd_event_source_set_enabled(reference, Int32(enabled))
        precondition(result >= 0, "a watched descriptor was closed before its watch was cancelled")
    }

    /// No call of the handler begins after this. Also drops the handler, and with it what it refers to.
    public func cancel() { source.cancel() }
}

/// A timer on the loop, monotonic, with microseconds as its grain.
public final class LoopTimer {
    private let source: Source
    private var armed: Instant = .never

    fileprivate init(_ source: Source) {
        self.source = source
        let handler = source.handler
        source.handler = { [unowned self] bits in
            armed = .never
            handler?(bits)
        }
    }

    deinit { source.cancel() }

    /// Fires once at `instant`, or in the next turn if that has passed; replaces an earlier `arm`.
    /// `Instant.never` disarms.
    public func arm(at instant: Instant) {
        if instant == armed { return }
        guard let reference = unsafe source.reference else { return }
        armed = instant
        if instant != .never {
            let result = unsafe sd_event_source_set_time(reference, Self.microseconds(instant))
            precondition(result >= 0, "sd-event refuses a time")
        }
        let enabled = instant == .never ? SD_EVENT_OFF : SD_EVENT_ONESHOT
        let result = unsafe sd_event_source_set_enabled(reference, Int32(enabled))
        precondition(result >= 0, "sd-event refuses a timer")
    }

    /// Rounded up, so that the timer is never early.
    static func microseconds(_ instant: Instant) -> UInt64 {
        instant.nanoseconds / 1_000 + (instant.nanoseconds % 1_000 == 0 ? 0 : 1)
    }

    public func disarm() { arm(at: .never) }

    /// Disarms for good and drops the handler.
    public func cancel() { source.cancel() }
}

/// What sd-event holds as its user data. sd-event keeps no reference: the owner cancels before it lets go.
@safe
private final class Source {
    let turn: Turn
    var handler: ((UInt32) -> Void)?
    var reference: OpaquePointer?
    var lastTurn: UInt64 = 0

    init(_ turn: Turn, _ handler: @escaping (UInt32) -> Void) {
        self.turn = turn
        self.handler = handler
    }

    var userdata: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }

    func cancel() {
        handler = nil
        if let reference = unsafe reference {
            unsafe self.reference = nil
            unsafe sd_event_source_set_enabled(reference, Int32(SD_EVENT_OFF))
            unsafe sd_event_source_unref(reference)
        }
    }

    static func dispatch(_ userdata: UnsafeMutableRawPointer?, _ bits: UInt32) -> Int32 {
        guard let userdata = unsafe userdata else { return 0 }
        // The strong reference outlasts a handler that cancels its own source.
        let source = unsafe Unmanaged<Source>.fromOpaque(userdata).takeUnretainedValue()
        source.turn.begin(source)
        source.handler?(bits)
        return 0
    }
}

private final class Turn {
    private var number: UInt64 = 1
    private(set) var isOpen = false
    var handlers: [() -> Void] = []

    func begin(_ source: Source) {
        if source.lastTurn == number { end() }
        source.lastTurn = number
        isOpen = true
    }

    func end() {
        guard isOpen else { return }
        isOpen = false
        number += 1
        for handler in handlers { handler() }
    }
}
