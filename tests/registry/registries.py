"""Debian's docker-registry on a free port of loopback, and the files for its ways of authentication."""

import ctypes
import hashlib
import http.client
import json
import os
import re
import secrets
import ssl
import subprocess
import threading

from rig import PUBLIC
from tokens import ISSUER, SERVICE

MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)


def bcrypt(password):
    """Returns the line that `htpasswd -B` writes, by the C library's crypt()."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    salt = "$2b$05$" + secrets.token_hex(11)
    hashed = library.crypt(password.encode(), salt.encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        raise RuntimeError("libcrypt has no bcrypt")
    return hashed.decode()


class Authority:
    """A private CA and a certificate of it for the addresses that the rig uses."""

    def __init__(self, folder):
        self.ca, self.key, self.certificate = (os.path.join(folder, name) for name in ("ca.crt", "tls.key", "tls.crt"))
        ca_key, request = os.path.join(folder, "ca.key"), os.path.join(folder, "tls.csr")
        names = os.path.join(folder, "names")
        with open(names, "w") as out:
            addresses = ",".join("IP:" + address for address in ["127.0.0.1"] + PUBLIC)
            out.write("subjectAltName=DNS:localhost,%s\nbasicConstraints=CA:FALSE\n" % addresses)
        for arguments in (
            [
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                ca_key,
                "-out",
                self.ca,
                "-days",
                "2",
                "-subj",
                "/CN=rig CA",
            ],
            ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", request, "-subj", "/CN=rig"],
            [
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                self.ca,
                "-CAkey",
                ca_key,
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                names,
                "-out",
                self.certificate,
            ],
        ):
            subprocess.run(["openssl"] + arguments, check=True, capture_output=True)

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Registry:
    """docker-registry with its storage in `folder`. `authority`: TLS; `users`: {name: password}, htpasswd; `tokens`: a
    TokenServer. The constructor returns when it is ready.
    """

    def __init__(self, folder, authority=None, users=None, tokens=None):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.authority = folder, authority
        auth = ""
        if users:
            path = os.path.join(folder, "htpasswd")
            with open(path, "w") as out:
                for name, password in users.items():
                    out.write("%s:%s\n" % (name, bcrypt(password)))
            auth = "auth: {htpasswd: {realm: rig, path: %s}}\n" % path
        if tokens:
            auth = "auth: {token: {realm: %s/token, service: %s, issuer: %s, rootcertbundle: %s}}\n" % (
                tokens.url,
                SERVICE,
                ISSUER,
                tokens.certificate,
            )
        tls = ", tls: {certificate: %s, key: %s}" % (authority.certificate, authority.key) if authority else ""
        config = os.path.join(folder, "config.yml")
        with open(config, "w") as out:
            out.write(
                "version: 0.1\nlog: {level: info}\nstorage: {delete: {enabled: true}, filesystem: "
                "{rootdirectory: %s/data}}\nhttp: {addr: '127.0.0.1:0', secret: rig%s}\n%s" % (folder, tls, auth)
            )
        self.process = subprocess.Popen(
            ["docker-registry", "serve", config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        self.port = self.wait()
        self.host = "127.0.0.1:%d" % self.port
        self.url = ("https://" if authority else "http://") + self.host

    def wait(self):
        """Returns the port, from the log: no other process can take it in between."""
        said = []
        for line in self.process.stderr:
            said.append(line)
            match = re.search(rb"listening on 127\.0\.0\.1:(\d+)", line)
            if match:
                threading.Thread(target=self.drain, daemon=True).start()
                return int(match.group(1))
        raise RuntimeError("docker-registry does not start:\n" + b"".join(said).decode())

    def drain(self):
        with open(os.path.join(self.folder, "log"), "wb") as out:
            for line in self.process.stderr:
                out.write(line)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Reader:
    """Reads a registry that asks for no credentials, without hotlayer. `host` is "127.0.0.1:port"."""

    def __init__(self, host):
        self.host = host

    def ask(self, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def digest(self, repository, name):
        """Returns the digest of a tag; None if the tag does not exist."""
        status, _, body = self.ask("GET", "/v2/%s/manifests/%s" % (repository, name), {"Accept": MANIFESTS})
        return "sha256:" + hashlib.sha256(body).hexdigest() if status == 200 else None

    def tags(self, repository):
        status, _, body = self.ask("GET", "/v2/%s/tags/list" % repository)
        return (json.loads(body)["tags"] or []) if status == 200 else []

    def has(self, repository, digest):
        return self.ask("HEAD", "/v2/%s/blobs/%s" % (repository, digest))[0] == 200

    def put_blob(self, repository, digest, data):
        status, headers, _ = self.ask("POST", "/v2/%s/blobs/uploads/" % repository, {"Content-Length": "0"})
        place = re.sub(r"^https?://[^/]*", "", headers["Location"])
        place += ("&" if "?" in place else "?") + "digest=" + digest
        status, _, text = self.ask("PUT", place, {"Content-Type": "application/octet-stream"}, data)
        if status != 201:
            raise RuntimeError("PUT of a blob: %d %r" % (status, text))

    def put_manifest(self, repository, name, media_type, text):
        status, _, said = self.ask(
            "PUT", "/v2/%s/manifests/%s" % (repository, name), {"Content-Type": media_type}, text
        )
        if status != 201:
            raise RuntimeError("PUT of a manifest: %d %r" % (status, said))

    def put_image(self, folder, repository, tag="one"):
        """Pushes an image layout's only entry, with all its documents and blobs."""

        def read(digest):
            with open(os.path.join(folder, "blobs/sha256", digest[7:]), "rb") as file:
                return file.read()

        def put(entry, name):
            text = read(entry["digest"])
            document = json.loads(text)
            for child in document.get("manifests", []):
                put(child, child["digest"])
            for blob in ([document["config"]] + document["layers"]) if "config" in document else []:
                if not self.has(repository, blob["digest"]):
                    self.put_blob(repository, blob["digest"], read(blob["digest"]))
            self.put_manifest(repository, name, entry["mediaType"], text)

        with open(os.path.join(folder, "index.json"), encoding="utf-8") as file:
            put(json.load(file)["manifests"][0], tag)

    def damage(self, repository, name):
        """Returns what is wrong with the image, or "": reads and hashes every document and blob."""
        status, headers, text = self.ask("GET", "/v2/%s/manifests/%s" % (repository, name), {"Accept": MANIFESTS})
        if status != 200:
            return "%s: %d" % (name, status)
        if name.startswith("sha256:") and name[7:] != hashlib.sha256(text).hexdigest():
            return name + " has another digest"
        document = json.loads(text)
        if document.get("mediaType", headers.get("Content-Type")) != headers.get("Content-Type"):
            return "%s is served as %s" % (name, headers.get("Content-Type"))
        for entry in document.get("manifests", []):
            wrong = self.damage(repository, entry["digest"])
            if wrong:
                return wrong
        for blob in ([document["config"]] + document["layers"]) if "config" in document else []:
            wrong = self.blob_damage(repository, blob)
            if wrong:
                return wrong
        return ""

    def blob_damage(self, repository, blob):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request("GET", "/v2/%s/blobs/%s" % (repository, blob["digest"]))
            answer = connection.getresponse()
            if answer.status != 200:
                return "%s: %d" % (blob["digest"], answer.status)
            sha256, n = hashlib.sha256(), 0
            for piece in iter(lambda: answer.read(1 << 20), b""):
                sha256.update(piece)
                n += len(piece)
        finally:
            connection.close()
        if n != blob["size"] or "sha256:" + sha256.hexdigest() != blob["digest"]:
            return blob["digest"] + " is damaged"
        return ""
