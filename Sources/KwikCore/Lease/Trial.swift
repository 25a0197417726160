// Whether the paths that carry leases of a stream are worth their work (protocol.md §5, marginal gain).

extension ClientSession {
    /// Something beside the own path that carries leases of a stream.
    private struct Helper {
        var path: ClientPath
        /// nil: a further path to the primary.
        var part: Int?
        /// Payload bytes; of all streams where `part` is nil.
        var received: UInt64
    }

    /// What gives next to nothing is parked. What may share a bottleneck with the others, so that they would
    /// bring its bytes as well, rests for a moment: where the others then bring most of what it gave, for
    /// long enough to be sure; and where that holds, it is parked, for twice as long each time.
    func judgeTrial(_ stream: ClientStream, now: Instant) {
        guard let trial = stream.trial, let own = stream.own.flatMap({ path($0.path) }) else { return }
        switch trial {
        case .ramp(let until):
            if now >= until { judgeAnew(stream, now: now) }
        case .together(let since, let before):
            judgeTogether(stream, own, since: since, before, now: now)
        case .draining(let rest, let until):
            guard isHelping(rest.path, stream) else { return judgeAnew(stream, now: now) }
            guard now >= until || !stream.book.leases.contains(where: { $0.channel.path == rest.path })
            else { return }
            let others = received(stream, without: rest.path)
            stream.trial = .without(rest, since: now, received: others, confirms: false)
        case .without(let rest, let since, let before, let confirms):
            // Every turn comes here: nothing is counted before it can matter.
            guard now >= since + Tuning.fastTrial else { return }
            guard let helper = helpers(stream).first(where: { $0.path.id == rest.path })
            else { return judgeAnew(stream, now: now) }
            let count = received(stream, without: rest.path)
            let got = count - min(before, count)
            let rate = Double(got) / max((now - since).seconds, 0.001)
            let roundTrip = longest(stream, without: rest.path)
            let short = max(Tuning.trialLook, roundTrip * 2)
            let long = Tuning.trialTime(longest: roundTrip, rate: rate)
            guard now >= since + (confirms ? long : short) else { return }
            let confirms = confirms || long <= short
            if confirms, rest.together < Tuning.worthwhile * rate {
                park(helper, of: stream, now: now)
                if stream.isEngaged { judgeAnew(stream, now: now) }
            } else if !confirms, rate >= rest.together - (1 - Tuning.takenOver) * rest.gave {
                stream.trial = .without(rest, since: now, received: count, confirms: true)
            } else {
                let isSure = confirms || rate < rest.together - (1 - Tuning.leftAlone) * rest.gave
                settle(stream, rate: rest.together, isSure: isSure, now: now)
            }
        case .settled(let until):
            if now >= until { judgeAnew(stream, now: now) }
        }
    }

    /// The path that rested is worth its work, as far as can be told.
    private func settle(_ stream: ClientStream, rate: Double, isSure: Bool, now: Instant) {
        let time = Tuning.settledTime(rate: rate, isSure: isSure, times: stream.timesSettled)
        stream.trial = .settled(until: now + time)
        stream.timesSettled += 1
    }

    private func judgeAnew(_ stream: ClientStream, now: Instant) {
        stream.watched = nil
        stream.trial = .together(since: now, counts(stream))
    }

    private func judgeTogether(
        _ stream: ClientStream, _ own: ClientPath, since: Instant, _ before: ClientStream.Counts, now: Instant
    ) {
        // A program that does not drain, or a backend that gives no more, says nothing about the paths,
        // nor does any time in which it was so.
        let isBusy =
            stream.down.unread < (stream.granted - stream.down.read) / 2 && !stream.progressEnded
            && stream.progress - min(stream.progress, stream.down.front) >= Tuning.bulkBytes
        guard isBusy else { return judgeAnew(stream, now: now) }
        guard now >= since + Tuning.fastTrial else { return }
        let all = counts(stream).since(before)
        let time = now - since
        let average = Double(all) / max(time.seconds, 0.001)
        guard time >= Tuning.trialTime(longest: longest(stream), rate: average) else { return }
        let isFast = average >= Tuning.fastRate
        parkIdlers(stream, since: (since, before), isFast: isFast, now: now)
        guard stream.isEngaged else { return }
        stream.trial = .together(since: now, counts(stream))
        guard contenders == 1 else { return }
        let rate = max(recentRate(stream, now: now), isFast ? average : 0)
        let gained = Double(own.received - min(before.own, own.received)) / time.seconds
        guard isFast || mayShare(stream, own, gained, rate, now: now) else { return }
        let isLate = stream.firstData.map { now - $0 >= Tuning.trialLate } ?? false
        let most = isFast || isLate ? 1 : Tuning.trialMost
        var least: (path: ClientPath, share: Double)?
        for helper in helpers(stream) {
            guard let gave = gave(helper, since: before) else { continue }
            let share = Double(gave) / Double(max(all, 1))
            if share >= Tuning.trialLeast, share < least?.share ?? most { least = (helper.path, share) }
        }
        guard let least else { return }
        let rest = ClientStream.Rest(path: least.path.id, together: rate, gave: least.share * rate)
        stream.trial = .draining(rest, until: now + least.path.eta(0) + Tuning.trialDrain)
    }

