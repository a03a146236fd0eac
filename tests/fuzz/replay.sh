#!/bin/sh
# replay.sh BUILD [HOTLAYER]: runs each fuzz target over its former findings (cases/TARGET/) and over good inputs,
# without a fuzzer. Needs BUILD/tests/fuzz/replay_TARGET, from any compiler; `make units` builds them. Last line: "N
# passed, N failed".
set -u
[ $# -ge 1 ] || { echo "usage: $0 BUILD [HOTLAYER]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
build=$1 hotlayer=${2:-$1/hotlayer}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
for source in "$here"/fuzz_*.c; do
    target=${source##*/fuzz_}
    target=${target%.c}
    sh "$here/seeds.sh" "$target" "$work/$target" "$hotlayer" || failed=$((failed + 1))
    for input in "$here/cases/$target"/* "$work/$target"/*; do
        [ -f "$input" ] || continue
        if timeout 60 "$build/tests/fuzz/replay_$target" "$input" >"$work/log" 2>&1; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAIL fuzz_$target ${input#"$work/"}: $(grep -E 'SUMMARY|runtime error' "$work/log" | head -n 1)"
        fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
