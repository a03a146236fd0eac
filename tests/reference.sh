#!/bin/sh
# Holds our tokenizers and fixtures against the reference packages of the Python Package Index: numpy, sentencepiece, tokenizers.
#
#   sh tests/reference.sh BUILD
#
# They are installed into BUILD/venv. The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
python=$build/venv/bin/python
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() {
    name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
        echo "ok $name: $(tail -n 1 "$work/output")"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -n 20 "$work/output"
    fi
}

tokens() { # FOLDER ROWS
    PYTHONDONTWRITEBYTECODE=1 "$python" tests/tokenizer/compare.py "$build/tests/tokenizer/encode_lines" "$1" "$2" 3000
}

sh tests/packages.sh reference || exit 1
make "$build/tests/tokenizer/encode_lines" BUILD="$build" >"$work/make" || { cat "$work/make"; exit 1; }
[ -x "$python" ] || python3 -m venv "$build/venv" || exit 1
"$python" -m pip install -q --disable-pip-version-check numpy sentencepiece tokenizers || exit 1

check "logits in tests/oracle" "$python" tests/oracle/recompute.py tests/oracle/fixtures/*/
for folder in tests/tokenizer/spm tests/tokenizer/bytes tests/tokenizer/fallback examples/demo/model; do
    check "tokens: $folder" tokens "$folder" 300000
done
for folder in ../shared/models/stories260k ../shared/tokenizers/*; do
    if [ -d "$folder" ]; then
        check "tokens: $folder" tokens "$folder" 300000
    else
        skipped=$((skipped + 1))
        echo "skip tokens: needs $folder"
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
