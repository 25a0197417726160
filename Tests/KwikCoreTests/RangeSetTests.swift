import KwikCore
import Testing

@Suite struct RangeSetTests {
    private func set(_ ranges: (UInt64, UInt64)...) -> RangeSet {
        var set = RangeSet()
        for (start, end) in ranges { set.insert(ByteRange(start, end)) }
        return set
    }

    @Test("Ranges that touch become one")
    func touching() {
        #expect(set((0, 10), (20, 30), (10, 20)).ranges == [ByteRange(0, 30)])
        #expect(set((20, 30), (0, 20)).ranges == [ByteRange(0, 30)])
    }

    @Test("A range over several swallows them")
    func swallowing() {
        let merged = set((0, 2), (4, 6), (8, 10), (12, 14), (5, 9))
        #expect(merged.ranges == [ByteRange(0, 2), ByteRange(4, 10), ByteRange(12, 14)])
        #expect(merged.count == 10)
    }

    @Test("Removal splits, cuts and drops")
    func removal() {
        var ranges = set((0, 10), (20, 30), (40, 50))
        ranges.remove(ByteRange(2, 4))
        ranges.remove(ByteRange(8, 45))
        #expect(ranges.ranges == [ByteRange(0, 2), ByteRange(4, 8), ByteRange(45, 50)])
        #expect(ranges.count == 11)
        ranges.remove(ByteRange(0, .max))
        #expect(ranges.isEmpty && ranges.count == 0 && ranges.first == nil && ranges.last == nil)
    }

    @Test("Empty ranges are in every set and overlap none")
    func emptyRanges() {
        var ranges = set((0, 10))
        ranges.insert(ByteRange(20, 20))
        ranges.remove(ByteRange(5, 5))
        #expect(ranges.ranges == [ByteRange(0, 10)])
        #expect(ranges.contains(ByteRange(50, 50)))
        #expect(!ranges.overlaps(ByteRange(5, 5)))
        #expect(ranges.gaps(in: ByteRange(50, 50)).isEmpty)
    }

    @Test("The end of a run")
    func prefixEnd() {
        let ranges = set((10, 20), (30, 40))
        #expect([9, 10, 19, 20, 35, 40].map { ranges.prefixEnd(from: $0) } == [9, 20, 20, 20, 40, 40])
    }

    @Test("Agrees with a set of single offsets", arguments: 0..<40 as Range<UInt64>)
    func model(seed: UInt64) {
        var chance = WireChance(state: seed)
        var ranges = RangeSet()
        var model = Set<UInt64>()
        let space: UInt64 = 64
        for _ in 0..<200 {
            let start = UInt64.random(in: 0..<space, using: &chance)
            let range = ByteRange(start, UInt64.random(in: start...min(space, start + 12), using: &chance))
            let offsets = Set(range.start..<range.end)
            #expect(ranges.contains(range) == offsets.isSubset(of: model))
            #expect(ranges.overlaps(range) == !offsets.isDisjoint(with: model))
            #expect(ranges.intersection(range) == runs(offsets.intersection(model)))
            #expect(ranges.gaps(in: range) == runs(offsets.subtracting(model)))
            if UInt64.random(in: 0..<5, using: &chance) < 3 {
                ranges.insert(range)
                model.formUnion(offsets)
            } else {
                ranges.remove(range)
                model.subtract(offsets)
            }
            #expect(ranges.ranges == runs(model))
            #expect(ranges.count == UInt64(model.count))
            #expect(ranges.first == ranges.ranges.first && ranges.last == ranges.ranges.last)
            let probe = UInt64.random(in: 0..<space, using: &chance)
            #expect(ranges.contains(probe) == model.contains(probe))
            var end = probe
            while model.contains(end) { end += 1 }
            #expect(ranges.prefixEnd(from: probe) == end)
        }
    }

    private func runs(_ offsets: Set<UInt64>) -> [ByteRange] {
        var runs: [ByteRange] = []
        for offset in offsets.sorted() {
            if let last = runs.last, last.end == offset {
                runs[runs.count - 1].end += 1
            } else {
                runs.append(ByteRange(offset, offset + 1))
            }
        }
        return runs
    }
}
