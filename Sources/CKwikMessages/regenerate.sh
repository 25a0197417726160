#!/bin/sh
# Makes kcp.pb-c.c and kcp.pb-c.h from kcp.proto (protobuf-c-compiler); with --check only compares.
set -eu
cd "$(dirname "$0")"
made=$(mktemp -d)
trap 'rm -r "$made"' EXIT
protoc-c --c_out="$made" kcp.proto
case "${1-}" in
--check)
    cmp "$made/kcp.pb-c.c" kcp.pb-c.c && cmp "$made/kcp.pb-c.h" include/kcp.pb-c.h || {
        echo "kcp.pb-c.* do not match kcp.proto: run Sources/CKwikMessages/regenerate.sh" >&2
        exit 1
    }
    ;;
'')
    cp "$made/kcp.pb-c.c" kcp.pb-c.c
    cp "$made/kcp.pb-c.h" include/kcp.pb-c.h
    ;;
*)
    echo "usage: regenerate.sh [--check]" >&2
    exit 2
    ;;
esac
