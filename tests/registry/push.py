#!/usr/bin/env python3
"""hotlayer and real registries without faults: push, push again, mount; others read our images, and we theirs.

    python3 tests/registry/push.py HOTLAYER [PART OF A CASE'S NAME]

`hotlayerd` must be next to HOTLAYER. Needs docker-registry and openssl, and for some cases skopeo, umoci and buildah.
"""

import hashlib
import json
import os
import shutil
import sys

from faults import PASSWORD, complains, log_in, make_model_image
from proxy import Proxy
from registries import MANIFESTS, Authority, Reader, Registry
from rig import INDEX, Layout, Suite, blobs_of, random_layers
from tokens import TokenServer

from buildah import command, policy  # rig knows its folder

suite = None
world = None


class World:
    def __init__(self):
        self.registry = suite.stack.enter_context(Registry(suite.work + "/registry"))
        self.host = self.registry.host
        self.reader = Reader(self.host)
        self.image = make_model_image(suite)
        with open(self.image + "/index.json", encoding="utf-8") as file:
            self.digest = json.load(file)["manifests"][0]["digest"]
        self.authority = Authority(suite.work)
        suite.secrets.add_login("kim", PASSWORD)
        self.locked = suite.stack.enter_context(Registry(suite.work + "/locked", self.authority, {"kim": PASSWORD}))
        self.tokens = suite.stack.enter_context(
            TokenServer(
                suite.work,
                {
                    "kim": (PASSWORD, {"": "pull,push"}),
                    "reader": (PASSWORD, {"": "pull"}),
                    None: (None, {"rig/open": "pull"}),
                },
            )
        )
        self.tokens.on_token = suite.secrets.add
        self.guarded = suite.stack.enter_context(Registry(suite.work + "/guarded", tokens=self.tokens))

    def files(self):
        """Returns the beginnings of the SHA-256 of the model's files."""
        folder, name = os.path.split(self.image + ".hot")
        return sorted(hash_of(os.path.join(folder, other)) for other in os.listdir(folder) if other.startswith(name))


