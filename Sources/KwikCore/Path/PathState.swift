/// The liveness of a path (protocol.md §2): `connecting → active ⇄ suspect → failed → closed`.
public enum PathState: String, Hashable, Sendable {
    case connecting
    case active
    /// No packet for longer than the path's own round-trip time explains: no new work, its outstanding work
    /// is given elsewhere; any packet revives it.
    case suspect
    /// Suspect for max(1 s, 3·PTO).
    case failed
    case closed
}
