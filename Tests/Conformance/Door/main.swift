import Glibc
import KwikLinux
import KwikPrograms

// The engine's side of the shim without Kwik behind it: every connect to a served destination is connected
// and copied by this process. `kwik-echo-door relay|native|clients DIRECTORY ADDRESS...` prints "ready", and
// at its end (SIGTERM) "served N".
exit(Door.main(Array(CommandLine.arguments.dropFirst())))
