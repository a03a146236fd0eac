"""A server of registry tokens: GET with Basic credentials, POST with an identity token (token.md, oauth.md).

Its tokens are JSON Web Tokens signed with RS256, which docker-registry checks against the certificate; a proxy's Gate
looks up the same tokens, exact to the second. The server makes key and certificate at its start.
"""

import base64
import hashlib
import json
import os
import secrets
import subprocess
import threading
import time
import urllib.parse

from wire import Server

SERVICE = "rig"
ISSUER = "rig issuer"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_key(folder, name):
    """Makes a new RSA key and its certificate; returns the paths of both."""
    key, certificate = os.path.join(folder, name + ".key"), os.path.join(folder, name + ".crt")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "2",
            "-subj",
            "/CN=" + name,
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


class TokenServer(Server):
    """`users` maps a name (None: anyone) to (password, {repository prefix: "pull" or "pull,push"}). A test may change
    settings while the server runs.
    """

    def __init__(self, folder, users, signed=True, tls=None, address="127.0.0.1"):
        self.key, self.certificate = make_key(folder, "issuer") if signed else (None, None)
        self.users = users
        self.identities = {}  # identity token -> user
        self.expires = 300  # seconds a token is valid
        self.says_expires = True  # whether the answer has expires_in; without it, 60 seconds
        self.field = "token"  # or "access_token"
        self.posts = True  # False: 404, as servers from before OAuth2
        self.only = None  # a set of actions: grants no other, whatever the user may do
        self.first_scope = False  # reads the first scope alone
        self.broken = None  # (status, content type, body): the answer to everything
        self.granted = {}  # token -> (end, {(repository, action)})
        self.on_token = None  # on_token(token), to collect all secrets
        self.guard = threading.Lock()
        super().__init__(tls, address)

    def certificate_chain(self):
        lines = open(self.certificate).read().split("\n")
        return ["".join(line for line in lines if line and not line.startswith("-----"))]

    def sign(self, claims):
        if not self.key:
            return secrets.token_urlsafe(48)
        text = b64(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": self.certificate_chain()}).encode())
        text += "." + b64(json.dumps(claims).encode())
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.key], input=text.encode(), check=True, capture_output=True
        )
        return text + "." + b64(done.stdout)

    def identity(self, user):
        token = "identity-" + secrets.token_urlsafe(24)
        self.identities[token] = user
        return token

    def grant(self, user, scopes):
        """Returns a token for as much of the scopes as the user may have."""
        rights = self.users.get(user, (None, {}))[1]
        access, pairs = [], set()
        for scope in scopes[:1] if self.first_scope else scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = {a for prefix, granted in rights.items() if name.startswith(prefix) for a in granted.split(",")}
            if self.only is not None:
                allowed &= self.only
            actions = sorted(set(actions.split(",")) & allowed)
            if kind == "repository" and actions:
                access.append({"type": kind, "name": name, "actions": actions})
                pairs |= {("repository:" + name, action) for action in actions}
        now = int(time.time())
        token = self.sign(
            {
                "iss": ISSUER,
                "sub": user or "",
                "aud": SERVICE,
                "exp": now + max(self.expires, 1),
                "nbf": now - 5,
                "iat": now,
                "jti": secrets.token_hex(8),
                "access": access,
            }
        )
        with self.guard:
            self.granted[token] = (time.time() + self.expires, pairs)
        if self.on_token:
            self.on_token(token)
        answer = {self.field: token}
        if self.says_expires:
            answer["expires_in"] = self.expires
        return answer

    def holds(self, token, needs):
        """Returns whether the token is valid, and allows `needs`, (repository, action) or None."""
        with self.guard:
            end, pairs = self.granted.get(token, (0, set()))
        return time.time() < end and (needs is None or needs in pairs)

    def revoke(self):
        with self.guard:
            self.granted.clear()

    def basic_user(self, head):
        """Returns (user, whether the credentials are right)."""
        sent = head.get("authorization")
        if not sent:
            return None, None in self.users
        try:
            user, _, password = base64.b64decode(sent.split(" ", 1)[1]).decode().partition(":")
        except (IndexError, ValueError):
            return None, False
        known = self.users.get(user, (None,))[0]
        right = (
            known is not None and hashlib.sha256(known.encode()).digest() == hashlib.sha256(password.encode()).digest()
        )
        return user, right

    def handle(self, wire, head, record):
        body = b"".join(bytes(piece) for piece in wire.body(head))
        record.received = len(body)
        if self.broken:
            status, kind, text = self.broken
            self.reply(wire, record, status, [("Content-Type", kind)], text)
            return True
        if head.method == "POST" and not self.posts:
            self.reply(wire, record, 404, [], b"not here\n")
            return True
        fields = urllib.parse.parse_qs(body.decode() if head.method == "POST" else head.target.partition("?")[2])
        if head.method == "POST":
            user = self.identities.get(fields.get("refresh_token", [""])[0])
            right = user is not None and fields.get("grant_type") == ["refresh_token"]
        else:
            user, right = self.basic_user(head)
        if fields.get("service") != [SERVICE] or not right:
            self.reply(
                wire,
                record,
                401,
                [("Content-Type", "application/json")],
                b'{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}',
            )
            return True
        scopes = [scope for value in fields.get("scope", []) for scope in value.split(" ")]
        self.reply(
            wire, record, 200, [("Content-Type", "application/json")], json.dumps(self.grant(user, scopes)).encode()
        )
        return True
