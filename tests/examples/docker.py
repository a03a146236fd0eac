#!/usr/bin/env python3
"""Builds the Dockerfiles of examples/docker with buildah, and runs them with runc.

    python3 tests/examples/docker.py HOTLAYERD MODEL.hot CACHE

An image that debootstrap makes from apt's configured mirror replaces Debian's image after FROM; it stays in the folder
CACHE. Images pass through docker-registry on the loopback interface. Needs buildah (as root), debootstrap,
docker-registry, skopeo, umoci and runc: checks without their program are skipped and counted. The last line is "N
passed, N failed, N skipped".
"""

import glob
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, folder) for folder in ("image", "server")]
import buildah  # noqa: E402
from container import Container, free_port, unpack  # noqa: E402
from serving import HOTLAYERD, ask, check, tally  # noqa: E402

CACHE = os.path.abspath(sys.argv[3])
REPOSITORY = os.path.dirname(TESTS)
HOTLAYER = os.path.join(os.path.dirname(HOTLAYERD), "hotlayer")
SHARDS = 10  # of the demo model at --quant keep --shard-size 256K
TOKEN = "hf_" + "not_a_real_token"
skipped = 0


def skip(what):
    global skipped
    skipped += 1
    print("skip", what, flush=True)


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, **more)


def good(what, done):
    """Checks that a command succeeded; returns it."""
    check(what, done.returncode == 0, (done.returncode, done.stdout[-1500:], done.stderr[-1500:]))
    return done


# ---- the base ----


def mirror():
    """Returns debootstrap's arguments from apt's configuration, and the environment for programs other than apt."""
    targets = run("apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT)", "Created-By: Packages").stdout
    sites = [line.split() for line in targets.splitlines() if len(line.split()) == 2]
    proxies = {}
    for scheme in ("http", "https"):
        line = run("apt-config", "shell", "P", "Acquire::%s::Proxy" % scheme).stdout.strip()
        if line:
            proxies[scheme + "_proxy"] = line.split("=", 1)[1].strip("'\"")
    if not sites:
        return [], [], proxies
    components = sorted({component for site, component in sites if site == sites[0][0]})
    return [sites[0][0]], ["--components=" + ",".join(components)], proxies


def codename():
    with open("/etc/os-release") as f:
        fields = dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line)
    return fields["VERSION_CODENAME"].strip('"')


# Without overlays, each step copies the whole base: remove the files that the build does not need.
UNNEEDED = ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*", "usr/share/doc",
            "usr/share/man", "usr/share/locale", "usr/share/zoneinfo", "usr/share/perl", "usr/bin/*lto-dump*",
            "usr/lib/gcc/*/*/lto1", "usr/lib/gcc/*/*/lib*san*", "usr/lib/*/lib*san.so*", "usr/lib/*/libcrypto.a")


def make_base(folder):
    """Makes a tar of a small Debian with the packages of tests/packages.sh build. Returns None after a skip if that is
    impossible.
    """
    packages = run("sh", os.path.join(TESTS, "packages.sh"), "build", "list", check=True).stdout.split()
    name = hashlib.sha256(" ".join([codename(), *packages, *UNNEEDED]).encode()).hexdigest()[:12]
    path = os.path.join(CACHE, "base-%s.tar" % name)
    if os.path.exists(path):
        return path
    if not shutil.which("debootstrap"):
        skip("debootstrap is not installed")
        return None
    site, components, proxies = mirror()
    root = os.path.join(folder, "base")
    done = run("debootstrap", "--variant=minbase", *components, "--include=" + ",".join(packages), codename(), root,
               *site, env={**os.environ, **proxies})
    if done.returncode:
        skip("debootstrap made no base: %s" % done.stdout.strip().splitlines()[-1:])
        return None
    for pattern in UNNEEDED:
        for path_of in glob.glob(os.path.join(root, pattern)):
            shutil.rmtree(path_of) if os.path.isdir(path_of) and not os.path.islink(path_of) else os.unlink(path_of)
    os.makedirs(CACHE, exist_ok=True)
    part = path + ".part%d" % os.getpid()
    run("tar", "-C", root, "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*", "-cf", part, ".", check=True)
    os.rename(part, path)
    shutil.rmtree(root)
    return path


