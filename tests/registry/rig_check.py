#!/usr/bin/env python3
"""Tests the rig: its registry answers as docker-registry does, other clients work through it, damage is noticed.

    python3 tests/registry/rig_check.py HOTLAYER

Does not run HOTLAYER. Needs docker-registry, skopeo and openssl.
"""

import http.client
import json
import os
import socket
import sys
import time

from mini import Mini
from proxy import Fault, Gate, Proxy
from registries import Authority, Reader, Registry
from rig import CONFIG, LAYER, MANIFEST, Suite, digest_of, make_image
from tokens import TokenServer

suite = Suite(sys.argv[1])
PASSWORD = "open sesame"


def skopeo(case, *arguments):
    return case.run(["skopeo", "--insecure-policy"] + list(arguments), seconds=120)


def converse(host):
    """Has one conversation with a registry: [(what, status)]. Follows sessions by the Locations of the answers."""
    connection = http.client.HTTPConnection(host, timeout=30)
    said = []

    def ask(what, method, target, body=None, **headers):
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        data = answer.read()
        said.append((what, answer.status))
        return answer.headers, data

    def place(headers):
        return "/" + headers["Location"].split("//")[-1].split("/", 1)[1]

    def begin(what):
        return place(ask(what, "POST", "/v2/a/b/blobs/uploads/", Content_Length="0")[0])

    data = bytes(range(256)) * 1000
    digest, half = digest_of(data), len(data) // 2
    ask("base", "GET", "/v2/")
    ask("no blob", "HEAD", "/v2/a/b/blobs/" + digest)
    where = begin("POST")
    headers, _ = ask(
        "a chunk",
        "PATCH",
        where,
        data[:half],
        Content_Range="0-%d" % (half - 1),
        Content_Type="application/octet-stream",
    )
    said.append(("Range of a chunk", headers["Range"]))
    where = place(headers)
    headers, _ = ask("status", "GET", where)
    said.append(("Range of a status", headers["Range"]))
    headers, _ = ask(
        "the other chunk",
        "PATCH",
        place(headers),
        data[half:],
        Content_Range="%d-%d" % (half, len(data) - 1),
        Content_Type="application/octet-stream",
    )
    headers, _ = ask("PUT without a body", "PUT", place(headers) + "&digest=" + digest)
    said.append(("digest of a PUT", headers["Docker-Content-Digest"]))
    headers, got = ask("blob", "GET", "/v2/a/b/blobs/" + digest)
    said.append(("its bytes", got == data))
    headers, got = ask("a part of it", "GET", "/v2/a/b/blobs/" + digest, Range="bytes=1000-1999")
    said.append(("its bytes", got == data[1000:2000]))
    said.append(("its Content-Range", headers["Content-Range"]))
    ask("another repository", "HEAD", "/v2/c/blobs/" + digest)
    ask("mount", "POST", "/v2/c/blobs/uploads/?mount=%s&from=a/b" % digest, Content_Length="0")
    ask("mounted", "HEAD", "/v2/c/blobs/" + digest)
    ask("mount of nothing", "POST", "/v2/c/blobs/uploads/?mount=%s&from=a/b" % digest_of(b""), Content_Length="0")
    where = begin("POST for a stream")
    headers, _ = ask("stream", "PATCH", where, data, Content_Type="application/octet-stream")
    ask("wrong digest", "PUT", place(headers) + "&digest=" + digest_of(b"x"))
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest]}}
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": digest, "size": len(data)}],
    }
    text = json.dumps(manifest).encode()
    _, got = ask("manifest without its config", "PUT", "/v2/a/b/manifests/one", text, Content_Type=MANIFEST)
    said.append(("its error", json.loads(got)["errors"][0]["code"]))
    ask("no such tag", "GET", "/v2/a/b/manifests/one", Accept=MANIFEST)
    ask(
        "monolithic PUT",
        "PUT",
        begin("POST for the config") + "&digest=" + digest_of(config),
        config,
        Content_Type="application/octet-stream",
    )
    ask("bad manifest", "PUT", "/v2/a/b/manifests/one", b"{}", Content_Type=MANIFEST)
    ask("manifest under a wrong digest", "PUT", "/v2/a/b/manifests/" + digest, text, Content_Type=MANIFEST)
    headers, _ = ask("manifest", "PUT", "/v2/a/b/manifests/one", text, Content_Type=MANIFEST)
    said.append(("its digest", headers["Docker-Content-Digest"]))
    headers, got = ask("tag", "GET", "/v2/a/b/manifests/one", Accept=MANIFEST)
    said.append(("its type and bytes", (headers["Content-Type"], got == text)))
    ask("by digest", "HEAD", "/v2/a/b/manifests/" + digest_of(text), Accept=MANIFEST)
    said.append(("tags", json.loads(ask("tags", "GET", "/v2/a/b/tags/list")[1])["tags"]))
    where = begin("POST to cancel")
    ask("DELETE", "DELETE", where)
    ask("status of what is gone", "GET", where)
    connection.close()
    return said


