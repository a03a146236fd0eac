#!/bin/sh
# Everything that needs the distribution's packages alone: installs them, builds, and runs all tests, containers and a
# registry included. The last line is "N passed, N failed, N skipped".
set -eu
cd "$(dirname "$0")/.."
sh tests/packages.sh test
make -j"$(nproc)" all units
HOTLAYER_IMAGE_TESTS=1 sh tests/check.sh build
