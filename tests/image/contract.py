#!/usr/bin/env python3
"""Cloud Run's container contract, clause by clause, on an image that `hotlayer image` made.

    python3 tests/image/contract.py HOTLAYERD MODEL.hot

A second image is of a model that generates 65536 tokens, whatever it reads (see serving.py). Needs umoci. Without runc,
or where the host allows no containers, the clauses that need one are skipped and counted, and chroot() replaces runc
for the rest. tests/server/server.py tests the server without a container. The last line is "N passed, N failed, N
skipped".
"""

import fcntl
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from container import MEMORY, Container, unpack
from serving import (  # in tests/server, which container.py adds to the path
    ENDLESS_NAME, HOTLAYERD, MODEL, ask, check, connect, make_endless, post, read_all, tally)

skipped = 0
every_line = []  # of all containers' logs


def skip(what):
    global skipped
    skipped += 1
    print("skip", what, flush=True)


def image(model, layout):
    packer = os.path.join(os.path.dirname(HOTLAYERD), "hotlayer")
    done = subprocess.run([packer, "image", model, "--runtime", HOTLAYERD, "-o", "oci:" + layout],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return layout + ":latest"


class Run(Container):
    """A container whose log is checked by the clause about logs."""

    def end(self, seconds=30):
        status = super().end(seconds)
        every_line.extend(self.log + self.other)
        return status


class Stream(threading.Thread):
    """A generation that is read as it arrives. `lines` counts the received lines."""

    def __init__(self, server, **options):
        super().__init__(daemon=True)
        self.lines, self.text, self.done = 0, b"", False
        self.socket = connect(server)
        self.socket.sendall(post({"model": ENDLESS_NAME, "prompt": "a", "options": {"temperature": 0, **options}}))
        self.start()

    def run(self):
        try:
            while piece := self.socket.recv(65536):
                self.lines += piece.count(b"}\n")
                self.text = (self.text + piece)[-100000:]  # the last line has the whole context
        except OSError:
            pass
        self.done = True

    def leave(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join(30)
        self.socket.close()


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def opened(port, seconds=30):
    """Waits until the port accepts a connection, as Cloud Run's default startup probe does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.002)
    return False


# ---- the clauses ----


def test_port(bundle):
    took, phases = [], []
    for _ in range(3):  # of three, since other programs run on this machine
        start = time.monotonic()
        server = Run(bundle)
        good = opened(server.asked_port)
        took.append(time.monotonic() - start)
        ready = server.wait_log("ready")
        status = server.stop()
        if not good or not ready or status:
            check("a container starts and ends", False, (server.log, server.other, status))
            return
        phases.append(ready["phases"]["port_open"])
    check("the port is open within 1 s, the container's own start included", min(took) < 1, took)
    check("  the program takes less than 100 ms of that", min(phases) < 100, phases)
    print("   %.0f ms in all, %.1f ms since the program's entry" % (min(took) * 1e3, min(phases)))


def status_of(pid, field):
    with open("/proc/%d/status" % pid) as f:
        return next(line.split()[1:] for line in f if line.startswith(field + ":"))


def memory_limit(pid):
    """Returns a value of the process's cgroup, version 1 or 2; None if the cgroup is not visible."""
    with open("/proc/%d/cgroup" % pid) as f:
        groups = [line.rstrip("\n").split(":", 2) for line in f]
    for _, controllers, path in groups:
        for name in ("memory%s/memory.limit_in_bytes", "%s/memory.max") if "memory" in controllers.split(",") else (
                "%s/memory.max", "unified%s/memory.max"):
            try:
                with open("/sys/fs/cgroup/" + name % path) as f:
                    return int(f.read())
            except (OSError, ValueError):
                continue
    return None


def test_confinement(bundle):
    if not Container.runc:
        skip("no capability, no privileges, a read-only root: %s" % Container.why)
    server = Run(bundle)
    server.wait_log("ready")
    pid = server.pid()
    if os.geteuid() == 0:
        check("it runs as the image's user", status_of(pid, "Uid") == ["65532"] * 4, status_of(pid, "Uid"))
    if Container.runc:
        none = {status_of(pid, c)[0].strip("0") for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        check("it has no capability", none == {""}, none)
        check("it can gain no privilege", status_of(pid, "NoNewPrivs") == ["1"])
        with open("/proc/%d/mountinfo" % pid) as f:
            root = [line.split()[5] for line in f if line.split()[4] == "/"]
        check("its root is read-only", root and "ro" in root[0].split(","), root)
        with open("/proc/%d/environ" % pid, "rb") as f:
            home = [e for e in f.read().split(b"\0") if e.startswith(b"HOME=")]
        check("it has no home of its own", home in ([], [b"HOME=/"]), home)  # runc sets "/" by default
    if Container.memory:
        check("its memory is limited", memory_limit(pid) == MEMORY, memory_limit(pid))
    else:
        skip("a memory limit: %s" % Container.why)
    check("it still serves", ask(server, "POST", "/api/generate", json.dumps(
        {"model": "demo", "prompt": "Once", "stream": False, "options": {"num_predict": 5}}))[0] == 200, server.log)
    check("  and ends with status 0", server.stop() == 0)
    if os.geteuid() != 0:
        skip("without HOME at all: chroot() is root's")
        return
    server = Run(bundle, chroot=True)
    with open("/proc/%d/environ" % server.process.pid, "rb") as f:
        server.wait_log("ready")
        check("it starts without HOME, too", ask(server, "GET", "/readyz")[0] == 200)
        f.seek(0)
        check("  there was none", b"HOME=" not in f.read())
    server.stop()


def hold_weights(bundle):
    """A lease on the first shard blocks every open() until it is released. None: the file system has no leases."""
    (shard,) = glob.glob(os.path.join(bundle, "rootfs/models/*/model.hot.001"))
    held = open(shard, "r+b")
    try:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        held.close()
        skip("before the weights: no leases on this file system (%s)" % error)
        return None
    return held


def test_before_ready(bundle):
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    held = hold_weights(bundle)
    if not held:
        return
    server = Run(bundle)
    check("the TCP probe passes before the weights are in", opened(server.asked_port), server.log)
    codes = [ask(server, "GET", path)[0] for path in ("/healthz", "/readyz")]
    check("  alive, and not ready", codes == [200, 503], codes)
    requests = []
    for stream in (True, False):
        s = connect(server)
        s.sendall(post({"model": "demo", "prompt": "Once", "stream": stream, "options": {"num_predict": 5}},
                       extra="Connection: close\r\n"))
        requests.append(s)
    for s in requests:
        s.settimeout(0.3)
        try:
            early = s.recv(1000)
        except socket.timeout:
            early = None
        check("a request before the weights is held", early is None, early)
        s.settimeout(30)
    check("  and they are not in yet", ask(server, "GET", "/readyz")[0] == 503 and not server.lines("ready"))
    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    held.close()
    for s in requests:
        answer = read_all(s)
        check("  and answered when they are", answer.startswith(b"HTTP/1.1 200 ") and b'"done":true' in answer, answer)
    # All pages are resident, which may be after the first answers.
    check("/readyz says so", server.wait_log("ready") and ask(server, "GET", "/readyz")[0] == 200)
    check("exit status 0", server.stop() == 0, server.log)


def test_http(server):
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = {"model": ENDLESS_NAME, "prompt": "a", "options": {"num_predict": 3}}
    sockets = set()
    for path, stream in (("/healthz", None), ("/api/generate", True), ("/api/generate", False), ("/readyz", None)):
        if stream is None:
            c.request("GET", path)
        else:
            c.request("POST", path, json.dumps({**body, "stream": stream}))
        sockets.add(c.sock.getsockname() if c.sock else None)
        response = c.getresponse()
        data = response.read()
        check("keep-alive: %s%s" % (path, "" if stream is None else " stream: %s" % stream), response.status == 200
              and response.version == 11 and not response.will_close and data, (response.status, response.headers))
        if stream:
            check("  in chunks", response.headers["Transfer-Encoding"] == "chunked" and data.count(b"\n") == 4, data)
    check("  all over one connection", len(sockets) == 1 and None not in sockets, sockets)
    c.close()
    first = Stream(server)
    check("a stream is sent as it comes", wait_for(lambda: first.lines >= 1) and not first.done, first.text)
    first.leave()


def test_concurrency(bundle):
    """Three at once, one in the queue, and one too many."""
    server = Run(bundle, {"OLLAMA_NUM_PARALLEL": "3", "OLLAMA_MAX_QUEUE": "1", "OLLAMA_CONTEXT_LENGTH": "65536"},
                 ["--threads", "1"])
    server.wait_log("ready")
    test_http(server)
    streams = [Stream(server) for _ in range(3)]
    check("three requests have begun", wait_for(lambda: all(s.lines for s in streams)), [s.text for s in streams])
    waiting = Stream(server)
    time.sleep(0.1)  # it is the first in the queue: the next one comes later
    before = [s.lines for s in streams]
    overlap = wait_for(lambda: all(s.lines >= n + 50 for s, n in zip(streams, before)))
    check("  all three run in parallel", overlap and not any(s.done for s in streams),
          (before, [s.lines for s in streams]))
    check("  while a fourth waits", waiting.lines == 0 and not waiting.done, waiting.text)
    status, headers, data = ask(server, "POST", "/api/generate", json.dumps({"model": ENDLESS_NAME, "prompt": "a"}))
    check("beyond the queue: 429 or 503 with Retry-After", status in (429, 503) and json.loads(data)["error"]
          and (headers["Retry-After"] or "").isdigit(), (status, headers.items(), data))
    check("  the earlier requests continue", not any(s.done for s in streams))
    streams[0].leave()
    check("a queued request runs when another ends", wait_for(lambda: waiting.lines > 0), waiting.text)
    for s in (*streams[1:], waiting):
        s.leave()
    check("exit status 0", server.stop() == 0, server.log)


def test_term(bundle):
    server = Run(bundle, {"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_CONTEXT_LENGTH": "65536"}, ["--threads", "1"])
    server.wait_log("ready")
    streams = [Stream(server, num_predict=4000) for _ in range(3)]
    check("two run and one waits", wait_for(lambda: sum(s.lines > 0 for s in streams) == 2)
          and not any(s.done for s in streams))
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.wait_log("stopping")
    refused = not opened(server.asked_port, 0.05)
    status, took = server.end(15), time.monotonic() - start
    for s in streams:
        s.join(10)
    check("SIGTERM: exit 0 within 10 s", status == 0 and took < 10, (status, took, server.log))
    check("  running and queued requests finish", all(b'"eval_count":4000,' in s.text and b'"done":true' in s.text
                                                        for s in streams), [s.text[-300:] for s in streams])
    check("  new connections are refused", refused)

    # With the slowest kernels, text is generated no faster than these clients read it; else the final message would
    # follow megabytes of text.
    server = Run(bundle, {"OLLAMA_CONTEXT_LENGTH": "65536"}, ["--threads", "1", "--kernels", "scalar"])
    server.wait_log("ready")
    streams = [Stream(server) for _ in range(12)]
    wait_for(lambda: streams[0].lines)
    start = time.monotonic()
    status, took = server.stop(), time.monotonic() - start
    for s in streams:
        s.join(10)
    check("SIGTERM: long generations are ended in time", status == 0 and took < 10, (status, took, server.log))
    ends = [s.text[-200:] for s in streams]
    check("  every client is told", all(b"shutting down" in t or b'"done":true' in t for t in ends), ends)


def refuses(bundle, what, words, **more):
    server = Run(bundle, **more)
    status = server.end(20)
    last = server.log[-1] if server.log else {}
    check("exit non-zero: %s" % what, isinstance(status, int) and status > 0 and last.get("severity") == "ERROR"
          and all(word in last["message"] for word in words), (status, server.log, server.other))


def test_refusals(bundle):
    models = os.path.join(bundle, "rootfs/models")
    (head,) = glob.glob(models + "/*/model.hot")
    kept = os.path.join(bundle, "kept")
    refuses(bundle, "PORT is not a number", ["PORT", "http"], env={"PORT": "http"})
    refuses(bundle, "PORT is out of range", ["PORT", "70000"], env={"PORT": "70000"})
    refuses(bundle, "an option that does not exist", ["--paralel"], args=["--paralel", "4"])
    refuses(bundle, "a model that does not exist", ["/models/none"], args=["--model", "/models/none"])
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refuses(bundle, "the port is taken", [str(port), "in use"], port=port)
    os.rename(models, kept)
    refuses(bundle, "no model", ["there is no model", "/models"])
    os.rename(kept, models)
    with open(head, "r+b") as f:
        f.seek(os.path.getsize(head) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 0xff]))
        f.flush()
        refuses(bundle, "a damaged model", ["model.hot"])
        f.seek(-1, os.SEEK_CUR)
        f.write(byte)
    os.rename(head + ".001", kept)
    refuses(bundle, "a model without its weights", ["model.hot.001"])
    os.rename(kept, head + ".001")
    server = Run(bundle)
    check("  it starts after the weights are restored", server.wait_log("ready") and server.stop() == 0, server.log)


def test_logs():
    odd = [line for line in every_line if not isinstance(line, dict) or line.get("severity") not in (
        "INFO", "WARNING", "ERROR") or not isinstance(line.get("message"), str) or not line["message"]]
    check("every line of every log is JSON with severity and message", every_line and not odd, odd[:5])
    print("   %d lines" % len(every_line))


def main():
    folder = tempfile.mkdtemp()
    try:
        if not shutil.which("umoci"):
            skip("umoci is not installed")
            return 0
        bundle = unpack(image(MODEL, os.path.join(folder, "demo")), os.path.join(folder, "bundle"))
        endless = unpack(image(make_endless(folder), os.path.join(folder, "endless")), os.path.join(folder, "other"))
        test_port(bundle)
        test_confinement(bundle)
        test_before_ready(bundle)
        test_concurrency(endless)
        test_term(endless)
        test_refusals(bundle)
        test_logs()
    finally:
        shutil.rmtree(folder)
        print("%d passed, %d failed, %d skipped" % (tally["passed"], tally["failed"], skipped))
    return tally["failed"] != 0


if __name__ == "__main__":
    sys.exit(main())
