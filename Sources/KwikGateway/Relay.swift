internal import KwikConfiguration
internal import KwikControl
internal import KwikCore
internal import KwikEndpoint
internal import KwikLinux
internal import KwikTelemetry

/// Forwards the datagrams of clients to the servers that the configuration allows, unread (protocol.md §2).
/// Never to anyone else: the addresses were resolved when the configuration was loaded, and a client can only
/// choose one of them.
final class Relay {
    private let configuration: RelayConfiguration
    private let endpoint: Endpoint
    private let log: Log
    private let allowed: [SocketAddress]
    private var forwardings: [Forwarding] = []
    private var accounts: [RelayAccount] = []
    /// Bytes of forwardings that are over.
    private var ended: UInt64 = 0

    /// Of all clients together. Each holds two sockets.
    private static let forwardingLimit = 1_024
    /// Bytes in a client's name for a forwarding.
    private static let nameLimit = 64

    /// Why nothing is forwarded.
    private struct Refusal: Error {
        var reason: String
    }

    init(_ configuration: RelayConfiguration, endpoint: Endpoint, log: Log) {
        self.configuration = configuration
        self.endpoint = endpoint
        self.log = log
        allowed = configuration.allow.compactMap { SocketAddress(host: $0.host, port: $0.port) }
    }

    var count: Int { forwardings.count }

    var bytes: UInt64 { forwardings.reduce(ended) { $0 &+ $1.forwarded } }

    /// What a client asks for on the path's control stream.
    func answer(_ command: TransportCommand, on link: PathLink) -> TransportResponse {
        var response = TransportResponse()
        response.commandID = command.commandID
        do throws(Refusal) {
            switch command.type {
            case .establishPath:
                let address = try establish(command, on: link)
                var contribution = TransportResponse.PathContribution()
                contribution.serverAddress = "\(address)"
                var result = TransportResponse.Result()
                result.activePaths = 1
                result.pathContributions = [contribution]
                response.result = result
            case .closePath:
                remove("asked to") { $0.control === link && $0.id == command.commandID }
            case .scaleBandwidth, .updateQualityOfService, .healthCheck, .syncState:
                throw Refusal(reason: "not supported")
            }
        } catch {
            response.status = .failure
            response.errorMessage = error.reason
        }
        return response
    }

    private func establish(_ command: TransportCommand, on link: PathLink) throws(Refusal) -> SocketAddress {
        let text = String(decoding: command.transportData.prefix(Self.nameLimit), as: UTF8.self)
        guard let target = SocketAddress(parsing: text), let known = allowed.first(where: { $0 == target })
        else {
            log.write(
                .warning, "relay refused",
                [
                    LogField("client", link.remote), LogField("target", text),
                    LogField("reason", "not allowed"),
                ])
            throw Refusal(reason: "not allowed to relay to \(text)")
        }
        guard command.commandID.utf8.count <= Self.nameLimit,
            !forwardings.contains(where: { $0.control === link && $0.id == command.commandID })
        else { throw Refusal(reason: "no new name for the path") }
        let account = account(of: link)
        guard account.count < configuration.maxPaths, forwardings.count < Self.forwardingLimit else {
            throw Refusal(reason: "too many paths through this relay")
        }
        do throws(Errno) {
            let forwarding = try Forwarding(
                id: command.commandID, for: link, to: known, account: account, endpoint: endpoint)
            forwardings.append(forwarding)
            log.write(
                .info, "relay begins",
                [
                    LogField("client", link.remote), LogField("target", known),
                    LogField("port", forwarding.address.port),
                ])
            return forwarding.address
        } catch {
            throw Refusal(reason: "no way to \(text): \(error)")
        }
    }

    private func account(of link: PathLink) -> RelayAccount {
        let host = link.remote.host
        accounts.removeAll { $0.count == 0 && $0.host != host }
        if let known = accounts.first(where: { $0.host == host }) { return known }
        let account = RelayAccount(host: host, rate: configuration.maxRate, now: Clock.now())
        accounts.append(account)
        return account
    }

    /// The client's control connection is over, and with it what it asked for.
    func closed(_ link: PathLink) { remove("the client is gone") { $0.control === link } }

    /// To be called about once a second.
    func sweep(now: Instant) { remove("idle") { $0.isIdle(now: now) } }

    func close() { remove("the gateway stops") { _ in true } }

    private func remove(_ reason: String, where isOver: (Forwarding) -> Bool) {
        for forwarding in forwardings where isOver(forwarding) {
            forwarding.close()
            ended &+= forwarding.forwarded
            log.write(
                .info, "relay ends",
                [
                    LogField("client", forwarding.control.remote), LogField("target", forwarding.target),
                    LogField("bytes", forwarding.forwarded), LogField("reason", reason),
                ])
        }
        forwardings.removeAll(where: isOver)
    }
}
