#!/bin/sh
# The programs' command lines: exit status, output on stdout and stderr, files left on disk.
#
#   sh tests/commands/cli.sh BUILD
set -u
hotlayer=$1/hotlayer hotlayerd=$1/hotlayerd
model=tests/oracle/fixtures/bf16-tied
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/../tally.sh"

# fails NAME: counts a failure, and prints the last command's output.
fails() {
    fail "$1"
    sed 's/^/     out: /' "$work/out" | head -n 5
    sed 's/^/     err: /' "$work/err" | head -n 5
}
# exits NAME STATUS COMMAND...: runs the command and checks its status; leaves its output in $work/out and $work/err.
exits() {
    what=$1 want=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    if [ $got = "$want" ]; then ok "$what"; else fails "$what: exit $got instead of $want"; fi
}
# says NAME FILE PATTERN
says() {
    if grep -q -e "$3" "$work/$2"; then ok "$1"; else fails "$1: no '$3'"; fi
}
silent() {
    if [ -s "$work/$2" ]; then fails "$1: not empty"; else ok "$1"; fi
}
same() {
    if cmp -s "$2" "$3"; then ok "$1"; else fails "$1: $2 and $3 differ"; fi
}
# holds NAME CONDITION...
holds() {
    what=$1
    shift
    if "$@"; then ok "$what"; else fails "$what"; fi
}

# full COMMAND...: its stdout is a device without room.
full() {
    "$@" >/dev/full
}

for program in "$hotlayer" "$hotlayerd"; do
    name=$(basename "$program")
    exits "$name --version" 0 "$program" --version
    says "$name --version" out "^$name [0-9]"
    exits "$name --help" 0 "$program" --help
    silent "$name --help on stderr" err
    exits "$name alone" 2 "$program"
    silent "$name alone on stdout" out
    exits "$name nonsense" 2 "$program" nonsense
    says "$name nonsense" err "^$name: unknown command 'nonsense'"
    exits "$name to a full disk" 1 full "$program" --help
    says "$name to a full disk says so" err "^$name: cannot write to standard output"
done

# without_reader NAME COMMAND...: stdout is a pipe whose reader has left.
without_reader() {
    what=$1
    shift
    exits "$what ends by SIGPIPE" 0 python3 -c '
import os, subprocess, sys
reader, writer = os.pipe()
os.close(reader)
status = subprocess.run(sys.argv[1:], stdout=writer).returncode
sys.exit(0 if status == -13 else f"status {status}")' "$@"
    silent "$what says nothing" err
}
without_reader "hotlayer synth --list | true" "$hotlayer" synth --list
without_reader "hotlayerd doctor | true" "$hotlayerd" doctor
for command in pack image push pull inspect verify synth; do
    exits "hotlayer $command --help" 0 "$hotlayer" $command --help
    says "hotlayer $command --help shows examples" out '^examples\?:'
    exits "hotlayer $command alone" 2 "$hotlayer" $command
    exits "hotlayer $command --nonsense" 2 "$hotlayer" $command --nonsense x
    says "hotlayer $command names the option" err "unknown option '--nonsense'"
    says "hotlayer $command points to its help" err "hotlayer $command --help"
    exits "hotlayer $command -h" 0 "$hotlayer" $command -h
done
for command in serve generate logits tokenize bench doctor; do
    exits "hotlayerd $command --help" 0 "$hotlayerd" $command --help
    says "hotlayerd $command --help shows examples" out '^examples\?:'
    exits "hotlayerd $command --nonsense" 2 "$hotlayerd" $command --nonsense
    says "hotlayerd $command names the option" err "unknown option '--nonsense'"
    says "hotlayerd $command points to its help" err "hotlayerd $command --help"
    exits "hotlayerd $command --model without a value" 2 "$hotlayerd" $command --model
    says "hotlayerd $command names the option without a value" err "'--model' needs a value"
done

