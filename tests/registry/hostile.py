#!/usr/bin/env python3
"""Images made to do harm: how hotlayer reads them, and that it writes only where it was told to.

    python3 tests/registry/hostile.py HOTLAYER [PART OF A CASE'S NAME]

Each case is an image in a registry whose layers are a real model's, except for one thing. inspect, verify and pull
either work or fail with a message, in little time and memory; pull leaves regular files below its folder and nothing
anywhere else. `hotlayerd` must be next to HOTLAYER; needs `time` for the memory.
"""

import gzip
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import threading

from faults import complains, make_model_image
from mini import Mini
from rig import CONFIG, LAYER, MANIFEST, Layout, Suite, digest_of

MEMORY_MOST = 192 << 10  # KiB
SECONDS_MOST = 25
suite = Suite(sys.argv[1])
model = make_model_image(suite)


def real_layers():
    """Returns the layers of the model's image without the runtime's: [{name: bytes}]."""
    with open(model + "/index.json", encoding="utf-8") as file:
        digest = json.load(file)["manifests"][0]["digest"]
    layers = []
    for layer in json.loads(read_blob(digest))["layers"][1:]:
        with tarfile.open(fileobj=io.BytesIO(read_blob(layer["digest"]))) as tar:
            layers.append({entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()})
    return layers


def read_blob(digest):
    with open(os.path.join(model, "blobs/sha256", digest[7:]), "rb") as file:
        return file.read()


LAYERS = real_layers()
HEAD = "models/demo/model.hot"
SHARD = HEAD + ".001"


def entry(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(*entries, kind=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data) if data else None)
    return out.getvalue()


def header(name, size, kind=b"0", link=b"", magic=b"ustar\x0000"):
    """Returns one block of a tar, byte by byte; `size` is the field as written."""
    block = bytearray(512)
    for at, value in (
        (0, name),
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, size),
        (136, b"00000000000\0"),
        (156, kind),
        (157, link),
        (257, magic),
    ):
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def ordinary(files):
    return tar(*[entry(name, data) for name, data in files.items()])


def shards():
    return [ordinary(files) for files in LAYERS[1:]]


def snapshot(folder, without):
    """Returns everything below a folder, with its kind and content, without the parts that a command may use."""
    seen = {}
    for path, folders, names in os.walk(folder):
        if path == folder:
            folders[:] = [name for name in folders if name not in without]
        for name in folders + names:
            full = os.path.join(path, name)
            mode = os.lstat(full).st_mode
            content = None
            if stat.S_ISREG(mode):
                with open(full, "rb") as file:
                    content = digest_of(file.read())
            seen[os.path.relpath(full, folder)] = (mode, content)
    return seen


def run(case, *arguments):
    """Runs hotlayer; returns (result, KiB)."""
    report = case.path("tmp-memory")
    result = case.run(["/usr/bin/time", "-o", report, "-f", "%M", suite.hotlayer] + list(arguments), SECONDS_MOST + 10)
    with open(report, encoding="utf-8") as file:
        memory = int(file.read().split()[-1])
    os.unlink(report)
    case.check("%s ends in time" % arguments[0], result.seconds < SECONDS_MOST, result)
    case.check("%s in little memory" % arguments[0], memory < MEMORY_MOST, "%d KiB\n%s" % (memory, result))
    case.check("%s does not crash" % arguments[0], result.status in (0, 1), result)
    case.check(
        "%s prints no control characters" % arguments[0],
        not any(c < " " and c not in "\n\r\t" or c == "\x7f" for c in result.text),
        repr(result.text[:1000]),
    )
    return result


