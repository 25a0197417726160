#!/usr/bin/env bash
# API documentation of every module with DocC, without a plug-in:  docs.sh DIRECTORY
set -eu
out=$1
top=$(cd "$(dirname "$0")/.." && pwd)
graphs="$top/.build/symbol-graphs"
docc=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")/docc
rm -rf "$graphs"
mkdir -p "$graphs" "$out"
"${SWIFT:-swift}" build --package-path "$top" --scratch-path "$top/.build/docs" \
    -Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir -Xswiftc "$graphs"
for module in "$top"/Sources/Kwik*/; do
    name=$(basename "$module")
    mkdir -p "$graphs/$name"
    mv "$graphs/$name".symbols.json "$graphs/$name@"*.symbols.json "$graphs/$name/" 2>/dev/null ||
        [ -e "$graphs/$name/$name.symbols.json" ]
    "$docc" convert --fallback-display-name "$name" --fallback-bundle-identifier "kwik.$name" \
        --additional-symbol-graph-dir "$graphs/$name" --output-path "$out/$name" >/dev/null
    echo "$out/$name"
done
