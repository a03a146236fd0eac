"""Faults between a push and its registry: places, sessions, chunks, errors, connections."""

import email.utils
import shutil
import time

from faults import HTML, JSON, PAGE, UPLOADS, answer, complains, edit_location, error, log_in
from mini import Mini
from proxy import Fault, Gate, Proxy
from registries import Reader
from rig import PUBLIC, Layout, blobs_of, digest_of, random_layers, tar_of
from wire import Closed


def add_locations(suite, world):
    def location(name, edit, **settings):
        @suite.case("a Location " + name)
        def _(case):
            proxy = world.proxy(case, Fault(None, UPLOADS, None, change=edit_location(edit)), **settings)
            world.pushed(case, world.push(case, proxy.host))
            case.check("and every upload went through it", proxy.received() >= sum(world.sizes), proxy.received())

    def without_host(_, url):
        return "/" + url.split("/", 3)[3]

    location("that is a path", without_host)
    location("relative to the request", lambda x, url: url.rsplit("/", 1)[1])
    location("without a scheme", lambda x, url: url.split("//", 1)[1])
    location("without a scheme but slashes", lambda x, url: url.split(":", 1)[1])
    location("by another name", lambda x, url: url.replace("127.0.0.1", "localhost"))
    location("over 4 KB", lambda x, url: url + "&opaque=" + "A" * 5000)
    location("of 40 KB", lambda x, url: url + "&opaque=" + "A" * 40000)

    @suite.case("a Location on another host")
    def _(case):
        """The proxy asks for a password, which the other host must not see."""
        other = world.proxy(case)
        proxy = world.proxy(
            case,
            Fault(
                None,
                UPLOADS,
                None,
                change=edit_location(lambda x, url: "http://%s/%s" % (other.host, url.split("/", 3)[3])),
            ),
            gate=Gate("kim", "hop"),
        )
        case.suite.secrets.add_login("kim", "hop")
        log_in(case, proxy.host, "kim", "hop")
        world.pushed(case, world.push(case, proxy.host))
        case.check("the bytes went there", other.received() >= sum(world.sizes), other.received())
        seen = [r.target for r in other.log if r.authorization]
        case.check("without credentials", not seen, seen)

    @suite.case("a Location whose query must stay as it is")
    def _(case):
        odd = "&x=%2F%2f+a%20b%7e&y=;z&empty=&&a=b=c"
        proxy = world.proxy(case, Fault(None, UPLOADS, None, change=edit_location(lambda x, url: url + odd)))
        world.pushed(case, world.push(case, proxy.host))
        bad = [r.target for r in proxy.requests(pattern="_state=") if odd not in r.target]
        case.check("byte by byte", not bad, bad)

    def refused_location(name, edit, words):
        @suite.case("a Location " + name)
        def _(case):
            proxy = world.proxy(case, Fault(None, UPLOADS, None, change=edit))
            world.refused(case, world.push(case, proxy.host), words)

    refused_location("that is missing", lambda x, head: head.drop("location"), "location")
    refused_location("that is a file", edit_location(lambda x, url: "file:///etc/passwd"), "location|file:")
    refused_location("that is nothing", edit_location(lambda x, url: "http://"), "location|http")
    refused_location("of 100 KB", edit_location(lambda x, url: url + "&opaque=" + "A" * 100000), "location|url|long")


