#!/bin/sh
# Installs the distribution's packages, builds, and runs all tests that need no others, with containers and a registry.
# The last line is "N passed, N failed, N skipped".
set -eu
cd "$(dirname "$0")/.."
sh tests/packages.sh test
make -j"$(nproc)" all units
HOTLAYER_IMAGE_TESTS=1 sh tests/check.sh build
