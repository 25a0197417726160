#!/bin/sh
# Builds each libFuzzer target and runs it on its corpus and for FUZZ_SECONDS of new inputs (30 unless told).
#
#   Tests/Fuzz/build.sh [TARGET...]        all targets unless named; with FUZZ_SECONDS=0 builds only
#
# What libFuzzer finds goes to .build/fuzz/TARGET: new inputs to corpus/, failures to crash-* beside it.
set -eu

fuzz=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$fuzz/../.." && pwd)
seconds=${FUZZ_SECONDS:-30}
[ $# -gt 0 ] || set -- kdp

for target in "$@"; do
    case $target in
    kdp) sources=$(find -L "$root/Sources/KwikCore" -name '*.swift' | sort) ;;
    *) echo "build.sh: unknown target $target" >&2; exit 2 ;;
    esac
    out=$root/.build/fuzz/$target
    mkdir -p "$out/corpus"
    # The target is compiled with what it tests, as one module: it sees what tests see.
    # shellcheck disable=SC2086
    swiftc -swift-version 6 -strict-memory-safety -warnings-as-errors -O -g -parse-as-library \
        -sanitize=fuzzer,address -module-name Fuzz -o "$out/fuzz" $sources "$fuzz/$target/main.swift"
    [ "$seconds" -gt 0 ] || continue
    # Swift's own backtraces would take the crash from libFuzzer.
    SWIFT_BACKTRACE=enable=no "$out/fuzz" -max_total_time="$seconds" -max_len=8192 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$out/" "$out/corpus" "$fuzz/$target/corpus"
done
