"""Whether buildah can make an image here, found by making one."""

import functools
import json
import os
import shutil
import subprocess
import tempfile


@functools.lru_cache(maxsize=None)
def why_not():
    """Returns "" if buildah works, else a reason. In a bare chroot "/" is not a mount point, and buildah fails."""
    if not shutil.which("buildah"):
        return "buildah not installed"
    with tempfile.TemporaryDirectory() as folder:
        policy = os.path.join(folder, "policy.json")
        with open(policy, "w", encoding="utf-8") as file:
            json.dump({"default": [{"type": "insecureAcceptAnything"}]}, file)
        os.mkdir(os.path.join(folder, "context"))
        with open(os.path.join(folder, "context", "file"), "w", encoding="utf-8") as file:
            file.write("one layer\n")
        made = subprocess.run(
            ["buildah", "--root", folder + "/storage", "--runroot", folder + "/run", "--storage-driver", "vfs", "bud",
             "--isolation=chroot", "--signature-policy", policy, "-f", "-", folder + "/context"],
            input="FROM scratch\nCOPY file /file\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        if made.returncode == 0:
            return ""
        lines = made.stdout.strip().splitlines() or ["exit %d" % made.returncode]
        return "buildah cannot make an image here: " + next((line for line in lines if "error" in line.lower()), lines[-1])[:200]