def add_errors(suite, world):
    def once(name, *faults, most=None):
        @suite.case(name)
        def _(case):
            copies = [
                Fault(**{f.name: getattr(fault, f.name) for f in fault.__dataclass_fields__.values() if f.init})
                for fault in faults
            ]
            proxy = world.proxy(case, *copies)
            result = world.push(case, proxy.host)
            world.pushed(case, result)
            case.check(
                "every fault happened",
                all(fault.done == (fault.times or fault.done) and fault.done for fault in copies),
                [(f.done, f.times) for f in copies],
            )
            if most:
                case.check("no more than %d KB were sent" % (most >> 10), proxy.received() <= most, proxy.received())

    total = sum(world.sizes)
    for status in (408, 429, 500, 502, 503, 504):
        once(
            "%d to each kind of request once" % status,
            *[
                Fault(method, path, answer=answer(status, JSON, error("BUSY", "try later")))
                for method, path in (("HEAD", "/blobs/"), ("POST", UPLOADS), ("PUT", UPLOADS), ("PUT", "/manifests/"))
            ]
        )
    once(
        "a page instead of JSON, once",
        Fault("PUT", UPLOADS, answer=answer(502, HTML, PAGE)),
        Fault("POST", UPLOADS, answer=answer(503, HTML, PAGE)),
        Fault("PUT", "/manifests/", answer=answer(504, HTML, PAGE)),
    )
    once("500 three times in a row", Fault("PUT", UPLOADS, times=3, answer=answer(500, JSON, error("UNKNOWN", "oops"))))
    once("500 after the last byte, blob not stored", Fault("PUT", UPLOADS, times=2, answer=answer(500, HTML, PAGE)))
    once("500 after the last byte, blob stored", Fault("PUT", UPLOADS, lost=answer(500, HTML, PAGE)))
    once("the answer to a blob is lost", Fault("PUT", UPLOADS, lost=lambda x: x.reset()), most=2 * total)
    once("the answer to the manifest is lost", Fault("PUT", "/manifests/", lost=lambda x: x.reset()))
    once("the answer to a POST is lost", Fault("POST", UPLOADS, lost=lambda x: x.reset()))
    once("an upload is reset after 1 MB", Fault("PUT", UPLOADS, upload_reset=1000000, least=2000000))
    once("an upload is reset at its first byte", Fault("PUT", UPLOADS, upload_reset=0, least=1))
    once("an upload is reset at its last byte", Fault("PUT", UPLOADS, upload_reset=200000, least=1))
    once("uploads are reset four times", Fault("PUT", UPLOADS, times=4, upload_reset=150000, least=150000))
    once(
        "connections break instead of any answer",
        Fault("POST", UPLOADS, times=2, answer=lambda x: x.reset(), early=True),
        Fault("HEAD", "/blobs/", answer=lambda x: x.reset(), early=True),
    )
    once("the session is gone", Fault("PUT", UPLOADS, answer=answer(404, JSON, error("BLOB_UPLOAD_UNKNOWN", "gone"))))
    once("a HEAD that is not allowed", Fault("HEAD", "/blobs/", times=None, answer=answer(405, JSON)))
    once(
        "every connection is closed after its answer",
        Fault(None, "", times=None, change=lambda x, head: head.set("Connection", "close")),
    )

    @suite.case("connections are closed silently after each answer")
    def _(case):
        proxy = world.proxy(case)
        relay = proxy.relay
        proxy.relay = lambda exchange, fault: relay(exchange, fault) and False
        world.pushed(case, world.push(case, proxy.host))

    @suite.case("a kept connection breaks during the next body")
    def _(case):
        """As if it had been closed a moment ago and the client did not yet know."""
        proxy = world.proxy(case)
        relay, used = proxy.relay, []

        def break_used(exchange, fault):
            if exchange.wire in used and exchange.head.has_body():
                if exchange.head.get("expect"):
                    exchange.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                next(iter(exchange.wire.body(exchange.head)), None)
                exchange.reset()
            used.append(exchange.wire)
            return relay(exchange, fault)

        proxy.relay = break_used
        world.pushed(case, world.push(case, proxy.host))

    @suite.case("413 to large bodies, before they were read")
    def _(case):
        """As a gateway with a limit does; smaller pieces pass."""
        proxy = world.proxy(
            case, Fault("PUT|PATCH", UPLOADS, None, least=2 << 20, early=True, answer=answer(413, HTML, PAGE))
        )
        world.pushed(case, world.push(case, proxy.host))

    @suite.case("204 instead of 201")
    def _(case):
        proxy = world.proxy(case, Fault("PUT", UPLOADS, None, change=status_line(204)))
        world.pushed(case, world.push(case, proxy.host))

    for name, value, least in (
        ("in seconds", lambda: "3", 2.5),
        ("as a date", lambda: later(4), 2.0),
        ("that is past", lambda: later(-100), 0),
        ("that is not a number", lambda: "soon", 0),
        ("below nothing", lambda: "-5", 0),
    ):

        def limited(case, value=value, least=least):
            fault = Fault("PUT", UPLOADS, answer=lambda x: x.reply(429, JSON + [("Retry-After", value())]))
            proxy = world.proxy(case, fault)
            world.pushed(case, world.push(case, proxy.host))
            refused = next(r for r in proxy.log if r.status == 429)
            waits = [
                r.begun - refused.begun
                for r in proxy.log
                if r.begun > refused.begun and r.method in ("POST", "PUT") and UPLOADS in r.target
            ]
            # other uploads run at the same time: the refused bytes came again at the end
            case.check("it waited", max(waits, default=0) >= least, waits)

        suite.case("429 with a Retry-After " + name)(limited)

    def refused(name, words, *faults, most=60):
        @suite.case(name)
        def _(case):
            world.refused(case, world.push(case, world.proxy(case, *faults).host), words, most=most)

    refused(
        "500 for ever",
        "500.*oops|oops.*500",
        Fault("PUT", UPLOADS, None, answer=answer(500, JSON, error("UNKNOWN", "oops"))),
    )
    refused("a page with 403", "403", Fault("POST", UPLOADS, None, answer=answer(403, HTML, PAGE)), most=10)
    refused(
        "a reason with 403",
        "not your repository",
        Fault("POST", UPLOADS, None, answer=answer(403, JSON, error("DENIED", "not your repository"))),
        most=10,
    )
    refused(
        "an error with escapes",
        "bright",
        Fault(
            "POST",
            UPLOADS,
            None,
            answer=answer(400, JSON, error("X", "\\u001b[31mbright\\u001b]0;title\\u0007 \\u0000 red")),
        ),
        most=10,
    )
    refused("an error of 1 GB", "400", Fault("POST", UPLOADS, None, answer=endless(400)), most=60)
    refused(
        "413 to bodies of any size",
        "413",
        Fault("PUT|PATCH", UPLOADS, None, least=1, early=True, answer=answer(413, HTML, PAGE)),
    )
    refused(
        "a manifest that is refused",
        "400.*no such thing|no such thing.*400",
        Fault("PUT", "/manifests/", None, answer=answer(400, JSON, error("MANIFEST_INVALID", "no such thing"))),
        most=20,
    )
    refused(
        "a registry without uploads",
        "405|404",
        Fault("POST", UPLOADS, None, answer=answer(405, JSON, error("UNSUPPORTED", "read only"))),
        most=10,
    )
    refused("not a registry", "404", Fault(None, "", None, answer=answer(404, HTML, PAGE)), most=20)

    @suite.case("a closed port")
    def _(case):
        with world.proxy(case) as proxy:
            host = proxy.host
        world.refused(case, world.push(case, host), "connect", most=75)

    @suite.case("a blob that exists by HEAD, and does not")
    def _(case):
        def lie(exchange):
            digest = exchange.head.target.rsplit("/", 1)[1].replace("%3A", ":")
            exchange.reply(200, [("Content-Length", str(sizes[digest])), ("Docker-Content-Digest", digest)])

        sizes = blobs_of(world.image)
        proxy = world.proxy(case, Fault("HEAD", "/blobs/", None, answer=lie))
        world.refused(case, world.push(case, proxy.host), "manifest|blob")