exits "pack" 0 "$hotlayer" pack $model -o "$work/m.hot"
says "pack prints the path on stdout" out "^$work/m.hot\$"
exits "pack --json" 0 "$hotlayer" pack $model -o "$work/n.hot" --json
says "pack --json" out '"shards":1'
says "pack --json tells the quantization" out '"quantization":"q4"'
same "pack twice: the same head" "$work/m.hot" "$work/n.hot"
same "pack twice: the same shard" "$work/m.hot.001" "$work/n.hot.001"
exits "pack with one thread" 0 "$hotlayer" pack $model -o "$work/n.hot" --threads 1
same "the same with one thread" "$work/m.hot.001" "$work/n.hot.001"
exits "pack --name" 0 "$hotlayer" pack $model -o "$work/n.hot" --name gemma3:4b
exits "inspect" 0 "$hotlayer" inspect "$work/n.hot"
says "inspect shows the name" out '"gemma3:4b"'
says "inspect lists the program" out 'attend '
says "inspect lists the tensors" out 'blocks.0.attn.qkv '
exits "inspect --json" 0 "$hotlayer" inspect "$work/n.hot" --json
cp "$work/out" "$work/json"
without_reader "inspect --json | true" "$hotlayer" inspect --json "$work/n.hot"
exits "inspect --json to a full disk" 1 full "$hotlayer" inspect --json "$work/n.hot"
says "inspect --json to a full disk says so" err '^hotlayer: cannot write to standard output'
exits "options after the operand, joined and shortened" 0 "$hotlayer" inspect "$work/n.hot" --bri --jobs=2
exits "-- ends the options" 1 "$hotlayer" inspect -- --json
exits "inspect --json=1" 2 "$hotlayer" inspect "$work/n.hot" --json=1
says "inspect --json=1" err "'--json' takes no value"
exits "inspect of two files" 2 "$hotlayer" inspect "$work/n.hot" "$work/m.hot"
says "inspect of two files" err "unexpected argument '.*m.hot'; expected one MODEL.hot"
exits "inspect --json is JSON" 0 python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$work/json"
exits "verify" 0 "$hotlayer" verify "$work/m.hot"
says "verify" out good

# Images: arguments that mean a file, a layout or a reference; and a model pushed and pulled.
for source in hf://org/name ollama://llama gs://bucket/path https://example.org/m.gguf; do
    exits "pull $source" 2 "$hotlayer" pull "$source"
    says "pull $source says what is not supported yet" err "${source%%://*}:// is not supported yet"
done
exits "pull of an invalid reference" 2 "$hotlayer" pull nonsense
exits "pull --jobs 0" 2 "$hotlayer" pull oci:x --jobs 0
exits "pull --jobs without a value" 2 "$hotlayer" pull oci:x --jobs
exits "inspect of a name without a host" 2 "$hotlayer" inspect oci://library/debian
says "inspect of a name without a host says how to write it" err "docker.io/library/debian"
exits "inspect of an archive" 2 "$hotlayer" inspect oci-archive:x.tar
exits "verify of a missing layout" 1 "$hotlayer" verify "oci:$work/none"
exits "an image" 0 "$hotlayer" image "$work/n.hot" --runtime "$hotlayerd" -o "oci:$work/image:v1"
exits "pull" 0 "$hotlayer" pull "oci:$work/image" -o "$work/pulled"
says "pull ends with the path" out "^$work/pulled/model.hot$"
same "pull writes the head" "$work/pulled/model.hot" "$work/n.hot"
same "pull writes the weights" "$work/pulled/model.hot.001" "$work/n.hot.001"
exits "pull --json again" 0 "$hotlayer" pull "oci:$work/image:v1" -o "$work/pulled" --json
says "pull --json" out '"path":"'"$work/pulled/model.hot"'"'
exits "pull --json of a missing tag" 1 "$hotlayer" pull "oci:$work/image:v2" -o "$work/pulled2" --json
silent "a failed pull on stdout" out
holds "a failed pull makes no folder" [ ! -e "$work/pulled2" ]
exits "pull into a layout" 0 "$hotlayer" pull "oci:$work/image" -o "oci:$work/copy"
exits "verify a layout" 0 "$hotlayer" verify "oci:$work/copy:v1"
exits "inspect a layout" 0 "$hotlayer" inspect "oci:$work/copy" --brief
says "inspect a layout shows the model" out '"gemma3:4b"'
exits "inspect --json of a layout" 0 "$hotlayer" inspect "oci:$work/copy" --json
cp "$work/out" "$work/image.json"
exits "inspect --json of an image has that of the file" 0 python3 -c '
import json, sys
assert json.load(open(sys.argv[1]))["models"] == [json.load(open(sys.argv[2]))]' "$work/image.json" "$work/json"
for name in '' .hidden a/b '../x' 'a b'; do
    exits "pack --name '$name'" 2 "$hotlayer" pack $model -o "$work/x.hot" --name "$name"
