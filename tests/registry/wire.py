"""HTTP/1.1 byte by byte, for servers that must be able to misbehave.

http.server would not let a test answer before it has read the body, end a body in its middle, or send a header byte by
byte. So this file reads and writes heads and bodies itself: `Wire` is one side of a connection, `Server` a listener on
loopback with a thread for each connection, `Record` a server's record of a request.
"""

import dataclasses
import http.client
import socket
import ssl
import struct
import threading
import time

PIECE = 1 << 18
HEAD_LIMIT = 1 << 20


class Closed(Exception):
    """The other side ended the connection, or this side broke it on purpose."""


class Head:
    """The first line and the fields of a request or an answer; names are found in any case and keep theirs."""

    def __init__(self, line, fields=()):
        self.line = line
        self.fields = list(fields)

    def get(self, name, default=None):
        return next((value for key, value in self.fields if key.lower() == name.lower()), default)

    def drop(self, name):
        self.fields = [(key, value) for key, value in self.fields if key.lower() != name.lower()]

    def set(self, name, value):
        self.drop(name)
        self.fields.append((name, value))

    def bytes(self):
        lines = [self.line] + ["%s: %s" % field for field in self.fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def method(self):
        return self.line.split(" ")[0]

    @property
    def target(self):
        return self.line.split(" ")[1]

    @property
    def status(self):
        return int(self.line.split(" ")[1])

    def has_body(self):
        """Returns whether a request with this head has a body."""
        return self.get("transfer-encoding", "").lower() == "chunked" or int(self.get("content-length", "0")) > 0


def answer_head(status, fields=()):
    return Head("HTTP/1.1 %d %s" % (status, http.client.responses.get(status, "Unknown")), fields)


class Wire:
    def __init__(self, sock):
        self.sock = sock
        self.kept = b""
        self.upstream = None  # a proxy's other side

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed from e

    def fill(self):
        try:
            data = self.sock.recv(PIECE)
        except OSError as e:
            raise Closed from e
        if not data:
            raise Closed
        self.kept += data

    def until(self, mark, limit=HEAD_LIMIT):
        while mark not in self.kept:
            if len(self.kept) > limit:
                raise Closed
            self.fill()
        text, self.kept = self.kept.split(mark, 1)
        return text

    def head(self):
        while not self.kept:
            self.fill()
        if self.kept[0] == 0x16:  # a client that tries TLS first: it should not wait
            raise Closed
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = [line.split(":", 1) for line in lines[1:]]
        return Head(lines[0], [(name, value.strip()) for name, value in fields])

    def take(self, n):
        """Yields exactly n bytes, piece by piece; a piece is valid until the next one."""
        if self.kept and n:
            piece, self.kept = self.kept[:n], self.kept[n:]
            n -= len(piece)
            yield piece
        view = memoryview(bytearray(min(n, PIECE)))
        while n:
            try:
                got = self.sock.recv_into(view[: min(n, PIECE)])
            except OSError as e:
                raise Closed from e
            if not got:
                raise Closed
            n -= got
            yield view[:got]

    def body(self, head, bodiless=False):
        """Yields the body that follows `head`, without its chunks' framing."""
        if bodiless:
            return
        if head.get("transfer-encoding", "").lower() == "chunked":
            while True:
                n = int(self.until(b"\r\n").split(b";")[0], 16)
                if not n:
                    while self.until(b"\r\n"):
                        pass
                    return
                yield from self.take(n)
                self.until(b"\r\n")
        elif head.get("content-length") is not None:
            yield from self.take(int(head.get("content-length")))
        elif head.line.startswith("HTTP/"):
            while True:
                try:
                    self.fill() if not self.kept else None
                except Closed:
                    return
                piece, self.kept = self.kept, b""
                yield piece

    def reset(self):
        """Ends the connection with a RST, so that the other side gets an error and not the end of the stream."""
        sock = self.sock
        if isinstance(sock, ssl.SSLSocket):
            sock = socket.socket(fileno=sock.detach())
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        sock.close()

    def linger(self, seconds=2):
        """Ends the sending side and drops what still arrives. A close with unread bytes would be a RST, which can take
        the answer away from the other side.
        """
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(seconds)
            end = time.monotonic() + seconds
            while time.monotonic() < end and self.sock.recv(PIECE):
                pass
        except OSError:
            pass

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


@dataclasses.dataclass
class Record:
    """One request and its answer. A status of 0 means that no answer was begun."""

    method: str
    target: str
    authorization: str = None
    expect: bool = False
    content_range: str = None
    range: str = None
    status: int = 0
    received: int = 0  # bytes of the request's body
    sent: int = 0  # bytes of the answer's body
    begun: float = dataclasses.field(default_factory=time.monotonic)
    connection: int = 0

    @property
    def path(self):
        return self.target.split("?")[0]


class Server:
    """Answers on a free port of `address`. Subclasses define handle(wire, head, record), which returns whether the
    connection stays open. `tls` is an ssl.SSLContext.
    """

    def __init__(self, tls=None, address="127.0.0.1"):
        self.tls = tls
        self.log = []
        self.address = address
        self.listener = socket.create_server((address, 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.host = "%s:%d" % (address, self.port)
        self.url = ("https://" if tls else "http://") + self.host
        self.open = set()
        self.lock = threading.Lock()
        self.accepted = 0
        self.stopping = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with self.lock:
            self.accepted += 1
            number = self.accepted
        wire = None
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            wire = Wire(sock)
            with self.lock:
                self.open.add(wire)
            while not self.stopping.is_set():
                head = wire.head()
                record = Record(
                    head.method,
                    head.target,
                    head.get("authorization"),
                    head.get("expect") is not None,
                    head.get("content-range"),
                    head.get("range"),
                    connection=number,
                )
                self.log.append(record)
                if not self.handle(wire, head, record):
                    wire.linger()
                    break
        except (Closed, OSError, ValueError):
            pass
        finally:
            if wire:
                with self.lock:
                    self.open.discard(wire)
                if wire.upstream:
                    wire.upstream.close()
                wire.close()
            else:
                sock.close()

    def handle(self, wire, head, record):
        raise NotImplementedError

    def reply(self, wire, record, status, fields=(), body=b""):
        """Sends a whole answer. Adds Content-Length unless `fields` has one."""
        head = answer_head(status, fields)
        if head.get("content-length") is None and status not in (204, 304) and status >= 200:
            head.fields.append(("Content-Length", str(len(body))))
        record.status = status
        if record.method == "HEAD":
            body = b""
        record.sent += len(body)
        wire.send(head.bytes() + body)

    def requests(self, method=None, pattern=""):
        return [r for r in list(self.log) if method in (None, r.method) and pattern in r.target]

    def received(self):
        """Returns the bytes of all requests' bodies."""
        return sum(r.received for r in list(self.log))

    def sent(self):
        return sum(r.sent for r in list(self.log))

    def stop(self):
        self.stopping.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            left = list(self.open)
        for wire in left:
            wire.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