def hash_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def hashes_below(folder):
    return sorted(hash_of(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names)


def reference(case, host, tag=":one"):
    return "%s/%s%s" % (host, case.repository, tag)


def push(case, host, *options, repository=None):
    return case.hotlayer(
        "push", "oci:%s:one" % world.image, "%s/%s:one" % (host, repository or case.repository), *options
    )


def works(case, host, *options):
    """Checks push, verify, inspect and pull; the pulled files must equal the pushed ones."""
    pushed = push(case, host, *options)
    case.check("push", pushed.status == 0, pushed)
    case.check("the last line is the digest", pushed.last.endswith(world.digest), pushed)
    for command in ("verify", "inspect"):
        result = case.hotlayer(command, reference(case, host), *options)
        case.check(command, result.status == 0, result)
    pull_is_right(case, host, *options)


def pull_is_right(case, host, *options):
    pulled = case.hotlayer("pull", "oci://" + reference(case, host), "-o", case.path("pulled"), *options)
    case.check("pull", pulled.status == 0, pulled)
    got = hashes_below(case.path("pulled"))
    case.check("writes the model's files", set(world.files()) <= set(got), (world.files(), got))


def skopeo(case, *arguments):
    return case.run(["skopeo", "--insecure-policy"] + list(arguments), seconds=120)


def add_ways(suite):
    @suite.case("plain")
    def _(case):
        works(case, world.host)
        case.check("the tag", world.reader.digest(case.repository, "one") == world.digest)
        case.check("no damage", world.reader.damage(case.repository, "one") == "")

    @suite.case("by digest")
    def _(case):
        works(case, world.host)
        result = case.hotlayer("verify", "%s/%s@%s" % (world.host, case.repository, world.digest))
        case.check("verify REF@DIGEST", result.status == 0, result)
        other = world.digest[:-1] + ("0" if world.digest[-1] != "0" else "1")
        complains(
            case,
            case.hotlayer("verify", "%s/%s@%s" % (world.host, case.repository, other)),
            "404|no such|not found|unknown",
            20,
            "a digest that is not there ",
        )
        complains(
            case,
            case.hotlayer("verify", reference(case, world.host, ":two")),
            "404|no such|not found|unknown",
            20,
            "a tag that is not there ",
        )

    @suite.case("image --push")
    def _(case):
        result = case.hotlayer(
            "image", world.image + ".hot", "--runtime", suite.hotlayer + "d", "--push", reference(case, world.host)
        )
        case.check("succeeds", result.status == 0, result)
        case.check("is the image that -o oci: would write", world.reader.digest(case.repository, "one") == world.digest, result)
        case.check("no damage", world.reader.damage(case.repository, "one") == "")

    @suite.case("TLS and a password", ["openssl"])
    def _(case):
        log_in(case, world.locked.host, "kim", PASSWORD)
        works(case, world.locked.host, "--ca", world.authority.ca)

    @suite.case("TLS, without a login", ["openssl"])
    def _(case):
        complains(case, push(case, world.locked.host, "--ca", world.authority.ca), "log ?in|credentials|anonymous", 20)

    @suite.case("TLS, and the password is wrong", ["openssl"])
    def _(case):
        suite.secrets.add_login("kim", "not the one")
        log_in(case, world.locked.host, "kim", "not the one")
        result = push(case, world.locked.host, "--ca", world.authority.ca)
        complains(case, result, "kim|credentials|log ?in|password", 20)
        case.check("and names the file it came from", "config.json" in result.err, result)

    @suite.case("DOCKER_CONFIG", ["openssl"])
    def _(case):
        log_in(case, world.locked.host, "kim", PASSWORD)
        os.rename(case.path("home/.docker"), case.path("elsewhere"))
        case.environment["DOCKER_CONFIG"] = case.path("elsewhere")
        works(case, world.locked.host, "--ca", world.authority.ca)

    @suite.case("podman's auth.json", ["openssl"])
    def _(case):
        log_in(case, world.locked.host, "kim", PASSWORD)
        os.rename(case.path("home/.docker/config.json"), case.path("auth.json"))
        case.environment["REGISTRY_AUTH_FILE"] = case.path("auth.json")
        works(case, world.locked.host, "--ca", world.authority.ca)

    for key in ("credHelpers", "credsStore"):

        def helper(case, key=key):
            program(
                case,
                "docker-credential-rig",
                "cat >'%s'\nprintf '{\"ServerURL\":\"\",\"Username\":\"kim\","
                "\"Secret\":\"%s\"}\\n'\n" % (case.path("asked"), PASSWORD),
            )
            configure(case, {key: {world.locked.host: "rig"} if key == "credHelpers" else "rig"})
            works(case, world.locked.host, "--ca", world.authority.ca)
            with open(case.path("asked"), encoding="utf-8") as file:
                asked = file.read().strip()
            case.check("the helper was asked for the host", asked == world.locked.host, asked)

        suite.case("a helper by " + key, ["openssl"])(helper)

    for name, script, words in (
        ("that fails", "echo 'the keychain is locked' >&2; exit 1\n", "docker-credential-rig|keychain is locked"),
        (
            "that knows nothing",
            "echo 'credentials not found in native keychain'; exit 1\n",
            "log ?in|credentials|anonymous",
        ),
        ("that says nothing", "exit 0\n", "docker-credential-rig|helper"),
        ("that says too much", "head -c 100000000 /dev/zero\n", "docker-credential-rig|helper"),
        ("that never ends", "exec sleep 100\n", "docker-credential-rig|helper|time"),
    ):

        def broken(case, script=script, words=words):
            program(case, "docker-credential-rig", script)
            configure(case, {"credsStore": "rig"})
            complains(case, push(case, world.locked.host, "--ca", world.authority.ca), words, 75)

        suite.case("a helper " + name, ["openssl"])(broken)

    @suite.case("a missing helper", ["openssl"])
    def _(case):
        configure(case, {"credHelpers": {world.locked.host: "no-such-thing"}})
        complains(
            case, push(case, world.locked.host, "--ca", world.authority.ca), "docker-credential-no-such-thing", 20
        )

    @suite.case("signed tokens", ["openssl"])
    def _(case):
        log_in(case, world.guarded.host, "kim", PASSWORD)
        works(case, world.guarded.host)

    @suite.case("signed tokens for a reader", ["openssl"])
    def _(case):
        suite.secrets.add_login("reader", PASSWORD)
        log_in(case, world.guarded.host, "reader", PASSWORD)
        complains(case, push(case, world.guarded.host), "push|denied|permission|role|allow", 20)

    @suite.case("signed tokens for anyone", ["openssl"])
    def _(case):
        log_in(case, world.guarded.host, "kim", PASSWORD)
        first = push(case, world.guarded.host, repository="rig/open")
        case.check("kim may push", first.status == 0, first)
        os.unlink(case.path("home/.docker/config.json"))
        result = case.hotlayer("verify", world.guarded.host + "/rig/open:one")
        case.check("anyone may read", result.status == 0, result)
        complains(
            case, push(case, world.guarded.host, repository="rig/open"), "log ?in|credentials|denied|anonymous", 20
        )

    @suite.case("an identity token", ["openssl"])
    def _(case):
        token = suite.secrets.add(world.tokens.identity("kim"))
        configure(case, {"auths": {world.guarded.host: {"identitytoken": token}}})
        works(case, world.guarded.host)

    @suite.case("an identity token from a helper", ["openssl"])
    def _(case):
        token = suite.secrets.add(world.tokens.identity("kim"))
        program(case, "docker-credential-rig", "printf '{\"Username\":\"<token>\",\"Secret\":\"%s\"}'\n" % token)
        configure(case, {"credsStore": "rig"})
        works(case, world.guarded.host)


def configure(case, config):
    folder = case.path("home/.docker")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as out:
        json.dump(config, out)


def program(case, name, script):
    folder = case.path("bin")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\n" + script)
    os.chmod(path, 0o755)
    case.environment["PATH"] = folder + ":" + case.environment["PATH"]


def add_again(suite):
    @suite.case("pushing again sends nothing")
    def _(case):
        proxy = case.use(Proxy(world.host))
        first = push(case, proxy.host)
        case.check("a first time", first.status == 0, first)
        total = sum(blobs_of(world.image).values())
        case.check("sends every byte once", total <= proxy.received() < total + 20000, (total, proxy.received()))
        proxy.log.clear()
        again = push(case, proxy.host)
        case.check("a second time", again.status == 0 and again.last == first.last, again)
        case.check("sends no blob", proxy.received() < 20000, proxy.received())
        case.check("and sends few requests", len(proxy.log) <= 2 * len(blobs_of(world.image)) + 4, len(proxy.log))

    @suite.case("without its state a push finds the existing blobs")
    def _(case):
        proxy = case.use(Proxy(world.host))
        push(case, proxy.host)
        shutil.rmtree(case.path("state"))
        proxy.log.clear()
        again = push(case, proxy.host)
        case.check("succeeds", again.status == 0, again)
        case.check("sends no blob", proxy.received() < 20000, proxy.received())

    @suite.case("a state folder that cannot be written")
    def _(case):
        with open(case.path("blocked"), "w", encoding="utf-8"):
            pass
        case.environment["XDG_STATE_HOME"] = case.path("blocked")
        result = push(case, world.host)
        case.check("the push succeeds", result.status == 0, result)

    @suite.case("a state folder full of nonsense")
    def _(case):
        proxy = case.use(Proxy(world.host))
        push(case, proxy.host)
        for folder, _, names in os.walk(case.path("state")):
            for name in names:
                with open(os.path.join(folder, name), "wb") as out:
                    out.write(b"\0\xff{[" * 1000)
        result = push(case, proxy.host, repository=case.repository + "-2")
        case.check("the push succeeds", result.status == 0, result)

    @suite.case("to a second repository nothing is sent")
    def _(case):
        proxy = case.use(Proxy(world.host))
        push(case, proxy.host)
        proxy.log.clear()
        second = push(case, proxy.host, repository=case.repository + "-2")
        case.check("succeeds", second.status == 0, second)
        case.check("layers are mounted", proxy.received() < 20000, proxy.received())
        case.check("no damage", world.reader.damage(case.repository + "-2", "one") == "")

    @suite.case("a mount with tokens asks for both repositories", ["openssl"])
    def _(case):
        log_in(case, world.guarded.host, "kim", PASSWORD)
        push(case, world.guarded.host)
        second = push(case, world.guarded.host, repository=case.repository + "-2")
        case.check("succeeds", second.status == 0, second)

    @suite.case("inspect reads little")
    def _(case):
        proxy = case.use(Proxy(world.host))
        push(case, proxy.host)
        for options in ([], ["--json"]):
            proxy.log.clear()
            result = case.hotlayer("inspect", reference(case, proxy.host), *options)
            case.check("succeeds", result.status == 0 and "demo" in result.out, result)
            total = sum(blobs_of(world.image).values())
            case.check("%d of %d bytes" % (proxy.sent(), total), proxy.sent() < 100000, proxy.sent())
        file = case.hotlayer("inspect", world.image + ".hot", "--json")
        remote = json.loads(result.out)
        shown = json.loads(file.out)
        missing = [key for key in shown if key not in json.dumps(remote)]
        case.check("its output equals that for a file", not missing, (missing, result.out))

    @suite.case("an index with all it has")
    def _(case):
        layout = Layout(case.path("index"))
        images = [layout.image(random_layers([3000 + i], i), tag=None) for i in range(3)]
        layout.entries.clear()
        platforms = (
            {"os": "linux", "architecture": "amd64"},
            {"os": "linux", "architecture": "arm64"},
            {"os": "unknown", "architecture": "unknown"},
        )
        entries = [{**image, "platform": platform} for image, platform in zip(images, platforms)]
        inner = layout.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries[:1]}, INDEX)
        index = layout.tag(
            layout.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries + [inner]}, INDEX), "one"
        )
        result = case.hotlayer("push", "oci:%s:one" % layout.folder, reference(case, world.host))
        case.check("push", result.status == 0 and result.last.endswith(index["digest"]), result)
        case.check("the tag", world.reader.digest(case.repository, "one") == index["digest"])
        case.check("everything below it is there", world.reader.damage(case.repository, "one") == "")
        verified = case.hotlayer("verify", reference(case, world.host))
        case.check("verify", verified.status == 0, verified)
        back = case.hotlayer("pull", reference(case, world.host), "-o", "oci:%s:one" % case.path("back"))
        case.check("pull into a layout", back.status == 0 and back.last.endswith(index["digest"]), back)
        case.check("has the same blobs", blobs_of(case.path("back")) == blobs_of(layout.folder))

    @suite.case("from registry to registry")
    def _(case):
        first = push(case, world.host)
        other = case.use(Registry(case.path("other")))
        copied = case.hotlayer("push", "oci://" + reference(case, world.host), reference(case, other.host))
        case.check("push", copied.status == 0 and copied.last == first.last, copied)
        case.check("no damage", Reader(other.host).damage(case.repository, "one") == "")
        proxy = case.use(Proxy(world.host))
        beside = case.hotlayer(
            "push", "oci://" + reference(case, proxy.host), "%s/%s-2:one" % (proxy.host, case.repository)
        )
        case.check("to another tag of the same repository", beside.status == 0 and beside.last == first.last, beside)
        case.check(
            "nothing is sent", proxy.received() < 20000 and proxy.sent() < 100000, (proxy.received(), proxy.sent())
        )

    @suite.case("jobs")
    def _(case):
        for jobs in ("1", "2", "8"):
            result = push(case, world.host, "--jobs", jobs, repository="%s-%s" % (case.repository, jobs))
            case.check(jobs, result.status == 0, result)
        for jobs in ("0", "-1", "x", "100000"):
            result = push(case, world.host, "--jobs", jobs)
            case.check("%s is bad usage" % jobs, result.status == 2, result)


