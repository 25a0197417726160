#!/usr/bin/env bash
# Seeded faults in the core: each patch in Mutants/ is applied to a copy of the tree, and a seed up to SEEDS
# has to fail, or something that has to occur in 1,000 never does. The core as it is passes them all, or a
# failure would say nothing about the mutant.
#
#   Tests/Simulation/mutants.sh [NAME...]        all mutants unless named
#
# A line for each; the last line is `test: passed=N failed=N` in mutants that were found and not.
# Exits 1 unless every mutant was found.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
swift=${SWIFT:-swift}
seeds=${SEEDS:-1000}
# Seconds that the runs of one mutant may take.
patience=600

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
(cd "$top" && tar -cf - Package.swift Sources Tests) | tar -xf - -C "$work/tree"
cd "$work/tree" || exit 1

# Optimized file by file and not as a whole: a mutant takes the few files anew that it touches.
build() {
    "$swift" build --scratch-path "$work/build" -Xswiftc -O --product kwik-simulate >"$work/build.log" 2>&1
}

# Whether the seeds pass; what was said is in run.log. The shell's own word on a process that a precondition
# stopped is not wanted.
play() {
    { timeout "$patience" "$work/build/debug/kwik-simulate" --seeds "$seeds" --until-failure; } \
        >"$work/run.log" 2>&1
}

if ! build; then
    echo "the core as it is does not build:"
    grep -m 3 'error:' "$work/build.log"
    echo "test: passed=0 failed=1"
    exit 1
fi
if ! play; then
    echo "the core as it is does not pass:"
    tail -n 3 "$work/run.log"
    echo "test: passed=0 failed=1"
    exit 1
fi
echo "the core as it is: passes $seeds seeds"

applied=0
found=0
total=0
if [ $# -eq 0 ]; then
    patches=("$here"/Mutants/*.patch)
else
    patches=("${@/#/$here/Mutants/}")
    patches=("${patches[@]/%/.patch}")
fi
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    total=$((total + 1))
    if ! git apply "$patch" 2>"$work/apply.log"; then
        echo "$name: does not apply to the core as it is: $(head -n 1 "$work/apply.log")"
        continue
    fi
    if ! build; then
        echo "$name: does not build:"
        grep -m 3 'error:' "$work/build.log"
        git apply -R "$patch"
        continue
    fi
    applied=$((applied + 1))
    play
    status=$?
    first=$(grep -m 1 '^seed ' "$work/run.log")
    missing=$(grep -m 1 '^never occurred ' "$work/run.log")
    if [ -n "$first" ]; then
        found=$((found + 1))
        echo "$name: found by $first"
    elif [ "$status" -gt 128 ]; then
        found=$((found + 1))
        echo "$name: found, a precondition stopped it"
    elif [ -n "$missing" ]; then
        found=$((found + 1))
        echo "$name: found, $missing"
    else
        echo "$name: NOT FOUND by $seeds seeds (exit $status)"
    fi
    git apply -R "$patch"
done

echo "mutants: applied=$applied found=$found"
echo "test: passed=$found failed=$((total - found))"
[ "$total" -gt 0 ] && [ "$found" -eq "$total" ]
