#!/bin/sh
# Breaks each rule of tests/tidy.sh once, in a copy, and checks that tidy.sh notices. The last line is
# "N passed, N failed, N skipped".
#
#   sh tests/tidy_check.sh
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. tests/tally.sh
mkdir "$work/copy"
git ls-files -z | xargs -0 cp --parents -t "$work/copy"
here=$PWD
cd "$work/copy" || exit 1
git init -q . && git add -A

# breaks RULE FILE TEXT: appends TEXT to FILE, and expects tidy.sh to fail by RULE alone. Undoes the change.
breaks() {
    mkdir -p "$(dirname "$2")"
    printf '%s\n' "$3" >>"$2"
    git add "$2"
    sh tests/tidy.sh >"$work/said" 2>&1
    if [ "$(grep '^FAIL' "$work/said")" = "FAIL $1" ]; then
        ok "notices: $1 ($2)"
    else
        fail "notices: $1 ($2)"
        grep -A3 '^FAIL' "$work/said" | sed 's/^/     /'
    fi
    git rm -q --cached "$2"
    rm "$2"
    [ -e "$here/$2" ] && cp "$here/$2" "$2" && git add "$2"
}

check "the copy is tidy" sh tests/tidy.sh
breaks "a folder includes what stands below it" kernels/cpu/ops.c '#include "runtime/engine/engine.h"'
breaks "a folder includes what stands below it" runtime/engine/load.h '#include "runtime/server/log.h"'
breaks "no circle of includes" base/utf8.h '#include "base/bytes.h"'
breaks "no name of a header occurs twice" tests/unit/engine.h '/* Another. */'
breaks "only known files at the root" keep_ 'output of a script'
breaks "a README in each folder" tests/another/run.sh 'true'
breaks "public functions begin with the name of their file or type" base/text.h 'int hl_wander(void);'
breaks "no unwanted words" base/text.h '/* Whoever calls this is no friend. */'
breaks "no unwanted words" docs/format.md 'The bytes behind the head.'
breaks "paths in texts lead to files" base/text.h '/* As in base/wander.c. */'
breaks "100 columns in .md" README.md "$(printf '%0101d' 0)"
tally
