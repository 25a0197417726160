public import KwikCore

/// Virtual time: a heap of (instant, sequence, thing). Things of one instant happen in the order in which
/// they were put there, so that a run is a function of its seed.
public final class World {
    public private(set) var now = Instant(nanoseconds: 1_000_000_000)
    /// The first thing that went wrong; nothing happens after it.
    public private(set) var violation: String?
    /// Prints every step if set.
    public let tracing: Bool
    /// How many things happened.
    public private(set) var steps: UInt64 = 0
    /// How often each kind of thing occurred that `Census` knows.
    public private(set) var census: [String: Int] = [:]

    /// Without references: they are moved often.
    private struct Entry {
        var instant: Instant
        var sequence: UInt64
        /// Where its thing stands in `things`.
        var place: Int

        func precedes(_ other: Entry) -> Bool {
            instant == other.instant ? sequence < other.sequence : instant < other.instant
        }
    }

    private var heap: [Entry] = []
    private var things: [(() -> Void)?] = []
    /// Of `things`.
    private var free: [Int] = []
    private var sequence: UInt64 = 0

    public init(tracing: Bool = false) { self.tracing = tracing }

    /// Seconds since the world began.
    public var elapsed: Double { (now - Instant(nanoseconds: 1_000_000_000)).seconds }

    public func at(_ instant: Instant, _ thing: @escaping () -> Void) {
        sequence += 1
        let place = free.popLast() ?? things.count
        if place == things.count { things.append(thing) } else { things[place] = thing }
        heap.append(Entry(instant: max(instant, now), sequence: sequence, place: place))
        rise(heap.count - 1)
    }

    public func after(_ interval: Interval, _ thing: @escaping () -> Void) { at(now + interval, thing) }

    /// Runs until `isDone`, until nothing is left, or until the instant; stops at the first violation.
    public func run(until end: Instant, isDone: () -> Bool) {
        while violation == nil, let first = heap.first, first.instant <= end, !isDone() {
            now = first.instant
            steps += 1
            takeFirst()
            let thing = things[first.place]
            things[first.place] = nil
            free.append(first.place)
            thing?()
        }
        if violation == nil, !isDone() { now = max(now, end) }
    }

    /// Drops what is still to come, and with it the reference cycles through the waiting closures.
    public func end() {
        heap = []
        things = []
        free = []
    }

    public func fail(_ what: @autoclosure () -> String) {
        guard violation == nil else { return }
        let text = what()
        violation = text
        if tracing { print(stamp(), "VIOLATION", text) }
    }

    /// A program closed in the middle of a request.
    var hasBrokenOff = false

    /// An urgent byte of a stream, by its direction.
    struct Mark: Hashable {
        var stream: StreamID
        var isUp: Bool
        var offset: UInt64
    }
    /// All that were ever marked.
    var urgent: Set<Mark> = []

    func count(_ kind: String) { census[kind, default: 0] += 1 }

    public func trace(_ what: @autoclosure () -> String) {
        if tracing { print(stamp(), what()) }
    }

    private func stamp() -> String {
        let microseconds = UInt64(elapsed * 1e6)
        let fraction = String(microseconds % 1_000_000)
        return "\(microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction
    }

    private func takeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var place = 0
        while true {
            let left = 2 * place + 1
            guard left < heap.count else { return }
            let right = left + 1
            let child = right < heap.count && heap[right].precedes(heap[left]) ? right : left
            guard heap[child].precedes(heap[place]) else { return }
            heap.swapAt(child, place)
            place = child
        }
    }

    private func rise(_ start: Int) {
        var place = start
        while place > 0 {
            let parent = (place - 1) / 2
            guard heap[place].precedes(heap[parent]) else { return }
            heap.swapAt(place, parent)
            place = parent
        }
    }
}

/// A timer that may be moved often: moving it later costs nothing until it fires.
public final class Timer {
    private let world: World
    private let handler: () -> Void
    private var deadline = Instant.never
    private var pending = Instant.never

    public init(_ world: World, _ handler: @escaping () -> Void) {
        self.world = world
        self.handler = handler
    }

    /// `nil` disarms.
    public func arm(at instant: Instant?) {
        deadline = instant ?? .never
        guard deadline != .never, deadline < pending else { return }
        pending = deadline
        let mine = deadline
        world.at(mine) { [weak self] in self?.fired(mine) }
    }

    private func fired(_ mine: Instant) {
        guard mine == pending else { return }
        pending = .never
        if deadline <= world.now {
            deadline = .never
            handler()
        } else {
            arm(at: deadline)
        }
    }
}
