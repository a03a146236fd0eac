#!/bin/sh
# Checks that `hotlayer image` writes a real image. It has the same digest under any circumstances; other programs read
# it, push and pull it, and unpack it; and a container of it answers a request. The same holds for an image on a base
# without a usable libc, one from an archive, and one of compressed layers.
#
#   tests/image/image.sh HOTLAYER HOTLAYERD MODEL.hot
#
# Uses skopeo, docker-registry, umoci, runc, busybox-static, zstd, curl and python3, and podman if it is installed.
# Checks whose program is not installed are skipped and counted.
set -u

if [ $# -ne 3 ]; then
    echo "usage: $0 HOTLAYER HOTLAYERD MODEL.hot" >&2
    exit 2
fi
hotlayer=$(realpath "$1")
hotlayerd=$(realpath "$2")
model=$(realpath "$3")
here=$(dirname "$(realpath "$0")")
run_image=$here/../../examples/run-image.sh
unset SOURCE_DATE_EPOCH

work=$(mktemp -d)
# shellcheck source=tests/tally.sh
. "$(dirname "$0")/../tally.sh"
registry=''
container=''
export XDG_STATE_HOME="$work/state" DOCKER_CONFIG="$work/docker-config" # not this user's

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
# wait_for URL PID: waits until the URL answers, at most 30 s, as long as the process lives.
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
check "the image's documents contain nothing of this machine" anonymous
no_paths() {
    ! grep -rlF -e "$work" -e "$(realpath "$here/../..")" "$work/image"
}
check "no layer contains a path of it" no_paths

usage() {
    env "$1" "$hotlayer" image "$model" --runtime "$hotlayerd" -o "$2" "${3:---json}"
    [ $? -eq 2 ] && [ ! -e "$work/bad" ]
}
check "a bad SOURCE_DATE_EPOCH is bad usage" usage SOURCE_DATE_EPOCH=yesterday "oci:$work/bad"
check "a bad tag is bad usage" usage X=x "oci:$work/bad:-"
check "an unknown option is bad usage" usage X=x "oci:$work/bad" --unknown
check "two places are bad usage" usage X=x "oci:$work/bad" --push=127.0.0.1:5000/test/x
digest_usage() {
    "$hotlayer" image "$model" --push "127.0.0.1:5000/x@$digest"
    [ $? -eq 2 ]
}
check "--push with a digest is bad usage" digest_usage
check "an unknown compression is bad usage" usage X=x "oci:$work/bad" --compress=gzip
check "a level that zstd lacks is bad usage" usage X=x "oci:$work/bad" --compress=zstd:20
check "a base that is not a reference is bad usage" usage X=x "oci:$work/bad" --base=debian
check "a base in an archive is bad usage" usage X=x "oci:$work/bad" "--base=oci-archive:$work/x.tar"
check "--model-only with --runtime is bad usage" usage X=x "oci:$work/bad" --model-only
refused() {
    before=$(cat "$2" 2>/dev/null)
    "$hotlayer" image "$model" --runtime "$hotlayerd" -o "$1"
    [ $? -eq 1 ] && [ "$(cat "$2" 2>/dev/null)" = "$before" ]
}
check "a folder that is not a layout is refused" refused "oci:$here" "$0"

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
    pushed=$(image --push "127.0.0.1:$port/test/pushed:one")
    check "hotlayer image --push pushes it" equal "$pushed" "$digest"
    seen=$(skopeo --insecure-policy inspect --tls-verify=false --format '{{.Digest}}' \
        "docker://127.0.0.1:$port/test/pushed:one" 2>"$work/messages")
    check "and the tag is that image" equal "$seen" "$digest"
    pushed=$(image --push "127.0.0.1:$port/test/based:one" --base "127.0.0.1:$port/test/model:one")
    check "on a base of the same registry" test -n "$pushed"
    check "whose layers are mounted" grep -E ' [1-9][0-9]* mounted' "$work/messages"
    check "hotlayer verify accepts it" "$hotlayer" verify "127.0.0.1:$port/test/based:one"
    pushed=$(image --push "127.0.0.1:$port/test/zstd:one" --compress zstd:1)
    check "compressed during the push" "$hotlayer" verify "127.0.0.1:$port/test/zstd@$pushed"
    archived=$(image -o "oci-archive:$work/remote.tar" --base "127.0.0.1:$port/test/model:one")
    check "a base of a registry goes into an archive" test -n "$archived"
    rm -f "$work/remote.tar"
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
    check "its files are the original ones" unpacked
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
# answers NAME OCI_DIR:TAG: a container of the image opens PORT, generates, and ends on a signal.
answers() {
    if ! have umoci || ! have runc; then
        skip "$1: umoci or runc is not installed"
        return
    fi
    port=$(free_port)
    TMPDIR=$work "$run_image" "$2" "$port" >"$work/container.log" 2>&1 &
    container=$!
    if wait_for "http://127.0.0.1:$port/" "$container"; then
        ok "$1: the container opens PORT"
        grep '^run-image:' "$work/container.log"
        check "$1: it generates" generate "$port"
        check "$1: SIGTERM ends it with status 0" terminate
    else
        fail "$1: the container opens PORT"
        cat "$work/container.log"
    fi
}
answers "from nothing" "$work/image:one"

# --- compressed layers ---

compressed=$(image -o "oci:$work/image:zstd" --compress zstd)
check "compressed layers make another image" differ "$compressed" "$digest"
again=$(image -o "oci:$work/again:zstd" --compress zstd:3)
check "of the same digest again" equal "$again" "$compressed"
# zstd gives the layers' DiffIDs of the config, which are the layers without compression.
unzipped() {
    python3 - "$work/image" "$compressed" "$digest" <<'EOF'
import hashlib, json, subprocess, sys

folder, compressed, plain = sys.argv[1:]
blob = lambda digest: folder + "/blobs/sha256/" + digest.split(":")[1]
manifest, other = json.load(open(blob(compressed))), json.load(open(blob(plain)))
config = json.load(open(blob(manifest["config"]["digest"])))
ids = config["rootfs"]["diff_ids"]
assert len(manifest["layers"]) == len(other["layers"]) == len(ids) > 2
for layer, diff_id, tar in zip(manifest["layers"], ids, other["layers"]):
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd", layer
    content = subprocess.run(["zstd", "-dc", "--no-progress", blob(layer["digest"])], stdout=subprocess.PIPE, check=True).stdout
    assert "sha256:" + hashlib.sha256(content).hexdigest() == diff_id == tar["digest"], layer
    assert layer["size"] < tar["size"], layer
EOF
}
if have zstd; then
    check "zstd unpacks them to the same tars" unzipped
else
    skip "zstd is not installed"
fi
check "hotlayer verify accepts it" "$hotlayer" verify "oci:$work/image:zstd"
if have skopeo; then
    # Some umoci cannot read zstd. skopeo converts the image to gzip, which proves that it is readable.
    check "skopeo reads compressed layers" skopeo --insecure-policy copy --dest-compress-format gzip --dest-compress \
        "oci:$work/image:zstd" "dir:$work/gzip"
    skopeo --insecure-policy copy "dir:$work/gzip" "oci:$work/gzip-layout:zstd" >/dev/null 2>&1
    answers "compressed" "$work/gzip-layout:zstd"
    rm -rf "$work/gzip" "$work/gzip-layout"
else
    skip "skopeo is not installed"
fi

# --- one file ---

pod="podman --root $work/podman --runroot $work/podman-run --storage-driver vfs"
# archive COMPRESSION DIGEST
archive() {
    file=$work/$1.tar
    archived=$(image -o "oci-archive:$file:one" --compress "$1")
    check "an archive ($1) holds the same image" equal "$archived" "$2"
    image -o "oci-archive:$work/again.tar:one" --compress "$1" >/dev/null
    check "and is the same file again" cmp "$file" "$work/again.tar"
    if have skopeo; then
        seen=$(skopeo --insecure-policy inspect --format '{{.Digest}}' "oci-archive:$file:one" 2>"$work/messages")
        check "skopeo inspect sees it as an OCI archive" equal "$seen" "$2"
        check "and copies it as one of Docker's" skopeo --insecure-policy copy "docker-archive:$file" \
            "oci:$work/docker-$1:one"
        check "that has the same files" "$hotlayer" verify "oci:$work/docker-$1:one"
    else
        skip "skopeo is not installed"
    fi
    if have podman && [ "$(id -u)" -eq 0 ]; then
        # shellcheck disable=SC2086 # words
        check "podman load accepts it" $pod load -i "$file"
        # shellcheck disable=SC2086
        $pod images --format '{{.Repository}}:{{.Tag}}' >"$work/loaded" 2>&1
        check "and knows its name" grep -x 'docker.io/library/[a-z0-9._-]*:one' "$work/loaded"
        # shellcheck disable=SC2086
        $pod rmi -af >/dev/null 2>&1
    else
        skip "podman is not installed, or this is not root"
    fi
}
archive none "$digest"
archive zstd "$compressed"
nothing_hidden() {
    ! find "$work" -maxdepth 1 -name '.hotlayer*' | grep .
}
check "there is nothing else next to the archives" nothing_hidden
[ -d "$work/docker-none" ] && answers "out of an archive" "$work/docker-none:one"
rm -rf "$work"/*.tar "$work"/docker-*

# --- on a base ---

# Debian's links, a program that needs no libc, and an unusable file in the place of libc: a program that uses a library
# of this base does not start.
make_base() {
    root=$work/base-root
    mkdir -p "$root/bin" "$root/etc" "$root/srv" "$root/tmp" "$root/usr/bin" "$root/usr/lib/x86_64-linux-gnu" \
        "$root/usr/lib64" && cp "$busybox" "$root/bin/busybox" && ln -s busybox "$root/bin/sh" &&
        ln -s usr/lib "$root/lib" && ln -s usr/lib64 "$root/lib64" || return 1
    for library in usr/lib64/ld-linux-x86-64.so.2 usr/lib/x86_64-linux-gnu/libc.so.6 usr/lib/x86_64-linux-gnu/libm.so.6 \
        usr/lib/x86_64-linux-gnu/libcjson.so.1; do
        echo "not a library" >"$root/$library"
    done
    tar --sort=name --owner=0 --group=0 --numeric-owner -C "$root" -cf "$work/base.tar" . &&
        umoci init --layout "$work/base" && umoci new --image "$work/base:bb" &&
        umoci raw add-layer --image "$work/base:bb" "$work/base.tar" &&
        umoci config --image "$work/base:bb" --config.env LD_LIBRARY_PATH=/lib/x86_64-linux-gnu --config.env PATH=/bin \
            --config.env GREETING=hello --config.user 1000:1000 --config.workingdir /srv --config.cmd /bin/sh \
            --config.label of.the.base=yes
}
on_base() {
    # shellcheck disable=SC2086 # empty or one word
    umoci unpack $rootless --image "$work/based:v1" "$work/bundle" || return 1
    rootfs=$work/bundle/rootfs
    [ -L "$rootfs/lib" ] && [ -L "$rootfs/lib64" ] && cmp "$busybox" "$rootfs/bin/busybox" &&
        grep -q 'not a library' "$rootfs/lib/x86_64-linux-gnu/libc.so.6" && "$rootfs/bin/busybox" true &&
        python3 - "$work/bundle/config.json" <<'EOF'
import json, sys

process = json.load(open(sys.argv[1]))["process"]
assert process["args"] == ["/usr/bin/hotlayerd", "serve"], process["args"]
assert process["cwd"] == "/srv", process["cwd"]
environment = dict(entry.split("=", 1) for entry in process["env"])
assert environment["PATH"] == "/bin" and environment["GREETING"] == "hello", environment
assert environment["LD_LIBRARY_PATH"].endswith("/nvidia/lib:/lib/x86_64-linux-gnu"), environment
EOF
}
# Turns skopeo's output with Docker's media types into a layout.
docker_base() {
    skopeo --insecure-policy copy --format v2s2 "oci:$work/base:bb" "dir:$work/docker-base" || return 1
    python3 - "$work/docker-base" "$work/schema2" <<'EOF'
import hashlib, json, os, shutil, sys

source, layout = sys.argv[1:]
blobs = layout + "/blobs/sha256/"
os.makedirs(blobs)
manifest = open(source + "/manifest.json", "rb").read()
kind = json.loads(manifest)["mediaType"]
assert kind == "application/vnd.docker.distribution.manifest.v2+json", kind
for name in os.listdir(source):
    if len(name) == 64:
        shutil.copy(source + "/" + name, blobs + name)
digest = hashlib.sha256(manifest).hexdigest()
open(blobs + digest, "wb").write(manifest)
entry = {"mediaType": kind, "digest": "sha256:" + digest, "size": len(manifest)}
json.dump({"schemaVersion": 2, "manifests": [entry]}, open(layout + "/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(layout + "/oci-layout", "w"))
EOF
}
no_docker() {
    ! grep -rlF vnd.docker "$work/on-schema2/blobs/sha256/$(printf '%s' "$converted" | cut -c 8-)"
}
busybox=$(command -v busybox || true)
if have umoci && [ -n "$busybox" ] && ! ldd "$busybox" >/dev/null 2>&1; then
    check "a base is made" make_base
    based=$(image -o "oci:$work/based:v1" --base "oci:$work/base:bb")
    check "an image on it" differ "$based" "$digest"
    again=$(image -o "oci:$work/again:based" --base "oci:$work/base:bb")
    check "has the same digest again" equal "$again" "$based"
    archived=$(image -o "oci-archive:$work/based.tar:v1" --base "oci:$work/base:bb")
    check "and in an archive" equal "$archived" "$based"
    check "hotlayer verify accepts it" "$hotlayer" verify "oci:$work/based:v1"
    check "the base's files, links and environment are there" on_base
    rm -rf "$work/bundle"
    answers "on a base without a libc" "$work/based:v1"
    if have skopeo; then
        check "the base becomes one of Docker's" docker_base
        converted=$(image -o "oci:$work/on-schema2:v1" --base "oci:$work/schema2")
        check "an image on that" test -n "$converted"
        check "it has no Docker media types" no_docker
        answers "on a base of Docker's" "$work/on-schema2:v1"
    else
        skip "skopeo is not installed"
    fi
else
    skip "umoci or busybox-static is not installed"
fi

# --- the model alone ---

"$hotlayer" image "$model" -o "oci:$work/alone:v1" --model-only >/dev/null 2>&1
only_the_model() {
    # shellcheck disable=SC2086 # empty or one word
    umoci unpack $rootless --image "$work/alone:v1" "$work/bundle" || return 1
    [ "$(ls "$work/bundle/rootfs")" = models ] && cmp "$model" "$work"/bundle/rootfs/models/*/model.hot
}
if have umoci; then
    check "an image of the model alone has its files and no others" only_the_model
    rm -rf "$work/bundle"
    "$hotlayer" image "$model" -o "oci:$work/joined:v1" --base "oci:$work/image:one" --model-only >/dev/null 2>&1
    answers "the model alone, on an image that has hotlayerd" "$work/joined:v1"
else
    skip "umoci is not installed"
fi

tally
