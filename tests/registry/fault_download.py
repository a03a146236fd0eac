"""Faults while an image is read: redirects, broken connections, wrong bytes, false documents."""

import gzip
import hashlib
import json
import os
import time

from faults import HTML, JSON, PAGE, answer, complains, error, log_in
from fault_auth import Door
from fault_upload import endless
from mini import Mini
from proxy import Fault, Gate
from registries import Authority
from rig import CONFIG, INDEX, LAYER, MANIFEST, Layout, blobs_of, digest_of, random_layers, tar_of
from wire import Closed

BLOBS = "/blobs/sha256"


def everything_below(folder):
    return sorted(
        os.path.relpath(os.path.join(path, name), folder) for path, _, names in os.walk(folder) for name in names
    )


class Reading:
    """Runs the commands that read an image in a registry; each case runs those that its fault concerns."""

    def __init__(self, world):
        self.world = world

    def reference(self, case, host):
        return "%s/%s:one" % (host, case.repository)

    def verify(self, case, host, *options, seconds=75):
        return case.hotlayer("verify", self.reference(case, host), *options, seconds=seconds)

    def inspect(self, case, host, *options, seconds=75):
        return case.hotlayer("inspect", self.reference(case, host), *options, seconds=seconds)

    def pull(self, case, host, *options, seconds=75, into="pulled"):
        return case.hotlayer(
            "pull", "oci://" + self.reference(case, host), "-o", case.path(into), *options, seconds=seconds
        )

    def whole(self, case, host, *options):
        """Checks that verify and pull succeed, and that the pulled files are the model."""
        verified = self.verify(case, host, *options)
        case.check("verify passes", verified.status == 0, verified)
        pulled = self.pull(case, host, *options)
        case.check("pull succeeds", pulled.status == 0, pulled)
        self.same(case)

    def same(self, case, into="pulled"):
        world = self.world
        want = {
            hashlib.sha256(open(world.model + ".hot" + end, "rb").read()).hexdigest()
            for end in [""] + [".%03d" % i for i in range(1, 1000)]
            if os.path.exists(world.model + ".hot" + end)
        }
        got = {
            hashlib.sha256(open(case.path(into + "/" + name), "rb").read()).hexdigest()
            for name in everything_below(case.path(into))
        }
        case.check("and has the model's files", want <= got, everything_below(case.path(into)))

    def broken(self, case, host, words, *options, most=60, inspects=False):
        """Checks that verify and pull fail with a message, and that pull leaves no file that looks complete."""
        complains(case, self.verify(case, host, *options), words, most, "verify ")
        complains(case, self.pull(case, host, *options), words, most, "pull ")
        left = [name for name in everything_below(case.path("pulled")) if name.endswith(".hot")]
        case.check("no model is left", not left, everything_below(case.path("pulled")))
        seen = self.inspect(case, host, *options)
        if inspects:
            case.check("inspect still works", seen.status == 0, seen)
        else:
            complains(case, seen, words, most, "inspect ")


