#!/bin/sh
# Checks what a compiler does not: the order of the tree, the names of headers and functions, the files at the root,
# READMEs, words. Needs make, awk, git and tsort; reads the files that git tracks. The last line is
# "N passed, N failed, N skipped".
#
#   sh tests/tidy.sh
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. tests/tally.sh

# report NAME FILE: ok if the file is empty, else its lines are what is wrong.
report() {
    if [ -s "$2" ]; then
        fail "$1"
        sed 's/^/     /' "$2"
    else
        ok "$1"
    fi
}

git ls-files >"$work/files" || exit 1
make -s rooms >"$work/rooms" || exit 1
product=$(grep -E '^(pack|registry|runtime|kernels|include|base)/.*\.[ch]$' "$work/files")

# "FILE HEADER" for each include of a header of ours, as paths from the root.
# shellcheck disable=SC2086 # a list of files without spaces
awk 'match($0, /^[ \t]*#[ \t]*include[ \t]*"[^"]+"/) {
    split($0, part, "\"")
    print FILENAME, (part[2] ~ /^hotlayer\// ? "include/" : "") part[2]
}' $product >"$work/includes"

awk 'NR == FNR { rank[$1] = NR; next }
{
    from = to = ""
    match($1, /.*\//) && from = substr($1, 1, RLENGTH - 1)
    match($2, /.*\//) && to = substr($2, 1, RLENGTH - 1)
    if (!(from in rank)) print $1 ": its folder is not in ROOMS of the Makefile"
    else if (!(to in rank)) print $1 ": includes " $2 ", which is not in a folder of the product"
    else if (rank[to] < rank[from]) print $1 ": includes " $2 ", which stands above it"
}' "$work/rooms" "$work/includes" | sort -u >"$work/order"
report "a folder includes what stands below it" "$work/order"

# A unit is a source with its header; NAME_inside.h and NAME_lanes.h belong to NAME. The interpreter is one unit: a value
# can be a function, which is run.
awk '{
    for (i = 1; i <= 2; i++) {
        sub(/\.[ch]$/, "", $i)
        sub(/_(inside|lanes)$/, "", $i)
        sub(/^runtime\/template\/core\/.*/, "runtime/template/core", $i)
    }
    if ($1 != $2) print $1, $2
}' "$work/includes" | sort -u | tsort 2>"$work/circles" >/dev/null
report "no circle of includes" "$work/circles"

grep '\.h$' "$work/files" | sed 's|.*/||' | sort | uniq -d >"$work/headers"
report "no name of a header occurs twice" "$work/headers"

grep -v / "$work/files" | grep -vxE 'Makefile|README\.md|ARCHITECTURE\.md|CONTRIBUTING\.md|LICENSE|NOTICE|\.(clang-format|clang-tidy|cppcheck|dockerignore|editorconfig|gitignore|gitattributes)' >"$work/root"
report "only known files at the root" "$work/root"

grep -E '\.(c|h|py|sh)$' "$work/files" | sed 's|/[^/]*$||' | sort -u | while read -r folder; do
    case $folder in
    include | bench/peers | examples/demo | tests/unit/* | tests/*/cases* | tests/oracle/*/*) continue ;; # described where they begin
    esac
    [ -f "$folder/README.md" ] || echo "$folder"
done >"$work/readmes"
report "a README in each folder" "$work/readmes"

# A public function is named after its file, its folder, or a type of ours.
# shellcheck disable=SC2086
awk '
FNR == 1 { n = split(FILENAME, at, "/"); stem = at[n]; sub(/\.[ch]$/, "", stem); folder = at[n - 1] }
match($0, /^(struct|enum|union) hl_[a-z0-9_]+/) { split($0, word, " "); sub(/^hl_/, "", word[2]); sub(/[^a-z0-9_].*/, "", word[2]); type[word[2]] }
match($0, /^[a-z][a-z0-9_ *]*[ *]hl_[a-z0-9_]+\(/) {
    name = substr($0, RSTART, RLENGTH - 1)
    sub(/.*[ *]hl_/, "", name)
    if (FILENAME ~ /\.h$/) where[name] = FILENAME
    stems[name] = stems[name] " " stem " " folder
}
function begins(text, start) { return index(text, start) == 1 }
END {
    for (name in where) {
        first = name
        sub(/_.*/, "", first)
        good = 0
        n = split(stems[name], stem_of, " ")
        for (i = 1; i <= n; i++) if (begins(name, stem_of[i]) || begins(stem_of[i], first)) good = 1
        if (!good) for (t in type) if (begins(t, first)) good = 1
        if (!good) print where[name] ": hl_" name
    }
}' $product | grep -vE '^(base/(error|sizes)|include/hotlayer/(half|tile|tokenizer_section))\.h|hl_(none|bool|int|float|string|undefined)$' | sort >"$work/names"
report "public functions begin with the name of their file or type" "$work/names"

# Words that PROSE refuses (CONTRIBUTING.md): the better ones are "is not a", "again", "after", "a caller".
grep -E '\.(c|h|py|sh|md|[17])$|^Makefile$' "$work/files" | grep -vE '^tests/(tidy(_check)?\.sh|template|oracle/f)|^examples/demo/(stories\.py|model)|^CONTRIBUTING\.md$' |
    xargs grep -nE '[a-z] (is|are|was|were) (no|none) |[Hh]as none of|[Ww]hoever|[Aa]new\>|[Bb]ehind the|[Nn]one such|[Ww]hat has come|[Tt]he way of ' |
    grep -vE '[Tt]here (is|are|was|were) (no|none)|(is|are) no (worse|better|more|slower)' |
    cut -c1-160 >"$work/words"
report "no unwanted words" "$work/words"

# A path in a comment or a document leads to a file. READMEs below tests/ may name paths of that folder.
grep -E '\.(c|h|py|sh|md|[17])$|^Makefile$' "$work/files" | grep -vE '^tests/(tidy_check\.sh|README\.md|check\.sh)$' |
    xargs grep -noE '(^|[^A-Za-z0-9_/.~$}-])(base|include|kernels|pack|registry|runtime|tests|bench|docs|examples)/[A-Za-z0-9_/.-]+\.(c|h|py|sh|md)\>' |
    awk -F: '{ path = $NF; sub(/^[^a-z]/, "", path); print path, $1 ":" $2 }' | sort -u | while read -r path place; do
    [ -e "$path" ] || echo "$place: $path"
done >"$work/paths"
report "paths in texts lead to files" "$work/paths"

grep -E '\.md$' "$work/files" | LC_ALL=C.UTF-8 xargs grep -nE '^.{101,}' | grep -vE '^[^:]*:[0-9]*:(\||https?:)' |
    cut -c1-80 >"$work/columns"
report "100 columns in .md" "$work/columns"

tally