def hostile(name, build, words=None, works=False, needs=()):
    """`build(case)` gives the layers, as stored blobs; it may aim at "outside" in the case's folder. `words`: pull must
    fail with them; `works`: pull must succeed, and write the model; neither: both are allowed.
    """

    @suite.case(name, ("/usr/bin/time",) + needs)
    def _(case):
        mini = case.use(Mini(case.path("mini")))
        layout = Layout(case.path("image"))
        os.mkdir(case.path("outside"))
        with open(case.path("outside/canary"), "w", encoding="utf-8") as out:
            out.write("alive")
        built = build(case)
        blobs = [blob if isinstance(blob, tuple) else (blob, LAYER, digest_of(blob)) for blob in built]
        descriptors = [layout.blob(data, kind) for data, kind, _ in blobs]
        config = layout.json(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [diff_id for _, _, diff_id in blobs]},
            },
            CONFIG,
        )
        manifest = layout.json(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors}, MANIFEST
        )
        mini.hold(case.repository, layout.folder, manifest["digest"], MANIFEST)
        reference = "%s/%s:one" % (mini.host, case.repository)
        without = ("home", "state", "tmp", "pulled", "mini")
        before = snapshot(case.folder, without)
        run(case, "inspect", reference)
        run(case, "verify", reference)
        result = run(case, "pull", "oci://" + reference, "-o", case.path("pulled"))
        case.check(
            "nothing else was written",
            snapshot(case.folder, without) == before,
            set(snapshot(case.folder, without).items()) ^ set(before.items()),
        )
        case.check("nothing is left in $TMPDIR", os.listdir(case.path("tmp")) == [], os.listdir(case.path("tmp")))
        pulled = snapshot(case.path("pulled"), ()) if os.path.isdir(case.path("pulled")) else {}
        odd = [
            path
            for path, (mode, _) in pulled.items()
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode) or mode & 0o7000
        ]
        case.check("only files and folders were pulled", not odd, odd)
        if words:
            complains(case, result, words, SECONDS_MOST, "pull ")
            heads = [path for path in pulled if path.endswith(".hot")]
            case.check("and no model is there", not heads, heads)
        if works or result.status == 0:
            case.check("pull succeeds", result.status == 0, result)
            want = {digest_of(data) for files in LAYERS for data in files.values()}
            case.check("and writes the model", want <= {content for _, content in pulled.values()}, sorted(pulled))


# ---- names that lead outside ----


def head_named(name, **fields):
    return lambda case: [tar(entry(name, LAYERS[0][HEAD], **fields))] + shards()


hostile("nothing is wrong", lambda case: [ordinary(files) for files in LAYERS], works=True)
hostile("a name with ..", head_named("models/demo/../../../outside/model.hot"), r"\.\.|name|path")
hostile("a name that begins with ..", head_named("../outside/model.hot"), r"\.\.|name|path")
hostile(
    "an absolute name",
    lambda case: [tar(entry(case.path("outside/model.hot"), LAYERS[0][HEAD]))] + shards(),
    "absolute|name|path",
)
hostile(
    "a name in the old way, absolute",
    lambda case: [header(case.path("outside/m.hot").encode()[:99], b"%011o\0" % 4) + b"evil" + bytes(508 + 1024)]
    + shards(),
    "absolute|name|path",
)
hostile(".. in a PAX path", head_named("x", pax_headers={"path": "models/../../outside/model.hot"}), r"\.\.|name|path")
hostile("a NUL in a PAX path", head_named("x", pax_headers={"path": "models/demo/model.hot\0/../../x"}))
hostile("dots and double slashes", head_named("./models//demo/./model.hot"), works=True)
hostile("a line break in a name", head_named("models/de\nmo\x1b[31m/model.hot"))
hostile("a name of 5000 bytes", head_named("models/demo/" + "n" * 5000 + "/model.hot"))
hostile("a name that is not UTF-8", head_named("models/\udcff\udcfe/model.hot"))
hostile("a hidden model", head_named("models/.hotlayer/model.hot"))
hostile("a model called ..", head_named("models/../model.hot"), r"\.\.|name|path")

# ---- entries other than files ----

for kind, what, link in (
    (tarfile.SYMTYPE, "a symbolic link", "../../../../../../etc/passwd"),
    (tarfile.LNKTYPE, "a hard link", "etc/passwd"),
    (tarfile.CHRTYPE, "a character device", ""),
    (tarfile.BLKTYPE, "a block device", ""),
    (tarfile.FIFOTYPE, "a pipe", ""),
    (tarfile.DIRTYPE, "a folder", ""),
):
    for place, path in (("head", HEAD), ("shard", SHARD)):

        def odd(case, kind=kind, link=link, path=path):
            wrong = tar(entry(path, type=kind, linkname=link, devmajor=1, devminor=5))
            rest = [ordinary(files) for files in LAYERS if path not in files]
            return [wrong] + rest

        hostile("%s as %s" % (what, place), odd, "link|device|file|folder|model|shard|missing")