def add_redirects(suite, world):
    reading = Reading(world)
    total = sum(blobs_of(world.model).values())

    def elsewhere(other, status=307):
        return lambda x: x.reply(status, [("Location", "http://%s%s" % (other, x.head.target))])

    for status in (301, 302, 303, 307, 308):

        @suite.case("blobs are on another host, by %d" % status)
        def _(case, status=status):
            world.reader.put_image(world.model, case.repository)
            other = world.proxy(case)
            world.suite.secrets.add_login("kim", "hop-hop")
            proxy = world.proxy(
                case, Fault(None, BLOBS, None, answer=elsewhere(other.host, status)), gate=Gate("kim", "hop-hop")
            )
            log_in(case, proxy.host, "kim", "hop-hop")
            reading.whole(case, proxy.host)
            case.check("they came from there", other.sent() > total * 0.9, other.sent())
            seen = [r.target for r in other.log if r.authorization]
            case.check("which saw no credentials", not seen, seen)

    @suite.case("blobs after nine redirects")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(case)
        proxy.faults.append(Fault("GET", BLOBS, None, answer=lambda x: hop(x, 9)))
        reading.whole(case, proxy.host)

    def hop(x, n):
        path, _, query = x.head.target.partition("?hop=")
        if int(query or 0) < n:
            x.reply(307, [("Location", "%s?hop=%d" % (path, int(query or 0) + 1))])
        else:
            with open(os.path.join(world.model, "blobs/sha256", path.rsplit(":", 1)[1]), "rb") as file:
                data = file.read()
            part = x.head.get("range")
            if part:
                first, last = (int(n) if n else len(data) - 1 for n in part[6:].split("-"))
                x.reply(
                    206,
                    [("Content-Range", "bytes %d-%d/%d" % (first, min(last, len(data) - 1), len(data)))],
                    data[first : last + 1],
                )
            else:
                x.reply(200, [], data)

    def refused(name, words, location):
        @suite.case("a redirect " + name)
        def _(case):
            world.reader.put_image(world.model, case.repository)
            proxy = world.proxy(
                case,
                Fault(
                    "GET",
                    BLOBS,
                    None,
                    answer=lambda x: x.reply(307, [("Location", location(x))] if location(x) is not None else []),
                ),
            )
            reading.broken(case, proxy.host, words, most=20)
            case.check("is not followed for ever", len(proxy.log) < 200, len(proxy.log))

    refused("to itself", "redirect", lambda x: x.head.target)
    refused("to ever new locations", "redirect", lambda x: x.head.target + "a")
    refused("to a file", "redirect|location|file:|url", lambda x: "file:///etc/passwd")
    refused("to nowhere", "redirect|location|url", lambda x: None)
    refused("to an invalid URL", "redirect|location|url", lambda x: "http://[")
    refused("in plain text", "plain", lambda x: "http://192.0.2.1/blob")

    @suite.case("a redirect out of TLS", ["openssl"])
    def _(case):
        authority = Authority(case.folder)
        world.reader.put_image(world.model, case.repository)
        other = world.proxy(case)
        proxy = world.proxy(case, Fault("GET", BLOBS, None, answer=elsewhere(other.host)), tls=authority.context())
        reading.broken(case, proxy.host, "https", "--ca", authority.ca, most=20)


def add_connections(suite, world):
    reading = Reading(world)
    sizes = blobs_of(world.model)
    runtime = max(sizes.values())

    def survives(name, *faults, most=None, prepare=None):
        @suite.case("download: " + name)
        def _(case):
            world.reader.put_image(world.model, case.repository)
            for command in (reading.verify, reading.pull):
                copies = [
                    Fault(**{f.name: getattr(fault, f.name) for f in fault.__dataclass_fields__.values() if f.init})
                    for fault in faults
                ]
                proxy = world.proxy(case, *copies)
                result = command(case, proxy.host)
                case.check(command.__name__ + " succeeds", result.status == 0, result)
                case.check("the fault happened", all(fault.done for fault in copies), [fault.done for fault in copies])
                if most:
                    case.check("no more than %.1f MB came" % (most / 1e6), proxy.sent() <= most, proxy.sent())
            reading.same(case)

    # the runtime's layer is the large one; its bytes before a break are not asked for again
    once = sum(sizes.values()) + 600000
    survives("reset after 3 MB", Fault("GET", BLOBS, download_reset=3000000, times=1, skip=0), most=once)
    survives("reset in everything", Fault("GET", BLOBS, download_reset=100000, times=4), most=once)
    survives("ended early", Fault("GET", BLOBS, download_end=50000, times=3), most=once)
    survives("reset before the first byte", Fault("GET", BLOBS, answer=lambda x: x.reset(), times=3))
    survives(
        "Range is not understood",
        Fault("GET", BLOBS, download_reset=50000),
        Fault("GET", BLOBS, None, change=lambda x, head: None),
    )
    for status in (408, 429, 500, 502, 503, 504):
        survives(
            "%d once" % status,
            Fault("GET", "/manifests/", answer=answer(status, HTML, PAGE)),
            Fault("GET", BLOBS, answer=answer(status, JSON, error("BUSY", "later"))),
        )
    survives("chunked", Fault("GET", BLOBS, None, change=lambda x, head: None))

    @suite.case("download: a Range is answered with everything")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(case, Fault("GET", BLOBS, download_reset=50000, times=2))
        handle = proxy.handle

        def without_range(wire, head, record):
            head.drop("range")
            return handle(wire, head, record)

        proxy.handle = without_range
        reading.whole(case, proxy.host)

    @suite.case("download: a Range is answered with another")
    def _(case):
        """The bytes are of the wrong range: a client that appends them has a damaged file, and must not call it
        complete.
        """
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(case, Fault("GET", BLOBS, download_reset=50000, times=None))
        handle = proxy.handle

        def another_range(wire, head, record):
            if head.get("range", "bytes=0-") != "bytes=0-":
                head.set("Range", "bytes=10-")
            return handle(wire, head, record)

        proxy.handle = another_range
        result = reading.pull(case, proxy.host)
        case.check("pull fails or is right", result.status in (0, 1), result)
        if result.status == 0:
            reading.same(case)

    @suite.case("download: gets stuck")
    def _(case):
        case.environment.update(HOTLAYER_STALL_SECONDS="2")
        world.reader.put_image(world.model, case.repository)

        def stuck(exchange):
            exchange.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nabc" % runtime)
            time.sleep(20)
            raise Closed

        proxy = world.proxy(case, Fault("GET", BLOBS, answer=stuck, least=0))
        proxy.faults[0].wants_size = runtime
        result = reading.verify(case, proxy.host)
        case.check("ends in time", result.seconds < 18, result)
        case.check("with either outcome", result.status in (0, 1), result)

    @suite.case("download: an answer drips")
    def _(case):
        """Some 300 bytes a second: slow, but not wrong."""
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(case, Fault("GET", "/manifests/", drip=0.003))
        result = reading.verify(case, proxy.host, seconds=120)
        case.check("passes", result.status == 0, result)

    @suite.case("download: an answer drips for ever")
    def _(case):
        """A head without end, a line now and then: never silent, and yet a stall."""
        case.environment.update(HOTLAYER_STALL_SECONDS="2")
        world.reader.put_image(world.model, case.repository)

        def drip(exchange):
            exchange.wire.send(b"HTTP/1.1 200 OK\r\n")
            while not exchange.proxy.stopping.is_set():
                exchange.wire.send(b"X-Drip: %d\r\n" % time.time_ns())
                time.sleep(0.2)
            raise Closed

        proxy = world.proxy(case, Fault("GET", "/manifests/", None, answer=drip))
        result = reading.verify(case, proxy.host, seconds=60)
        complains(case, result, "almost nothing moved", 60)

    @suite.case("download: a token ends in the middle")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        door = Door(world, case)
        door.gate.revoke_after = 4
        reading.whole(case, door.host)

    @suite.case("download: tokens for 2 seconds, and slow blobs")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        door = Door(world, case, Fault("GET", BLOBS, None, delay=0.4))
        door.tokens.expires = 2
        reading.whole(case, door.host)

    @suite.case("download: no right to read")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        door = Door(world, case, rights={"elsewhere/": "pull"})
        reading.broken(case, door.host, "denied|role|permission|allow|pull", most=20)


