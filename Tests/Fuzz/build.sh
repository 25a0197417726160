#!/bin/sh
# Builds each libFuzzer target and runs it on its corpus and for FUZZ_SECONDS of new inputs (30 unless told).
#
#   Tests/Fuzz/build.sh [TARGET...]        all targets unless named; with FUZZ_SECONDS=0 the corpus alone
#
# The last lines are `fuzz: targets=N runs=N` and, in targets, `test: passed=N failed=N`; one that does not
# build or tries nothing fails.
# What libFuzzer finds goes to .build/fuzz/TARGET: new inputs to corpus/, failures to crash-* beside it.
set -eu

fuzz=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$fuzz/../.." && pwd)
seconds=${FUZZ_SECONDS:-30}
[ $# -gt 0 ] || set -- kcp kdp programs sessions zstd
flags="-swift-version 6 -strict-memory-safety -warnings-as-errors -O -g -parse-as-library"
# A broken precondition says which.
flags="$flags -sanitize=fuzzer,address -assert-config Debug"

# A C door: its object file and the module map that Swift finds it by, in $out.
door() { # name
    printf 'module %s { header "%s" export * }\n' "$1" "$root/Sources/$1/include/$1.h" >"$out/$1.modulemap"
    objects="$objects $out/$1.o"
    "${CC:-cc}" -std=gnu11 -O2 -g -I "$root/Sources/$1/include" -r -nostdlib -o "$out/$1.o" \
        "$root/Sources/$1"/*.c
    doors="$doors -Xcc -fmodule-map-file=$out/$1.modulemap"
}

module() { # name
    objects="$objects $out/$1.o"
    # shellcheck disable=SC2046,SC2086
    swiftc $flags -enable-upcoming-feature InternalImportsByDefault -enable-testing -wmo -module-name "$1" \
        -I "$out" $doors -emit-module -emit-module-path "$out/$1.swiftmodule" -c -o "$out/$1.o" \
        $(find -L "$root/Sources/$1" -name '*.swift' | sort)
}

# libFuzzer takes no time for all time.
if [ "$seconds" = 0 ]; then bound=-runs=0; else bound=-max_total_time=$seconds; fi

targets=0
total=0
# Whatever ends this script, a compiler's error too, it says how far it came.
wanted=$#
conclude() {
    echo "fuzz: targets=$targets runs=$total"
    echo "test: passed=$targets failed=$((wanted - targets))"
}
trap conclude EXIT
for target in "$@"; do
    out=$root/.build/fuzz/$target
    objects="" doors="" sources=""
    mkdir -p "$out/corpus"
    case $target in
    kcp)
        door CKwikMessages
        for name in KwikCore KwikControl; do module $name; done
        objects="$objects -lprotobuf-c"
        ;;
    kdp | sessions)
        # Compiled with what it tests, as one module: it sees what tests see.
        sources=$(find -L "$root/Sources/KwikCore" -name '*.swift' | sort)
        ;;
    programs)
        door CLinux
        door CSystemd
        for name in KwikCore KwikLinux KwikPrograms; do module $name; done
        objects="$objects -lsystemd"
        ;;
    zstd)
        door CZstd
        module KwikCore
        sources=$root/Sources/KwikEndpoint/ZstdCodec.swift
        objects="$objects -lzstd"
        ;;
    *) echo "build.sh: unknown target $target" >&2; exit 2 ;;
    esac
    # shellcheck disable=SC2086
    swiftc $flags -module-name Fuzz -I "$out" $doors -o "$out/fuzz" $sources \
        "$fuzz/$target"/*.swift $objects
    # Swift's own backtraces would take the crash from libFuzzer.
    # Its exit code would be lost in a pipe.
    status=0
    SWIFT_BACKTRACE=enable=no "$out/fuzz" "$bound" -max_len=20000 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$out/" "$out/corpus" "$fuzz/$target/corpus" \
        >"$out/log" 2>&1 || status=$?
    if [ "$status" != 0 ]; then
        tail -n 60 "$out/log"
        echo "$target: libFuzzer ended with $status; its input is $out/crash-* or beside it" >&2
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log")
    grep '^stat::' "$out/log"
    echo "$target: ${runs:-0} inputs"
    [ "${runs:-0}" -gt 0 ] || exit 1
    targets=$((targets + 1))
    total=$((total + runs))
done
