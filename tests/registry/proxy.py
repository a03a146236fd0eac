"""A proxy before a registry, which counts bytes and injects faults.

A `Fault` says which requests it applies to and what happens to them; everything else passes unchanged, also "Expect:
100-continue". A `Gate` asks for credentials itself, where those of the real registry would be too slow or too lax
(docker-registry accepts a token for 60 seconds after its end).
"""

import base64
import dataclasses
import re
import socket
import time

from wire import Closed, Server, Wire


@dataclasses.dataclass
class Fault:
    """Changes the requests whose method matches `method` and whose target contains `path`, both regular expressions.
    Skips the first `skip` of them, then applies `times` times (None: always). The fields below are independent; None
    does nothing.
    """

    method: str = None
    path: str = ""
    times: int = 1
    skip: int = 0
    has_range: bool = None  # only requests with (without) Content-Range
    least: int = 0  # only requests whose bodies are declared at least this long
    answer: object = None  # answer(exchange): instead of the registry; the body is read and dropped
    early: bool = False  # answers before reading the body, and ends the connection after that
    upload_reset: int = None  # bytes of the body that reach the registry before both connections break
    change: object = None  # change(exchange, head): may edit the head of the registry's answer
    rewrite: object = None  # rewrite(bytes) -> bytes: another body for the answer
    lost: object = None  # lost(exchange): instead of the registry's answer, after the registry has acted
    delay: float = 0  # seconds between the registry's answer and passing it on
    download_reset: int = None  # bytes of the answer's body after which the connection breaks
    download_end: int = None  # the same, but with an orderly end
    drip: float = None  # seconds between the single bytes of the answer
    seen: int = dataclasses.field(default=0, init=False)
    done: int = dataclasses.field(default=0, init=False)

    def wants(self, head):
        if (self.method and not re.fullmatch(self.method, head.method)) or not re.search(self.path, head.target):
            return False
        if self.has_range is not None and self.has_range != (head.get("content-range") is not None):
            return False
        if int(head.get("content-length", "0")) < self.least:
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times is not None and self.done >= self.times):
            return False
        self.done += 1
        return True


class Exchange:
    """A request at the proxy, for the functions of a Fault."""

    def __init__(self, proxy, wire, head, record):
        self.proxy, self.wire, self.head, self.record = proxy, wire, head, record

    def reply(self, status, fields=(), body=b""):
        self.proxy.reply(self.wire, self.record, status, fields, body)

    def reset(self):
        self.wire.reset()
        raise Closed


class Gate:
    """Answers 401 to requests without the right credentials, and removes them from the others. `user` and `password`
    ask for Basic; `tokens`, a TokenServer, for Bearer.
    """

    def __init__(self, user=None, password=None, tokens=None, realm=None):
        self.tokens = tokens
        self.basic = None
        if user:
            self.basic = "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
        self.realm = realm or (tokens and tokens.url + "/token")
        self.revoke_after = None  # requests after which all current tokens stop working
        self.passed = 0

    def challenge(self, method, path):
        if self.basic:
            return 'Basic realm="test registry"'
        match = re.match(r"/v2/(.+)/(blobs|manifests|tags)/", path)
        actions = "pull" if method in ("GET", "HEAD") else "pull,push"
        scope = ',scope="repository:%s:%s"' % (match.group(1), actions) if match else ""
        return 'Bearer realm="%s",service="%s"%s' % (self.realm, "rig", scope)

    def allows(self, head):
        sent = head.get("authorization", "")
        if self.basic:
            return sent == self.basic
        match = re.match(r"/v2/(.+)/(blobs|manifests|tags)/", head.target.split("?")[0])
        action = "pull" if head.method in ("GET", "HEAD") else "push"
        needs = ("repository:" + match.group(1), action) if match else None
        return sent.startswith("Bearer ") and self.tokens.holds(sent[7:], needs)

    def passes(self, exchange):
        """Returns True to continue, without the credentials; else the answer was sent."""
        head = exchange.head
        if self.revoke_after is not None and self.passed >= self.revoke_after:
            self.revoke_after = None
            self.tokens.revoke()
        if self.allows(head):
            self.passed += 1
            head.drop("authorization")
            return True
        exchange.reply(
            401,
            [
                ("WWW-Authenticate", self.challenge(head.method, head.target.split("?")[0])),
                ("Content-Type", "application/json"),
            ]
            + ([("Connection", "close")] if head.has_body() else []),
            b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
        )
        return False


