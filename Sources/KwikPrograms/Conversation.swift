import KwikCore
import KwikLinux

/// One control connection of a program: a question and its answer, and after a TAKEN the shim's SWAPPED.
@safe
final class Conversation {
    let descriptor: Int32
    let credentials: UnixSocket.Credentials
    let until: Instant
    /// Handed to the program, which has not put it in place yet.
    var offered: ProgramConnection?
    private unowned let door: ProgramDoor
    private var watch: Watch?
    private var messages = 0

    /// More than any shim sends in one conversation.
    static let maximalMessages = 4

    /// Takes the descriptor over, unless it throws.
    init(
        door: ProgramDoor, descriptor: Int32, credentials: UnixSocket.Credentials, until: Instant
    ) throws(Errno) {
        self.door = door
        self.descriptor = descriptor
        self.credentials = credentials
        self.until = until
        watch = try door.loop.watch(descriptor, for: .readable) { [unowned self] _ in self.receive() }
    }

    func hangUp() {
        guard let watch else { return }
        watch.cancel()
        self.watch = nil
        Descriptor.close(descriptor)
        if let connection = offered {
            offered = nil
            door.declined(connection)
        }
    }

    private func receive() {
        let size = Wire.requestHead + Wire.maximalValue + 1
        var descriptors: [Int32] = []
        var bytes: [UInt8]?
        unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { buffer in
            switch unsafe UnixSocket.receive(descriptor, into: buffer, descriptors: 2) {
            case .message(let count, let received, let isTruncated):
                descriptors = received
                bytes = isTruncated ? [] : unsafe Array(buffer[0..<count])
            case .wouldBlock:
                break
            case .endOfFile, .failed:
                door.ended(self)
            }
        }
        guard let bytes else { return }
        do throws(ProtocolError) {
            try handle(bytes, descriptors)
        } catch {
            door.malformed(self, error)
        }
    }

    private func handle(_ bytes: [UInt8], _ descriptors: [Int32]) throws(ProtocolError) {
        var descriptors = descriptors
        defer { for descriptor in descriptors { Descriptor.close(descriptor) } }
        messages += 1
        guard messages <= Self.maximalMessages else { throw .sequence }
        let request = try Request(parsing: bytes)
        guard descriptors.count == (request.kind == .swapped ? 0 : 1) else { throw .descriptors }
        if request.kind == .swapped {
            guard let connection = offered else { throw .sequence }
            offered = nil
            return door.swapped(connection)
        }
        guard offered == nil else { throw .sequence }
        let descriptor = descriptors.removeLast()
        let answer = request.kind == .connect
            ? door.connect(self, request, original: descriptor) : door.answer(request, about: descriptor)
        let attached = [answer.lent, answer.surrendered].compactMap { $0 }
        let result = UnixSocket.send(self.descriptor, answer.reply.encoded, descriptors: attached)
        if let surrendered = answer.surrendered { Descriptor.close(surrendered) }
        guard case .count = result else { return door.ended(self) }
    }
}
