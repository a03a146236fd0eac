#!/bin/sh
# Compares our tokenizers, templates, fixtures and .gguf files with the reference packages of the Python Package Index:
# gguf, jinja2, numpy, protobuf, sentencepiece, tokenizers.
#
#   sh tests/reference.sh BUILD
#
# Installs them into BUILD/venv. The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
python=$build/venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. tests/tally.sh

# compare NAME COMMAND...: a check whose last line gives the amount of compared data.
compare() {
    check "$@"
    tail -n "${lines:-1}" "$work/output" | grep -v 'bytes; build' | sed 's/^/     /'
}

tokens() { # FOLDER ROWS TEXTS
    PYTHONDONTWRITEBYTECODE=1 "$python" tests/tokenizer/compare.py "$build/tests/tokenizer/encode_lines" "$1" "$2" "$3"
}

sh tests/packages.sh reference || exit 1
make "$build/tests/tokenizer/encode_lines" "$build/tests/template/render" "$build/tests/gguf/block_values" BUILD="$build" >"$work/make" || { cat "$work/make"; exit 1; }
[ -x "$python" ] || python3 -m venv "$build/venv" || exit 1
"$python" -m pip install -q --disable-pip-version-check gguf jinja2 numpy protobuf sentencepiece tokenizers || exit 1

templates() {
    PYTHONDONTWRITEBYTECODE=1 "$python" tests/template/compare.py "$build/tests/template/render" "$@"
}
compare "templates: constructs, families, random ones" templates --random 1500
for folder in ../shared/tokenizers/*; do
    if [ -f "$folder/tokenizer_config.json" ]; then
        compare "templates: $folder" templates "$folder"
    else
        skip "templates: needs $folder/tokenizer_config.json"
    fi
done

prompts() {
    PYTHONDONTWRITEBYTECODE=1 "$python" tests/template/prompts.py "$build/hotlayerd" "$1"
}
for family in gemma3 llama3_1 qwen2_5; do
    folder=../shared/tokenizers/$family
    if [ -d "$folder" ] && [ -x "$build/hotlayerd" ] && [ -x "$build/hotlayer" ]; then
        compare "prompts: $folder" prompts "$folder"
    else
        skip "prompts: needs $folder and $build/hotlayerd"
    fi
done

compare "logits in tests/oracle" "$python" tests/oracle/recompute.py tests/oracle/fixtures/*/
compare "blocks of .gguf types" "$python" tests/gguf/blocks.py "$build/tests/gguf/block_values"
if [ -x "$build/hotlayer" ]; then
    compare "files in tests/gguf" env PYTHONDONTWRITEBYTECODE=1 "$python" tests/gguf/reference.py "$build/hotlayer" \
        tests/oracle/fixtures/*/ examples/demo/model
else
    skip "files in tests/gguf: needs $build/hotlayer"
fi
lines=20
for folder in tests/tokenizer/spm tests/tokenizer/bytes tests/tokenizer/fallback tests/tokenizer/metaspace examples/demo/model; do
    compare "tokens: $folder" tokens "$folder" 300000 2000
done
for folder in ../shared/models/stories260k ../shared/tokenizers/*; do
    if [ -d "$folder" ]; then
        compare "tokens: $folder" tokens "$folder" 300000 20000
    else
        skip "tokens: needs $folder"
    fi
done
tally
