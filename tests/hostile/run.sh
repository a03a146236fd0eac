#!/bin/sh
# run.sh HOTLAYER: model folders and .gguf files that `hotlayer pack` must refuse (make_folders.py, make_ggufs.py).
#
# Refused means: exit status 1 within 20 seconds, a message that names the faulty file and the word in the table, and no
# output left on disk.
set -u
[ $# -eq 1 ] || { echo "usage: $0 HOTLAYER" >&2; exit 2; }
hotlayer=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/refused.sh"

python3 "$here/make_folders.py" "$work/in" && PYTHONDONTWRITEBYTECODE=1 python3 "$here/make_ggufs.py" "$work/in" || exit 1
tab=$(printf '\t')

for name in good good-sharded good-with-more good.gguf good-00001-of-00003.gguf; do
    mkdir "$work/out"
    attempt "$hotlayer" pack "$work/in/$name" -o "$work/out/x.hot"
    [ "$status" -eq 0 ] || blame "exit status $status without a fault: $(head -n 1 "$work/stderr")"
    result "$name"
    rm -rf "$work/out"
done

cat "$work/in/cases.tsv" "$work/in/ggufs.tsv" >"$work/table"
while IFS=$tab read -r name file word; do
    mkdir "$work/out"
    attempt "$hotlayer" pack "$work/in/$name" -o "$work/out/x.hot"
    expect_refusal "$file" "$word"
    left=$(ls -A "$work/out")
    [ -z "$left" ] || blame "left behind: $left"
    result "$name"
    rm -rf "$work/out"
done < "$work/table"
summary
