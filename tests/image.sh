#!/bin/sh
# Is what `hotlayer image` writes a real image? The same digest under any circumstances; other programs read it, carry it
# to a registry and back, unpack it; and a container made of it answers a request.
#
#   tests/image.sh HOTLAYER HOTLAYERD MODEL.hot
#
# Uses skopeo, docker-registry, umoci, runc, curl and python3; what is not installed is skipped and counted.
set -u

if [ $# -ne 3 ]; then
    echo "usage: $0 HOTLAYER HOTLAYERD MODEL.hot" >&2
    exit 2
fi
hotlayer=$(realpath "$1")
hotlayerd=$(realpath "$2")
model=$(realpath "$3")
here=$(dirname "$(realpath "$0")")
run_image=$here/../examples/run-image.sh
unset SOURCE_DATE_EPOCH

work=$(mktemp -d)
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/tally.sh"
registry=''
container=''

# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    [ -z "$container" ] || kill "$container" 2>/dev/null && wait "$container" 2>/dev/null
    [ -z "$registry" ] || kill "$registry" 2>/dev/null && wait "$registry" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

equal() {
    if [ -z "$1" ] || [ "$1" != "$2" ]; then
        echo "'$1' is not '$2'"
        return 1
    fi
}
differ() {
    [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]
}
have() {
    command -v "$1" >/dev/null
}
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
# wait_for URL PID: until something answers there, at most 30 s, as long as the process lives.
wait_for() {
    tries=0
    until curl -s -o "$work/reply" "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] && kill -0 "$2" 2>/dev/null || return 1
        sleep 0.1
    done
}
image() {
    "$hotlayer" image "$model" --runtime "$hotlayerd" "$@" 2>"$work/messages" | tail -n 1
}

# --- the same inputs, the same digest ---

digest=$(image -o "oci:$work/image:one")
check "an image is written" test -n "$digest"
[ -n "$digest" ] || cat "$work/messages"
mkdir "$work/elsewhere"
again=$(cd "$work/elsewhere" && umask 077 && TZ=Asia/Kathmandu image -o oci:again)
check "another folder, umask and time zone give the same digest" equal "$again" "$digest"
again=$(image -o "oci:$work/image:one")
check "writing it again gives the same digest" equal "$again" "$digest"
dated=$(SOURCE_DATE_EPOCH=1700000000 image -o "oci:$work/image:dated")
check "SOURCE_DATE_EPOCH changes the digest" differ "$dated" "$digest"
check "and is the image's date" grep -rqs '"created":"2023-11-14T22:13:20Z"' "$work/image/blobs/sha256"
blob=$(printf '%s' "$digest" | sed 's/^sha256://')
check "the digest is that of the manifest" equal "$(sha256sum <"$work/image/blobs/sha256/$blob" | cut -c 1-64)" "$blob"
anonymous() {
    ! grep -lF -e "$work" -e "$(hostname)" "$work/image/index.json" "$work/image/blobs/sha256/$blob"
}
check "the image's documents tell nothing of this machine" anonymous
no_paths() {
    ! grep -rlF -e "$work" -e "$(realpath "$here/..")" "$work/image"
}
check "and no layer knows a path of it" no_paths

usage() {
    env "$1" "$hotlayer" image "$model" --runtime "$hotlayerd" -o "$2" "${3:---json}"
    [ $? -eq 2 ] && [ ! -e "$work/bad" ]
}
check "a bad SOURCE_DATE_EPOCH is bad usage" usage SOURCE_DATE_EPOCH=yesterday "oci:$work/bad"
check "a bad tag is bad usage" usage X=x "oci:$work/bad:-"
check "an unknown option is bad usage" usage X=x "oci:$work/bad" --unknown
refused() {
    before=$(cat "$2" 2>/dev/null)
    "$hotlayer" image "$model" --runtime "$hotlayerd" -o "$1"
    [ $? -eq 1 ] && [ "$(cat "$2" 2>/dev/null)" = "$before" ]
}
check "a folder that is no layout is refused" refused "oci:$here" "$0"

# --- other programs ---

if have skopeo; then
    seen=$(skopeo --insecure-policy inspect --format '{{.Digest}}' "oci:$work/image:one" 2>"$work/messages")
    check "skopeo inspect sees it" equal "$seen" "$digest"
    skopeo --insecure-policy inspect --config "oci:$work/image:one" >"$work/config" 2>&1
    check "skopeo reads its config" grep /usr/bin/hotlayerd "$work/config"
else
    skip "skopeo is not installed"
fi

if have skopeo && have docker-registry; then
    port=$(free_port)
    cat >"$work/registry.yml" <<EOF
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: 127.0.0.1:$port}
EOF
    docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
    registry=$!
    check "a registry runs" wait_for "http://127.0.0.1:$port/v2/" "$registry"
    remote=docker://127.0.0.1:$port/test/model:one
    check "skopeo pushes it" skopeo --insecure-policy copy --preserve-digests --dest-tls-verify=false \
        "oci:$work/image:one" "$remote"
    check "skopeo pulls it" skopeo --insecure-policy copy --preserve-digests --src-tls-verify=false \
        "$remote" "oci:$work/back:one"
    seen=$(skopeo --insecure-policy inspect --format '{{.Digest}}' "oci:$work/back:one" 2>/dev/null)
    check "and it is the same image" equal "$seen" "$digest"
else
    skip "docker-registry or skopeo is not installed"
fi

# --- a container ---

model_name=$(python3 - "$work/image/blobs/sha256/$blob" <<'EOF'
import json, sys
print(json.load(open(sys.argv[1]))["annotations"]["org.opencontainers.image.title"])
EOF
)
rootless=
[ "$(id -u)" -eq 0 ] || rootless=--rootless
if have umoci; then
    # shellcheck disable=SC2086 # empty or one word
    check "umoci unpacks it" umoci unpack $rootless --image "$work/image:one" "$work/bundle"
    folder=$(echo "$work"/bundle/rootfs/models/*)
    unpacked() {
        cmp "$model" "$folder/model.hot" || return 1
        for shard in "$model".[0-9][0-9][0-9]; do
            cmp "$shard" "$folder/model.hot${shard#"$model"}" || return 1
        done
        cmp "$hotlayerd" "$work/bundle/rootfs/usr/bin/hotlayerd"
    }
    check "and its files are what went in" unpacked
    rm -rf "$work/bundle"
else
    skip "umoci is not installed"
fi

generate() {
    body='{"model":"'$model_name'","prompt":"Once","stream":false,"options":{"num_predict":8,"temperature":0}}'
    curl -sS -X POST "http://127.0.0.1:$1/api/generate" -d "$body" >"$work/answer" && cat "$work/answer" &&
        python3 -c 'import json, sys; answer = json.load(open(sys.argv[1])); assert isinstance(answer["response"], str)' \
            "$work/answer"
}
terminate() {
    kill -TERM "$container"
    status=0
    wait "$container" || status=$?
    container=
    cat "$work/container.log"
    equal "status $status" "status 0"
}
if have umoci && have runc; then
    port=$(free_port)
    TMPDIR=$work "$run_image" "$work/image:one" "$port" >"$work/container.log" 2>&1 &
    container=$!
    if wait_for "http://127.0.0.1:$port/" "$container"; then
        ok "the container opens PORT"
        grep '^run-image:' "$work/container.log"
        check "it generates" generate "$port"
        check "SIGTERM ends it with status 0" terminate
    else
        fail "the container opens PORT"
        cat "$work/container.log"
    fi
else
    skip "umoci or runc is not installed"
fi

tally
