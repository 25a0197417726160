#!/bin/bash
# Runs every conformance program over plain TCP and under the shim, and compares what they print line by line.
#
# usage: run.sh [-d DOOR] [-l LIBKWIK] [PROGRAM...]
#   DOOR     the kwik-echo-door executable (default: build/kwik-echo-door)
#   LIBKWIK  libkwik.so (default: build/libkwik.so)
# Each program runs natively, under the shim through a driver of its own (relay), under the shim with the
# engine's native fallback (native), and under the shim built with AddressSanitizer and with
# UndefinedBehaviorSanitizer. Those in servers/ have clients of their own and are themselves under the shim,
# which shows them who connects (clients). Differences that excused.txt names are counted apart.
# Without PROGRAMs also: no engine, a killed engine, and real programs.
set -u
here=$(cd "$(dirname "$0")" && pwd)
door="$here/../../build/kwik-echo-door"
library="$here/../../build/libkwik.so"
while getopts d:l: option; do
    case $option in
    d) door=$OPTARG ;;
    l) library=$OPTARG ;;
    *) echo "usage: run.sh [-d DOOR] [-l LIBKWIK] [PROGRAM...]" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
door=$(realpath "$door") && library=$(realpath "$library") || exit 2
[ -x "$door" ] && [ -r "$library" ] || { echo "run.sh: no $door or no $library" >&2; exit 2; }
work=$(mktemp -d) || exit 2
started=""
cleanup() {
    for pid in $started; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT

build() { "${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror "$1" -o "$2" -lpthread; }

wait_for() { # file, text
    for _ in $(seq 200); do
        grep -q "$2" "$1" 2>/dev/null && return 0
        sleep 0.02
    done
    echo "run.sh: no \"$2\" within 4 s" >&2
    return 1
}

build "$here/peer.c" "$work/peer" || exit 2
"$work/peer" >"$work/ports" &
started="$started $!"
wait_for "$work/ports" ready || exit 2
# Multicast: no TCP connection has a route there.
addresses="224.0.0.1:9"
while IFS='=' read -r name value; do
    [ -n "$value" ] || continue
    export "$name=$value"
    addresses="$addresses 127.0.0.1:$value [::1]:$value"
done <"$work/ports"

# Runs a program under the shim with a door of its own: its output, and `served N` in $work/door.
under_shim() { # mode, program, output [, what is preloaded]
    local runtime="$work/run" pid status served="$addresses"
    # What a server listens on it chooses itself.
    [ "$1" = clients ] && served="127.0.0.1:*"
    rm -rf "$runtime" "$work/door" && mkdir -m 700 "$runtime" || return 1
    # shellcheck disable=SC2086
    "$door" "$1" "$runtime" $served >"$work/door" 2>"$work/door.log" &
    pid=$!
    wait_for "$work/door" ready || { kill "$pid"; wait "$pid"; return 1; }
    DOOR_PID=$pid KWIK_RUNTIME_DIR="$runtime" KWIK_GATEWAY_DIR="$runtime" LD_PRELOAD="${4:-$library}" \
        timeout 60 "$2" >"$3" 2>&1
    status=$?
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    return $status
}

served() { sed -n 's/^served //p' "$work/door" | tail -1; }

is_excused() { # suite, check
    grep -qF -- "$1: $2 | " "$here/excused.txt"
}

# The checks that were excused, once each.
: >"$work/excused"
suites=0 native=0 kwik=0 regressions=0
regression() { # what
    echo "  $1"
    regressions=$((regressions + 1))
}

# Without a connect at the door the program ran over plain TCP, and equal means nothing.
check_served() { # suite, mode
    local count
    count=$(served)
    [ "${count:-0}" -gt 0 ] || regression "$1 ($2): the engine was never asked"
}

compare() { # suite, mode
    local expected got check line=0 bad=0 pardoned=0
    while IFS= read -r expected <&3; do
        line=$((line + 1))
        IFS= read -r got <&4 || got="(nothing)"
        [ "$expected" = "$got" ] && continue
        check=${expected%:*}
        if [ "${got%:*}" = "$check" ] && is_excused "$1" "$check"; then
            pardoned=$((pardoned + 1))
            echo "$1: $check" >>"$work/excused"
        else
            bad=$((bad + 1))
            echo "  $1 ($2) line $line: TCP \"$expected\", Kwik \"$got\""
        fi
    done 3<"$work/$1.tcp" 4<"$work/$1.$2"
    got=$(wc -l <"$work/$1.$2")
    [ "$got" -le "$line" ] || regression "$1 ($2): $got lines"
    kwik=$((kwik + got))
    regressions=$((regressions + bad))
    echo "$1 ($2): lines=$line differ=$bad excused=$pardoned connects=$(served)"
}

chosen="$*"
[ $# -gt 0 ] || set -- "$here"/programs/*.c "$here"/servers/*.c
for source; do
    name=$(basename "$source" .c)
    modes="relay native"
    source="$here/programs/$name.c"
    if [ ! -e "$source" ]; then
        source="$here/servers/$name.c"
        modes=clients
    fi
    build "$source" "$work/$name" || exit 2
    timeout 60 "$work/$name" >"$work/$name.tcp" 2>&1 || regression "$name: fails over TCP"
    suites=$((suites + 1))
    native=$((native + $(wc -l <"$work/$name.tcp")))
    for mode in $modes; do
        under_shim $mode "$work/$name" "$work/$name.$mode" || regression "$name ($mode): exit $?"
        sed 's/^/  door: /' "$work/door.log"
        check_served "$name" $mode
        compare "$name" $mode
    done
done

# The shim under a sanitizer: whatever it reports is a regression, and what programs see stays the same.
shim_sources=$(echo "$here"/../../shim/*.c "$here"/../../shim/calls/*.c)
sanitized() { # address or undefined, its runtime, what its code calls, PROGRAM...
    local kind=$1 runtime call=$3 source name mode
    runtime=$("${CC:-cc}" -print-file-name="$2")
    shift 3
    # shellcheck disable=SC2086
    "${CC:-cc}" -std=gnu11 -O1 -g -fPIC -shared -fvisibility=hidden -fno-omit-frame-pointer \
        "-fsanitize=$kind" -fno-sanitize-recover=all \
        "-Wl,--version-script=$here/../../shim/libkwik.map" -Wl,-z,now -o "$work/libkwik-$kind.so" \
        $shim_sources || exit 2
    nm -D "$work/libkwik-$kind.so" | grep -q "$call" || regression "$kind: not a sanitizer's build"
    suites=$((suites + 1))
    for source; do
        name=$(basename "$source" .c)
        # Its interceptors read lengths and addresses before the kernel does: bad ones kill the program there.
        if [[ "$kind:$name" = address:@(arguments|accepting) ]]; then
            echo "$name (address): not run, AddressSanitizer's own interceptors touch its bad pointers"
            continue
        fi
        mode=relay
        [ -e "$here/programs/$name.c" ] || mode=clients
        rm -f "$work"/report.*
        # Leaks are the program's: the shim allocates nothing. Frames are kept apart from the stack, where a
        # cancelled thread would leave them marked.
        ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1:log_path=$work/report" \
            UBSAN_OPTIONS="print_stacktrace=1:log_path=$work/report" \
            under_shim "$mode" "$work/$name" "$work/$name.$kind" "$runtime $work/libkwik-$kind.so" ||
            regression "$name ($kind): exit $?"
        for report in "$work"/report.*; do
            [ -e "$report" ] || continue
            regression "$name ($kind): $(grep -m1 -E 'ERROR|runtime error' "$report")"
        done
        check_served "$name" "$kind"
        compare "$name" "$kind"
    done
}
sanitized address libasan.so __asan_report "$@"
sanitized undefined libubsan.so __ubsan_handle "$@"

# No engine: the same, as if there were no shim.
mkdir -m 700 "$work/empty"
for name in blocking nonblocking; do
    [ -x "$work/$name" ] || continue
    KWIK_RUNTIME_DIR="$work/empty" LD_PRELOAD="$library" timeout 60 "$work/$name" >"$work/$name.absent" 2>&1
    : >"$work/door"
    compare $name absent
done

# The engine dies: what programs then see has no counterpart over TCP, so it is written down.
if [ -z "$chosen" ]; then
    build "$here/death.c" "$work/death" || exit 2
    suites=$((suites + 1))
    cp "$here/death.expected" "$work/death.tcp"
    under_shim relay "$work/death" "$work/death.killed" 2>/dev/null
    compare death killed

    # Real programs: the same bytes, and the engine was asked.
    mkdir "$work/www"
    head -c 20000000 /dev/urandom >"$work/www/data"
    "${PYTHON:-/usr/bin/python3}" -u -m http.server -b 127.0.0.1 -d "$work/www" 0 >"$work/http" 2>/dev/null &
    started="$started $!"
    wait_for "$work/http" port || exit 2
    port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$work/http")
    addresses="127.0.0.1:$port"
    DATA_URL="http://127.0.0.1:$port/data"
    export DATA_URL
    for name in curl wget python; do
        suites=$((suites + 1))
        sha256sum <"$work/www/data" >"$work/$name.tcp"
        for mode in relay native; do
            under_shim $mode "$here/real/$name" "$work/$name.$mode"
            check_served $name $mode
            compare $name $mode
        done
    done
fi

sort -u "$work/excused" | sed 's/^/  excused: /'
excused=$(sort -u "$work/excused" | wc -l)
echo "conformance: suites=$suites native=$native kwik=$kwik regressions=$regressions excused=$excused"
[ "$suites" -gt 0 ] && [ "$kwik" -gt 0 ] && [ "$regressions" -eq 0 ]
