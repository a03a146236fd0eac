"""Containers for tests, as Cloud Run would run them: an unpacked image, run by runc.

A container has the image's own command, user and environment, with PORT added; a read-only root, no capabilities, no
new privileges, and the host's network. Where the host allows no containers, as in a sandbox without cgroups, chroot()
replaces them: the same files and user, and no other isolation.
"""

import json
import os
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "server"))
from serving import Process  # noqa: E402

MEMORY = 256 << 20  # the limit of a container, if the host can limit memory
ROOT = os.geteuid() == 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unpack(image, folder):
    """Unpacks DIR:TAG into `folder` with the configuration of a container; returns the folder."""
    more = [] if ROOT else ["--rootless"]
    done = subprocess.run(["umoci", "unpack", *more, "--image", image, folder], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    shutil.copy(os.path.join(folder, "config.json"), os.path.join(folder, "umoci.json"))
    return folder


def configuration(bundle, port, env, args, memory):
    """Changes umoci's configuration, which describes an interactive container with a network of its own."""
    with open(os.path.join(bundle, "umoci.json")) as f:
        config = json.load(f)
    process, linux = config["process"], config["linux"]
    env = {"PORT": str(port), **(env or {})}
    inherited = [e for e in process["env"] if e.split("=")[0] not in {"TERM", "HOME", *env}]
    process.update(terminal=False, capabilities={}, noNewPrivileges=True,
                   env=inherited + ["%s=%s" % pair for pair in env.items()])
    process["args"] += args or []
    process.pop("rlimits", None)
    config["root"]["readonly"] = True
    wanted = {"pid", "ipc", "uts", "mount"}
    dropped = {"cgroup", "bind"}
    if not ROOT:  # the only user of this namespace is the caller; with the host's network, no new /sys either
        process["user"] = {"uid": 0, "gid": 0}
        wanted.add("user")
        dropped.add("sysfs")
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] in wanted]
    linux.pop("seccomp", None)
    linux["resources"] = {"memory": {"limit": memory}} if memory else None
    linux = {k: v for k, v in linux.items() if v is not None}
    config["linux"] = linux
    config["mounts"] = [m for m in config["mounts"] if m["type"] not in dropped]
    if not ROOT:
        for mount in config["mounts"]:
            mount["options"] = [o for o in mount.get("options", []) if not o.startswith("gid=")]
    return config


CHROOT = """
import json, os, sys
process = json.load(open(sys.argv[1] + "/config.json"))["process"]
os.chroot(sys.argv[1] + "/rootfs")
os.chdir("/")
os.setgroups([])
os.setgid(process["user"]["gid"])
os.setuid(process["user"]["uid"])
os.execve(process["args"][0], process["args"], dict(e.split("=", 1) for e in process["env"]))
"""


class Container(Process):
    """One run of a bundle; parses its log as it arrives. Run only one at a time per bundle."""

    runc = None  # whether runc works here; None: not yet known
    memory = None  # and whether it limits memory
    why = ""  # it does not
    count = 0

    def __init__(self, bundle, env=None, args=None, port=None, chroot=False):
        self.bundle, self.asked_port = bundle, port or free_port()
        if Container.runc is None:
            Container.find_out(bundle)
        config = configuration(bundle, self.asked_port, env, args, MEMORY if Container.memory else None)
        with open(os.path.join(bundle, "config.json"), "w") as f:
            json.dump(config, f)
        self.id = None
        if chroot or not Container.runc:
            super().__init__([sys.executable, "-c", CHROOT, bundle])
            return
        Container.count += 1
        self.id = "hotlayer-test-%d-%d" % (os.getpid(), Container.count)
        super().__init__(self.command("run", "--bundle", bundle, self.id), stdout=subprocess.DEVNULL)

    def command(self, *words):
        return ["runc", "--root", os.path.join(self.bundle, "state"), "--log", os.path.join(self.bundle, "runc.log"),
                *words]

    @classmethod
    def find_out(cls, bundle):
        """Runs `hotlayerd --version` in a container, with a memory limit, and without one if that fails."""
        cls.runc = cls.memory = False
        if not shutil.which("runc"):
            cls.why = "runc is not installed"
            return
        if not os.path.isdir("/sys/fs/cgroup"):
            cls.why = "/sys/fs/cgroup is not there"
            return
        state = os.path.join(bundle, "state")
        for memory in (MEMORY, None):
            config = configuration(bundle, 0, None, None, memory)
            config["process"]["args"] = [config["process"]["args"][0], "--version"]
            with open(os.path.join(bundle, "config.json"), "w") as f:
                json.dump(config, f)
            command = ["runc", "--root", state, "run", "--bundle", bundle, "hotlayer-test-%d" % os.getpid()]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            if done.returncode == 0 and done.stdout.startswith("hotlayerd"):
                cls.runc, cls.memory = True, memory is not None
                return
            cls.why = done.stderr.strip()[-300:]

    def pid(self):
        """Returns the server's process as the host sees it."""
        if not self.id:
            return self.process.pid
        state = subprocess.run(self.command("state", self.id), capture_output=True, text=True, check=True)
        return json.loads(state.stdout)["pid"]

    def end(self, seconds=30):
        status = super().end(seconds)
        if self.id:
            subprocess.run(self.command("delete", "--force", self.id), stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        return status
