#!/bin/sh
# Compares the bytes of packed models, of images and of a synthetic model with the digests in digests.sha256. They
# change only with the format's version (docs/format.md).
#
#   sh tests/golden/run.sh BUILD [--update]
set -u
build=$1
golden=tests/golden/digests.sha256
fixtures=tests/oracle/fixtures
work=$(mktemp -d)
# shellcheck source=tests/tally.sh
. tests/tally.sh
trap 'rm -rf "$work"' EXIT

# The smallest program: a static ELF file whose code is exit(0). Unlike hotlayerd, it is the same everywhere.
python3 - "$work/runtime" <<'END'
import os, struct, sys

code = b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"  # xor edi, edi; mov eax, 60; syscall
head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 4096)
open(sys.argv[1], "wb").write(head + load + code)
os.chmod(sys.argv[1], 0o755)
END

python3 tests/golden/make_models.py "$work/models"

# pack SOURCE NAME OPTION...
pack() {
    source=$1 name=$2
    shift 2
    "$build/hotlayer" pack "$source" -o "$work/$name.hot" "$@" >/dev/null 2>"$work/message" ||
        fail "pack $name: $(tail -n 1 "$work/message")"
}

for model in f32-awkward:keep bf16-tied:keep bf16-tied:q8 bf16-tied:q4 f16-sharded:keep f32-mha:bf16; do
    pack "$fixtures/${model%:*}" "${model%:*}-${model#*:}" --quant "${model#*:}" --shard-size 128K
done
pack examples/demo/model demo --name demo
for model in "$work"/models/* tests/oracle/families/*.gguf tests/oracle/families/gemma3-pattern tests/oracle/families/qwen2-slide; do
    pack "$model" "$(basename "$model" .gguf)-default"
done
for template in tests/template/families/*.jinja; do
    pack "$fixtures/bf16-tied" "template-$(basename "$template" .jinja)" --quant keep --template "$template"
done

export SOURCE_DATE_EPOCH=1700000000
for target in oci: oci-archive:; do
    "$build/hotlayer" image "$work/bf16-tied-q8.hot" --runtime "$work/runtime" -o "$target$work/image-${target%:}:golden" \
        >"$work/digest-${target%:}" 2>/dev/null
done
"$build/hotlayer" synth gemma3-1b -o "$work/synth" --blocks 1 --seed 7 >/dev/null 2>&1
(
    cd "$work" || exit 1
    for file in *.hot *.hot.[0-9]* image-oci-archive synth/*; do
        echo "$(sha256sum <"$file" | cut -d ' ' -f 1)  $file"
    done
    for digest in digest-*; do
        echo "$(tail -n 1 "$digest" | sed 's/^sha256://')  $digest"
    done
) >"$work/now"

if [ "${2:-}" = --update ]; then
    cp "$work/now" "$golden"
    tally
    exit
fi
while read -r digest name; do
    if grep -q "^$digest  $name\$" "$work/now"; then
        ok "$name"
    else
        fail "$name: not $digest"
    fi
done <"$golden"
[ "$(wc -l <"$golden")" = "$(wc -l <"$work/now")" ] || fail "the number of files"
tally
