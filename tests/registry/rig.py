"""The tally, images to push, and hotlayer in a clean environment, for the suites of this folder.

A suite is a list of cases. They run in parallel, since they mostly wait; each has its own folder and repository, and
collects its checks. No case may reveal a secret: the rig searches for all of them in every output of hotlayer, and in
every file of its state folder.
"""

import base64
import concurrent.futures
import contextlib
import fcntl
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "image"))
import buildah  # noqa: E402

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


PUBLIC = ["203.0.113.7", "203.0.113.8"]  # of the network for documentation, which has no owner


def enter_namespace():
    """Runs this script again in its own network namespace, which has public addresses too, and no way outside. Returns
    False if the system does not allow that.
    """
    if os.environ.get("RIG_NAMESPACE") != "1":
        for options in (["--net"], ["--net", "--map-root-user"]):
            if subprocess.run(["unshare"] + options + ["true"], capture_output=True, check=False).returncode == 0:
                os.environ["RIG_NAMESPACE"] = "1"
                sys.stdout.flush()
                os.execvp("unshare", ["unshare"] + options + [sys.executable] + sys.argv)
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for name, address in [("lo", "127.0.0.1")] + [("lo:%d" % i, a) for i, a in enumerate(PUBLIC)]:
            place = struct.pack("16sHH4s8x8x", name.encode(), socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(s, 0x8916, place)  # SIOCSIFADDR
            fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", name.encode(), 0x49))  # SIOCSIFFLAGS: up, running, loopback
    return True


class Secrets:
    """All texts that may never be printed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.texts = set()

    def add(self, text):
        with self.lock:
            self.texts.add(text.encode())
        return text

    def add_login(self, user, password):
        self.add(password)
        self.add(base64.b64encode(("%s:%s" % (user, password)).encode()).decode())

    def found_in(self, data):
        with self.lock:
            return [text for text in self.texts if text in data]


class Result:
    """The result of a command. `text` is stdout and stderr together, for searching."""

    def __init__(self, status, out, err, seconds, arguments):
        self.status, self.seconds, self.arguments = status, seconds, arguments
        self.out, self.err = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        self.text = self.out + self.err
        lines = self.out.strip().split("\n")
        self.last = lines[-1]

    def __str__(self):
        return "%s -> %s after %.1f s\n%s" % (" ".join(self.arguments), self.status, self.seconds, self.text[-2500:])


class Case:
    """One case of a suite: a folder, a repository, and checks that are printed when it ends."""

    def __init__(self, suite, name):
        self.suite, self.name = suite, name
        self.repository = "rig/" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
        self.folder = os.path.join(suite.work, "cases", self.repository[4:])
        os.makedirs(self.folder, exist_ok=True)
        self.environment = {
            "HOME": self.path("home"),
            "XDG_STATE_HOME": self.path("state"),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "TMPDIR": self.path("tmp"),
        }
        for name in ("home", "state", "tmp"):
            os.makedirs(self.path(name), exist_ok=True)
        self.lines = []
        self.passed = self.failed = self.skipped = 0
        self.stack = contextlib.ExitStack()

    def path(self, name):
        return os.path.join(self.folder, name)

    def use(self, server):
        """Registers a server or process that ends with the case."""
        return self.stack.enter_context(server)

    def check(self, what, good, seen=""):
        if good:
            self.passed += 1
            self.lines.append("ok %s: %s" % (self.name, what))
        else:
            self.failed += 1
            self.lines.append("FAIL %s: %s" % (self.name, what))
            self.lines += ["     " + line for line in str(seen).split("\n")]
        return good

    def skip(self, why):
        self.skipped += 1
        self.lines.append("skip %s: %s" % (self.name, why))

    def note(self, text):
        self.lines.append("     %s: %s" % (self.name, text))

    def hotlayer(self, *arguments, seconds=90, on_start=None):
        """Runs hotlayer to its end; a time-out is a failure with status None. `on_start` gets the process."""
        return self.run([self.suite.hotlayer] + list(arguments), seconds, on_start)

    def run(self, arguments, seconds=90, on_start=None):
        begun = time.monotonic()
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.folder,
            start_new_session=True,
        )
        if on_start:
            on_start(process)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            err += b"\n(killed by the test after %d s)" % seconds
        result = Result(process.returncode, out, err, time.monotonic() - begun, [str(a) for a in arguments])
        self.search_secrets(out + err)
        return result

    def search_secrets(self, output):
        for text in self.suite.secrets.found_in(output):
            self.check("no secret in the output", False, "%r is in\n%r" % (text, output[-2000:]))
        for folder, _, names in os.walk(self.environment["XDG_STATE_HOME"]):
            for name in names:
                with contextlib.suppress(OSError), open(os.path.join(folder, name), "rb") as file:
                    for text in self.suite.secrets.found_in(file.read(1 << 20)):
                        self.check("no secret in a file", False, "%r is in %s" % (text, os.path.join(folder, name)))


class Suite:
    """Runs cases, `jobs` at a time, and prints the tally. `arguments`: the hotlayer to test."""

    def __init__(self, hotlayer):
        self.hotlayer = os.path.abspath(hotlayer)
        self.secrets = Secrets()
        self.cases = []
        self.work = tempfile.mkdtemp(prefix="rig-")
        self.stack = contextlib.ExitStack()

    def case(self, name, needs=()):
        """Decorates the function of a case: function(case)."""

        def add(function):
            self.cases.append((name, needs, function))
            return function

        return add

    def one(self, name, needs, function):
        case = Case(self, name)
        missing = [program for program in needs if not shutil.which(program)]
        why = " and ".join(missing) + " not installed" if missing else buildah.why_not() if "buildah" in needs else ""
        if why:
            case.skip(why)
            return case
        begun = time.monotonic()
        try:
            with case.stack:
                function(case)
        except Exception:  # a case with an exception has failed; the others continue
            case.check("runs to its end", False, traceback.format_exc())
        case.lines.append("     %s: %.1f s" % (name, time.monotonic() - begun))
        return case

    def main(self, jobs=8, only=None):
        """Runs the suite; returns its exit status. `only`: a part of the names of the cases to run."""
        passed = failed = skipped = 0
        chosen = [entry for entry in self.cases if not only or only in entry[0]]
        try:
            with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
                for future in [pool.submit(self.one, *entry) for entry in chosen]:
                    case = future.result()
                    passed, failed, skipped = passed + case.passed, failed + case.failed, skipped + case.skipped
                    print("\n".join(case.lines), flush=True)
        finally:
            self.stack.close()
            shutil.rmtree(self.work, ignore_errors=True)
        print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
        return 0 if not failed else 1


# ---- images ----


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    """Returns a tar of {name: bytes}, the same for the same files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def random_layers(sizes, seed):
    """Returns tars of one file of random bytes each."""
    source = random.Random(seed)
    return [tar_of({"models/part-%d" % i: source.randbytes(size)}) for i, size in enumerate(sizes)]


class Layout:
    """An image layout in `folder`, written document by document."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(os.path.join(folder, "blobs/sha256"))
        with open(os.path.join(folder, "oci-layout"), "w") as out:
            out.write('{"imageLayoutVersion":"1.0.0"}')
        self.entries = []

    def blob(self, data, media_type, digest=None):
        """Stores bytes, under a false digest if one is given; returns their descriptor."""
        digest = digest or digest_of(data)
        with open(os.path.join(self.folder, "blobs/sha256", digest[7:]), "wb") as out:
            out.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def json(self, document, media_type):
        return self.blob(json.dumps(document).encode(), media_type)

    def image(self, layers, layer_type=LAYER, diff_ids=None, tag="one", config=None, **fields):
        """Adds an image of these layers, as stored blobs; returns the manifest's descriptor."""
        diff_ids = diff_ids or [digest_of(layer) for layer in layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            **(config or {}),
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json(config, CONFIG),
            "layers": [self.blob(layer, layer_type) for layer in layers],
            **fields,
        }
        return self.tag(self.json(manifest, MANIFEST), tag)

    def tag(self, descriptor, tag):
        entry = dict(descriptor)
        if tag:
            entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
            self.entries = [e for e in self.entries if e.get("annotations") != entry["annotations"]]
        self.entries.append(entry)
        with open(os.path.join(self.folder, "index.json"), "w") as out:
            json.dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}, out)
        return descriptor


def make_image(folder, sizes, seed, **fields):
    """Makes a layout with one image of random layers, tagged "one"; returns its manifest's digest."""
    return Layout(folder).image(random_layers(sizes, seed), **fields)["digest"]


def blobs_of(folder):
    """Returns the sizes of all blobs of a layout: {digest: bytes}."""
    path = os.path.join(folder, "blobs/sha256")
    return {"sha256:" + name: os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)}
