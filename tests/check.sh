#!/bin/sh
# Runs every test suite on the programs in BUILD, and adds up their results.
#
#   sh tests/check.sh [BUILD]
#
# A suite is a command whose last line is "N passed, N failed" or "N passed, N failed, N skipped". Its output goes to
# BUILD/test-logs/; if it fails, this prints the lines that matter. A suite that hangs fails, too, after HOTLAYER_TEST_LIMIT
# seconds (900). The last line of this script is the sum.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
logs=$build/test-logs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$logs"
passed=0 failed=0 skipped=0

suite() {
    name=$1
    shift
    mkdir -p "$(dirname "$logs/$name")"
    begin=$(date +%s)
    TMPDIR=$work python3 tests/limit.py "${HOTLAYER_TEST_LIMIT:-900}" "$@" >"$logs/$name.log" 2>&1 </dev/null
    status=$?
    last=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$logs/$name.log" | tail -n 1)
    # shellcheck disable=SC2046 # the numbers are words
    set -- $(echo "$last" | tr -c '0-9\n' ' ')
    if [ $# -lt 2 ]; then
        set -- 0 1 0
        last="did not finish (exit $status)"
    elif [ "$status" != 0 ] && [ "$2" = 0 ]; then
        set -- "$1" 1 "${3:-0}"
        last="$last, but exit $status"
    fi
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
    printf '%-38s %s (%s s)\n' "$name" "$last" "$(($(date +%s) - begin))"
    if [ "$2" != 0 ]; then
        grep -E '^(FAIL|not ok)|: CHECK|ERROR: |WARNING: ThreadSanitizer|runtime error' "$logs/$name.log" | head -n 20
        [ "$1" = 0 ] && tail -n 15 "$logs/$name.log"
        [ "$status" = 124 ] && tail -n 200 "$logs/$name.log"
    fi
    grep -E '^skip' "$logs/$name.log"
}

for unit in $(find tests/unit -name 'test_*.c' | sort); do
    unit=${unit#tests/unit/}
    unit=${unit%.c}
    suite "$unit" "$build/tests/unit/$unit"
done
suite fuzz-cases sh tests/fuzz/replay.sh "$build"
suite cli sh tests/commands/cli.sh "$build"
suite synth sh tests/commands/synth.sh "$build"
suite golden sh tests/golden/run.sh "$build"
suite oracle python3 tests/oracle/compare.py "$build/hotlayer" "$build/hotlayerd" tests/oracle/fixtures/*/
suite families python3 tests/oracle/compare_families.py "$build/hotlayer" "$build/hotlayerd" tests/oracle/families
suite gguf env PYTHONDONTWRITEBYTECODE=1 python3 tests/gguf/check.py "$build/hotlayer" "$build/hotlayerd"
suite quant env PYTHONDONTWRITEBYTECODE=1 python3 tests/pack/quant.py "$build/hotlayer"
suite template python3 tests/template/run_cases.py "$build/tests/template/render"
suite meta python3 tests/pack/meta.py "$build/hotlayer" examples/demo/model
suite memory sh tests/pack/memory.sh "$build"
suite hostile-folders sh tests/hostile/run.sh "$build/hotlayer"
mkdir "$work/good"
echo '{% for m in messages %}{{ m.role }}{% endfor %}' >"$work/t.jinja"
"$build/hotlayer" pack tests/oracle/fixtures/f16-sharded -o "$work/good/m.hot" --quant keep --shard-size 64K --template "$work/t.jinja" >/dev/null 2>&1
suite hostile-hot sh tests/hostile/run_hot.sh "$build/hotlayer" "$build/hotlayerd" "$work/good/m.hot"
suite stories sh tests/pack/stories.sh "$build"
"$build/hotlayer" pack examples/demo/model --name demo -o "$work/demo.hot" >/dev/null 2>&1
suite chat python3 tests/server/chat.py "$build/hotlayerd" examples/demo/model
suite stops python3 tests/server/stops.py "$build/hotlayerd" examples/demo/model
suite server python3 tests/server/server.py "$build/hotlayerd" "$work/demo.hot"
suite manifests python3 tests/examples/manifests.py "$build/hotlayerd" "$work/demo.hot"
if [ -n "${HOTLAYER_IMAGE_TESTS:-}" ]; then
    suite image sh tests/image/image.sh "$build/hotlayer" "$build/hotlayerd" "$work/demo.hot"
    suite contract python3 tests/image/contract.py "$build/hotlayerd" "$work/demo.hot"
    suite docker python3 tests/examples/docker.py "$build/hotlayerd" "$work/demo.hot" "$build/cache"
    suite demo sh tests/examples/demo.sh
    for part in rig_check push fault kill hostile; do
        suite "registry-$part" env PYTHONDONTWRITEBYTECODE=1 python3 "tests/registry/$part.py" "$build/hotlayer"
    done
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
