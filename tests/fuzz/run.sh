#!/bin/sh
# run.sh BUILD SECONDS [HOTLAYER] [TARGET...]: fuzzes with every target built in BUILD, or with the named ones, for
# SECONDS each. Writes findings to BUILD/findings/TARGET/ and the corpus to BUILD/corpus/TARGET/. Exits 1 if it found
# anything.
set -u
[ $# -ge 2 ] || { echo "usage: $0 BUILD SECONDS [HOTLAYER] [TARGET...]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
build=$1 seconds=$2 hotlayer=${3:-$here/../../build/hotlayer}
if [ $# -gt 3 ]; then
    shift 3
else
    set --
    for binary in "$build"/tests/fuzz/fuzz_*; do
        case $binary in
        *.o | *.d | *'*') ;;
        *) set -- "$@" "${binary##*/fuzz_}" ;;
        esac
    done
fi
[ $# -gt 0 ] || { echo "$build: no fuzz targets; 'make fuzz' builds them" >&2; exit 2; }

status=0
for target in "$@"; do
    corpus=$build/corpus/$target findings=$build/findings/$target seeds=$build/seeds/$target
    mkdir -p "$corpus" "$findings"
    sh "$here/seeds.sh" "$target" "$seeds" "$hotlayer" || exit 2
    [ -d "$here/cases/$target" ] && cp "$here/cases/$target"/* "$seeds"
    "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$findings/" "$corpus" "$seeds" >"$build/findings/$target.log" 2>&1
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/findings/$target.log")
    covered=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$build/findings/$target.log" | tail -n 1)
    found=$(find "$findings" -type f | wc -l)
    echo "$target: ${runs:-?} runs, ${covered:-?} edges, $found findings"
    if [ $code -ne 0 ] || [ "$found" -ne 0 ]; then
        grep -E '^SUMMARY|runtime error|ERROR:' "$build/findings/$target.log" | head -n 5
        find "$findings" -type f
        status=1
    fi
done
exit $status
