#!/usr/bin/env bash
# API documentation of every module with DocC, without a plug-in:  docs.sh DIRECTORY
# The last line is `docs: modules=N pages=N`; a module without pages fails.
set -eu
out=$1
top=$(cd "$(dirname "$0")/.." && pwd)
graphs="$top/.build/symbol-graphs"
docc=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")/docc
rm -rf "$graphs"
mkdir -p "$graphs" "$out"
"${SWIFT:-swift}" build --package-path "$top" --scratch-path "$top/.build/docs" \
    -Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir -Xswiftc "$graphs"
modules=0
pages=0
for module in "$top"/Sources/Kwik*/; do
    name=$(basename "$module")
    mkdir -p "$graphs/$name"
    mv "$graphs/$name".symbols.json "$graphs/$name@"*.symbols.json "$graphs/$name/" 2>/dev/null ||
        [ -e "$graphs/$name/$name.symbols.json" ]
    "$docc" convert --fallback-display-name "$name" --fallback-bundle-identifier "kwik.$name" \
        --additional-symbol-graph-dir "$graphs/$name" --output-path "$out/$name" >/dev/null
    count=$(find "$out/$name/data/documentation" -name '*.json' | wc -l)
    echo "$out/$name: $count pages"
    [ "$count" -gt 0 ]
    modules=$((modules + 1))
    pages=$((pages + count))
done
echo "docs: modules=$modules pages=$pages"
[ "$modules" -gt 0 ]
