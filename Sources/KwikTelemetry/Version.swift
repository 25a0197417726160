/// What `version` shows everywhere: the newest heading of CHANGELOG.md.
public enum Version {
    public static let text = "0.1.0"
}
