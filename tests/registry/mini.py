"""A small registry that follows the distribution specification 1.1, strictly where others are lax.

A session's Location changes with every request, and the old one becomes invalid. Content-Range must continue where the
session is. The bytes of a broken PATCH stay, and a status request reports them. A manifest needs its blobs in its
repository. Fields of `Mini` switch on deviations of known registries. rig_check.py asks it and docker-registry the same
questions. Blobs are files below `folder`.
"""

import hashlib
import json
import os
import re
import secrets
import threading
import urllib.parse

from wire import PIECE, Closed, Server

NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
ROUTE = re.compile(r"/v2/(%s)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)" % NAME)
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def kind_of(text):
    """Returns the mediaType in a document."""
    try:
        return json.loads(text).get("mediaType")
    except (ValueError, AttributeError, RecursionError):
        return None


class Session:
    def __init__(self, repository, path):
        self.repository, self.path = repository, path
        self.state = secrets.token_hex(8)
        self.sha256 = hashlib.sha256()
        self.offset = 0
        self.first = None  # where the first chunk ended, for registries whose Range never advances
        self.lock = threading.Lock()


class Mini(Server):
    def __init__(self, folder, tls=None):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.blobs = {}  # repository -> digests
        self.manifests = {}  # repository -> {digest: (media type, bytes)}
        self.tag = {}  # repository -> {tag: digest}
        self.sessions = {}
        self.chunk_status = None  # answers a PATCH with Content-Range like this, and drops it
        self.patch_status = 202
        self.put_status = 201
        self.chunk_least = 0  # OCI-Chunk-Min-Length
        self.chunk_most = None  # a longer PATCH with Content-Range gets 413
        self.stale_range = False  # Range reports the end of the first chunk for ever
        self.without_range = False  # no Range in any answer
        self.bare_416 = False  # 416 without Location and Range
        self.keeps_parts = True  # keeps the bytes of a broken PATCH
        self.forgets = 0  # this many sessions are lost (404) once bytes have arrived in them
        self.referrers = True
        self.padding = ""  # makes Locations longer
        super().__init__(tls)

    def hold(self, repository, folder, digest, media_type, tag="one"):
        """Copies an image layout, unchanged and without the checks of a PUT; `tag` means `digest`."""
        stored = self.manifests.setdefault(repository, {})
        for name in os.listdir(os.path.join(folder, "blobs/sha256")):
            path = os.path.join(folder, "blobs/sha256", name)
            self.blobs.setdefault(repository, set()).add("sha256:" + name)
            if not os.path.exists(self.blob_path("sha256:" + name)):
                os.symlink(path, self.blob_path("sha256:" + name))
            if os.path.getsize(path) <= 8 << 20:
                with open(path, "rb") as file:
                    text = file.read()
                stored["sha256:" + name] = (kind_of(text) or MANIFEST, text)
        stored[digest] = (media_type, stored[digest][1])
        self.tag[repository] = {tag: digest}

    # ---- answers ----

    def fail(self, wire, record, status, code, fields=()):
        body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
        self.reply(wire, record, status, [("Content-Type", "application/json")] + list(fields), body)
        return True

    def place(self, session):
        """Returns Location and Range of a session, renewed."""
        session.state = secrets.token_hex(8)
        name = os.path.basename(session.path)
        fields = [
            (
                "Location",
                "/v2/%s/blobs/uploads/%s?_state=%s%s" % (session.repository, name, session.state, self.padding),
            )
        ]
        end = session.first if self.stale_range and session.first else session.offset
        if not self.without_range:
            fields.append(("Range", "0-%d" % max(end - 1, 0)))
        return fields

    def handle(self, wire, head, record):
        path, _, query = head.target.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        match = ROUTE.fullmatch(path)
        if path == "/v2/":
            self.reply(wire, record, 200)
            return True
        if not match:
            return self.fail(wire, record, 404, "NAME_INVALID") and not head.has_body()
        repository, kind, rest = match.groups()
        handler = {
            "blobs/uploads": self.upload,
            "blobs": self.blob,
            "manifests": self.manifest,
            "tags": self.list_tags,
            "referrers": self.list_referrers,
        }[kind]
        return handler(wire, head, record, repository, rest, query)

    def whole(self, wire, head, record):
        if head.get("expect"):
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = b"".join(bytes(piece) for piece in wire.body(head))
        record.received += len(data)
        return data

    # ---- blobs ----

    def blob_path(self, digest):
        return os.path.join(self.folder, digest[7:])

    def blob(self, wire, head, record, repository, digest, _):
        if head.method not in ("GET", "HEAD"):
            return self.fail(wire, record, 405, "UNSUPPORTED") and not head.has_body()
        if digest not in self.blobs.get(repository, ()):
            return self.fail(wire, record, 404, "BLOB_UNKNOWN")
        size = os.path.getsize(self.blob_path(digest))
        first, last, status = 0, size - 1, 200
        fields = [
            ("Docker-Content-Digest", digest),
            ("Content-Type", "application/octet-stream"),
            ("Accept-Ranges", "bytes"),
        ]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", head.get("range", ""))
        if asked and head.method == "GET":
            first, last = int(asked.group(1)), min(int(asked.group(2) or size), size - 1)
            if first >= size:
                return self.fail(wire, record, 416, "RANGE_INVALID", [("Content-Range", "bytes */%d" % size)])
            status = 206
            fields.append(("Content-Range", "bytes %d-%d/%d" % (first, last, size)))
        fields.append(("Content-Length", str(last + 1 - first)))
        self.reply(wire, record, status, fields)
        with open(self.blob_path(digest), "rb") as file:
            file.seek(first)
            left = last + 1 - first if head.method == "GET" else 0
            while left:
                data = file.read(min(PIECE, left))
                wire.send(data)
                record.sent += len(data)
                left -= len(data)
        return True

    # ---- uploads ----

    def upload(self, wire, head, record, repository, rest, query):
        if head.method == "POST" and not rest:
            return self.begin(wire, head, record, repository, query)
        session = self.sessions.get(rest)
        if not session or session.repository != repository:
            return self.fail(wire, record, 404, "BLOB_UPLOAD_UNKNOWN") and not head.has_body()
        with session.lock:
            if session.offset and self.forgets:
                self.forgets -= 1
                del self.sessions[rest]
                return self.fail(wire, record, 404, "BLOB_UPLOAD_UNKNOWN") and not head.has_body()
            if head.method == "GET":
                self.reply(wire, record, 204, self.place(session))
                return True
            if query.get("_state") != session.state:
                return self.fail(wire, record, 404, "BLOB_UPLOAD_UNKNOWN") and not head.has_body()
            if head.method == "DELETE":
                del self.sessions[rest]
                self.reply(wire, record, 204)
                return True
            if head.method == "PATCH":
                return self.patch(wire, head, record, session)
            if head.method == "PUT":
                return self.put(wire, head, record, session, query)
        return self.fail(wire, record, 405, "UNSUPPORTED") and not head.has_body()

    def begin(self, wire, head, record, repository, query):
        if "mount" in query and query["mount"] in self.blobs.get(query.get("from"), ()):
            self.blobs.setdefault(repository, set()).add(query["mount"])
            self.reply(wire, record, 201, [("Location", "/v2/%s/blobs/%s" % (repository, query["mount"]))])
            return True
        name = secrets.token_hex(8)
        session = self.sessions[name] = Session(repository, os.path.join(self.folder, name))
        open(session.path, "wb").close()
        if "digest" in query:
            return self.put(wire, head, record, session, query)
        self.whole(wire, head, record)
        least = [("OCI-Chunk-Min-Length", str(self.chunk_least))] if self.chunk_least else []
        self.reply(wire, record, 202, self.place(session) + least)
        return True

    def append(self, wire, head, record, session):
        """Appends the body to the session's file. Keeps or drops the bytes of a broken connection."""
        if head.get("expect"):
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        before, sha256 = session.offset, session.sha256.copy()
        with open(session.path, "r+b") as file:
            file.seek(before)
            try:
                for piece in wire.body(head):
                    file.write(piece)
                    session.sha256.update(piece)
                    session.offset += len(piece)
                    record.received += len(piece)
            except Closed:
                if not self.keeps_parts:
                    file.truncate(before)
                    session.offset, session.sha256 = before, sha256
                raise

    def continues(self, head, session):
        """Returns whether Content-Range, if present, begins where the session is and agrees with the body's length."""
        text = head.get("content-range")
        if text is None:
            return True
        match = re.fullmatch(r"(\d+)-(\d+)", text)
        if not match:
            return False
        first, last = map(int, match.groups())
        length = head.get("content-length")
        return first == session.offset and (length is None or int(length) == last + 1 - first)

    def out_of_order(self, wire, head, record, session):
        fields = [] if self.bare_416 else self.place(session)
        return self.fail(wire, record, 416, "RANGE_INVALID", fields) and not head.has_body()

    def patch(self, wire, head, record, session):
        if head.get("content-range") is not None:
            if self.chunk_status:
                return self.fail(wire, record, self.chunk_status, "UNSUPPORTED") and not head.has_body()
            if self.chunk_most and int(head.get("content-length", "0")) > self.chunk_most:
                return self.fail(wire, record, 413, "SIZE_INVALID") and not head.has_body()
            if not self.continues(head, session):
                return self.out_of_order(wire, head, record, session)
        self.append(wire, head, record, session)
        if session.first is None:
            session.first = session.offset
        self.reply(wire, record, self.patch_status, self.place(session))
        return True

    def put(self, wire, head, record, session, query):
        if not self.continues(head, session):
            return self.out_of_order(wire, head, record, session)
        digest = query.get("digest", "")
        self.append(wire, head, record, session)
        self.sessions.pop(os.path.basename(session.path), None)
        if digest != "sha256:" + session.sha256.hexdigest():
            os.unlink(session.path)
            return self.fail(wire, record, 400, "DIGEST_INVALID")
        os.replace(session.path, self.blob_path(digest))
        self.blobs.setdefault(session.repository, set()).add(digest)
        self.reply(
            wire,
            record,
            self.put_status,
            [("Location", "/v2/%s/blobs/%s" % (session.repository, digest)), ("Docker-Content-Digest", digest)],
        )
        return True

    # ---- manifests ----

    def missing(self, repository, document):
        """Returns the digests that a manifest names and the repository does not have."""
        blobs = [document["config"]] + document.get("layers", []) if "config" in document else []
        wanted = [blob["digest"] for blob in blobs if blob["digest"] not in self.blobs.get(repository, ())]
        return wanted + [
            entry["digest"]
            for entry in document.get("manifests", [])
            if entry["digest"] not in self.manifests.get(repository, ())
        ]

    def manifest(self, wire, head, record, repository, name, _):
        stored = self.manifests.setdefault(repository, {})
        if not TAG.fullmatch(name) and not DIGEST.fullmatch(name):
            self.whole(wire, head, record)
            return self.fail(wire, record, 400, "TAG_INVALID")
        if head.method in ("GET", "HEAD"):
            digest = name if ":" in name else self.tag.get(repository, {}).get(name)
            if digest not in stored:
                return self.fail(wire, record, 404, "MANIFEST_UNKNOWN")
            kind, text = stored[digest]
            self.reply(
                wire,
                record,
                200,
                [("Content-Type", kind), ("Docker-Content-Digest", digest), ("Content-Length", str(len(text)))],
                text,
            )
            return True
        if head.method != "PUT":
            return self.fail(wire, record, 405, "UNSUPPORTED") and not head.has_body()
        text = self.whole(wire, head, record)
        digest = "sha256:" + hashlib.sha256(text).hexdigest()
        try:
            document = json.loads(text)
            kind = head.get("content-type")
            if document["schemaVersion"] != 2 or document.get("mediaType", kind) != kind:
                raise ValueError
            missing = self.missing(repository, document)
        except (ValueError, KeyError, TypeError):
            return self.fail(wire, record, 400, "MANIFEST_INVALID")
        if ":" in name and name != digest:
            return self.fail(wire, record, 400, "DIGEST_INVALID")
        if missing:
            return self.fail(wire, record, 404, "MANIFEST_BLOB_UNKNOWN")
        stored[digest] = (kind, text)
        if ":" not in name:
            self.tag.setdefault(repository, {})[name] = digest
        fields = [("Location", "/v2/%s/manifests/%s" % (repository, digest)), ("Docker-Content-Digest", digest)]
        if self.referrers and "subject" in document:
            fields.append(("OCI-Subject", document["subject"]["digest"]))
        self.reply(wire, record, 201, fields)
        return True

    def list_tags(self, wire, head, record, repository, rest, _):
        if rest != "list" or repository not in self.manifests:
            return self.fail(wire, record, 404, "NAME_UNKNOWN") and not head.has_body()
        body = json.dumps({"name": repository, "tags": sorted(self.tag.get(repository, {}))}).encode()
        self.reply(wire, record, 200, [("Content-Type", "application/json")], body)
        return True

    def list_referrers(self, wire, head, record, repository, digest, _):
        if not self.referrers:
            return self.fail(wire, record, 404, "NOT_FOUND") and not head.has_body()
        found = []
        for name, (kind, text) in self.manifests.get(repository, {}).items():
            document = json.loads(text)
            if document.get("subject", {}).get("digest") == digest:
                config = document.get("config", {}).get("mediaType")
                found.append(
                    {
                        "mediaType": kind,
                        "digest": name,
                        "size": len(text),
                        "artifactType": document.get("artifactType", config),
                    }
                )
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}).encode()
        self.reply(wire, record, 200, [("Content-Type", INDEX)], body)
        return True