done
exits "pack --quant nonsense" 2 "$hotlayer" pack $model -o "$work/x.hot" --quant q3
exits "pack --shard-size nonsense" 2 "$hotlayer" pack $model -o "$work/x.hot" --shard-size 1X
exits "pack --shard-size 3G" 2 "$hotlayer" pack $model -o "$work/x.hot" --shard-size 3G
exits "pack a missing folder" 1 "$hotlayer" pack "$work/nowhere" -o "$work/x.hot"
says "it is named" err "$work/nowhere"
exits "pack a file" 1 "$hotlayer" pack "$model/config.json" -o "$work/x.hot"
says "the message names what can be packed" err 'folder or a .gguf file'
exits "pack from the hub" 1 "$hotlayer" pack hf://org/name -o "$work/x.hot"
says "the message names what can be packed" err 'folders and .gguf files only'
exits "pack into a missing folder" 1 "$hotlayer" pack $model -o "$work/nowhere/x.hot"
mkdir "$work/taken.hot"
exits "pack onto a folder" 1 "$hotlayer" pack $model -o "$work/taken.hot"
cp -r $model "$work/own"
exits "pack onto the model's own weights" 1 "$hotlayer" pack "$work/own" -o "$work/own/model.safetensors"
says "it says so" err 'is not a .hot file'
same "they are still there" "$work/own/model.safetensors" $model/model.safetensors
: >"$work/own/empty.hot"
exits "pack onto an empty file" 0 "$hotlayer" pack "$work/own" -o "$work/own/empty.hot"
exits "pack onto a full disk" 1 sh -c "ulimit -f 8; trap '' XFSZ; exec $hotlayer pack $model -o $work/x.hot"
says "the message says so" err 'cannot be written'
if ls "$work"/x.hot* "$work"/*.part >/dev/null 2>&1; then fails "failed commands leave nothing"; else ok "failed commands leave nothing"; fi

exits "pack with several shards" 0 "$hotlayer" pack tests/oracle/fixtures/f16-sharded -o "$work/s.hot" --quant keep --shard-size 64K
holds "there are three" [ -e "$work/s.hot.003" ]
exits "pack the same with one shard" 0 "$hotlayer" pack tests/oracle/fixtures/f16-sharded -o "$work/s.hot"
holds "stale shards are removed" [ ! -e "$work/s.hot.002" ]

mkdir "$work/models"
cp "$work/m.hot" "$work/m.hot.001" "$work/models"
exits "a folder as a model" 0 "$hotlayerd" generate --model "$work/models" -p a -n 3 --temp 0
cp "$work/out" "$work/from-folder"
exits "generate" 0 "$hotlayerd" generate --model "$work/m.hot" -p a -n 3
same "generate is greedy by default" "$work/out" "$work/from-folder"
silent "generate says nothing on stderr" err
exits "generate --seed 1" 0 "$hotlayerd" generate --model "$work/m.hot" -p a -n 20 --temp 9 --top-p 1 --seed 1
cp "$work/out" "$work/seed-1"
exits "generate --seed 1 again" 0 "$hotlayerd" generate --model "$work/m.hot" -p a -n 20 --temp 9 --top-p 1 --seed 1
same "a seed gives the same text" "$work/out" "$work/seed-1"
exits "generate --seed 2" 0 "$hotlayerd" generate --model "$work/m.hot" -p a -n 20 --temp 9 --top-p 1 --seed 2
holds "another seed gives another text" [ "$(cat "$work/out")" != "$(cat "$work/seed-1")" ]
without_reader "generate | true" "$hotlayerd" generate --model "$work/m.hot" -p a -n 3
without_reader "generate --json | true" "$hotlayerd" generate --model "$work/m.hot" -p a -n 3 --json
exits "generate --json to a full disk" 1 full "$hotlayerd" generate --json --model "$work/m.hot" -p a -n 3
says "generate --json to a full disk says so" err '^hotlayerd: cannot write to standard output'
exits "generate --json" 0 "$hotlayerd" generate --model "$work/m.hot" -p a -n 3 --json
says "generate --json" out '"finish":"length"'
exits "pack a model that generates random bytes" 0 "$hotlayer" pack tests/oracle/fixtures/f32-mha -o "$work/wild.hot"
wild() {
    exits "generate wildly $*" 0 "$hotlayerd" generate --model "$work/wild.hot" -p a -n 60 --temp 9 --top-p 1 --top-k 0 --seed 3 --kernels scalar "$@"
}
wild
mv "$work/out" "$work/plain"
wild --json
mv "$work/out" "$work/json"
exits "--json has every character, NUL too" 0 python3 -c '
import json, sys
text = json.load(open(sys.argv[1]))["text"].encode()
assert b"\0" in text and text + b"\n" == open(sys.argv[2], "rb").read()' "$work/json" "$work/plain"
exits "serve of two models" 2 "$hotlayerd" serve --model a --model b
says "serve of two models names both" err "twice, 'a' and 'b'"
exits "generate without a prompt" 2 "$hotlayerd" generate --model "$work/m.hot"
exits "generate without a model" 2 "$hotlayerd" generate -p a
exits "generate --temp x" 2 "$hotlayerd" generate --model "$work/m.hot" -p a --temp x
exits "generate --ctx too large" 1 "$hotlayerd" generate --model "$work/m.hot" -p a --ctx 1000000
exits "generate: a prompt longer than the context" 1 "$hotlayerd" generate --model "$work/m.hot" -p 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' --ctx 8
says "the message says so" err 'does not fit in the context of 8'
cp -r tests/oracle/fixtures/f32-mha "$work/no-bos"
echo '{"add_bos_token": false}' >"$work/no-bos/tokenizer_config.json"
exits "pack a model without a BOS token" 0 "$hotlayer" pack "$work/no-bos" -o "$work/no-bos.hot"
exits "generate from an empty prompt" 1 "$hotlayerd" generate --model "$work/no-bos.hot" -p ''
says "the message says so" err 'the prompt is empty'
cp -r tests/oracle/fixtures/f32-mha "$work/chat"
echo '{{ messages }}' >"$work/chat/chat_template.jinja"
exits "pack a model with a chat template in a file of its own" 0 "$hotlayer" pack "$work/chat" -o "$work/chat.hot"
exits "generate with the template" 0 "$hotlayerd" generate --model "$work/chat.hot" -p a -n 1
exits "generate with the template, reported in JSON" 0 "$hotlayerd" generate --model "$work/chat.hot" -p a -n 1 --json
sed 's/.*"prompt_tokens":\([0-9]*\).*/\1/' "$work/out" >"$work/tokens"
exits "generate with --system" 0 "$hotlayerd" generate --model "$work/chat.hot" --system b -p a -n 1 --json
holds "the prompt is longer" [ "$(sed 's/.*"prompt_tokens":\([0-9]*\).*/\1/' "$work/out")" -gt "$(cat "$work/tokens")" ]
exits "a prompt that is not UTF-8, for the template" 2 "$hotlayerd" generate --model "$work/chat.hot" -p "$(printf '\360\237')" -n 1
says "the message says so" err 'not UTF-8'
exits "a prompt that is not UTF-8, with --raw" 0 "$hotlayerd" generate --model "$work/chat.hot" -p "$(printf '\360\237')" -n 1 --raw
exits "--system with --raw" 1 "$hotlayerd" generate --model "$work/chat.hot" --system b -p a -n 1 --raw
exits "--system without a template" 1 "$hotlayerd" generate --model "$work/m.hot" --system b -p a -n 1
says "the message says so" err 'chat template'
echo '{% frobnicate %}' >"$work/bad.jinja"
exits "pack with an invalid template" 1 "$hotlayer" pack tests/oracle/fixtures/f32-mha -o "$work/x.hot" --template "$work/bad.jinja"
says "the message names the unknown filter" err 'frobnicate'
exits "generate with --raw" 0 "$hotlayerd" generate --model "$work/chat.hot" -p a -n 1 --raw
exits "generate --kernels nonsense" 1 "$hotlayerd" generate --model "$work/m.hot" -p a --kernels neon
exits "generate --device cuda" 1 "$hotlayerd" generate --model "$work/m.hot" -p a --device cuda

