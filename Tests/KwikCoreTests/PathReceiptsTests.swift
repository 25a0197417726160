import Testing

@testable import KwikCore

@Suite struct PathReceiptsTests {
    @Test("What waits for a lost datagram is known, and known to be gone once it came")
    func heldBack() {
        var receipts = PathReceipts()
        receipts.count(datagrams: 10_300, plain: 10_000, wire: 10_000)
        #expect(receipts.heldBack == 0)
        receipts.count(datagrams: 10_300, plain: 10_000, wire: 10_000)
        receipts.count(datagrams: 10_300, plain: 12_000, wire: 12_000)
        #expect((18_000...18_600).contains(receipts.heldBack))
        receipts.count(datagrams: 1_000, plain: 31_000, wire: 31_000)
        #expect(receipts.heldBack == 0)
    }

    @Test("What an abandoned channel's datagrams seem to hold fades")
    func abandoned() {
        var receipts = PathReceipts()
        receipts.count(datagrams: 50_000, plain: 0, wire: 0)
        for turn in UInt64(1)...200 {
            receipts.count(datagrams: 10_300, plain: turn * 10_000, wire: turn * 10_000)
        }
        #expect(receipts.heldBack == 0)
    }

    @Test("A path that begins to compress brings more than its datagrams")
    func expansion() {
        var receipts = PathReceipts()
        receipts.count(datagrams: 10_300, plain: 10_000, wire: 10_000)
        #expect(receipts.expansion == 1)
        for turn in UInt64(1)...50 {
            receipts.count(datagrams: 10_300, plain: 10_000 + turn * 40_000, wire: 10_000 + turn * 10_000)
        }
        #expect((3.9...4).contains(receipts.expansion))
    }
}
