#!/bin/sh
# run_hot.sh HOTLAYER HOTLAYERD GOOD.hot: broken copies of a good model (make_hot.py). `hotlayer verify`, `hotlayerd
# generate`, or both, as the table says, must refuse each: exit status 1 within 20 seconds and a message that names the
# file and contains the word of the table.
set -u
[ $# -eq 3 ] || { echo "usage: $0 HOTLAYER HOTLAYERD GOOD.hot" >&2; exit 2; }
hotlayer=$1 hotlayerd=$2 good=$3
here=$(cd "$(dirname "$0")" && pwd)
. "$here/refused.sh"

python3 "$here/make_hot.py" "$good" "$work/in" || exit 1
file=$(basename "$good")
tab=$(printf '\t')

verify() { attempt "$hotlayer" verify "$1"; }
run() { attempt "$hotlayerd" generate --model "$1" -p x -n 1; }

for command in verify run; do
    "$command" "$work/in/good/$file"
    [ "$status" -eq 0 ] || blame "exit status $status for a model without fault: $(head -n 1 "$work/stderr")"
    result "$command good"
done

while IFS=$tab read -r name commands word; do
    [ "$commands" = both ] && commands="verify run"
    for command in $commands; do
        "$command" "$work/in/$name/$file"
        expect_refusal "$file" "$word"
        result "$command $name"
    done
done < "$work/in/cases-hot.tsv"
summary
