#!/bin/sh
# Takes a model through all steps: weights -> .hot -> image -> container -> a story.
#
#   sh examples/demo.sh
#
# Installs the distribution's packages that it needs (as root, or with sudo), builds hotlayer, packs the small model of
# this repository, makes an image of it, starts a container from that image and asks it for a story. Removes everything
# afterwards except the build.
set -eu
cd "$(dirname "$0")/.."

sh tests/packages.sh demo
echo "== build"
make -j"$(nproc)" all >/dev/null
for program in build/hotlayer build/hotlayerd; do
    echo "$program: $(($(stat -c %s $program) / 1000)) kB"
done

work=$(mktemp -d)
container=
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    [ -z "$container" ] || { kill -TERM "$container" && wait "$container"; } 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

echo "== pack: weights -> .hot"
build/hotlayer pack examples/demo/model --name demo -o "$work/demo.hot"
echo "== image: .hot -> OCI image"
build/hotlayer image "$work/demo.hot" -o "oci:$work/image:demo"
build/hotlayer inspect "oci:$work/image:demo"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
echo "== container on port $port"
sh examples/run-image.sh "$work/image:demo" "$port" 2>"$work/log" &
container=$!
tries=0
until curl -s -o /dev/null "http://127.0.0.1:$port/readyz"; do
    tries=$((tries + 1))
    if [ $tries -gt 600 ] || ! kill -0 "$container" 2>/dev/null; then
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.05
done

echo "== a story, token by token"
curl -sN "http://127.0.0.1:$port/api/generate" \
    -d '{"model": "demo", "prompt": "Once upon a time", "options": {"temperature": 0.5, "seed": 1}}' |
    python3 -u -c '
import json, sys

print("Once upon a time", end="")
for line in sys.stdin:
    answer = json.loads(line)
    if "error" in answer:
        sys.exit("\n" + answer["error"])
    print(answer["response"], end="", flush=True)
print("\n")
rate = answer["eval_count"] / answer["eval_duration"] * 1e9
print("%d tokens, %.0f a second" % (answer["eval_count"], rate))
'
echo "== start-up, in milliseconds since the process began"
python3 - "$work/log" <<'END'
import json, sys

phases = {}
for line in open(sys.argv[1], errors="replace"):
    try:
        phases.update(json.loads(line).get("phases", {}))
    except (ValueError, AttributeError):
        if line.startswith("run-image:"):
            print(line.rstrip())
width = max(phases.values(), default=1) or 1
for name, ms in sorted(phases.items(), key=lambda item: item[1]):
    print("%-14s %9.2f  %s" % (name, ms, "#" * max(1, round(50 * ms / width))))
END
