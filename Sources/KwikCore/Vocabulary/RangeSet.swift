/// A set of stream offsets, kept as a sorted array of ranges that neither overlap nor touch.
///
/// Made for few ranges and growth at the end: extending or appending the last range is O(1), a search
/// O(log n), an insertion or removal elsewhere O(n) moves.
public struct RangeSet: Hashable, Sendable {
    /// Ascending, none empty, a gap between each two.
    public private(set) var ranges: [ByteRange] = []
    /// Offsets in the set.
    public private(set) var count: UInt64 = 0

    public init() {}

    public var isEmpty: Bool { ranges.isEmpty }
    public var first: ByteRange? { ranges.first }
    public var last: ByteRange? { ranges.last }

    public mutating func insert(_ range: ByteRange) {
        guard !range.isEmpty else { return }
        guard let last = ranges.last, range.start <= last.end else {
            ranges.append(range)
            count += range.count
            return
        }
        if range.start >= last.start {
            guard range.end > last.end else { return }
            count += range.end - last.end
            ranges[ranges.count - 1].end = range.end
            return
        }
        let low = index { $0.end >= range.start }
        var high = low
        var merged = range
        while high < ranges.count, ranges[high].start <= range.end {
            merged = ByteRange(min(merged.start, ranges[high].start), max(merged.end, ranges[high].end))
            count -= ranges[high].count
            high += 1
        }
        count += merged.count
        if high == low + 1 {
            ranges[low] = merged
        } else {
            ranges.replaceSubrange(low..<high, with: CollectionOfOne(merged))
        }
    }

    public mutating func remove(_ range: ByteRange) {
        let touched = indices(overlapping: range)
        guard !touched.isEmpty else { return }
        let head = ByteRange(min(ranges[touched.lowerBound].start, range.start), range.start)
        let tail = ByteRange(range.end, max(ranges[touched.upperBound - 1].end, range.end))
        for index in touched { count -= ranges[index].count }
        count += head.count + tail.count
        switch (head.isEmpty, tail.isEmpty) {
        case (true, true):
            ranges.removeSubrange(touched)
        case (false, true):
            ranges.replaceSubrange(touched, with: CollectionOfOne(head))
        case (true, false):
            ranges.replaceSubrange(touched, with: CollectionOfOne(tail))
        case (false, false):
            ranges.replaceSubrange(touched, with: [head, tail])
        }
    }

    public func contains(_ offset: UInt64) -> Bool { prefixEnd(from: offset) > offset }

    /// Whether every offset of `range` is in the set; true of an empty one.
    public func contains(_ range: ByteRange) -> Bool { prefixEnd(from: range.start) >= range.end }

    /// Whether any offset of `range` is in the set; false of an empty one.
    public func overlaps(_ range: ByteRange) -> Bool { !indices(overlapping: range).isEmpty }

    /// The parts of `range` that are not in the set, ascending.
    public func gaps(in range: ByteRange) -> [ByteRange] {
        var gaps: [ByteRange] = []
        var from = range.start
        for part in ranges[indices(overlapping: range)] {
            if part.start > from { gaps.append(ByteRange(from, part.start)) }
            from = part.end
        }
        if from < range.end { gaps.append(ByteRange(from, range.end)) }
        return gaps
    }

    /// The parts of `range` that are in the set, ascending.
    public func intersection(_ range: ByteRange) -> [ByteRange] {
        ranges[indices(overlapping: range)].map { $0.intersection(range) }
    }

    /// The end of the contiguous run that starts at or contains `offset`; `offset` itself if there is none.
    public func prefixEnd(from offset: UInt64) -> UInt64 {
        let index = index { $0.end > offset }
        return index < ranges.count && ranges[index].start <= offset ? ranges[index].end : offset
    }

    private func indices(overlapping range: ByteRange) -> Range<Int> {
        let low = index { $0.end > range.start }
        guard !range.isEmpty else { return low..<low }
        var high = low
        while high < ranges.count, ranges[high].start < range.end { high += 1 }
        return low..<high
    }

    /// The first range of which `condition` holds; it must hold of all after one of which it does.
    @inline(__always)
    private func index(where condition: (ByteRange) -> Bool) -> Int {
        // Most searches are about the last range or past it.
        if ranges.count >= 2, !condition(ranges[ranges.count - 2]) {
            return condition(ranges[ranges.count - 1]) ? ranges.count - 1 : ranges.count
        }
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if condition(ranges[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
