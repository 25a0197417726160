import KwikControl
import KwikCore
import Testing

private func at(_ milliseconds: Int64) -> Instant {
    Instant(nanoseconds: 1_000) + .milliseconds(milliseconds)
}

private let ask = KCPPayload.healthCheckRequest(HealthCheckRequest())

private func reply(to id: UInt64) -> KCPMessage {
    KCPMessage(
        .healthCheckResponse(HealthCheckResponse()), header: MessageHeader(messageID: id, session: nil))
}

/// The request sent, with `context`, waiting for a second.
private func send<Context>(_ context: Context, in table: inout RequestTable<Context>) throws -> KCPMessage {
    let message = table.request(ask, context: context, timeout: .seconds(1), now: at(0))
    return try #require(message)
}

@Suite struct Requests {
    @Test func repliesFindTheirRequestOnce() throws {
        var table = RequestTable<String>()
        let first = try send("a", in: &table)
        let second = try send("b", in: &table)
        #expect(first.header.messageID != second.header.messageID)
        #expect(table.take(replyTo: reply(to: second.header.messageID)) == "b")
        #expect(table.take(replyTo: reply(to: second.header.messageID)) == nil)
        #expect(table.take(replyTo: reply(to: first.header.messageID)) == "a")
        #expect(table.deadline == nil)
    }

    @Test func aRequestOfThePeerIsNoReply() throws {
        var table = RequestTable<String>()
        let sent = try send("a", in: &table)
        #expect(table.take(replyTo: KCPMessage(ask, header: sent.header)) == nil)
        #expect(table.count == 1)
    }

    @Test func unansweredRequestsTimeOutInOrder() throws {
        var table = RequestTable<String>()
        let slow = table.request(ask, context: "slow", timeout: .seconds(2), now: at(0))
        _ = table.request(ask, context: "fast", timeout: .seconds(1), now: at(0))
        #expect(table.deadline == at(1_000))
        #expect(table.expire(now: at(999)) == [])
        #expect(table.expire(now: at(1_000)) == ["fast"])
        #expect(table.deadline == at(2_000))
        #expect(table.expire(now: at(5_000)) == ["slow"])
        let late = reply(to: try #require(slow).header.messageID)
        #expect(table.take(replyTo: late) == nil)
    }

    @Test func aShorterTimeToLiveShortensTheWait() {
        var table = RequestTable<String>()
        var header = MessageHeader()
        header.timeToLiveSeconds = 3
        _ = table.request(ask, header: header, context: "a", timeout: .seconds(10), now: at(0))
        #expect(table.deadline == at(3_000))
    }

    @Test func aFullTableRefuses() {
        var table = RequestTable<Int>(capacity: 2)
        #expect(table.request(ask, context: 1, timeout: .seconds(1), now: at(0)) != nil)
        #expect(table.request(ask, context: 2, timeout: .seconds(1), now: at(0)) != nil)
        #expect(table.request(ask, context: 3, timeout: .seconds(1), now: at(0)) == nil)
        #expect(table.expire(now: at(1_000)) == [1, 2])
        #expect(table.request(ask, context: 4, timeout: .seconds(1), now: at(1_000)) != nil)
    }

    @Test func theQueueGivesTheUrgentFirstAndEqualsInOrder() {
        var queue = MessageQueue()
        for (id, priority) in [(1, MessagePriority.low), (2, .high), (3, .critical), (4, .high)] {
            let header = MessageHeader(messageID: UInt64(id), session: nil, priority: priority)
            let isTaken = queue.push(KCPMessage(ask, header: header), now: at(0))
            #expect(isTaken)
        }
        var order: [UInt64] = []
        while let message = queue.pop(now: at(0)) { order.append(message.header.messageID) }
        #expect(order == [3, 2, 4, 1])
        #expect(queue.isEmpty)
    }

    @Test func theQueueDropsWhatHasOutlivedItself() {
        var queue = MessageQueue(capacity: 2)
        var header = MessageHeader(messageID: 1, session: nil, priority: .critical)
        header.timeToLiveSeconds = 1
        let taken = [
            queue.push(KCPMessage(ask, header: header), now: at(0)),
            queue.push(KCPMessage(ask, header: MessageHeader(messageID: 2, session: nil)), now: at(0)),
            queue.push(KCPMessage(ask), now: at(0)),
        ]
        #expect(taken == [true, true, false])
        #expect(queue.pop(now: at(1_000))?.header.messageID == 2)
        #expect(queue.pop(now: at(1_000)) == nil)
    }
}
