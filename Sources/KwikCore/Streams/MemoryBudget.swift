/// What the windows of all streams of a process may hold together, in bytes. Its sessions share it.
///
/// Made once, and given to every session of the process: all of them belong to the same loop.
public final class MemoryBudget {
    public let bytes: UInt64
    var sessions = Sharers()
    /// What gateways' streams hold at this moment: of their backends' bytes, and of their clients'.
    fileprivate(set) var down: UInt64 = 0
    fileprivate(set) var up: UInt64 = 0
    /// How far gateways' clients may send beyond what was taken, and beyond their first windows.
    fileprivate(set) var promised: UInt64 = 0

    /// - Parameter keepsPlace: one session's part is left for the next that comes, so that no one takes all
    /// of it: where sessions are other people's.
    public init(bytes: UInt64, keepsPlace: Bool = false) {
        self.bytes = bytes
        var next = Sharers.Mark()
        if keepsPlace { sessions.enter(&next) }
    }

    /// Credit can't be taken back, and most of it is never used at once: so many times the whole is given.
    static let overcommitment: UInt64 = 4
    /// The part of what is left of that which one stream has at most: those that come last, when others keep
    /// credit that they do not use, still find some. Half of it is for those that want.
    static let largestPromise: UInt64 = 8

    /// What nobody holds. Clients' bytes count for half of the whole at most: backends that take nothing do
    /// not keep others from giving.
    fileprivate var free: UInt64 { bytes - min(down + min(up, bytes / 2), bytes) }
    fileprivate var freeForClients: UInt64 { min(free, bytes / 2 - min(up, bytes / 2)) }
    fileprivate func unpromised(wants: Bool) -> UInt64 {
        let most = bytes * Self.overcommitment / (wants ? 1 : 2)
        return most - min(promised, most)
    }
}

/// One session's part of its process's memory, and how its streams share it.
struct SessionMemory {
    private let process: MemoryBudget?
    private var mark = Sharers.Mark()
    private var streams = Sharers()

    /// - Parameter process: nil where the session need not share.
    init(_ process: MemoryBudget?) { self.process = process }

    mutating func enter(_ demand: inout StreamDemand) {
        streams.enter(&demand.mark)
        process?.sessions.enter(&mark)
    }

    mutating func leave(_ demand: inout StreamDemand) {
        hold(down: 0, up: 0, promised: 0, &demand)
        streams.leave(&demand.mark)
        if streams.count == 0 {
            process?.sessions.leave(&mark)
        } else {
            process?.sessions.tell(&mark, holds: streams.isHolding, moves: false)
        }
    }

    /// The stream's sender has got to `produced`, its reader to `read`.
    mutating func tell(_ demand: inout StreamDemand, produced: UInt64, read: UInt64, now: Instant) {
        streams.roll(to: now)
        process?.sessions.roll(to: now)
        let moves = demand.moves(to: read, in: Sharers.period(of: now))
        let holds = produced >= read + StreamDemand.least
        streams.tell(&demand.mark, holds: holds, moves: moves)
        process?.sessions.tell(&mark, holds: streams.isHolding, moves: moves)
    }

    /// A gateway's stream holds so many bytes each way now, and its client may send on: all that do hold no
    /// more than there is.
    mutating func hold(down: UInt64, up: UInt64, promised: UInt64, _ demand: inout StreamDemand) {
        guard let process else { return }
        process.down = process.down - demand.down + down
        process.up = process.up - demand.up + up
        process.promised = process.promised - demand.promised + promised
        demand.down = down
        demand.up = up
        demand.promised = promised
    }

    /// The stream's share, in bytes, where the session may have `most` at most.
    mutating func share(of demand: StreamDemand, most: UInt64, now: Instant) -> UInt64 {
        let share = wholeShare(of: demand, most: most, now: now)
        guard let process else { return share }
        return min(share, demand.down + process.free)
    }

    private mutating func wholeShare(of demand: StreamDemand, most: UInt64, now: Instant) -> UInt64 {
        streams.roll(to: now)
        guard let process else { return streams.share(of: most, for: demand.mark) }
        process.sessions.roll(to: now)
        let part = process.sessions.share(of: process.bytes, for: mark)
        return streams.share(of: min(part, most), for: demand.mark)
    }

    /// How far the stream's client may be let send beyond what was taken, by the same share.
    mutating func credit(of demand: StreamDemand, most: UInt64, now: Instant) -> UInt64 {
        let share = wholeShare(of: demand, most: most, now: now)
        guard let process else { return share }
        let left = process.unpromised(wants: streams.wants(demand.mark))
        let promise = (demand.promised + left) / MemoryBudget.largestPromise
        return min(share, demand.up + process.freeForClients, promise)
    }
}