def add_bytes(suite, world):
    """Wrong bytes for the digest."""
    reading = Reading(world)

    def flip(data):
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

    def broken(name, words, *faults, inspects=False, most=60):
        @suite.case("false bytes: " + name)
        def _(case):
            world.reader.put_image(world.model, case.repository)
            proxy = world.proxy(case, *faults)
            reading.broken(case, proxy.host, words, most=most, inspects=inspects)
            if reading.pull(case, world.registry.host, into="pulled").status == 0:
                reading.same(case)
            else:
                case.check("a pull from the honest registry goes on from there", False)

    with open(world.model + "/index.json", encoding="utf-8") as file:
        digest = json.load(file)["manifests"][0]["digest"]
    with open(os.path.join(world.model, "blobs/sha256", digest[7:]), "rb") as file:
        text = file.read()
    manifest = json.loads(text)
    weights, config = manifest["layers"][-1]["digest"], manifest["config"]["digest"]

    broken("a bit of a layer", "digest|sha256|damaged", Fault("GET", weights, None, rewrite=flip), inspects=True)
    broken("a bit of the config", "digest|sha256|damaged", Fault("GET", config, None, rewrite=flip))
    broken(
        "an empty layer",
        "digest|sha256|bytes|short|ended",
        Fault("GET", weights, None, rewrite=lambda data: b""),
        inspects=True,
    )
    broken(
        "a layer that is too long",
        "digest|sha256|bytes|long",
        Fault("GET", weights, None, answer=answer(200, [], b"x" * 400000)),
        inspects=True,
    )
    broken(
        "a layer without end",
        "digest|sha256|bytes|long",
        Fault("GET", weights, None, answer=endless(200)),
        inspects=True,
    )
    broken("a config without end", "digest|sha256|bytes|long", Fault("GET", config, None, answer=endless(200)))
    broken("a manifest without end", "bytes|long|large", Fault("GET", "/manifests/", None, answer=endless(200)))
    broken(
        "a manifest of 5 MB",
        "bytes|long|large|MiB",
        Fault(
            "GET",
            "/manifests/",
            None,
            answer=answer(200, [("Content-Type", MANIFEST)], text[:-1] + b" " * (5 << 20) + b"}"),
        ),
    )
    broken(
        "a layer that is gone",
        "404",
        Fault("GET", weights, None, answer=answer(404, JSON, error("BLOB_UNKNOWN", "gone"))),
        inspects=True,
    )
    broken(
        "a config that is gone",
        "404",
        Fault("GET", config, None, answer=answer(404, JSON, error("BLOB_UNKNOWN", "gone"))),
    )
    broken(
        "no manifest",
        "404|no such|not found",
        Fault(None, "/manifests/", None, answer=answer(404, JSON, error("MANIFEST_UNKNOWN", "manifest unknown"))),
    )
    broken("a page as manifest", "manifest|type|json", Fault(None, "/manifests/", None, answer=answer(200, HTML, PAGE)))
    broken(
        "headers of 300 KB",
        "header",
        Fault("GET", "/manifests/", None, change=lambda x, head: head.set("X-Long", "l" * 300000)),
    )
    broken(
        "a blob that is a page",
        "digest|sha256|bytes|long",
        Fault("GET", weights, None, answer=answer(200, HTML, PAGE)),
        inspects=True,
    )

    @suite.case("false bytes: the manifest of a digest")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(
            case, Fault("GET", "/manifests/", None, rewrite=lambda data: data.replace(b'"demo"', b'"Demo"'))
        )
        for command in ("verify", "inspect"):
            result = case.hotlayer(command, "%s/%s@%s" % (proxy.host, case.repository, digest))
            complains(case, result, "digest|sha256", 20, command + " ")

    @suite.case("false bytes: the manifest of a tag, whose header has the right digest")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(
            case, Fault("GET", "/manifests/", None, rewrite=lambda data: data.replace(b'"demo"', b'"Demo"'))
        )
        reading.broken(case, proxy.host, "digest|sha256", most=20)

    @suite.case("a header of 100 KB does no harm")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(case, Fault("GET", "", None, change=lambda x, head: head.set("X-Long", "l" * 100000)))
        reading.whole(case, proxy.host)

    @suite.case("documents in gzip without a request for it")
    def _(case):
        world.reader.put_image(world.model, case.repository)
        proxy = world.proxy(
            case,
            Fault(
                "GET",
                "/manifests/",
                None,
                rewrite=gzip.compress,
                change=lambda x, head: head.set("Content-Encoding", "gzip"),
            ),
        )
        result = reading.verify(case, proxy.host)
        case.check("works, or the message says so", result.status == 0 or (result.status == 1 and "gzip" in result.err), result)