# ---- buildah and the registry ----


MARK = "hotlayer-docker-%d-"  # process id that made the folder


def forget_the_dead():
    """A killed run left gigabytes in memory."""
    for left in glob.glob("/dev/shm/" + MARK.replace("%d", "*") + "*"):
        owner = re.match(MARK.replace("%d", r"(\d+)"), os.path.basename(left))
        if owner and not os.path.exists("/proc/" + owner[1]):
            shutil.rmtree(left, ignore_errors=True)


def scratch():
    """Returns a folder for some gigabytes of buildah's: in memory if there is enough; None: on disk."""
    try:
        shm = os.statvfs("/dev/shm")
        with open("/proc/meminfo") as f:
            available = next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    room = min(shm.f_bavail * shm.f_frsize, available // 2)
    return "/dev/shm" if room > 8 << 30 and not shm.f_flag & os.ST_NOEXEC else None


class Builder:
    """buildah with its own storage."""

    def __init__(self, folder):
        self.folder = folder
        self.policy = buildah.policy(folder)
        self.command = buildah.command(folder)

    def run(self, verb, *words, **more):
        return run(*self.command, verb, *self.policy, *words, **more)

    def build(self, *words):
        return self.run("bud", "--isolation=chroot", "--layers", *words, cwd=REPOSITORY)


class Registry:
    def __init__(self, folder):
        self.host = "127.0.0.1:%d" % free_port()
        config = os.path.join(folder, "registry.yml")
        with open(config, "w") as f:
            json.dump({"version": "0.1", "log": {"level": "error"}, "http": {"addr": self.host},
                       "storage": {"filesystem": {"rootdirectory": os.path.join(folder, "registry")}}}, f)
        with open(os.path.join(folder, "registry.log"), "w") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
        for _ in range(600):
            try:
                urllib.request.urlopen("http://%s/v2/" % self.host).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("no registry")

    def close(self):
        self.process.terminate()
        self.process.wait()


def pull(registry, name, folder):
    """Copies the image into a layout with skopeo."""
    layout = os.path.join(folder, name.replace("/", "-").replace(":", "-"))
    done = run("skopeo", "--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false",
               "docker://%s/%s" % (registry.host, name), "oci:%s:latest" % layout)
    return good("  skopeo pulls it", done).returncode == 0 and layout


# ---- the images ----


def layers_of(layout):
    """Returns the files of each layer."""
    def document(digest):
        with open(os.path.join(layout, "blobs/sha256", digest.split(":")[1]), "rb") as f:
            return json.load(f)

    with open(os.path.join(layout, "index.json")) as f:
        manifest = document(json.load(f)["manifests"][0]["digest"])
    found = []
    for layer in manifest["layers"]:
        with tarfile.open(os.path.join(layout, "blobs/sha256", layer["digest"].split(":")[1])) as tar:
            found.append([m.name.lstrip("./") for m in tar if m.isfile()])
    return found, document(manifest["config"]["digest"])


def cloud_run(image):
    done = run(HOTLAYER, "inspect", image, "--cloud-run", "--json")
    report = json.loads(done.stdout or "{}")
    bad = [c for c in report.get("checks", []) if c["result"] != "ok"]
    check("  inspect --cloud-run passes", done.returncode == 0 and report["checks"] and not bad,
          (done, bad))


def answers(layout, folder):
    bundle = unpack(layout + ":latest", folder)
    server = Container(bundle)
    if not server.wait_log("ready"):
        check("  it starts", False, (server.log, server.other, server.end(1)))
        return
    name = json.loads(ask(server, "GET", "/api/tags")[2])["models"][0]["name"]
    status, _, data = ask(server, "POST", "/api/generate", json.dumps(
        {"model": name, "prompt": "Once", "stream": False, "options": {"num_predict": 8, "temperature": 0}}))
    check("  it starts, and generates", status == 200 and json.loads(data)["eval_count"] == 8, (status, data))
    check("  SIGTERM ends it with status 0", server.stop() == 0, server.log)
    if not Container.runc:
        skip("under runc: %s" % Container.why)


def test_dockerfile(builder, registry, folder):
    secret = os.path.join(folder, "token")
    with open(secret, "w") as f:
        f.write(TOKEN)
    done = good("Dockerfile builds", builder.build(
        "--build-arg", "BASE=localhost/base", "--build-arg", "PACK_OPTIONS=--quant keep --shard-size 256K",
        "--build-arg", "NAME=demo:docker", "--secret", "id=hf_token,src=" + secret,
        "-f", "examples/docker/Dockerfile", "-t", "model", "."))
    if done.returncode:
        return
    check("  no log contains the token", TOKEN not in done.stdout + done.stderr)
    storage = os.path.join(builder.folder, "storage")
    written = [path for place in ("vfs-images", "vfs-layers", "vfs/dir/*/run", "vfs/dir/*/root", "vfs/dir/*/tmp",
                                  "vfs/dir/*/bake", "vfs/dir/*/layers", "vfs/dir/*/src")
               for path in glob.glob(os.path.join(storage, place))]
    found = run("grep", "-rlF", TOKEN, *written)
    check("  no layer or history contains it", written and found.returncode == 1, (found.stdout, found.stderr))
    good("  buildah pushes it", builder.run("push", "--tls-verify=false", "--format", "oci", "model",
                                           "docker://%s/test/model:docker" % registry.host))
    layout = pull(registry, "test/model:docker", folder)
    if not layout:
        return
    files, config = layers_of(layout)
    weights = [f for f in files if any("model.hot." in name for name in f)]
    check("  each shard is a layer of its own, in order", weights == [
        ["models/demo:docker/model.hot.%03d" % (i + 1)] for i in range(SHARDS)], files)
    check("  so are the runtime and the head", "usr/bin/hotlayerd" in files[0] and files[1] == [
        "models/demo:docker/model.hot"] and not any("hotlayer" in name for f in files[1:] for name in f), files[:2])
    check("  it contains nothing of the build", len(files[0]) < 20, files[0])
    check("  its user is a number", config["config"]["User"] == "65532:65532", config["config"])
    cloud_run("%s/test/model:docker" % registry.host)
    answers(layout, os.path.join(folder, "bundle"))


def test_append(builder, registry, model, folder):
    done = good("Dockerfile.append builds", builder.build(
        "--build-arg", "BASE=localhost/base", "-f", "examples/docker/Dockerfile.append", "-t", "runtime", "."))
    if done.returncode:
        return
    base = "%s/test/runtime:1" % registry.host
    good("  buildah pushes it", builder.run("push", "--tls-verify=false", "--format", "oci", "runtime",
                                           "docker://" + base))
    done = good("  hotlayer image puts the weights on it", run(
        HOTLAYER, "image", model, "--base", base, "--model-only", "--push", "%s/test/appended:1" % registry.host))
    layout = done.returncode == 0 and pull(registry, "test/appended:1", folder)
    if not layout:
        return
    files, _ = layers_of(layout)
    check("  the runtime is in it once", sum("usr/bin/hotlayerd" in f for f in files) == 1 and len(files) == 3, files)
    cloud_run("%s/test/appended:1" % registry.host)
    answers(layout, os.path.join(folder, "appended"))
    bare = run(HOTLAYER, "inspect", base, "--cloud-run")
    check("  inspect --cloud-run: the runtime alone would not serve", bare.returncode == 1
          and "FAIL  model" in bare.stdout and bare.stdout.count("FAIL ") == 1, bare)


def test_index(builder, registry):
    """An index is followed to linux/amd64, and checked as well."""
    image = "%s/test/index:1" % registry.host
    for words in (("create", "both"), ("add", "--arch", "amd64", "--os", "linux", "both", "localhost/model"),
                  ("add", "--arch", "arm64", "--os", "linux", "both", "localhost/runtime"),
                  ("push", "--all", "--tls-verify=false", "--format", "oci", "both", "docker://" + image)):
        done = run(*builder.command, "manifest", words[0],
                   *(builder.policy if words[0] == "push" else []), *words[1:])
        if done.returncode:
            check("an index is pushed: %s" % " ".join(words), False, done)
            return
    done = run(HOTLAYER, "inspect", image, "--cloud-run")
    check("an index of two platforms: linux/amd64 is checked", done.returncode == 0
          and "ok    index        one of 2 entries is for linux/amd64\n" in done.stdout
          and "ok    model " in done.stdout, done)


def test_cloud_build(registry, folder):
    """Runs the script of cloudbuild.yaml in a folder that is already built."""
    path = os.path.join(REPOSITORY, "examples/cloudrun/cloudbuild.yaml")
    read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
    done = run("/usr/bin/python3", "-c", read, path)
    if done.returncode:
        skip("cloudbuild.yaml: python3-yaml is not installed")
        return
    workspace = os.path.join(folder, "workspace")
    os.mkdir(workspace)
    for name, target in (("tests", TESTS), ("examples", os.path.join(REPOSITORY, "examples")),
                         ("build", os.path.dirname(HOTLAYERD))):
        os.symlink(target, os.path.join(workspace, name))
    with open(os.path.join(workspace, "Makefile"), "w") as f:
        f.write("all:\n")
    image = "%s/test/cloudbuild:1" % registry.host
    script = json.loads(done.stdout)["steps"][-1]["script"]
    done = good("cloudbuild.yaml bakes and pushes", run("sh", "-c", script, cwd=workspace, env={
        **os.environ, "WEIGHTS": "", "NAME": "demo", "IMAGE": image, "BUILDER_OUTPUT": workspace}))
    check("  prints the verdict", "Cloud Run can run this image\n" in done.stdout, done.stdout)
    seen = run("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://" + image)
    with open(os.path.join(workspace, "output")) as f:
        check("  the digest is the step's output", f.read() == seen.stdout and seen.stdout.startswith("sha256:"), seen)


def test_layers(folder):
    """layers.sh alone, with more and fewer shards than folders."""
    for n, folders, want in ((0, 3, [0, 0, 0]), (1, 3, [1, 0, 0]), (3, 3, [1, 1, 1]), (4, 3, [2, 2, 0]),
                             (7, 3, [3, 3, 1]), (96, 16, [6] * 16)):
        work = tempfile.mkdtemp(dir=folder)
        for i in range(n + 1):
            with open(os.path.join(work, "m.hot" + (".%03d" % i if i else "")), "w") as f:
                f.write(str(i))
        out = os.path.join(work, "layers")
        done = run("sh", os.path.join(REPOSITORY, "examples/docker/layers.sh"), os.path.join(work, "m.hot"), "a:b",
                   str(folders), out)
        got = [sorted(map(os.path.basename, glob.glob(out + "/%02d/models/a:b/*" % (i + 1)))) for i in range(folders)]
        names = ["model.hot.%03d" % (i + 1) for i in range(n)]
        check("layers.sh: %d shards in %d folders" % (n, folders), done.returncode == 0 and sum(got, []) == names
              and [len(g) for g in got] == want and os.path.exists(out + "/head/models/a:b/model.hot"), (done, got))


def main():
    folder = tempfile.mkdtemp()
    forget_the_dead()
    storage = tempfile.mkdtemp(prefix=MARK % os.getpid(), dir=scratch())
    registry = None
    try:
        test_layers(folder)
        missing = [p for p in ("buildah", "docker-registry", "skopeo", "umoci") if not shutil.which(p)]
        why = ", ".join(missing) + " not installed" if missing else "not root" if os.geteuid() else buildah.why_not()
        if why:
            skip("images from Dockerfiles: " + why)
            return 0
        base = make_base(folder)
        if not base:
            return 0
        builder, registry = Builder(storage), Registry(folder)
        good("the base becomes an image", builder.run("bud", "--isolation=chroot", "-f", "-", "-t", "localhost/base",
                                                      os.path.dirname(base), input="FROM scratch\nADD %s /\n"
                                                      % os.path.basename(base)))
        test_dockerfile(builder, registry, folder)
        test_append(builder, registry, sys.argv[2], folder)
        test_index(builder, registry)
        test_cloud_build(registry, folder)
    finally:
        if registry:
            registry.close()
        shutil.rmtree(folder)
        shutil.rmtree(storage)
        print("%d passed, %d failed, %d skipped" % (tally["passed"], tally["failed"], skipped))
    return tally["failed"] != 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
