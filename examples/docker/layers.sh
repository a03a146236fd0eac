#!/bin/sh
# Spreads a packed model over folders, each of which becomes a layer: OUT/head gets MODEL.hot, OUT/01 to OUT/N get the
# shards, in order, as evenly as possible. A Dockerfile has a fixed number of COPY lines, a model any number of shards:
# some folders may stay empty, or contain several shards.
#
#   layers.sh MODEL.hot NAME N OUT
#
# Files are linked, not copied. Run it in the RUN line that packs the model: a hard link to a file of a lower layer
# copies that file up.
set -eu
model=$1
name=$2
n=$3
out=$4

# put FOLDER FILE: links FILE under its path in the image
put() {
    mkdir -p "$out/$1/models/$name"
    ln "$2" "$out/$1/models/$name/model.hot${2#"$model"}"
}

i=1
while [ $i -le "$n" ]; do
    mkdir -p "$out/$(printf %02d $i)"
    i=$((i + 1))
done
put head "$model"
set -- "$model".[0-9][0-9][0-9]
[ -e "$1" ] || exit 0
each=$((($# + n - 1) / n))
i=0
for shard; do
    put "$(printf %02d $((i / each + 1)))" "$shard"
    i=$((i + 1))
done
