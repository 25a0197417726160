internal import CKwikMessages
internal import KwikCore

/// Holds the C side of one message while it is packed.
@safe
final class Arena {
    private var blocks: [UnsafeMutableRawPointer] = unsafe []

    deinit {
        while let block = unsafe blocks.popLast() { unsafe block.deallocate() }
    }

    func allocate<T>(_ type: T.Type, count: Int = 1) -> UnsafeMutablePointer<T> {
        let bytes = max(MemoryLayout<T>.stride * count, 1)
        let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: MemoryLayout<T>.alignment)
        unsafe block.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        unsafe blocks.append(block)
        return unsafe block.bindMemory(to: type, capacity: count)
    }

    /// Without its NULs, which C text can't hold.
    func text(_ string: String) -> UnsafeMutablePointer<CChar> {
        let utf8 = string.utf8
        let start = unsafe allocate(CChar.self, count: utf8.count + 1)
        var length = 0
        for byte in utf8 where byte != 0 {
            unsafe start[length] = CChar(bitPattern: byte)
            length += 1
        }
        return unsafe start
    }

    func bytes(_ array: [UInt8]) -> ProtobufCBinaryData {
        let start = unsafe allocate(UInt8.self, count: array.count)
        for (index, byte) in array.enumerated() { unsafe start[index] = byte }
        return unsafe ProtobufCBinaryData(len: array.count, data: start)
    }

    func texts(_ strings: [String]) -> (Int, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) {
        let list = unsafe allocate(UnsafeMutablePointer<CChar>?.self, count: strings.count)
        for (index, string) in strings.enumerated() { unsafe list[index] = text(string) }
        return unsafe (strings.count, list)
    }

    func roles(_ roles: Roles) -> (Int, UnsafeMutablePointer<Kwik__Kcp__V3__ServerRole>) {
        let list = unsafe allocate(Kwik__Kcp__V3__ServerRole.self, count: RoleTable.all.count)
        var count = 0
        for (role, number) in RoleTable.all where roles.contains(role) {
            unsafe list[count] = Kwik__Kcp__V3__ServerRole(rawValue: number)
            count += 1
        }
        return unsafe (count, list)
    }

    func message<M: Packable>(_ message: M) -> UnsafeMutablePointer<M.C> {
        let place = unsafe allocate(M.C.self)
        unsafe M.initialize(place)
        unsafe message.fill(&place.pointee, self)
        return unsafe place
    }

    func optional<M: Packable>(_ message: M?) -> UnsafeMutablePointer<M.C>? {
        guard let message else { return nil }
        return unsafe self.message(message)
    }

    func messages<M: Packable>(_ messages: [M]) -> (Int, UnsafeMutablePointer<UnsafeMutablePointer<M.C>?>) {
        let list = unsafe allocate(UnsafeMutablePointer<M.C>?.self, count: messages.count)
        for (index, message) in messages.enumerated() { unsafe list[index] = self.message(message) }
        return unsafe (messages.count, list)
    }
}

/// A Swift value with its protobuf-c counterpart.
protocol Packable {
    associatedtype C
    /// The generated `…__init`.
    @unsafe static func initialize(_ c: UnsafeMutablePointer<C>)
    /// The C value's texts have been validated before.
    @unsafe init(_ c: C) throws(UnknownValue)
    /// What is put into `c` belongs to the arena.
    @unsafe func fill(_ c: inout C, _ arena: Arena)
}

/// An enumerated value that this version does not know.
struct UnknownValue: Error {}

/// The roles with their numbers on the wire.
enum RoleTable {
    static let all: [(Roles, UInt32)] = [(.origin, 0), (.replica, 1), (.relay, 2)]
}

/// Reads what protobuf-c has unpacked.
enum Unpack {
    static func text(_ start: UnsafeMutablePointer<CChar>?) -> String {
        guard let start = unsafe start else { return "" }
        return unsafe String(cString: start)
    }

    static func bytes(_ data: ProtobufCBinaryData) -> [UInt8] {
        unsafe Array(UnsafeBufferPointer(start: data.data, count: data.len))
    }

    static func texts(_ count: Int, _ list: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> [String] {
        var strings: [String] = []
        guard let list = unsafe list else { return strings }
        for index in 0..<count { strings.append(unsafe text(list[index])) }
        return strings
    }

    /// Roles that this version does not know are left out.
    static func roles(_ count: Int, _ list: UnsafeMutablePointer<Kwik__Kcp__V3__ServerRole>?) -> Roles {
        var roles: Roles = []
        guard let list = unsafe list else { return roles }
        for index in 0..<count {
            let number = unsafe list[index].rawValue
            for (role, known) in RoleTable.all where known == number { roles.insert(role) }
        }
        return roles
    }

    static func value<E: RawRepresentable>(_ number: UInt32) throws(UnknownValue) -> E
    where E.RawValue == UInt32 {
        guard let value = E(rawValue: number) else { throw UnknownValue() }
        return value
    }

    static func message<M: Packable>(_ pointer: UnsafeMutablePointer<M.C>?) throws(UnknownValue) -> M? {
        guard let pointer = unsafe pointer else { return nil }
        return unsafe try M(pointer.pointee)
    }

    static func messages<M: Packable>(
        _ count: Int, _ list: UnsafeMutablePointer<UnsafeMutablePointer<M.C>?>?
    ) throws(UnknownValue) -> [M] {
        var values: [M] = []
        guard let list = unsafe list else { return values }
        for index in 0..<count {
            if let value: M = unsafe try message(list[index]) { values.append(value) }
        }
        return values
    }
}
