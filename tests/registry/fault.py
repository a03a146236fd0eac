#!/usr/bin/env python3
"""hotlayer against registries that misbehave: every fault is a case, and after each there are two good outcomes.

    python3 tests/registry/fault.py HOTLAYER [PART OF A CASE'S NAME]

`hotlayerd` must be next to HOTLAYER. Needs docker-registry and openssl; runs in a network namespace of its own if the
system allows it.
"""

import shutil
import sys

import fault_auth
import fault_download
import fault_upload
from faults import World
from rig import Suite, enter_namespace


def main():
    public = enter_namespace()
    suite = Suite(sys.argv[1])
    if not shutil.which("docker-registry"):
        print("skip docker-registry is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    world = World(suite, public)
    for part in (fault_upload, fault_auth, fault_download):
        part.add(suite, world)
    return suite.main(jobs=20, only=sys.argv[2] if len(sys.argv) > 2 else None)


sys.exit(main())
