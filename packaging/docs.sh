#!/usr/bin/env bash
# API documentation of every module with DocC, without a plug-in:  docs.sh DIRECTORY
# The last line is `docs: modules=N pages=N failed=N`; a module without pages has failed.
set -eu
out=$1
top=$(cd "$(dirname "$0")/.." && pwd)
scratch="$top/.build/docs"
# They stay: a module that is not compiled anew writes none.
graphs="$scratch/symbol-graphs"
docc=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")/docc
[ -d "$graphs" ] || rm -rf "$scratch"
mkdir -p "$graphs" "$out"
modules=0
pages=0
wanted=0
for module in "$top"/Sources/Kwik*/; do wanted=$((wanted + 1)); done
# Whatever ends this script, a compiler's error too, it says how far it came.
trap 'echo "docs: modules=$modules pages=$pages failed=$((wanted - modules))"' EXIT

"${SWIFT:-swift}" build --package-path "$top" --scratch-path "$scratch" \
    -Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir -Xswiftc "$graphs"
for module in "$top"/Sources/Kwik*/; do
    name=$(basename "$module")
    rm -rf "${graphs:?}/$name" "${out:?}/$name"
    mkdir "$graphs/$name"
    cp "$graphs/$name".symbols.json "$graphs/$name/"
    # What it adds to others' types; not every module does.
    find "$graphs" -maxdepth 1 -name "$name@*.symbols.json" -exec cp {} "$graphs/$name/" \;
    "$docc" convert --fallback-display-name "$name" --fallback-bundle-identifier "kwik.$name" \
        --additional-symbol-graph-dir "$graphs/$name" --output-path "$out/$name" >/dev/null
    count=$(find "$out/$name/data/documentation" -name '*.json' | wc -l)
    echo "$out/$name: $count pages"
    [ "$count" -gt 0 ]
    modules=$((modules + 1))
    pages=$((pages + count))
done
