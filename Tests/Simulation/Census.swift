internal import KwikCore

/// The kinds of things that scenarios are drawn for, by the names under which `World` counts them.
public enum Census {
    /// What a thousand runs have to show at least once, grouped as they are printed.
    public static let groups: [(title: String, kinds: [String])] = [
        ("faults", Fault.names),
        ("deaths", Ambush.Victim.allCases.map(\.rawValue)),
        ("moments", Ambush.Moment.allCases.map { "at-\($0.rawValue)" }),
        (
            "roles",
            [
                "role-0", "role-1", "role-1-side", "role-2", "role-3", "role-3-carving", "role-4", "role-5",
                "overtaken", "false-sum",
            ]
        ),
        (
            "frames",
            [
                "DATA", "FIN", "RESET", "WINDOW", "CARVE", "CARVED", "DELEGATED", "PROGRESS", "TAG", "OPEN",
                "OPENED", "OPTION", "URGENT", "END", "SUMREQ", "SUM",
            ]
        ),
        ("paths", ["closed-unasked", "closed-idle", "native"]),
        ("sessions", ["session-resumed", "session-given-up", "proof-refused"]),
        ("programs", ["urgent-up", "urgent-down", "option-changed", "quit", "user-timeout"]),
    ]

    /// Who died when: what so many runs have to show that chance leaves nothing out.
    public static let pairs: [String] = Ambush.Victim.allCases.flatMap { victim in
        Ambush.Moment.allCases.map { "\(victim.rawValue)@\($0.rawValue)" }
    }

    static func name(of role: Preface.Role) -> String {
        switch role {
        case .stream: "role-0"
        case .attach(let epoch, _): epoch == 0 ? "role-1-side" : "role-1"
        case .replica: "role-2"
        case .lease(_, _, _, _, let carves): carves ? "role-3-carving" : "role-3"
        case .contribution: "role-4"
        case .serverStream: "role-5"
        }
    }

    static func name(of frame: Frame) -> String {
        switch frame {
        case .fin: "FIN"
        case .reset: "RESET"
        case .window: "WINDOW"
        case .carve: "CARVE"
        case .carved: "CARVED"
        case .delegated: "DELEGATED"
        case .progress: "PROGRESS"
        case .tag: "TAG"
        case .open: "OPEN"
        case .opened: "OPENED"
        case .option: "OPTION"
        case .urgent: "URGENT"
        case .end: "END"
        case .sumRequest: "SUMREQ"
        case .sums: "SUM"
        }
    }
}

extension Fault {
    static let names = [
        "kill", "revive", "blackhole", "blackout", "rate", "loss", "delay", "jitter", "close", "silence",
        "wake", "crash", "restart", "unplug", "plug",
    ]

    var name: String {
        switch self {
        case .kill: "kill"
        case .revive: "revive"
        case .blackhole: "blackhole"
        case .blackout: "blackout"
        case .rate: "rate"
        case .loss: "loss"
        case .delay: "delay"
        case .jitter: "jitter"
        case .close: "close"
        case .unplug: "unplug"
        case .plug: "plug"
        case .silence: "silence"
        case .wake: "wake"
        case .crash: "crash"
        case .restart: "restart"
        }
    }
}