hostile(
    "the model's folder is a link",
    lambda case: [tar(entry("models/demo", type=tarfile.SYMTYPE, linkname=case.path("outside")))]
    + [ordinary(f) for f in LAYERS],
)
hostile(
    "models is a link",
    lambda case: [tar(entry("models", type=tarfile.SYMTYPE, linkname=case.path("outside")))]
    + [ordinary(f) for f in LAYERS],
)
hostile(
    "a link, then a file through it",
    lambda case: [
        tar(entry("models/demo", type=tarfile.SYMTYPE, linkname=case.path("outside")), entry(HEAD, LAYERS[0][HEAD]))
    ]
    + shards(),
)
hostile("a head that is set-user-ID", head_named(HEAD, mode=0o6777, uid=0), works=True)
hostile("the same name twice", lambda case: [tar(entry(HEAD, b"first"), entry(HEAD, LAYERS[0][HEAD]))] + shards())

# ---- layers over layers ----

hostile(
    "a whiteout of the head",
    lambda case: [ordinary(f) for f in LAYERS] + [tar(entry("models/demo/.wh.model.hot"))],
    "no model|model",
)
hostile(
    "a whiteout of a shard",
    lambda case: [ordinary(f) for f in LAYERS] + [tar(entry("models/demo/.wh.model.hot.001"))],
    "shard|missing|001",
)
hostile(
    "a whiteout of everything",
    lambda case: [ordinary(f) for f in LAYERS] + [tar(entry(".wh..wh..opq"))],
    "no model|model",
)
hostile(
    "a whiteout with ..",
    lambda case: [ordinary(f) for f in LAYERS] + [tar(entry("models/demo/../../../outside/.wh.canary"))],
    r"\.\.|name|path",
)
hostile(
    "a whiteout of ..",
    lambda case: [ordinary(f) for f in LAYERS] + [tar(entry("models/.wh..."), entry("models/.wh.."))],
)
hostile(
    "a million whiteouts",
    lambda case: [ordinary(f) for f in LAYERS]
    + [b"".join(header(b"models/x/.wh.%d" % i, b"%011o\0" % 0) for i in range(20000)) + bytes(1024)],
)
hostile(
    "a hundred thousand entries",
    lambda case: [ordinary(f) for f in LAYERS]
    + [b"".join(header(b"usr/f%d" % i, b"%011o\0" % 0) for i in range(100000)) + bytes(1024)],
    works=True,
)
hostile(
    "a hundred models", lambda case: [tar(*[entry("models/m%d/model.hot" % i, LAYERS[0][HEAD]) for i in range(100)])]
)

# ---- sizes ----

for what, field in (
    ("8 GB", b"77777777777\0"),
    ("2^62 bytes", b"\x80" + b"\0" * 3 + b"\x40" + b"\0" * 7),
    ("2^95 bytes", b"\x80\x7f" + b"\xff" * 10),
    ("less than nothing", b"\xff" * 12),
    ("no number of bytes", b"hello world\0"),
    ("-5 bytes", b"-0000000005\0"),
):
    hostile(
        "a head of %s" % what,
        lambda case, field=field: [header(HEAD.encode(), field) + LAYERS[0][HEAD] + bytes(1024)] + shards(),
        "damaged|larger|bytes|tar|size|ends|claims|model",
    )
hostile(
    "a PAX size of 2^63",
    lambda case: [
        header(b"pax", b"%011o\0" % 32, b"x")
        + b"30 size=9223372036854775807\n\n\n\n"
        + bytes(480)
        + header(HEAD.encode(), b"%011o\0" % 5)
        + bytes(1536)
    ]
    + shards(),
    "damaged|larger|bytes|tar|size|ends|claims|model",
)
hostile(
    "a head with holes",
    lambda case: [
        tar(
            entry(
                HEAD,
                LAYERS[0][HEAD],
                pax_headers={
                    "GNU.sparse.major": "1",
                    "GNU.sparse.minor": "0",
                    "GNU.sparse.name": HEAD,
                    "GNU.sparse.realsize": str(1 << 50),
                },
            )
        )
    ]
    + shards(),
)
hostile(
    "a head with holes in the old way",
    lambda case: [header(HEAD.encode(), b"%011o\0" % 0, b"S", magic=b"ustar  \0") + bytes(1024)] + shards(),
)
hostile("a PAX header of 1 GB", lambda case: [header(b"pax", b"%011o\0" % (1 << 30), b"x") + bytes(4096)] + shards())
hostile(
    "a GNU name of 1 GB", lambda case: [header(b"././@LongLink", b"%011o\0" % (1 << 30), b"L") + bytes(4096)] + shards()
)
hostile("a tar that ends in a header", lambda case: [ordinary(LAYERS[0])[:300]] + shards())
hostile(
    "a tar that ends in a file",
    lambda case: [ordinary(LAYERS[0])[:20000]] + shards(),
    "damaged|ends|bytes|cut|tar|short",
)
hostile("an empty layer", lambda case: [b""] + [ordinary(f) for f in LAYERS])
hostile("noise instead of a tar", lambda case: [os.urandom(100000)] + shards())
hostile("a zip instead of a tar", lambda case: [b"PK\x03\x04" + bytes(2000)] + shards())
hostile(
    "a shard that is too short",
    lambda case: [
        ordinary({name: data[:5000] if name == SHARD else data for name, data in files.items()}) for files in LAYERS
    ],
    "001|shard|bytes|size",
)
hostile("a head that is noise", lambda case: [ordinary({HEAD: os.urandom(65536)})] + shards(), "hot|magic|model")
hostile(
    "a head of zeros",
    lambda case: [header(HEAD.encode(), b"%011o\0" % 65536) + bytes(65536 + 1024)] + shards(),
    "hot|magic|model",
)


