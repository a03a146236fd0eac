#!/bin/sh
# Runs examples/demo.sh as a new user does, and checks its output.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/../tally.sh"

# shellcheck disable=SC2016 # the inner shell expands it
check "exit status 0" sh -c 'sh examples/demo.sh >"$1" 2>&1 || { cat "$1"; exit 1; }' - "$work/demo"
check "layers of the image with their sizes" grep -q 'weights 1 of 1' "$work/demo"
check "a story" grep -q 'Once upon a time, ' "$work/demo"
check "the last line counts tokens" grep -qE '^[0-9]+ tokens, [0-9]+ a second' "$work/demo"
for phase in port_open mapped validated weights_ready first_token; do
    check "start-up: $phase" grep -qE "^$phase +[0-9.]+ +#" "$work/demo"
done
tally