# The known differences, and their sources.
DIFFERENT = {
    "manifest without its config": (400, 404),  # distribution-spec 1.1 SHOULD: 404
    "bad manifest": (500, 400),  # MANIFEST_INVALID is a 400
}


@suite.case("the small registry answers as docker-registry", ["docker-registry"])
def _(case):
    real = case.use(Registry(case.path("real")))
    small = case.use(Mini(case.path("mini")))
    for (what, theirs), (_, ours) in zip(converse(real.host), converse(small.host)):
        same = theirs == ours or DIFFERENT.get(what) == (theirs, ours)
        case.check(what, same, "docker-registry: %s, ours: %s" % (theirs, ours))


@suite.case("skopeo pushes to all of them", ["docker-registry", "skopeo", "openssl"])
def _(case):
    digest = make_image(case.path("image"), [3 << 20, 1 << 20], 1)
    source = "oci:" + case.path("image") + ":one"
    authority = Authority(case.folder)
    tokens = case.use(TokenServer(case.folder, {"kim": (PASSWORD, {"": "pull,push"})}))
    lax = case.use(TokenServer(case.folder, {"kim": (PASSWORD, {"": "pull,push"})}, signed=False))
    plain = case.use(Registry(case.path("plain")))
    small = case.use(Mini(case.path("mini")))
    login = "--dest-creds=kim:" + PASSWORD
    for what, host, arguments in (
        ("plain", plain.host, []),
        ("TLS and htpasswd", case.use(Registry(case.path("tls"), authority, {"kim": PASSWORD})).host, [login]),
        ("signed tokens", case.use(Registry(case.path("tokens"), tokens=tokens)).host, [login]),
        ("the small registry", small.host, []),
        ("a proxy", case.use(Proxy(plain.host)).host, []),
        ("a proxy with TLS", case.use(Proxy(plain.host, tls=authority.context())).host, []),
        ("a proxy that asks for tokens", case.use(Proxy(plain.host, gate=Gate(tokens=lax))).host, [login]),
        ("a proxy that asks for a password", case.use(Proxy(small.host, gate=Gate("kim", PASSWORD))).host, [login]),
    ):
        name = "rig/" + what.lower().replace(" ", "-")
        result = skopeo(
            case,
            "copy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            *arguments,
            source,
            "docker://%s/%s:one" % (host, name)
        )
        case.check(what, result.status == 0, result)
        case.note("%s: %.1f s" % (what, result.seconds))
        if not arguments:
            reader = Reader(host if "TLS" not in what else plain.host)
            case.check(what + ": the digest", reader.digest(name, "one") == digest, reader.digest(name, "one"))
            case.check(what + ": no damage", reader.damage(name, "one") == "", reader.damage(name, "one"))
    wrong = skopeo(
        case,
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds=kim:wrong",
        source,
        "docker://%s/x:one" % case.use(Registry(case.path("tokens2"), tokens=tokens)).host,
    )
    case.check("a wrong password is refused", wrong.status != 0, wrong)


