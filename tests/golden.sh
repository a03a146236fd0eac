#!/bin/sh
# The bytes of packed models and of an image, against digests that are committed: they change only with the format's version
# (docs/format.md). `sh tests/golden.sh BUILD --update` writes them anew.
set -u
build=$1
golden=tests/golden.sha256
fixtures=tests/oracle/fixtures
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The smallest program there is: a static ELF file whose code is exit(0). Unlike hotlayerd, it is the same everywhere.
python3 - "$work/runtime" <<'END'
import os, struct, sys

code = b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"  # xor edi, edi; mov eax, 60; syscall
head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 4096)
open(sys.argv[1], "wb").write(head + load + code)
os.chmod(sys.argv[1], 0o755)
END

for model in f32-awkward:keep bf16-tied:keep bf16-tied:q8 f16-sharded:keep f32-mha:bf16; do
    name=${model%:*}-${model#*:}
    "$build/hotlayer" pack "$fixtures/${model%:*}" -o "$work/$name.hot" --quant "${model#*:}" --shard-size 128K \
        >/dev/null 2>&1
done
export SOURCE_DATE_EPOCH=1700000000
"$build/hotlayer" image "$work/bf16-tied-q8.hot" --runtime "$work/runtime" -o "oci:$work/image:golden" >"$work/digest" 2>/dev/null
(
    cd "$work" || exit 1
    sha256sum ./*.hot ./*.hot.[0-9]*
    echo "$(tail -n 1 digest | sed 's/^sha256://')  image"
) >"$work/now"

if [ "${2:-}" = --update ]; then
    cp "$work/now" "$golden"
    exit 0
fi
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/tally.sh"
while read -r digest name; do
    if grep -q "^$digest  $name\$" "$work/now"; then
        ok "$name"
    else
        fail "$name: not $digest"
    fi
done <"$golden"
[ "$(wc -l <"$golden")" = "$(wc -l <"$work/now")" ] || fail "the number of files"
tally