def add_documents(suite, world):
    """Documents that match their digests, but are not an image for us."""
    reading = Reading(world)
    layers = random_layers([5000, 6000], 21)

    def documents(name, words, build, inspects=False, good=False):
        @suite.case("document: " + name)
        def _(case):
            mini = case.use(Mini(case.path("mini")))
            layout = Layout(case.path("image"))
            descriptor, served = build(layout)
            mini.hold(case.repository, layout.folder, descriptor["digest"], served)
            if good:
                result = reading.verify(case, mini.host)
                case.check("verify passes", result.status == 0, result)
            else:
                complains(case, reading.verify(case, mini.host), words, 20, "verify ")
                complains(case, reading.pull(case, mini.host), words, 20, "pull ")
                left = [name for name in everything_below(case.path("pulled")) if not name.startswith(".hotlayer/")]
                case.check("pull leaves only files that it can resume with", not left, left)
            seen = reading.inspect(case, mini.host)
            if inspects or good:
                case.check("inspect shows it", seen.status == 0, seen)
            else:
                complains(case, seen, words, 20, "inspect ")

    def image(served=MANIFEST, **fields):
        return lambda layout: (layout.image(layers, **fields), served)

    documents("an ordinary one", "", image(), good=True)
    documents("served as text", "type", image("text/plain"))
    documents("served as an index", "type|index", image(INDEX))
    documents("a manifest that says it is an index", "type|index", image(mediaType=INDEX))
    documents("schema 1", "schema|type", image("application/vnd.docker.distribution.manifest.v1+prettyjws"))
    documents(
        "an artifact's config",
        "config|type",
        lambda layout: (
            layout.json(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": layout.json({}, "application/vnd.oci.empty.v1+json"),
                    "layers": [],
                },
                MANIFEST,
            ),
            MANIFEST,
        ),
    )
    documents("layers of an unknown kind", "type|layer", image(layer_type="application/vnd.cncf.model.weight.v1.raw"))
    documents("fewer diff_ids than layers", "layer|diff", image(diff_ids=[digest_of(b"")]))
    documents("other diff_ids", "diff|config says", image(diff_ids=[digest_of(b"a"), digest_of(b"b")]))
    documents("no JSON", "json|manifest", lambda layout: (layout.blob(b'{"schemaVersion":2', MANIFEST), MANIFEST))
    documents("JSON of another kind", "manifest|object", lambda layout: (layout.blob(b"[1,2,3]", MANIFEST), MANIFEST))
    documents(
        "JSON nested a million deep",
        "json|manifest|nest",
        lambda layout: (layout.blob(b"[" * 1000000, MANIFEST), MANIFEST),
    )
    documents("schema version 3", "schema|version", image(schemaVersion=3))
    documents(
        "a digest that is a path",
        "digest",
        lambda layout: (
            layout.json(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": {"mediaType": CONFIG, "digest": "sha256:../../../etc/passwd", "size": 3},
                    "layers": [],
                },
                MANIFEST,
            ),
            MANIFEST,
        ),
    )
    for size in (-1, 1 << 60, 1e300, "5", None, 2.5):
        documents("a layer's size of %r" % size, "size|bytes", lambda layout, size=size: lying(layout, size))
    documents(
        "a layer said to be longer",
        "bytes|short|ended|digest|size",
        lambda layout: lying(layout, len(layers[0]) + 5000),
        inspects=True,
    )
    documents("a layer said to be shorter", "bytes|long|digest|size", lambda layout: lying(layout, 100), inspects=True)
    documents(
        "a layer said to be 4 TB",
        "bytes|short|ended|digest|size|space",
        lambda layout: lying(layout, 4 << 40),
        inspects=True,
    )
    documents("1025 layers", "layers", lambda layout: many(layout, 1025))
    documents("200 layers", "", lambda layout: many(layout, 200), good=True)

    def lying(layout, size):
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": layout.json(config, CONFIG),
            "layers": [{**layout.blob(layers[0], LAYER), "size": size}, layout.blob(layers[1], LAYER)],
        }
        return layout.json(manifest, MANIFEST), MANIFEST

    def many(layout, n):
        return layout.image([tar_of({"f%d" % i: b"x"}) for i in range(n)]), MANIFEST

    # indexes
    def index(layout, entries):
        return layout.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX), INDEX

    def platform(entry, architecture, system="linux"):
        return {**entry, "platform": {"architecture": architecture, "os": system}}

    documents(
        "an index without linux/amd64",
        "amd64",
        lambda layout: index(
            layout, [platform(layout.image(layers), "arm64"), platform(layout.image(layers[:1]), "amd64", "windows")]
        ),
    )
    documents("an empty index", "amd64|empty|no image", lambda layout: index(layout, []))
    documents(
        "an index that names what is not there",
        "404|unknown|not found",
        lambda layout: index(
            layout, [platform({"mediaType": MANIFEST, "digest": digest_of(b"?"), "size": 1}, "amd64")]
        ),
    )
    documents(
        "a size of another manifest",
        "bytes|size|digest",
        lambda layout: index(layout, [platform({**layout.image(layers), "size": 10}, "amd64")]),
    )

    def nested(layout, depth):
        entry = platform(layout.image(layers), "amd64")
        for _ in range(depth):
            entry = layout.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}, INDEX)
        return entry, INDEX

    documents("indexes in indexes in indexes", "nest|deep|index", lambda layout: nested(layout, 30))

    @suite.case("document: indexes without end")
    def _(case):
        """The server makes each document when it is asked for it, and each names the next: such digests are never true,
        and that stops the client.
        """

        def make(exchange):
            text = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": INDEX,
                    "manifests": [
                        {
                            "mediaType": INDEX,
                            "digest": digest_of(os.urandom(8)),
                            "size": 300,
                            "platform": {"os": "linux", "architecture": "amd64"},
                        }
                    ],
                }
            ).encode()
            exchange.reply(200, [("Content-Type", INDEX)], text)

        proxy = world.proxy(case, Fault(None, "/manifests/", None, answer=make))
        complains(case, reading.verify(case, proxy.host), "digest|sha256|bytes", 20)
        case.check("after few requests", len(proxy.log) < 20, len(proxy.log))


def add(suite, world):
    add_redirects(suite, world)
    add_connections(suite, world)
    add_bytes(suite, world)
    add_documents(suite, world)
