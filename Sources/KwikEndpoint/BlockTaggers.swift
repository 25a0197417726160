public import KwikCore
internal import KwikTransport

/// The block tags of one join secret: a key for each stream, made when it is first asked for.
public final class BlockTaggers {
    private let joinSecret: [UInt8]
    private var taggers: [StreamID: BlockTagger] = [:]

    public init(joinSecret: [UInt8]) { self.joinSecret = joinSecret }

    public var tagger: Tagger {
        { [self] stream, block, bytes in unsafe tag(stream, block, bytes) }
    }

    private func tag(_ stream: StreamID, _ block: UInt64, _ bytes: UnsafeRawBufferPointer) -> BlockTag {
        if let tagger = taggers[stream] { return unsafe tagger.tag(block: block, bytes) }
        let tagger = BlockTagger(joinSecret: joinSecret, stream: stream)
        taggers[stream] = tagger
        return unsafe tagger.tag(block: block, bytes)
    }

    /// The stream is over.
    public func forget(_ stream: StreamID) { taggers[stream] = nil }
}
