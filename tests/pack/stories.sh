#!/bin/sh
# A model that others trained, from float32 to text: stories260k must tell exactly the story of its own program.
#
#   sh tests/pack/stories.sh BUILD
#
# The model is not part of this repository; without ../shared/models/stories260k, this is skipped.
set -u
build=$1
model=../shared/models/stories260k
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/../tally.sh"

if [ ! -e "$model/model.safetensors" ]; then
    skip "stories: needs ../shared/models/stories260k"
    tally
    exit
fi

tells() {
    "$build/hotlayerd" generate --model "$work/s.hot" -p "" -n 200 --raw "$@" >"$work/told" &&
        cmp "$work/told" "$model/expected_greedy.txt"
}

check "pack --quant keep" "$build/hotlayer" pack "$model" -o "$work/s.hot" --quant keep
check "the expected story" tells
for kernels in scalar avx2 avx512; do
    "$build/hotlayerd" generate --model "$work/s.hot" -p x -n 1 --kernels $kernels >/dev/null 2>&1 || continue
    check "the expected story with $kernels" tells --kernels $kernels
done
check "the expected story with one thread" tells --threads 1
check "the expected story with five threads" tells --threads 5
tally
