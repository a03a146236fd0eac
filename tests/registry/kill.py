#!/usr/bin/env python3
"""kill -9 at 20 random moments of pushes, and some of pulls: no tag, the next run resumes, and its bytes are counted.

    python3 tests/registry/kill.py HOTLAYER [PART OF A CASE'S NAME]

HOTLAYER_KILL_GB is the size of the image, 0.25 by default; from 2 on it is a llama3.2-1b of random weights.
HOTLAYER_KILL_SEED repeats a run. A round pushes to a new repository and is killed until a run ends before its kill;
then the next round begins, until 20 were killed. A moment is a number of bytes or of requests that have passed the
proxy.
"""

import os
import random
import shutil
import signal
import sys
import threading

from faults import make_model_image
from mini import Mini
from proxy import Proxy
from registries import Reader, Registry
from rig import Layout, Suite, blobs_of, enter_namespace, random_layers

GB = float(os.environ.get("HOTLAYER_KILL_GB", "0.25"))
SEED = int(os.environ.get("HOTLAYER_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
KILLS = 20
LAYERS = 8 if GB > 1 else 3  # long enough for more than one piece each

enter_namespace()
suite = Suite(sys.argv[1])


class Killer:
    """Kills the process when the proxy has seen so many bytes or requests."""

    def __init__(self, proxy, most_bytes=None, most_requests=None, most_answers=None):
        self.proxy, self.bytes, self.requests, self.answers = proxy, most_bytes, most_requests, most_answers
        self.lock = threading.Lock()
        self.process = None
        self.killed = False
        proxy.on_bytes = self.on_bytes
        proxy.on_answer = self.on_answer
        proxy.on_request = self.on_request

    def kill(self):
        with self.lock:
            if self.process and not self.killed:
                self.killed = True
                os.killpg(self.process.pid, signal.SIGKILL)

    def on_bytes(self, n):
        if self.bytes is not None:
            self.bytes -= n
            if self.bytes <= 0:
                self.kill()

    def on_answer(self, n):
        if self.answers is not None:
            self.answers -= n
            if self.answers <= 0:
                self.kill()

    def on_request(self):
        if self.requests is not None:
            self.requests -= 1
            if self.requests <= 0:
                self.kill()

    def attach(self, process):
        with self.lock:
            self.process = process


def make(case):
    """Makes the image to push; returns (folder, digest of its manifest)."""
    folder = case.path("image")
    if GB < 2:
        layers = random_layers([int(GB * 1e9 / LAYERS)] * LAYERS, SEED)
        return folder, Layout(folder).image(layers)["digest"]
    for command in (
        ["synth", "llama3.2-1b", "-o", case.path("model"), "--seed", "1"],
        ["pack", case.path("model"), "-o", case.path("m.hot"), "--quant", "keep", "--shard-size", "256M"],
        ["image", case.path("m.hot"), "--runtime", suite.hotlayer + "d", "-o", "oci:%s:one" % folder],
    ):
        result = case.hotlayer(*command, seconds=600)
        if result.status:
            raise RuntimeError(str(result))
        if command[0] == "pack":
            shutil.rmtree(case.path("model"))
    return folder, result.last


def new_round(case, number):
    """Removes the state of earlier rounds: else layers would be mounted."""
    shutil.rmtree(case.path("state"), ignore_errors=True)
    return "%s-%d" % (case.repository, number)


@suite.case("docker-registry", ["docker-registry"])
def _(case):
    chance = random.Random(SEED)
    case.note("seed %d, %.2f GB" % (SEED, GB))
    folder, digest = make(case)
    registry = case.use(Registry(case.path("registry")))
    reader = Reader(registry.host)
    proxy = case.use(Proxy(registry.host))
    total = sum(blobs_of(folder).values())
    kills = rounds = again = 0
    while kills < KILLS and rounds < 4 * KILLS:
        rounds += 1
        repository = new_round(case, rounds)
        sent, moments = 0, []
        while True:
            proxy.log.clear()
            before = proxy.passed
            by_request = chance.random() < 0.3
            killer = Killer(
                proxy,
                None if by_request else chance.randrange(max(total - sent % total, 1)),
                chance.randrange(1, 5 * LAYERS) if by_request else None,
            )
            if kills >= KILLS:
                killer = Killer(proxy)
            result = case.hotlayer(
                "push",
                "oci:%s:one" % folder,
                "%s/%s:one" % (proxy.host, repository),
                seconds=300,
                on_start=killer.attach,
            )
            sent += proxy.passed - before
            moments.append("%.0f MB, %d requests" % ((proxy.passed - before) / 1e6, len(proxy.log)))
            if not killer.killed:
                break
            kills += 1
            tags = reader.tags(repository)
            asked = proxy.requests("PUT", "/manifests/one")
            whole = asked and reader.digest(repository, "one") == digest and reader.damage(repository, "one") == ""
            case.check("no tag after kill %d" % kills, tags == [] or (tags == ["one"] and whole), (tags, moments))
        case.note("round %d: %s" % (rounds, "; ".join(moments)))
        again += sent - total
        case.check("round %d: the last run completes" % rounds, result.status == 0, result)
        case.check("round %d: the tag" % rounds, reader.digest(repository, "one") == digest)
        case.check("round %d: no damage" % rounds, reader.damage(repository, "one") == "")
        case.check(
            "round %d: no more than was lost is sent again" % rounds,
            sent - total <= total * len(moments),
            (sent, total),
        )
    case.note(
        "%d kills in %d pushes of %.0f MB: %.0f MB were sent again, %.1f %% of a push for each kill"
        % (kills, rounds, total / 1e6, again / 1e6, 100 * again / total / kills)
    )
    case.check("%d were killed" % KILLS, kills == KILLS, kills)
    verified = case.hotlayer("verify", "%s/%s:one" % (registry.host, repository), seconds=300)
    case.check("verify passes", verified.status == 0, verified)


@suite.case("a registry that keeps what arrived")
def _(case):
    """A killed upload resumes: only missing bytes are sent."""
    mini = case.use(Mini(case.path("mini")))
    proxy = case.use(Proxy(mini.host))
    folder = case.path("image")
    layer = random_layers([96 << 20], SEED)[0]
    digest = Layout(folder).image([layer])["digest"]
    sent = []
    for part in (0.3, 0.6, None):
        before = proxy.passed
        killer = Killer(proxy, None if part is None else int(len(layer) * 0.3))
        result = case.hotlayer(
            "push", "oci:%s:one" % folder, "%s/%s:one" % (proxy.host, case.repository), on_start=killer.attach
        )
        sent.append(proxy.passed - before)
        case.check(
            "is killed" if part else "completes", killer.killed == bool(part) and (part or result.status == 0), result
        )
        case.check("the tag", Reader(mini.host).tags(case.repository) == ([] if part else ["one"]))
    case.note("a layer of %d bytes was sent in %s" % (len(layer), sent))
    case.check(
        "nothing is sent again",
        proxy.passed <= sum(blobs_of(folder).values()) + 20000,
        (proxy.passed, sent, blobs_of(folder)),
    )
    case.check(
        "the image is whole",
        Reader(mini.host).digest(case.repository, "one") == digest
        and Reader(mini.host).damage(case.repository, "one") == "",
    )


@suite.case("a registry that forgets what arrived")
def _(case):
    mini = case.use(Mini(case.path("mini")))
    mini.keeps_parts = False
    proxy = case.use(Proxy(mini.host))
    folder = case.path("image")
    digest = Layout(folder).image(random_layers([8 << 20, 48 << 20], SEED))["digest"]
    killer = Killer(proxy, 40 << 20)
    case.hotlayer("push", "oci:%s:one" % folder, "%s/%s:one" % (proxy.host, case.repository), on_start=killer.attach)
    case.check("is killed", killer.killed)
    mini.sessions.clear()
    result = case.hotlayer("push", "oci:%s:one" % folder, "%s/%s:one" % (proxy.host, case.repository))
    case.check("completes", result.status == 0, result)
    case.check(
        "the image is whole",
        Reader(mini.host).digest(case.repository, "one") == digest
        and Reader(mini.host).damage(case.repository, "one") == "",
    )


@suite.case("image --push", ["docker-registry"])
def _(case):
    """Layers are made while they are sent: uncompressed, and compressed."""
    model = make_model_image(suite, "1M")
    registry = case.use(Registry(case.path("registry")))
    proxy = case.use(Proxy(registry.host))
    reader = Reader(registry.host)
    for options in ([], ["--compress", "zstd"]):
        name = case.repository + ("-zstd" if options else "")
        for moment in (300000, 2500000, None):
            killer = Killer(proxy, moment)
            result = case.hotlayer(
                "image",
                model + ".hot",
                "--runtime",
                suite.hotlayer + "d",
                *options,
                "--push",
                "%s/%s:one" % (proxy.host, name),
                on_start=killer.attach
            )
            if moment:
                case.check("is killed", killer.killed, result)
                case.check("no tag", reader.tags(name) == [], reader.tags(name))
        case.check("completes", result.status == 0 and reader.digest(name, "one") == result.last, result)
        case.check("no damage", reader.damage(name, "one") == "", reader.damage(name, "one"))


@suite.case("pull", ["docker-registry"])
def _(case):
    """Into a layout: the image appears only when it is whole, and blobs are not fetched again."""
    folder = case.path("image")
    Layout(folder).image(random_layers([24 << 20] * 3, SEED))
    total = sum(blobs_of(folder).values())
    registry = case.use(Registry(case.path("registry")))
    Reader(registry.host).put_image(folder, case.repository)
    proxy = case.use(Proxy(registry.host))
    chance = random.Random(SEED)
    for moment in [chance.randrange(total // 3) for _ in range(4)] + [None]:
        killer = Killer(proxy, most_answers=moment)
        result = case.hotlayer(
            "pull",
            "%s/%s:one" % (proxy.host, case.repository),
            "-o",
            "oci:%s:one" % case.path("back"),
            on_start=killer.attach,
        )
        if moment is not None:
            case.check("is killed", killer.killed, result)
            seen = case.hotlayer("inspect", "oci:%s:one" % case.path("back"))
            case.check("there is no image", seen.status == 1, seen)
    case.check("completes", result.status == 0, result)
    verified = case.hotlayer("verify", "oci:%s:one" % case.path("back"))
    case.check("verify passes", verified.status == 0, verified)
    case.note("%d bytes came for %d" % (proxy.sent(), total))
    # bytes in flight when a process ended: a few MiB for each of its connections
    case.check("the received bytes are kept", proxy.sent() < total + 4 * 4 * (6 << 20), (proxy.sent(), total))


sys.exit(suite.main(jobs=1, only=sys.argv[2] if len(sys.argv) > 2 else None))