/// Whether a stream wants more than the window that everybody has: it holds half of one, because the network
/// or its reader limits it, or its reader has taken as much in this second or the one before. The latter is
/// the one whose sender waits for credit: all that it was let send is read at once.
struct StreamDemand {
    /// Half the first window, in bytes: whoever waits for room in one holds as much.
    static let least = Tuning.windowStep

    fileprivate var mark = Sharers.Mark()
    fileprivate var down: UInt64 = 0
    fileprivate var up: UInt64 = 0
    fileprivate var promised: UInt64 = 0
    private var period: UInt64 = 0
    /// Where the reader was when the period began, and is.
    private var before: UInt64 = 0
    private var read: UInt64 = 0

    fileprivate mutating func moves(to offset: UInt64, in now: UInt64) -> Bool {
        if now != period {
            period = now
            before = read
        }
        read = max(read, offset)
        return read >= before + Self.least
    }
}

/// Those who share an amount of memory, and how many of them want more than little. No call costs more with
/// more of them.
///
/// Half is theirs by head, half by demand. With n of them of which w want, one that wants has a share of
/// max(1/n, 1/2w), another one of 1/2n, or 1/n where none wants: never more than the whole together. Streams
/// have the first window besides, if that is more than their share.
///
/// A share is what may be granted now. A window that was granted when fewer wanted is not taken back, it
/// shrinks as its reader goes on: w streams that come to want one after the other and never read have at most
/// half of it times (1 + 1/2 + ... + 1/w), beside what is theirs by head. A client's stream that wants no
/// more keeps its credit, and counts again as soon as it is used. A gateway reads no more of its backends
/// than there is, and counts what credit it has given: see `SessionMemory.hold`.
struct Sharers {
    /// One of them, kept by itself.
    struct Mark {
        fileprivate var isIn = false
        fileprivate var holds = false
        /// When it wanted last.
        fileprivate var wanted: UInt64?
    }

    /// In which it wanted if at all: it still counts in the next one, so that the pauses of a transfer, as
    /// its round trips are, do not change the others' shares.
    private static let length = Interval.seconds(1)

    private(set) var count = 0
    private var period: UInt64 = 0
    /// Those that hold something now; of the others, those that wanted in this period, and in the last.
    private var holding = 0
    private var lately = 0
    private var before = 0

    var isHolding: Bool { holding > 0 }

    static func period(of now: Instant) -> UInt64 { now.nanoseconds / UInt64(length.nanoseconds) }

    /// Time goes on; never back.
    mutating func roll(to now: Instant) {
        let next = Self.period(of: now)
        guard next > period else { return }
        before = next == period + 1 ? lately : 0
        lately = 0
        period = next
    }

    mutating func enter(_ mark: inout Mark) {
        if mark.isIn { return }
        mark = Mark()
        mark.isIn = true
        count += 1
    }

    mutating func leave(_ mark: inout Mark) {
        guard mark.isIn else { return }
        add(mark, -1)
        mark.isIn = false
        count -= 1
    }

    /// - Parameters:
    ///   - holds: it wants until it says otherwise.
    ///   - moves: it wants now.
    mutating func tell(_ mark: inout Mark, holds: Bool, moves: Bool) {
        guard mark.isIn else { return }
        add(mark, -1)
        // It did until now.
        if holds || moves || mark.holds { mark.wanted = period }
        mark.holds = holds
        add(mark, 1)
    }

    private mutating func add(_ mark: Mark, _ step: Int) {
        if mark.holds {
            holding += step
        } else if mark.wanted == period {
            lately += step
        } else if let wanted = mark.wanted, wanted + 1 == period {
            before += step
        }
    }

    func wants(_ mark: Mark) -> Bool {
        mark.holds || mark.wanted.map { $0 + 1 >= period } ?? false
    }

    func share(of bytes: UInt64, for mark: Mark) -> UInt64 {
        Self.share(of: bytes, among: count, wanting: holding + lately + before, wants: wants(mark))
    }

    static func share(of bytes: UInt64, among count: Int, wanting: Int, wants: Bool) -> UInt64 {
        let byHead = bytes / UInt64(max(count, 1))
        guard wanting > 0 else { return byHead }
        return wants ? max(byHead, bytes / 2 / UInt64(wanting)) : byHead / 2
    }
}