# ---- compressed ----

GZIP, ZSTD = LAYER + "+gzip", LAYER + "+zstd"


def packed(data):
    return gzip.compress(data, 1), GZIP, digest_of(data)


def zeros(command, size):
    """Returns zeros, `size` bytes of them, as a file of a tar, compressed by a program that reads a pipe."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def feed():
        with process.stdin as out:
            out.write(header(b"usr/share/large", b"%011o\0" % size))
            for _ in range(size >> 20):
                out.write(bytes(1 << 20))
            out.write(bytes(1024))

    thread = threading.Thread(target=feed)
    thread.start()
    data = process.stdout.read()
    thread.join()
    process.wait()
    return data


hostile("compressed and fine", lambda case: [packed(ordinary(files)) for files in LAYERS], works=True)
hostile(
    "compressed with another diff_id",
    lambda case: [packed(ordinary(LAYERS[0]))[:2] + (digest_of(b"?"),)] + [packed(ordinary(f)) for f in LAYERS[1:]],
)
hostile(
    "compressed and cut off",
    lambda case: [(packed(ordinary(LAYERS[0]))[0][:-2000], GZIP, digest_of(ordinary(LAYERS[0])))] + shards(),
    "gzip|ends|damaged|cut|trunc",
)
hostile("noise instead of gzip", lambda case: [(os.urandom(5000), GZIP, digest_of(b""))] + shards())
hostile(
    "a gzip of 500 MB of nothing",
    lambda case: [packed(ordinary(f)) for f in LAYERS] + [(zeros(["gzip", "-1"], 1 << 29), GZIP, digest_of(b""))],
)
hostile("gzip in gzip", lambda case: [packed(gzip.compress(ordinary(f))) for f in LAYERS])
hostile("a gzip said to be zstd", lambda case: [(packed(ordinary(f))[0], ZSTD, digest_of(ordinary(f))) for f in LAYERS])
hostile(
    "a gzip said to be plain", lambda case: [(packed(ordinary(f))[0], LAYER, digest_of(ordinary(f))) for f in LAYERS]
)
hostile(
    "a head of 2 GB in gzip",
    lambda case: [(gzip.compress(header(HEAD.encode(), b"%011o\0" % (2 << 30)) + bytes(8 << 20)), GZIP, digest_of(b""))]
    + shards(),
)


def squeezed(data, *options):
    return subprocess.run(["zstd", "-q", "-c"] + list(options), input=data, capture_output=True, check=True).stdout


hostile(
    "zstd and fine",
    lambda case: [(squeezed(ordinary(f)), ZSTD, digest_of(ordinary(f))) for f in LAYERS],
    works=True,
    needs=("zstd",),
)
hostile(
    "a zstd of 3 GB of nothing",
    lambda case: [packed(ordinary(f)) for f in LAYERS]
    + [(zeros(["zstd", "-q", "-c", "-1"], 3 << 30), ZSTD, digest_of(b""))],
    needs=("zstd",),
)
hostile(
    "a zstd with a window of 2 GB",
    lambda case: [
        (squeezed(ordinary(f), "--ultra", "--long=31", "-1", "--no-content-size"), ZSTD, digest_of(ordinary(f)))
        for f in LAYERS
    ],
    needs=("zstd",),
)

sys.exit(suite.main(jobs=4, only=sys.argv[2] if len(sys.argv) > 2 else None))