def status_line(status):
    def change(_, head):
        head.line = "HTTP/1.1 %d Changed" % status
        if status == 204:
            head.drop("content-length")

    return change


def later(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def endless(status, length=1 << 30):
    """Answers with a body that continues as long as the client reads, at most `length` bytes."""

    def send(exchange):
        exchange.record.status = status
        exchange.wire.send(b"HTTP/1.1 %d Endless\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" % status)
        for _ in range(length >> 16):
            exchange.wire.send(b"more " * 13107 + b"\n")
            exchange.record.sent += 1 << 16
        raise Closed

    return send


def add_stalls(suite, world):
    """The environment shortens the time limits; their ratios are the real ones."""

    @suite.case("the answer comes long after the last byte")
    def _(case):
        case.environment.update(HOTLAYER_STALL_SECONDS="4", HOTLAYER_ANSWER_SECONDS="60")
        proxy = world.proxy(case, Fault("PUT", UPLOADS, delay=12, least=1 << 20))
        result = world.push(case, proxy.host)
        world.pushed(case, result)
        case.check("it waited", result.seconds >= 12, result)
        case.check("and sent nothing again", proxy.received() < sum(world.sizes) + 100000, proxy.received())

    @suite.case("the answer never comes")
    def _(case):
        case.environment.update(HOTLAYER_STALL_SECONDS="2", HOTLAYER_ANSWER_SECONDS="4")
        proxy = world.proxy(case, Fault("PUT", UPLOADS, delay=30, least=1 << 20))
        world.pushed(case, world.push(case, proxy.host))

    def stuck(exchange):
        time.sleep(20)
        raise Closed

    @suite.case("an upload stalls")
    def _(case):
        case.environment.update(HOTLAYER_STALL_SECONDS="2")
        image = case.path("image")
        digest = Layout(image).image(random_layers([40 << 20], 7))["digest"]  # more than the sockets buffer
        proxy = world.proxy(case, Fault("PUT", UPLOADS, least=1 << 20, early=True, answer=stuck))
        result = world.push(case, proxy.host, image=image)
        world.pushed(case, result, digest=digest)
        case.check("it gave up on it", result.seconds < 18, result)

    @suite.case("a registry that never answers")
    def _(case):
        case.environment.update(HOTLAYER_STALL_SECONDS="1")
        proxy = world.proxy(case, Fault(None, "", None, early=True, answer=stuck))
        world.refused(case, world.push(case, proxy.host), "moved|stall|time|answer", most=70)


def add_chunks(suite, world):
    """On the strict registry: behaviour of only some registries about sessions and chunks. The first layer is long
    enough for two chunks.
    """
    sizes = [72 << 20, 3 << 20]
    shared = suite.work + "/chunks"
    shared_digest = Layout(shared).image(random_layers(sizes, 11))["digest"]

    def strict(name, setup, *faults, check=None):
        @suite.case("strict registry: " + name)
        def _(case):
            mini = case.use(Mini(case.path("mini")))
            setup(mini)
            proxy = case.use(Proxy(mini.host, [Fault(**fault) for fault in faults]))
            result = world.push(case, proxy.host, image=shared)
            world.pushed(case, result, reader=Reader(mini.host), digest=shared_digest)
            shutil.rmtree(mini.folder)
            case.note("%.1f of %.1f MB sent" % (proxy.received() / 1e6, sum(sizes) / 1e6))
            if check:
                check(case, mini, proxy)

    broken = {"path": UPLOADS, "least": 4 << 20, "upload_reset": 3 << 20}  # in the first layer and in its second piece
    broken["times"] = 2

    def resumes(case, mini, proxy):
        case.check("what had arrived is not sent again", proxy.received() < sum(sizes) + (4 << 20), proxy.received())

    strict("nothing special", lambda mini: None)
    strict("a broken upload goes on", lambda mini: None, broken, check=resumes)
    strict("and again", lambda mini: None, {**broken, "times": 5})
    strict("parts of broken uploads are lost", lambda mini: setattr(mini, "keeps_parts", False), broken)
    strict("PATCH answers 201", lambda mini: setattr(mini, "patch_status", 201), broken)
    strict("PATCH answers 204", lambda mini: setattr(mini, "patch_status", 204), broken)
    strict("PUT answers 204", lambda mini: setattr(mini, "put_status", 204), broken)
    strict("Range never moves on", lambda mini: setattr(mini, "stale_range", True), broken)
    strict("no Range at all", lambda mini: setattr(mini, "without_range", True), broken)
    strict("416 without headers", lambda mini: setattr(mini, "bare_416", True), broken)
    strict("sessions are forgotten", lambda mini: setattr(mini, "forgets", 2), broken)
    strict("OCI-Chunk-Min-Length", lambda mini: setattr(mini, "chunk_least", 5 << 20), broken)
    strict("a huge OCI-Chunk-Min-Length", lambda mini: setattr(mini, "chunk_least", 1 << 40), broken)
    strict("chunks of at most 4 MB", lambda mini: setattr(mini, "chunk_most", 4 << 20), broken)
    strict("Locations of 5 KB", lambda mini: setattr(mini, "padding", "&pad=" + "A" * 5000), broken)
    for status in (400, 404, 405, 416, 501):
        strict("%d to chunks" % status, lambda mini, status=status: setattr(mini, "chunk_status", status), broken)
    strict(
        "a status that lies",
        lambda mini: None,
        broken,
        {"method": "GET", "path": UPLOADS, "change": lambda x, head: head.set("Range", "0-59999999")},
    )
    strict(
        "a status of nonsense",
        lambda mini: None,
        broken,
        {"method": "GET", "path": UPLOADS, "change": lambda x, head: head.set("Range", "bytes=a-99999999999999999999")},
    )

    @suite.case("strict registry: a subject, and no OCI-Subject")
    def _(case):
        """The image has a subject: without OCI-Subject, its client must write the fallback tag's index."""
        mini = case.use(Mini(case.path("mini")))
        mini.referrers = False
        layout = Layout(case.path("image"))
        subject = layout.image(random_layers([1000], 1), tag=None)
        layout.entries.clear()
        digest = layout.image(random_layers([2000], 2), subject=subject, artifactType="application/vnd.example.note")[
            "digest"
        ]
        reader = Reader(mini.host)
        result = world.push(case, mini.host, image=case.path("image"))
        world.pushed(case, result, reader=reader, digest=digest)
        tags = reader.tags(case.repository)
        fallback = subject["digest"].replace(":", "-")
        case.check(
            "the fallback tag names it",
            fallback in tags
            and digest in reader.ask("GET", "/v2/%s/manifests/%s" % (case.repository, fallback))[2].decode(),
            tags,
        )


def add_mounts(suite, world):
    def mount(name, *faults, moves=False):
        @suite.case("a mount " + name)
        def _(case):
            first = "%s-first" % case.repository
            proxy = world.proxy(case, *faults)
            pushed = case.hotlayer("push", "oci:%s:one" % world.image, "%s/%s:one" % (proxy.host, first))
            case.check("a first push", pushed.status == 0, pushed)
            before = proxy.received()
            world.pushed(case, world.push(case, proxy.host))
            asked = proxy.requests("POST", "mount=")
            case.check("the mount was requested", asked, [r.target for r in proxy.requests("POST")])
            sent = proxy.received() - before
            case.check(
                "and no layer is sent" if not moves else "and layers are sent once",
                sent < 50000 if not moves else sum(world.sizes) <= sent < sum(world.sizes) + 50000,
                sent,
            )

    def session_instead(exchange):
        """A registry without mounts: an ordinary session."""
        exchange.head.line = exchange.head.line.split("?")[0] + " HTTP/1.1"

    mount("that works")
    for status in (400, 403, 404, 405, 501):
        mount(
            "answered with %d" % status,
            Fault("POST", "mount=", None, answer=answer(status, JSON, error("UNSUPPORTED", "no mounts"))),
            moves=True,
        )
    mount("answered with 500 once", Fault("POST", "mount=", answer=answer(500, HTML, PAGE)))

    @suite.case("a mount answered with 202")
    def _(case):
        """There is no repository to mount from: the client uses the session of the answer, and opens no other."""
        proxy = world.proxy(case)
        passes = proxy.relay

        def relay(exchange, fault):
            if "mount=" in exchange.head.target:
                session_instead(exchange)
            return passes(exchange, fault)

        proxy.relay = relay
        pushed = case.hotlayer("push", "oci:%s:one" % world.image, "%s/%s-first:one" % (proxy.host, case.repository))
        case.check("a first push", pushed.status == 0, pushed)
        proxy.log.clear()
        world.pushed(case, world.push(case, proxy.host))
        posts = proxy.requests("POST", UPLOADS)
        case.check("one session a blob", len(posts) == len(world.sizes) + 1, [r.target for r in posts])


def add_streams(suite, world):
    """The size of compressed layers is unknown until they are sent: one PATCH of unknown length, repeated where it
    broke.
    """

    def stream(name, setup=None, *faults, words=None):
        @suite.case("stream: " + name)
        def _(case):
            mini = case.use(Mini(case.path("mini")))
            if setup:
                setup(mini)
            proxy = case.use(Proxy(mini.host, [Fault(**fault) for fault in faults]))
            result = world.bake(case, proxy.host, "--compress", "zstd")
            if words:
                world.refused(case, result, words, reader=Reader(mini.host))
                return
            case.check("succeeds", result.status == 0, result)
            reader = Reader(mini.host)
            case.check("the tag", reader.digest(case.repository, "one") == result.last, result)
            case.check("no damage", reader.damage(case.repository, "one") == "", reader.damage(case.repository, "one"))
            unsized = [r for r in proxy.requests("PATCH") if r.content_range is None]
            case.check("it was a stream", unsized or mini.patch_status >= 400, [r.target for r in proxy.log])
            verified = case.hotlayer("verify", "%s/%s:one" % (mini.host, case.repository))
            case.check("verify passes", verified.status == 0, verified)

    patch = {"method": "PATCH", "path": UPLOADS}
    stream("nothing special")
    stream("it breaks", None, {**patch, "upload_reset": 50000, "times": 3})
    stream("it breaks at once", None, {**patch, "upload_reset": 0, "times": 2})
    stream("the answer is lost", None, {**patch, "lost": lambda x: x.reset(), "times": 2})
    stream("503 after the last byte", None, {**patch, "lost": answer(503, HTML, PAGE), "times": 2})
    stream("503 before the first", None, {**patch, "early": True, "answer": answer(503, HTML, PAGE), "times": 2})
    stream("PATCH answers 201", lambda mini: setattr(mini, "patch_status", 201))
    stream("PATCH answers 204", lambda mini: setattr(mini, "patch_status", 204))
    stream("the end is lost", None, {"method": "PUT", "path": UPLOADS, "lost": lambda x: x.reset(), "times": 2})
    stream("the end is refused once", None, {"method": "PUT", "path": UPLOADS, "answer": answer(500, HTML, PAGE)})
    stream("parts are lost", lambda mini: setattr(mini, "keeps_parts", False), {**patch, "upload_reset": 50000})
    stream("chunks are unknown", lambda mini: setattr(mini, "chunk_status", 404))
    stream(
        "no PATCH at all",
        None,
        {**patch, "times": None, "early": True, "answer": answer(405, JSON, error("UNSUPPORTED", "no PATCH here"))},
        words=None,
    )

    @suite.case("stream: the same digest whatever happens")
    def _(case):
        digests = set()
        for fault in ([], [Fault("PATCH", UPLOADS, upload_reset=70000, times=2)]):
            proxy = world.proxy(case, *fault)
            digests.add(world.bake(case, proxy.host, "--compress", "zstd").last)
        case.check("is one digest", len(digests) == 1 and "sha256:" in "".join(digests), digests)


def add_answers(suite, world):
    """Answers that are unusual, or misleading."""

    @suite.case("uploads are sent on to another host")
    def _(case):
        """307 to a PUT: its body goes to the new URL, its credentials do not."""
        other = world.proxy(case)
        world.suite.secrets.add_login("kim", "leap")
        proxy = world.proxy(
            case,
            Fault(
                "PUT|PATCH",
                UPLOADS,
                None,
                least=1,
                early=True,
                answer=lambda x: x.reply(307, [("Location", other.url + x.head.target)]),
            ),
            gate=Gate("kim", "leap"),
        )
        log_in(case, proxy.host, "kim", "leap")
        world.pushed(case, world.push(case, proxy.host))
        case.check("the bytes went there", other.received() >= sum(world.sizes), other.received())
        seen = [r.target for r in other.log if r.authorization]
        case.check("without credentials", not seen, seen)

    @suite.case("uploads are sent on for ever")
    def _(case):
        proxy = world.proxy(
            case,
            Fault(
                "PUT|PATCH",
                UPLOADS,
                None,
                least=1,
                early=True,
                answer=lambda x: x.reply(307, [("Location", x.head.target + "&again")]),
            ),
        )
        world.refused(case, world.push(case, proxy.host), "redirect|307", most=60)
        case.check("it stops", len(proxy.log) < 500, len(proxy.log))

    @suite.case("another host answers whether a blob exists")
    def _(case):
        world.reader.put_image(world.image, case.repository)
        other = world.proxy(case)
        proxy = world.proxy(
            case,
            Fault(
                "HEAD",
                "/blobs/",
                None,
                answer=lambda x: x.reply(307, [("Location", other.url + x.head.target), ("Content-Length", "0")]),
            ),
        )
        world.pushed(case, world.push(case, proxy.host))
        case.check("no layer was sent", proxy.received() < 50000, proxy.received())

    @suite.case("a blob is stored under another digest")
    def _(case):
        wrong = digest_of(b"something else")
        proxy = world.proxy(
            case, Fault("PUT", UPLOADS, None, change=lambda x, head: head.set("Docker-Content-Digest", wrong))
        )
        world.refused(case, world.push(case, proxy.host), "digest|sha256|stored", most=60)

    @suite.case("a manifest is stored under another digest")
    def _(case):
        wrong = digest_of(b"something else")
        proxy = world.proxy(
            case, Fault("PUT", "/manifests/", None, change=lambda x, head: head.set("Docker-Content-Digest", wrong))
        )
        complains(case, world.push(case, proxy.host), "digest|sha256|stored", 60)

    @suite.case("a base of 130 layers")
    def _(case):
        base = case.path("base")
        Layout(base).image([tar_of({"f%d" % i: b"x"}) for i in range(130)])
        world.reader.put_image(base, case.repository + "-base")
        base = "%s/%s-base:one" % (world.registry.host, case.repository)
        world.refused(case, world.bake(case, world.registry.host, "--base", base), "layers.*127|127.*layers")

    @suite.case("a warning is shown")
    def _(case):
        proxy = world.proxy(
            case,
            Fault(
                None,
                "/v2/.",
                None,
                change=lambda x, head: head.set("Warning", '299 - "this registry \x1b[31mcloses soon"'),
            ),
        )
        result = world.push(case, proxy.host)
        world.pushed(case, result)
        case.check(
            "once, and without escapes", result.err.count("closes soon") == 1 and "\x1b" not in result.err, result
        )

    @suite.case("TLS to a server without it")
    def _(case):
        """A registry that looks public and has no TLS: it gets nothing of the request."""
        if not world.public:
            case.skip("no network namespace can be made here")
            return
        proxy = case.use(Proxy(world.registry.host, gate=Gate("kim", "unseen"), address=PUBLIC[0]))
        world.suite.secrets.add_login("kim", "unseen")
        log_in(case, proxy.host, "kim", "unseen")
        world.refused(case, world.push(case, proxy.host), "tls|ssl|https|plain", most=60)
        case.check("no request was made", not proxy.log, proxy.log)


def add(suite, world):
    add_streams(suite, world)
    add_answers(suite, world)
    add_locations(suite, world)
    add_errors(suite, world)
    add_stalls(suite, world)
    add_chunks(suite, world)
    add_mounts(suite, world)