cp -r "$model" "$work/mute"
rm "$work/mute"/tokenizer*
exits "pack a model without a tokenizer" 0 "$hotlayer" pack "$work/mute" -o "$work/mute.hot"
says "pack warns about the missing tokenizer" err "no tokenizer found: mute computes logits from token numbers, but reads and writes no text"
exits "logits without a tokenizer" 0 "$hotlayerd" logits --model "$work/mute.hot" --tokens 1,2,3
says "logits without a tokenizer" out '{"logits":\['
exits "no text without a tokenizer" 1 "$hotlayerd" tokenize --model "$work/mute.hot" abc
says "no text without a tokenizer" err 'packed without a tokenizer'
exits "nor a prompt" 1 "$hotlayerd" generate --model "$work/mute.hot" -p abc -n 1
touch "$work/mute/vocab.json"
exits "an unknown kind of tokenizer is an error" 1 "$hotlayer" pack "$work/mute" -o "$work/mute2.hot"
says "an unknown kind of tokenizer is an error" err 'vocab.json without a tokenizer.json is not supported'

exits "tokenize" 0 "$hotlayerd" tokenize --model "$work/m.hot" abc
says "tokenize" out '^\[[0-9,]*\]$'
exits "tokenize nothing" 0 "$hotlayerd" tokenize --model "$work/m.hot" ''
says "tokenize nothing" out '^\[\]$'
exits "logits" 0 "$hotlayerd" logits --model "$work/m.hot" --tokens 1,5,9
cp "$work/out" "$work/last"
for way in map stage auto; do
    exits "logits --load $way" 0 "$hotlayerd" logits --model "$work/s.hot" --tokens 1,5,9 --all --load $way
    cp "$work/out" "$work/logits-$way"
