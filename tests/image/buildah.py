"""buildah with its own storage, and whether it can make an image here."""

import functools
import json
import os
import shutil
import subprocess
import tempfile


def command(folder):
    """Returns the start of a command line whose storage is in the folder."""
    return ["buildah", "--root", os.path.join(folder, "storage"), "--runroot", os.path.join(folder, "run"),
            "--storage-driver", "vfs"]


def policy(folder):
    """Writes a policy that accepts images without signatures. Returns the option that names it."""
    path = os.path.join(folder, "policy.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"default": [{"type": "insecureAcceptAnything"}]}, file)
    return ["--signature-policy", path]


@functools.lru_cache(maxsize=None)
def why_not():
    """Returns "" if buildah works, else a reason. In a bare chroot "/" is not a mount point, and buildah fails."""
    if not shutil.which("buildah"):
        return "buildah not installed"
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "context"))
        with open(os.path.join(folder, "context", "file"), "w", encoding="utf-8") as file:
            file.write("one layer\n")
        made = subprocess.run(
            [*command(folder), "bud", "--isolation=chroot", *policy(folder), "-f", "-", folder + "/context"],
            input="FROM scratch\nCOPY file /file\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        if made.returncode == 0:
            return ""
        lines = made.stdout.strip().splitlines() or ["exit %d" % made.returncode]
        return "buildah cannot make an image here: " + next((line for line in lines if "error" in line.lower()), lines[-1])[:200]