class Proxy(Server):
    """A proxy for the registry at `upstream`, "host:port"."""

    def __init__(self, upstream, faults=(), gate=None, tls=None, address="127.0.0.1"):
        host, port = upstream.rsplit(":", 1)
        self.upstream = (host, int(port))
        self.faults = list(faults)
        self.gate = gate
        self.passed = 0  # bytes of requests' bodies since the start, independent of `log`
        self.on_bytes = None  # on_bytes(n): n bytes of a request's body pass
        self.on_answer = None  # on_answer(n): n bytes of an answer's body pass
        self.on_request = None  # on_request(): a request passes
        super().__init__(tls, address)

    def handle(self, wire, head, record):
        exchange = Exchange(self, wire, head, record)
        if self.gate and not self.gate.passes(exchange):
            return not head.has_body()
        with self.lock:
            fault = next((fault for fault in self.faults if fault.wants(head)), None) or Fault()
        if fault.answer and fault.early:
            fault.answer(exchange)
            return not head.has_body()
        if fault.answer:
            if head.get("expect"):
                wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            for piece in wire.body(head):
                record.received += len(piece)
            fault.answer(exchange)
            return True
        try:
            return self.relay(exchange, fault)
        except Closed:
            if wire.upstream:
                wire.upstream.close()
                wire.upstream = None
            raise

    def relay(self, exchange, fault):
        wire, head, record = exchange.wire, exchange.head, exchange.record
        if not wire.upstream:
            wire.upstream = Wire(socket.create_connection(self.upstream))
            wire.upstream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = wire.upstream
        if self.tls:
            head.set("X-Forwarded-Proto", "https")
        if self.on_request:
            self.on_request()
        up.send(head.bytes())
        answer = up.head() if head.get("expect") else None
        refused = answer is not None and answer.status != 100
        if not refused:
            if answer:
                wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.upload(exchange, up, fault)
            answer = up.head()
        if fault.delay:
            time.sleep(fault.delay)
        if fault.lost:
            for _ in up.body(answer, head.method == "HEAD"):
                pass
            fault.lost(exchange)
            return True
        if fault.change:
            fault.change(exchange, answer)
        record.status = answer.status
        self.download(exchange, up, answer, fault)
        if refused and head.has_body():
            return False
        return answer.get("connection", "").lower() != "close"

    def upload(self, exchange, up, fault):
        chunked = exchange.head.get("transfer-encoding", "").lower() == "chunked"
        for piece in exchange.wire.body(exchange.head):
            left = None if fault.upload_reset is None else fault.upload_reset - exchange.record.received
            if left is not None and left < len(piece):
                piece = piece[:left]
            exchange.record.received += len(piece)
            with self.lock:
                self.passed += len(piece)
            if self.on_bytes:
                self.on_bytes(len(piece))
            up.send(b"%x\r\n" % len(piece) + piece + b"\r\n" if chunked else piece)
            if left is not None and left <= len(piece):
                exchange.reset()
        if chunked:
            up.send(b"0\r\n\r\n")

    def download(self, exchange, up, answer, fault):
        wire, record = exchange.wire, exchange.record
        bodiless = exchange.head.method == "HEAD" or answer.status in (204, 304)
        pieces = up.body(answer, bodiless)
        if fault.rewrite:
            body = fault.rewrite(b"".join(bytes(piece) for piece in pieces))
            answer.drop("transfer-encoding")
            answer.set("Content-Length", str(len(body)))
            pieces = [body]
        if fault.drip:
            data = answer.bytes() + b"".join(bytes(piece) for piece in pieces)
            for i in range(len(data)):
                wire.send(data[i : i + 1])
                time.sleep(fault.drip)
            return
        wire.send(answer.bytes())
        chunked = answer.get("transfer-encoding", "").lower() == "chunked" and not bodiless
        for piece in pieces:
            end = fault.download_reset if fault.download_reset is not None else fault.download_end
            if end is not None and record.sent + len(piece) >= end:
                piece = piece[: end - record.sent]
            record.sent += len(piece)
            if self.on_answer:
                self.on_answer(len(piece))
            wire.send(b"%x\r\n" % len(piece) + piece + b"\r\n" if chunked else piece)
            if end is not None and record.sent >= end:
                if fault.download_reset is not None:
                    exchange.reset()
                raise Closed
        if chunked:
            wire.send(b"0\r\n\r\n")