done
same "staged weights are the mapped ones" "$work/logits-map" "$work/logits-stage"
same "so are those of auto" "$work/logits-map" "$work/logits-auto"
exits "logits --load nonsense" 2 "$hotlayerd" logits --model "$work/s.hot" --tokens 1 --load cache
says "logits --load nonsense" err "auto, map or stage"
exits "logits --batch 1" 0 "$hotlayerd" logits --model "$work/m.hot" --tokens 1,5,9 --batch 1
same "decoding one by one equals prefill" "$work/out" "$work/last"
for tokens in '' ',' '1,' ,1 1,,2 x -1 99999999999; do
    exits "logits --tokens '$tokens'" 2 "$hotlayerd" logits --model "$work/m.hot" --tokens "$tokens"
done
exits "logits of a token beyond the vocabulary" 1 "$hotlayerd" logits --model "$work/m.hot" --tokens 99999
exits "bench" 0 "$hotlayerd" bench --model "$work/m.hot" -p 16 -n 4 -b 2 --json
says "bench" out '"decode_tokens_per_second":[0-9]'
exits "doctor" 0 "$hotlayerd" doctor --model "$work/m.hot"
says "doctor" out '^ok *model'
# shellcheck disable=SC2016 # the inner shell's
exits "with stderr closed" 1 sh -c 'exec "$0" doctor --model /proc/self/fd/2 2>&-' "$hotlayerd"
says "no file of ours takes its number" out '/proc/self/fd/2: not a regular file'
exits "doctor with a broken model" 1 "$hotlayerd" doctor --model "$work/m.hot.001"

tally