@suite.case("damage is noticed", ["docker-registry", "skopeo"])
def _(case):
    make_image(case.path("image"), [100000, 200000], 2)
    real = case.use(Registry(case.path("real")))
    skopeo(
        case,
        "copy",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "oci:" + case.path("image") + ":one",
        "docker://%s/a:one" % real.host,
    )
    reader = Reader(real.host)
    case.check("none at first", reader.damage("a", "one") == "", reader.damage("a", "one"))
    case.check("a missing tag", reader.digest("a", "two") is None and reader.tags("a") == ["one"])
    layer = json.loads(reader.ask("GET", "/v2/a/manifests/one", {"Accept": MANIFEST})[2])["layers"][1]["digest"]
    path = os.path.join(real.folder, "data/docker/registry/v2/blobs/sha256", layer[7:9], layer[7:], "data")
    with open(path, "r+b") as file:
        file.seek(5000)
        file.write(b"!")
    case.check("a byte of a layer", reader.damage("a", "one") == layer + " is damaged", reader.damage("a", "one"))
    os.truncate(path, 5000)
    case.check("a short layer", reader.damage("a", "one") != "")
    os.unlink(path)
    case.check("a lost layer", reader.damage("a", "one") != "")


def raw(host, data):
    """Returns the server's bytes until it closes, and how that ended: "end" or "reset"."""
    got = b""
    with socket.create_connection(tuple(host.rsplit(":", 1))) as sock:
        sock.settimeout(10)
        try:
            sock.sendall(data)
            while True:
                piece = sock.recv(65536)
                if not piece:
                    return got, "end"
                got += piece
        except ConnectionError:
            return got, "reset"


@suite.case("faults happen as configured")
def _(case):
    small = case.use(Mini(case.path("mini")))
    data = b"d" * 300000
    digest = digest_of(data)
    small.blobs["a"] = {digest}
    with open(small.blob_path(digest), "wb") as file:
        file.write(data)
    get = ("GET /v2/a/blobs/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % digest).encode()
    cut = case.use(Proxy(small.host, [Fault("GET", download_reset=100000)]))
    got, how = raw(cut.host, get)
    case.check("a download is reset", how == "reset" and len(got) < 101000, (how, len(got)))
    end = case.use(Proxy(small.host, [Fault("GET", download_end=100000)]))
    got, how = raw(end.host, get)
    case.check("a download ends early", how == "end" and len(got.split(b"\r\n\r\n", 1)[1]) == 100000, (how, len(got)))
    drip = case.use(Proxy(small.host, [Fault("GET", drip=0.01)]))
    begun = time.monotonic()
    connection = http.client.HTTPConnection(drip.host)
    connection.request("GET", "/v2/")
    connection.getresponse().read()
    case.check("an answer drips", time.monotonic() - begun > 0.3, time.monotonic() - begun)
    up = case.use(Proxy(small.host, [Fault("PATCH", upload_reset=100000)]))
    connection = http.client.HTTPConnection(up.host)
    connection.request("POST", "/v2/a/blobs/uploads/", headers={"Content-Length": "0"})
    answer = connection.getresponse()
    answer.read()
    place = answer.headers["Location"]
    head = "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (place, len(data))
    got, how = raw(up.host, head.encode() + data)
    case.check("an upload is reset", how == "reset" and up.received() == 100000, (how, up.received()))
    deadline = time.monotonic() + 10  # the registry after the proxy may still be reading
    while all(session.offset < 100000 for session in small.sessions.values()) and time.monotonic() < deadline:
        time.sleep(0.01)
    connection.request("GET", place)
    answer = connection.getresponse()
    answer.read()
    case.check("the registry has the bytes that passed", answer.headers["Range"] == "0-99999", answer.headers["Range"])
    gate = case.use(Proxy(small.host, gate=Gate("kim", PASSWORD)))
    connection = http.client.HTTPConnection(gate.host)
    connection.request("GET", "/v2/")
    answer = connection.getresponse()
    case.check("a gate asks", answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Basic"))


sys.exit(suite.main(jobs=4, only=sys.argv[2] if len(sys.argv) > 2 else None))