    /// Whether the paths may have a bottleneck in common: together they bring no more than one of them did
    /// at its best, or the own one much less than it can.
    private func mayShare(
        _ stream: ClientStream, _ own: ClientPath, _ average: Double, _ rate: Double, now: Instant
    ) -> Bool {
        // Who shares a bottleneck shares what it carries: where that is much less, a link has become slow,
        // and is no reason to have another rest.
        guard rate >= own.rate.peak * Tuning.sharedLeast else { return false }
        let used = [own] + helpers(stream).map(\.path)
        let best = used.reduce(0) { max($0, $1.rate.peak) }
        // Where packets come in heaps, the best looks better than it was.
        if used.allSatisfy(\.isSteady), rate <= best * Tuning.sharedMost { return true }
        // Now and for all of the time: a path that was dark for a moment was disturbed by nobody.
        let undisturbed = own.rate.peak * Tuning.undisturbed
        return average < undisturbed && own.rate.recent(srtt: own.sample.srtt, now: now) < undisturbed
    }

    func takesPart(_ path: ClientPath, in stream: ClientStream) -> Bool {
        path.server == stream.primary
            ? stream.isSpread && !stream.isParked(path.id) : stream.part(of: path.server) != nil
    }

    private func helpers(_ stream: ClientStream) -> [Helper] {
        var all: [Helper] = []
        for path in paths where path.isActive && path.id != stream.own?.path && stream.allows(path) {
            if path.server == stream.primary {
                guard takesPart(path, in: stream) else { continue }
                all.append(Helper(path: path, part: nil, received: path.received))
            } else if let index = stream.part(of: path.server), stream.parts[index].ended == nil,
                stream.parts[index].channel.path == path.id
            {
                all.append(Helper(path: path, part: index, received: stream.parts[index].received))
            }
        }
        return all
    }

    private func isHelping(_ path: PathID, _ stream: ClientStream) -> Bool {
        helpers(stream).contains { $0.path.id == path }
    }

    /// The longest round trip of the paths that the stream uses.
    private func longest(_ stream: ClientStream, without rest: PathID? = nil) -> Interval {
        let own = stream.own.flatMap { path($0.path) }?.sample.srtt ?? .zero
        return helpers(stream).filter { $0.path.id != rest }.reduce(own) { max($0, $1.path.sample.srtt) }
    }

    /// Of all the paths that the stream uses, just now.
    private func recentRate(_ stream: ClientStream, now: Instant) -> Double {
        var used = helpers(stream).map(\.path)
        if let own = stream.own.flatMap({ path($0.path) }) { used.append(own) }
        return used.reduce(0) { $0 + $1.rate.recent(srtt: $1.sample.srtt, now: now) }
    }

    /// What the own path and the others that help have brought, without one of them.
    private func received(_ stream: ClientStream, without rest: PathID) -> UInt64 {
        let own = stream.own.flatMap { path($0.path) }?.received ?? 0
        return helpers(stream).reduce(own) { $1.path.id == rest ? $0 : $0 + $1.path.received }
    }

    /// Payload bytes by path, duplicates left out of the sum.
    private func counts(_ stream: ClientStream) -> ClientStream.Counts {
        let sum = stream.parts.reduce(stream.primaryReceived) { $0 + $1.received }
        let own = stream.own.flatMap { path($0.path) }?.received ?? 0
        let each = helpers(stream).map { (path: $0.path.id, received: $0.received) }
        return ClientStream.Counts(all: sum - min(sum, stream.book.duplicated), own: own, each: each)
    }

    /// nil: it was not there.
    private func gave(_ helper: Helper, since before: ClientStream.Counts) -> UInt64? {
        before.each.first { $0.path == helper.path.id }
            .map { helper.received - min($0.received, helper.received) }
    }

    /// What gives next to nothing. A second says little of a path that loses: its rate goes up and down.
    private func parkIdlers(
        _ stream: ClientStream, since last: (at: Instant, counts: ClientStream.Counts), isFast: Bool,
        now: Instant
    ) {
        let since = stream.watched ?? last
        stream.watched = since
        guard isFast || now >= since.at + max(Tuning.idleTime, longest(stream) * 10) else { return }
        stream.watched = nil
        let before = since.counts
        let least = Double(counts(stream).since(before)) * Tuning.leastShare
        for helper in helpers(stream) {
            guard let gave = gave(helper, since: before), Double(gave) < least else { continue }
            park(helper, of: stream, now: now)
        }
        // Nobody may be left who is not dark.
        if !stream.isEngaged { stream.trial = nil }
    }

    private func park(_ helper: Helper, of stream: ClientStream, now: Instant) {
        stream.parked.removeAll { parked in !paths.contains { $0.id == parked.path } }
        let times = stream.parked.first { $0.path == helper.path.id }?.times ?? 0
        let time = Tuning.parkFirst * (1 << Int64(min(times, 10)))
        let until = now + min(time, Tuning.parkMost)
        stream.parked.removeAll { $0.path == helper.path.id }
        stream.parked.append(
            ClientStream.ParkedPath(path: helper.path.id, until: until, times: times + 1))
        if let part = helper.part { endPart(part, of: stream, .parked, now: now) }
        let isHelped = paths.contains {
            $0.server == stream.primary && $0.id != stream.own?.path && takesPart($0, in: stream)
        }
        stream.isSpread = isHelped
        if !stream.isEngaged { stream.trial = nil }
    }
}
