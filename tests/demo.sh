#!/bin/sh
# examples/demo.sh, as a new user runs it: does it show what it promises?
set -u
passed=0 failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

check() {
    what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $what"
    else
        failed=$((failed + 1))
        echo "FAIL $what"
        tail -n 20 "$output"
    fi
}

check "it ends well" sh -c 'sh examples/demo.sh >"$1" 2>&1' - "$output"
check "layers of the image with their sizes" grep -q 'weights 1 of 1' "$output"
check "a story" grep -q 'Once upon a time, ' "$output"
check "it has an end" grep -qE '^[0-9]+ tokens, [0-9]+ a second' "$output"
for phase in port_open mapped validated weights_ready first_token; do
    check "start-up: $phase" grep -qE "^$phase +[0-9.]+ +#" "$output"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