def add_others(suite):
    @suite.case("skopeo reads it", ["skopeo"])
    def _(case):
        push(case, world.host)
        name = "docker://" + reference(case, world.host)
        seen = skopeo(case, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", name)
        case.check("inspect", seen.last == world.digest, seen)
        config = skopeo(case, "inspect", "--tls-verify=false", "--config", name)
        case.check("inspect --config", "/usr/bin/hotlayerd" in config.out, config)
        copied = skopeo(
            case, "copy", "--preserve-digests", "--src-tls-verify=false", name, "oci:%s:one" % case.path("back")
        )
        case.check("copy", copied.status == 0, copied)
        verified = case.hotlayer("verify", "oci:%s:one" % case.path("back"))
        case.check("the written image is whole", verified.status == 0, verified)

    @suite.case("umoci unpacks it", ["skopeo", "umoci"])
    def _(case):
        push(case, world.host)
        skopeo(
            case,
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            "docker://" + reference(case, world.host),
            "oci:%s:one" % case.path("back"),
        )
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        result = case.run(["umoci", "unpack"] + rootless + ["--image", case.path("back") + ":one", case.path("bundle")])
        case.check("unpack", result.status == 0, result)
        got = hashes_below(case.path("bundle/rootfs/models"))
        case.check("the model's files are in it", got == world.files(), (got, world.files()))

    @suite.case("buildah reads it", ["buildah"])
    def _(case):
        push(case, world.host)
        buildah = Buildah(case)
        begun = buildah("from", "--tls-verify=false", *buildah.policy, "docker://" + reference(case, world.host))
        case.check("from", begun.status == 0, begun)
        mounted = buildah("mount", begun.last)
        got = hashes_below(mounted.last + "/models") if mounted.status == 0 else mounted
        case.check("the model's files are in it", got == world.files(), (got, world.files()))
        pulled = buildah("pull", "--tls-verify=false", *buildah.policy, "docker://" + reference(case, world.host))
        case.check("pull", pulled.status == 0, pulled)

    def theirs(name, *options, layers=None):
        @suite.case("skopeo's " + name, ["skopeo"])
        def _(case):
            registry = case.use(
                Registry(case.path("registry"))
            )  # skopeo takes layers from other repositories of a registry that it knows
            pushed = skopeo(
                case,
                "copy",
                "--dest-tls-verify=false",
                *options,
                "oci:%s:one" % world.image,
                "docker://" + reference(case, registry.host)
            )
            case.check("is there", pushed.status == 0, pushed)
            reads(case, registry.host, layers)

    theirs("gzip", layers="application/vnd.oci.image.layer.v1.tar+gzip")
    theirs("zstd", "--dest-compress-format", "zstd", layers="application/vnd.oci.image.layer.v1.tar+zstd")
    theirs("Docker schema 2", "--format", "v2s2", layers="application/vnd.docker.image.rootfs.diff.tar.gzip")
    theirs("index", "--all", "--preserve-digests")

    for compression in ("gzip", "zstd"):

        def theirs_of_buildah(case, compression=compression):
            registry = case.use(Registry(case.path("registry")))
            push(case, world.host)
            buildah = Buildah(case)
            begun = buildah("from", "--tls-verify=false", *buildah.policy, "docker://" + reference(case, world.host))
            buildah("config", "--env", "A=b", begun.last)
            made = buildah("commit", *buildah.policy, begun.last, "local")
            case.check("commit", made.status == 0, made)
            pushed = buildah(
                "push",
                "--tls-verify=false",
                *buildah.policy,
                "--compression-format",
                compression,
                "local",
                "docker://" + reference(case, registry.host)
            )
            case.check("push", pushed.status == 0, pushed)
            reads(case, registry.host, "application/vnd.oci.image.layer.v1.tar+" + compression)

        suite.case("buildah's " + compression, ["buildah"])(theirs_of_buildah)

    def reads(case, host, layers):
        text = Reader(host).ask("GET", "/v2/%s/manifests/one" % case.repository, {"Accept": MANIFESTS})[2]
        kinds = {layer["mediaType"] for layer in json.loads(text).get("layers", [])}
        if layers:
            case.check("its layers are %s" % layers, layers in kinds, kinds)
        for command in ("verify", "inspect"):
            result = case.hotlayer(command, reference(case, host))
            case.check(command, result.status == 0, result)
        pull_is_right(case, host)


class Buildah:
    """Runs buildah with its storage in the case's folder."""

    def __init__(self, case):
        self.case = case
        self.policy = policy(case.folder)

    def __call__(self, *arguments):
        return self.case.run(command(self.case.folder) + list(arguments), seconds=120)


def main():
    global suite, world
    suite = Suite(sys.argv[1])
    if not shutil.which("docker-registry") or not shutil.which("openssl"):
        print("skip docker-registry or openssl is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    world = World()
    for part in (add_ways, add_again, add_others):
        part(suite)
    return suite.main(jobs=6, only=sys.argv[2] if len(sys.argv) > 2 else None)


sys.exit(main())
