import Foundation

/// A C program that a test has compiled, in a directory of its own.
struct CProgram {
    let directory: URL

    func start(_ arguments: [String], output: Pipe? = nil) throws -> Process {
        let process = Process()
        process.executableURL = directory.appendingPathComponent("main")
        process.arguments = arguments
        if let output { process.standardOutput = output }
        try process.run()
        return process
    }

    func remove() { try? FileManager.default.removeItem(at: directory) }
}

enum CompilerError: Error { case failed(Int32) }

/// Compiles with the shim's headers in reach.
func compile(_ text: String) throws -> CProgram {
    let directory = FileManager.default.temporaryDirectory
        .appendingPathComponent("kwik-c-\(UUID().uuidString)")
    try FileManager.default.createDirectory(
        at: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    let source = directory.appendingPathComponent("main.c")
    try text.write(to: source, atomically: true, encoding: .utf8)
    let compiler = Process()
    compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    compiler.arguments = [
        "cc", "-std=gnu11", "-Wall", "-Werror", "-I", root.appendingPathComponent("shim").path, source.path,
        "-o", directory.appendingPathComponent("main").path,
    ]
    try compiler.run()
    compiler.waitUntilExit()
    guard compiler.terminationStatus == 0 else { throw CompilerError.failed(compiler.terminationStatus) }
    return CProgram(directory: directory)
}
