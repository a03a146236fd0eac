#!/bin/sh
# Installs the distribution's packages that hotlayer needs, unless they are installed.
#
#   sh tests/packages.sh build|demo|test|reference|lint|peers [list]
#
# Needs Debian 12 or Ubuntu 22.04, or later, and root or sudo. With "list", prints the names and installs nothing.
set -eu

build="gcc make libc6-dev libcjson-dev libarchive-dev libcurl4-openssl-dev libzstd-dev libssl-dev libevent-dev libpcre2-dev
    libutf8proc-dev ca-certificates"
demo="$build curl python3 umoci runc"
test="$demo skopeo docker-registry procps time openssl buildah debootstrap busybox-static zstd python3-yaml python3-jsonschema"
reference="$build python3-venv"
peers="$build g++ cmake ninja-build python3-venv"
lint="$build clang clang-format clang-tidy cppcheck"

case "${1:-}" in
build) wanted=$build ;;
demo) wanted=$demo ;;
test) wanted=$test ;;
reference) wanted=$reference ;;
lint) wanted=$lint ;;
peers) wanted=$peers ;; # of bench/peers, bench/pack and bench/quality
*)
    echo "usage: sh tests/packages.sh build|demo|test|reference|lint|peers [list]" >&2
    exit 2
    ;;
esac
if [ "${2:-}" = list ]; then
    echo "$wanted"
    exit 0
fi

# A bare chroot has no /proc; programs of these packages and the tests look into it.
[ -e /proc/self ] || mount -t proc proc /proc || {
    echo "/proc is not mounted; as root: mount -t proc proc /proc" >&2
    exit 1
}

missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "these packages are missing, and there is no sudo to install them with:$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq >&2
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >&2
