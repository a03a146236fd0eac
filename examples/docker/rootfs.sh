#!/bin/sh
# Collects the files that an image FROM scratch needs to run a program: the program, its loader and libraries, and /tmp.
#
#   rootfs.sh PROGRAM DIR
#
# `hotlayer image` finds them without running anything; in a Dockerfile the machine's own loader can be asked.
set -eu
program=$1
root=$2
mkdir -p "$root/usr/bin"
mkdir -m 1777 "$root/tmp"
cp "$program" "$root/usr/bin/"
libc=$(ldd "$program" | sed -n 's/.*=> \(.*\/libc\.so\.6\) .*/\1/p')
# The last four are for NVIDIA's libcuda.so.1: the host provides that library, but not these.
for file in $(ldd "$program" | grep -o '/[^ ]*') \
    "${libc%/*}/libdl.so.2" "${libc%/*}/libm.so.6" "${libc%/*}/libpthread.so.0" "${libc%/*}/librt.so.1"; do
    [ -e "$root$file" ] || cp -L --parents "$file" "$root"
done
