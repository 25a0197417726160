// libFuzzer's target for the sessions: a peer that says anything at any time, and local sockets that do what
// sockets can do. Compiled together with KwikCore into one module, see build.sh.
//
// Input: one byte that chooses the session's kind and settings, then the script.
//
// No input stops the process or keeps its loop busy; the session writes what a reader takes, on channels that
// are open; each socket's end and each stream's release come once; local sockets take the stream's bytes and
// no others, and all of it where none but replicas are hostile; and what a gateway's session held of its
// process's memory is given back.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    var script = unsafe Script(UnsafeRawBufferPointer(start: data, count: count))
    let settings = script.byte()
    if settings & 1 == 0 {
        GatewayDriver(settings >> 1, script).run()
    } else {
        ClientDriver(settings >> 1, script).run()
    }
    return 0
}
