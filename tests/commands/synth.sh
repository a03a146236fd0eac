#!/bin/sh
# The command line of hotlayer synth. Real models are large: this begins one and interrupts it
# (tests/unit/pack/synth/test_synth.c writes narrow ones whole).
#
#   sh tests/commands/synth.sh BUILD
set -u
hotlayer=$1/hotlayer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/../tally.sh"

# exits STATUS COMMAND...
exits() {
    want=$1
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    [ $got = "$want" ] && return 0
    echo "exit $got instead of $want"
    cat "$work/err"
    return 1
}
# refuses STATUS PATTERN ARGUMENTS...: checks the status, and the pattern in the message.
refuses() {
    want=$1 pattern=$2
    shift 2
    exits "$want" "$hotlayer" synth "$@" && [ ! -s "$work/out" ] && grep -e "$pattern" "$work/err"
}
listed() {
    exits 0 "$hotlayer" synth --list && grep '^llama3.2-1b *1235814400 parameters *2.47 GB$' "$work/out"
}
listed_json() {
    exits 0 "$hotlayer" synth --list --json && python3 -c '
import json, sys
models = {model["name"]: model for model in json.load(open(sys.argv[1]))}
assert models["gemma2-9b"] == {"name": "gemma2-9b", "parameters": 9241705984, "bytes": 18483411968, "blocks": 42}' \
        "$work/out"
}
free_kb() {
    df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'
}

check "--list" listed
check "--list --json" listed_json
check "--list with a model" refuses 2 'takes no model' --list llama3.2-1b
check "an unknown model" refuses 2 "unknown model 'llama'" llama -o "$work/x"
check "without -o" refuses 2 '-o FOLDER is missing' llama3.2-1b
check "more blocks than there are" refuses 2 'llama3.2-1b has 16' llama3.2-1b -o "$work/x" --blocks 17
check "--seed nonsense" refuses 2 'must be a whole number' llama3.2-1b -o "$work/x" --seed x
check "into a folder that is not there" refuses 1 'cannot be created' llama3.2-1b -o "$work/no/where"
mkdir "$work/full"
echo precious >"$work/full/config.json"
check "into a folder with something in it" refuses 1 'contains config.json' llama3.2-1b -o "$work/full"
check "which is left as it was" [ "$(cat "$work/full/config.json")" = precious ]
echo >"$work/file"
check "into a file" refuses 1 'cannot be opened as a folder' llama3.2-1b -o "$work/file"
check "no file is made" [ ! -e "$work/x" ]

if [ "$(free_kb "$work")" -gt 1200000 ]; then
    # shellcheck disable=SC2016 # the inner shell's
    check "onto a full disk" exits 1 sh -c 'ulimit -f 8; trap "" XFSZ; exec "$0" synth qwen2-0.5b -o "$1"' \
        "$hotlayer" "$work/x"
    check "the message says so" grep 'cannot be written: File too large' "$work/err"
    check "it leaves nothing" [ ! -e "$work/x" ]
    # Not with &: a shell's background jobs ignore interrupts, and so do their children.
    python3 - "$hotlayer" "$work/x" >"$work/status" 2>&1 <<'END'
import os, signal, subprocess, sys, time
program = subprocess.Popen([sys.argv[1], "synth", "qwen2-0.5b", "-o", sys.argv[2], "--threads", "1"],
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
while program.poll() is None and not os.path.exists(sys.argv[2] + "/model.safetensors.part"):
    time.sleep(0.001)
program.send_signal(signal.SIGINT)
print(program.wait())
END
    check "interrupted, it ends as interrupted" grep -x -e -2 "$work/status"
    check "interrupted, it leaves nothing" [ ! -e "$work/x" ]
else
    skip "writing: less than 1.2 GB free for scratch files"
fi
small=/dev/shm
room=$(free_kb $small)
if [ "${room:-99999999}" -lt 52000000 ]; then
    check "more than the disk has room for" refuses 1 'gemma3-27b needs 54.0 GB, but only' gemma3-27b -o "$small/x.$$"
    check "it leaves nothing" [ ! -e "$small/x.$$" ]
else
    skip "more than the disk has room for: $small has room for all"
fi

tally
