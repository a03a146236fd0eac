#!/bin/sh
# The files that an image FROM scratch needs to run a program: itself, its loader, its libraries, and /tmp.
#
#   rootfs.sh PROGRAM DIR
#
# `hotlayer image` finds them without running anything; a Dockerfile has the machine's own loader to ask.
set -eu
program=$1
root=$2
mkdir -p "$root/usr/bin"
mkdir -m 1777 "$root/tmp"
cp "$program" "$root/usr/bin/"
libc=$(ldd "$program" | sed -n 's/.*=> \(.*\/libc\.so\.6\) .*/\1/p')
# The last four are what NVIDIA's libcuda.so.1 asks for: it comes with the host, they do not.
for file in $(ldd "$program" | grep -o '/[^ ]*') \
    "${libc%/*}/libdl.so.2" "${libc%/*}/libm.so.6" "${libc%/*}/libpthread.so.0" "${libc%/*}/librt.so.1"; do
    [ -e "$root$file" ] || cp -L --parents "$file" "$root"
done
