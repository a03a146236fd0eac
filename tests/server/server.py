#!/usr/bin/env python3
"""hotlayerd serve, from its clients' side.

    python3 tests/server/server.py HOTLAYERD MODEL.hot

MODEL.hot may be any small model without a chat template. The `hotlayer` next to HOTLAYERD makes a second one that never
stops: it answers every prompt with the letter "a", for 65536 positions. Servers listen on free ports of 127.0.0.1
alone. Prints a line per check and ends with "N passed, N failed".
"""

import concurrent.futures
import fcntl
import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from serving import ENDLESS_NAME, HOTLAYERD, MODEL, Server, ask, check, connect, make_endless, post, read_all, tally

server_model, context, PROMPT = None, 0, None  # set by main()


def generate(server, prompt=None, connection=None, name=None, options=None, **fields):
    """Returns the status and the objects: one, or all lines of a stream."""
    body = {"model": name or server_model, "prompt": prompt or PROMPT, "options": options or {}, **fields}
    status, _, data = ask(server, "POST", "/api/generate", json.dumps(body), connection=connection)
    objects = [json.loads(line) for line in data.splitlines()]
    return (status, objects) if fields.get("stream", True) and status == 200 else (status, objects[0])


def refused(server, what, body, status=400, words=""):
    body = body if isinstance(body, (bytes, str)) else json.dumps(body)
    got, _, data = ask(server, "POST", "/api/generate", body)
    try:
        error = json.loads(data)["error"]
    except (ValueError, KeyError):
        error = None
    check("%d: %s" % (status, what), got == status and error and words in error, (got, data))


def start_endless(server, **fields):
    """Sends a request that would run for long; returns its socket after the first bytes."""
    s = connect(server)
    s.sendall(post({"model": ENDLESS_NAME, "prompt": "a", "options": {"temperature": 0}, **fields}))
    if fields.get("stream", True):
        s.recv(1000)
    return s


def closes_within(s, least, most, feed=None):
    """Returns the seconds until the other side closes, while sending `feed` byte by byte."""
    start = time.monotonic()
    s.settimeout(0.2)
    while time.monotonic() - start < most + 2:
        try:
            if feed:
                s.sendall(feed[:1])
                feed = feed[1:] or feed
            if not s.recv(4096):
                break
        except socket.timeout:
            continue
        except OSError:
            break
    took = time.monotonic() - start
    s.close()
    return least <= took <= most, took


# ---- answers ----


def test_small_routes(server):
    server.wait_log("ready")
    for path in ("/", "/healthz", "/readyz", "/api/version", "/api/tags", "/api/ps"):
        status, _, data = ask(server, "GET", path)
        check("GET " + path, status == 200 and data, (status, data))
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        first, second = ask(server, "HEAD", path, connection=c), ask(server, "GET", path, connection=c)
        check("HEAD " + path, first[0] == 200 and not first[2] and second[2] == data, (first, second))
    _, headers, text = ask(server, "GET", "/")
    check("/ is plain text", headers["Content-Type"].startswith("text/plain"))
    check("/ has the words that health checks look for", text == b"Ollama is running", text)
    check("the header Server", headers["Server"].startswith("hotlayer/"), headers)
    check("version", re.fullmatch(r"\d+\.\d+\.\d+", json.loads(ask(server, "GET", "/api/version")[2])["version"]))
    (tag,) = json.loads(ask(server, "GET", "/api/tags")[2])["models"]
    size = os.path.getsize(MODEL)
    check("tags", tag["name"] == tag["model"] == server_model + ":latest" and tag["details"]["format"] == "hot"
          and tag["details"]["family"] == "llama" and tag["details"]["families"] == ["llama"] and tag["size"] > size
          and re.fullmatch(r"[0-9a-f]{48}", tag["digest"]) and tag["modified_at"].endswith("Z"), tag)
    (loaded,) = json.loads(ask(server, "GET", "/api/ps")[2])["models"]
    check("ps", {k: loaded.get(k) for k in tag} == tag and loaded["context_length"] == context
          and loaded["size_vram"] == 0 and loaded["expires_at"] > "2100", loaded)
    for method, path, allow in (("POST", "/api/tags", "GET, HEAD"), ("GET", "/api/generate", "POST"),
                                ("DELETE", "/", "GET, HEAD"), ("OPTIONS", "/api/generate", "POST"),
                                ("PATCH", "/healthz", "GET, HEAD")):
        status, headers, data = ask(server, method, path)
        check("405: %s %s" % (method, path), status == 405 and headers["Allow"] == allow and json.loads(data)["error"],
              (status, headers.items(), data))
    for path in ("/nothing", "/api", "/api/generate/", "/%00", "/api/../"):
        status, _, data = ask(server, "GET", path)
        check("404: " + path, status == 404 and json.loads(data)["error"], (status, data))
    check("a query is not part of the path", ask(server, "GET", "/api/version?x=1")[0] == 200)


def test_log_of_start(server):
    ready = server.wait_log("ready")
    phases = list(ready["phases"].items())
    check("phases in order", [p[0] for p in phases] == ["port_open", "validated", "mapped", "weights_ready"]
          and phases == sorted(phases, key=lambda p: p[1]), phases)
    generate(server, options={"num_predict": 2})
    generate(server, options={"num_predict": 2})
    full = server.wait_log("start-up")
    check("the start is logged once, with the first token", len(server.lines("start-up")) == 1
          and list(full["phases"])[-1] == "first_token" and full["phases"]["first_token"] > phases[-1][1], full)
    check("severities", {l["severity"] for l in server.log} == {"INFO"}, server.log)


def test_streaming(server):
    options = {"num_predict": 20, "temperature": 0}
    body = {"model": server_model, "prompt": PROMPT, "options": options}
    status, headers, data = ask(server, "POST", "/api/generate", json.dumps(body))
    lines = [json.loads(line) for line in data.splitlines()]
    check("a stream is ndjson in chunks", status == 200 and headers["Content-Type"] == "application/x-ndjson"
          and headers["Transfer-Encoding"] == "chunked" and data.endswith(b"\n"), headers.items())
    last = lines[-1]
    check("each line has its fields", all(
        list(l) == ["model", "created_at", "response", "done"] and l["model"] == server_model and l["response"]
        and l["done"] is False and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", l["created_at"])
        for l in lines[:-1]), lines)
    check("the last line counts", last["done"] is True and last["response"] == "" and last["done_reason"] == "length"
          and last["eval_count"] == 20 and last["prompt_eval_count"] > 0
          and all(isinstance(last[k], int) and last[k] > 0 for k in (
              "total_duration", "load_duration", "prompt_eval_duration", "eval_duration"))
          and last["total_duration"] >= last["prompt_eval_duration"] + last["eval_duration"], last)
    check("a token a line", 0 < len(lines) - 1 <= 21, len(lines))
    check("context is prompt and text", len(last["context"]) == last["prompt_eval_count"] + last["eval_count"], last)
    status, whole = generate(server, stream=False, options=options)
    text = "".join(l["response"] for l in lines)
    check("stream: false gives the same text", status == 200 and whole["response"] == text and whole["done"] is True
          and whole["done_reason"] == "length" and whole["context"] == last["context"], (whole, text))
    check("stream: false is one JSON object", ask(server, "POST", "/api/generate", json.dumps(
        {**body, "stream": False}))[1]["Content-Type"] == "application/json; charset=utf-8")
    told = subprocess.run([HOTLAYERD, "generate", "--model", MODEL, "-p", PROMPT, "-n", "20", "--raw",
                           "--ctx", str(context)], capture_output=True)
    check("`hotlayerd generate` gives the same text", told.stdout.decode() == text + "\n", (told, text))
    raw = generate(server, raw=True, stream=False, options=options)[1]
    check("raw: no context", raw["response"] == text and "context" not in raw, raw)
    status, whole = generate(server, stream=False, options={"temperature": 0, "num_predict": -1})
    check("without a limit it ends at a stop or with the context", whole["done_reason"] in ("stop", "length")
          and (whole["done_reason"] == "stop" or len(whole["context"]) == context), whole)
    whole = generate(server, stream=False, options={"temperature": 0, "num_ctx": 24})[1]
    check("num_ctx limits", len(whole["context"]) == 24 and whole["done_reason"] == "length", whole)
    line = server.lines("generation", tokens=20)[0]
    check("generations are logged, prompts are not", line["finish"] == "length" and line["prompt_tokens"] > 0
          and PROMPT not in json.dumps(server.log), line)


def test_sampling(server):
    def say(**options):
        return generate(server, stream=False, options={"num_predict": 12, **options})[1]["response"]

    check("a seed repeats", say(seed=7, temperature=1.5) == say(seed=7, temperature=1.5))
    check("seeds differ", len({say(seed=n, temperature=1.5) for n in range(5)}) > 1)
    check("no seed, no repetition", len({say(temperature=1.5) for _ in range(4)}) > 1)
    check("seed -1 is random", len({say(temperature=1.5, seed=-1) for _ in range(4)}) > 1)
    greedy = say(temperature=0)
    check("top_k 1 is greedy", say(temperature=1.5, top_k=1, seed=3) == greedy)
    check("top_p 0 is greedy", say(temperature=1.5, top_p=0, seed=3) == greedy)
    check("min_p 1 is greedy", say(temperature=1.5, min_p=1, top_p=1, top_k=0, seed=3) == greedy)
    check("floats do for integers", say(temperature=1.5, top_k=1.7, seed=3.0) == greedy)
    check("penalties change the text", say(temperature=0, repeat_penalty=5.0, num_predict=40) != say(
        temperature=0, num_predict=40))
    check("null options are absent", say(temperature=0, seed=None, stop=None, top_k=None) == greedy)


def test_stops(server):
    full = generate(server, stream=False, options={"temperature": 0, "num_predict": 20})[1]["response"]
    for first, n in ((3, 6), (1, 2), (6, 9), (0, 3)):
        stop = full[first:first + n]
        want = full[:full.index(stop)]
        for given in ([stop], stop, ["never to be seen", stop, ""]):
            status, lines = generate(server, options={"temperature": 0, "num_predict": 20, "stop": given})
            text = "".join(l["response"] for l in lines)
            check("stop at %r" % (given,), text == want and lines[-1]["done_reason"] == "stop", (text, want, lines[-1]))
    lines = generate(server, options={"temperature": 0, "num_predict": 20, "stop": full[-2:] + "\x01"})[1]
    check("text like the beginning of a stop is sent at the end", "".join(l["response"] for l in lines) == full
          and lines[-1]["done_reason"] == "length", lines)


def test_load_requests(server):
    for body in ({"prompt": ""}, {}, {"prompt": "x", "options": {"num_predict": 0}}, {"prompt": None}):
        for stream in (True, False):
            status, _, data = ask(server, "POST", "/api/generate", json.dumps(
                {"model": server_model, "stream": stream, "keep_alive": "5m", **body}))
            got = json.loads(data)
            check("load: %s" % body, status == 200 and got["done"] is True and got["done_reason"] == "load"
                  and got["response"] == "" and got["model"] == server_model, got)


def test_bad_bodies(server):
    good = {"model": server_model, "prompt": "x"}
    refused(server, "no body", b"", words="missing request body")
    for what, body in (("broken JSON", '{"model": "x"'), ("a number", "1"), ("an array", "[]"), ("a string", '"x"'),
                       ("two documents", json.dumps(good) + "{}"), ("a lone surrogate", '{"model":"\\ud800"}'),
                       ("deep nesting", "[" * 100000), ("deep objects", '{"a":' * 50000),
                       ("deep nesting in a field", '{"model":"x","options":%s1%s}' % ("[" * 5000, "]" * 5000)),
                       ("a NUL", b'{"model":"x\x00"}'), ("an escaped NUL", '{"model":"x","prompt":"a\\u0000b"}'),
                       ("not UTF-8", b'{"model":"\xff"}'), ("half a character", b'{"model":"\xe2\x82"}'),
                       ("too many values", '{"context":[' + "0," * 300000 + "0]}")):
        refused(server, what, body)
    for field, value in (("model", 1), ("prompt", 1), ("prompt", ["x"]), ("stream", "yes"), ("raw", 1), ("options", []),
                         ("system", 1), ("context", "x"), ("images", "x"), ("keep_alive", True), ("think", 1)):
        refused(server, "%s: %r" % (field, value), {**good, field: value}, words='"%s"' % field)
    for option, value in (("temperature", "hot"), ("top_k", "x"), ("seed", True), ("num_predict", []), ("num_ctx", {}),
                          ("stop", 1), ("stop", [1]), ("use_mmap", 1), ("num_gpu", "x"), ("repeat_penalty", 0),
                          ("num_ctx", 0), ("stop", ["x" * 256]), ("stop", ["x"] * 17), ("temperature", 1e30)):
        refused(server, "option %s: %.20r" % (option, value), {**good, "options": {option: value}},
                words='"%s"' % option)
    refused(server, "an infinite option", '{"model":"x","options":{"top_p":1e999}}', words="top_p")
    for field, value in (("context", [1, 2]), ("images", ["aGk="]), ("format", "json"), ("format", {"type": "object"}), ("think", True),
                         ("think", "high"), ("logprobs", True)):
        refused(server, "%s is not supported" % field, {**good, field: value}, words='"%s"' % field)
    for field in ("system", "suffix"):
        refused(server, "%s without a chat template" % field, {**good, field: "be kind"}, words="no chat template")
    harmless = {"system": "", "template": None, "suffix": "", "context": [], "images": [], "format": "", "think": False,
                "keep_alive": -1, "unheard": {"of": 1}}
    status, lines = generate(server, options={"num_predict": 2, "num_keep": 4, "num_thread": 8, "use_mmap": True},
                             **harmless)
    check("empty fields are accepted", status == 200 and lines[-1]["done"], lines)
    refused(server, "num_ctx beyond the server's", {**good, "options": {"num_ctx": context + 1}}, words="num_ctx")
    refused(server, "a prompt longer than the context", {**good, "prompt": "a b " * 3 * context}, words="context")
    refused(server, "a prompt longer than num_ctx", {**good, "prompt": "a b c d e f", "options": {"num_ctx": 3}},
            words="context")
    generate(server, options={"num_predict": 1, "mirostat": 1, "typo": 2})
    line = server.wait_log("unknown options are ignored")
    check("unknown options are named in the log", line and line["severity"] == "WARNING"
          and line["options"] == "mirostat, typo", line)


def test_names(server):
    for name in (server_model + ":latest", server_model.upper(), server_model.title() + ":LATEST"):
        status, lines = generate(server, name=name, options={"num_predict": 1})
        check("model " + name, status == 200 and lines[0]["model"] == name, lines)
    for name in ("nobody", server_model + ":7b", server_model + "x", server_model[:-1], ":latest", "x" * 5000, "é" * 900):
        refused(server, "model %.20s" % name, {"model": name, "prompt": "x"}, 404, "not found")
    refused(server, "no model", {"prompt": "x"}, words="model")
    status, _, data = ask(server, "POST", "/api/generate", '{"model":"no\\"body","prompt":"x"}')
    check("the error quotes", json.loads(data)["error"] == "model 'no\"body' not found", data)


def memory_peak(server):
    with open("/proc/%d/status" % server.process.pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) // 1024


def test_large_bodies(server):
    before = memory_peak(server)
    body = b'{"model":"x","prompt":"' + b"x" * 100_000_000 + b'"}'
    status, _, _ = ask(server, "POST", "/api/generate", body)
    check("413: 100 MB", status == 413, status)
    check("a refused body is not kept", memory_peak(server) - before < 48, (before, memory_peak(server)))
    s = connect(server)
    s.sendall(b"POST /api/generate HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        for _ in range(80):
            s.sendall(b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
    except OSError:
        pass
    answer = read_all(s)
    check("413: 40 MB in chunks", answer == b"" or b" 413 " in answer.splitlines()[0], answer[:100])
    refused(server, "a prompt of 15 MB", {"model": server_model, "prompt": "x" * 15_000_000})
    s = connect(server)
    s.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000)
    answer = read_all(s)
    check("headers of 200 kB", not answer or int(answer.split()[1]) in (400, 413, 431), answer[:100])
    for what, text in (("a negative length", b"POST /api/generate HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
                       ("a length beyond all", b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
                       ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
                       ("an unknown method", b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n"),
                       ("HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n")):
        s = connect(server)
        s.sendall(text)
        s.shutdown(socket.SHUT_WR)
        answer = read_all(s)
        check("nonsense: " + what, not answer or int(answer.split()[1]) >= 400, answer[:100])
    check("it still answers", ask(server, "GET", "/healthz")[0] == 200)


def test_connections(server):
    ask_body = {"model": server_model, "prompt": PROMPT, "options": {"num_predict": 3, "temperature": 0}}
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    answers = [generate(server, connection=c, options={"num_predict": 3, "temperature": 0}) for _ in range(5)]
    check("one connection, many requests", all(a[0] == 200 and a[1][-1]["done"] for a in answers), answers)
    check("an error does not end the connection", ask(server, "POST", "/api/generate", "{", connection=c)[0] == 400
          and ask(server, "GET", "/", connection=c)[0] == 200)
    s = connect(server)
    s.sendall(post(ask_body) + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" + post({**ask_body, "stream": False})
              + b"GET /api/version HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    text = read_all(s).decode()
    order = [text.find(m) for m in ('"done":true', '"status":"ok"', '"done":true,"done_reason":"length"', '"version"')]
    check("pipelined requests are answered in order", text.count("HTTP/1.1 200 OK") == 4 and -1 not in order
          and order[0] < order[1] < order[3] and text.rfind('"done":true') > order[1], text)
    for keep in ("", "Connection: keep-alive\r\n"):
        s = connect(server)
        s.sendall(post(ask_body, version="1.0", extra=keep))
        head, _, rest = read_all(s).partition(b"\r\n\r\n")
        lines = rest.splitlines()
        check("HTTP/1.0 gets no chunks, %r" % keep, b"hunked" not in head and b"ontent-Length" not in head
              and lines and json.loads(lines[-1])["done"], (head, rest))
    s = connect(server)
    s.sendall(post({**ask_body, "stream": False}, version="1.0"))
    head, _, rest = read_all(s).partition(b"\r\n\r\n")
    check("HTTP/1.0, whole", b"hunked" not in head and json.loads(rest)["done"], (head, rest))
    s = connect(server)
    body = json.dumps(ask_body).encode()
    s.sendall(b"POST /api/generate HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    go = s.recv(100)
    s.sendall(body)
    answer = b""
    while b'"done":true' not in answer:
        answer += s.recv(65536)
    check("100-continue", b" 100 " in go and b" 200 OK" in answer, (go, answer))
    s.close()


def test_crowd(server):
    body = {"model": server_model, "prompt": PROMPT, "options": {"num_predict": 3, "temperature": 0}}
    start = time.monotonic()
    crowd = [connect(server) for _ in range(200)]
    for s in crowd:
        s.sendall(post(body, extra="Connection: close\r\n"))
    answers = [read_all(s) for s in crowd]
    good = sum(b" 200 OK" in a and b'"done":true' in a and b'"eval_count":3' in a for a in answers)
    check("200 clients at once", good == 200 and time.monotonic() - start < 30, (good, time.monotonic() - start))
    for s in crowd:
        s.close()


def test_slow_clients(model):
    with Server("--request-timeout", "2", "--max-queue", "4", model=model) as server:
        body = post({"model": ENDLESS_NAME, "prompt": "a" * 200, "options": {"num_predict": 1}})
        cases = {
            "headers byte by byte": lambda: closes_within(connect(server), 1.5, 6, b"POST /api/generate HTTP/1.1\r\nX: "),
            "a body byte by byte": lambda: closes_within(connect(server), 1.5, 6, body),
            "an idle connection": lambda: closes_within(connect(server), 1.5, 6),
        }

        def second_request():
            s = connect(server)
            s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            s.recv(1000)
            return closes_within(s, 1.5, 6, b"GET / HTTP/1.1\r\nX: ")

        def stalled_reader():  # less than the limit, but never read
            s = connect(server, receive=4096, mss=536)
            s.sendall(post({"model": ENDLESS_NAME, "prompt": "a", "options": {"num_predict": 4000}}))
            server.wait_log("generation", tokens=4000)
            time.sleep(4)
            data = read_all(s)
            return b'"done":true' not in data, len(data)

        cases["a second request byte by byte"] = second_request
        cases["a reader that stalls"] = stalled_reader
        with concurrent.futures.ThreadPoolExecutor() as pool:
            results = {name: pool.submit(run) for name, run in cases.items()}
        for name, result in results.items():
            check("dropped: " + name, result.result()[0], result.result())
        status, lines = generate(server, "a", name=ENDLESS_NAME, options={"num_predict": 2})
        check("a patient client is served for longer than the timeout", status == 200, lines)
    with Server(model=model) as server:
        s = connect(server, receive=4096, mss=536)
        s.sendall(post({"model": ENDLESS_NAME, "prompt": "a"}))
        line = server.wait_log("generation", finish="cancelled", seconds=40)
        check("a reader that does not read: ended", line and 3000 < line["tokens"] < 60000, line)
        data = read_all(s)
        check("a reader that does not read: not all was kept for it", len(data) < 4_000_000
              and b'"done":true' not in data, len(data))


def test_leaving(model):
    with Server("--max-queue", "2", model=model) as server:
        s = start_endless(server)
        s.close()
        line = server.wait_log("generation", finish="cancelled")
        check("a client that leaves ends its generation", line and line["tokens"] < 65000, server.log)
        s = start_endless(server, stream=False)
        time.sleep(0.3)
        s.close()
        check("also without streaming", server.wait_log("generation", 2, finish="cancelled"), server.log)
        runs = start_endless(server)
        waits = [start_endless(server, stream=False) for _ in range(2)]
        time.sleep(0.3)
        status, headers, data = ask(server, "POST", "/api/generate", json.dumps({"model": ENDLESS_NAME, "prompt": "a"}))
        check("503: the queue is full", status == 503 and headers["Retry-After"] and "busy" in json.loads(data)["error"],
              (status, data))
        waits[0].close()
        line = server.wait_log("generation", 3, finish="cancelled")
        check("a client that waits may leave", line and line["tokens"] == 0, server.log)
        status, got = 0, None
        with concurrent.futures.ThreadPoolExecutor() as pool:
            later = pool.submit(generate, server, "a", None, ENDLESS_NAME, {"num_predict": 3}, stream=False)
            time.sleep(0.3)
            runs.close()
            waits[1].close()
            status, got = later.result()
        check("a queued request runs then", status == 200 and got["eval_count"] == 3, got)
        s = start_endless(server)
        s.sendall(b"GET / HTTP/1.1\r\n" * 20000)  # more than the server reads ahead
        s.close()
        check("also with unread requests behind", server.wait_log("generation", 6, finish="cancelled"), server.log)


def say_all(server, prompt):
    """Compares the answers of eight requests, one after another and all at once."""
    def say(seed):
        return generate(server, prompt, stream=False, options={"seed": seed, "num_predict": 30})[1]["response"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return [say(seed) for seed in range(8)], list(pool.map(say, range(8)))


def test_parallel(model):
    # From five tokens in a step on, sums are rounded in another order. A choice between nearly equal tokens may then
    # differ, and so does the rest of that answer. Two short prompts never have so many tokens.
    with Server("--parallel", "2") as server:
        alone, together = say_all(server, PROMPT[0])
        check("another request does not change an answer", alone == together, (alone, together))
    with Server("--parallel", "4") as server:
        alone, together = say_all(server, PROMPT)
        same = sum(a == b for a, b in zip(alone, together))
        check("many requests hardly change an answer", same >= 6, (alone, together))
    with Server(env={"OLLAMA_NUM_PARALLEL": '"2"', "PORT": "0", "OLLAMA_HOST": "127.0.0.1"}, model=model) as server:
        runs = start_endless(server)
        status, lines = generate(server, "a", name=ENDLESS_NAME, options={"num_predict": 5})
        check("OLLAMA_NUM_PARALLEL: two at once", status == 200 and lines[-1]["eval_count"] == 5
              and server.wait_log("ready")["parallel"] == 2)
        runs.close()


# ---- start and end ----


def test_term(model):
    server = Server(model=model)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        wanted = [pool.submit(generate, server, "a", None, ENDLESS_NAME, {"num_predict": 300}) for _ in range(2)]
        server.wait_log("start-up")
        idle = connect(server)
        time.sleep(0.2)
        status = server.stop()
        answers = [w.result() for w in wanted]
    check("SIGTERM: running and queued requests finish", status == 0 and all(
        a[0] == 200 and a[1][-1].get("eval_count") == 300 for a in answers),
        (status, [a[1][-1] for a in answers]))
    check("SIGTERM: idle connections are closed", read_all(idle) == b"")
    check("SIGTERM: the stop is logged", server.lines("stopped"), server.log)

    server = Server("--parallel", "2", model=model)
    streams = [start_endless(server) for _ in range(2)] + [start_endless(server, stream=False) for _ in range(20)]
    kept = connect(server)
    kept.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    kept.recv(1000)
    with concurrent.futures.ThreadPoolExecutor(len(streams)) as pool:
        ends = [pool.submit(read_all, s) for s in streams]
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.wait_log("stopping")
        try:
            connect(server)
            accepted = True
        except OSError:
            accepted = False
        kept.sendall(post({"model": ENDLESS_NAME, "prompt": "a"}))
        answer = kept.recv(4096)
        status, took = server.end(), time.monotonic() - start
        ends = [e.result() for e in ends]
    check("SIGTERM: no new connections", not accepted)
    check("SIGTERM: no new requests", b" 503 " in answer and b"shutting down" in answer, answer)
    check("SIGTERM: endless generations end in time", status == 0 and 8 < took < 11, (status, took))
    check("SIGTERM: a cut stream ends with an error", b'{"error":"the server is shutting down"}' in ends[0][-200:], ends[0][-300:])
    check("SIGTERM: queued requests get 503", b" 503 " in ends[-1][:30], ends[-1][:300])

    # The first process of a container gets no signal without a handler: a signal that came too early must stay pending.
    server = Server(model=model, early=signal.SIGTERM)
    check("SIGTERM before there is a handler", server.end(15) == 0 and server.lines("stopped"), server.log)

    server = Server(model=model)
    s = start_endless(server)
    server.process.send_signal(signal.SIGINT)
    server.wait_log("stopping")
    server.process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    check("a second signal ends it at once", server.end() == 128 + signal.SIGTERM and time.monotonic() - start < 2)
    s.close()


def test_early_requests(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server("--port", str(port))
    status = None
    for _ in range(2000):
        try:
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            c.request("POST", "/api/generate", json.dumps({"model": server_model, "prompt": PROMPT, "options": {
                "num_predict": 2}}))
            status = c.getresponse().status
            break
        except ConnectionRefusedError:
            time.sleep(0.001)
    check("a request right after the port is open is answered", status == 200, status)
    check("  exit status 0", server.stop() == 0)

    # A lease on the first shard blocks every open() until it is released.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    for end in ("the weights come", "a broken shard", "SIGTERM"):
        path = os.path.join(folder, "held.hot")
        for shard in sorted(glob.glob(MODEL + ".[0-9][0-9][0-9]")):
            shutil.copy(shard, path + shard[-4:])
        shutil.copy(MODEL, path)
        held = open(path + ".001", "r+b")
        if end == "a broken shard":
            held.truncate(4096)
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        server = Server(model=path)
        codes = [ask(server, "GET", p)[0] for p in ("/healthz", "/api/tags", "/readyz")]
        retry = ask(server, "GET", "/readyz")[1]["Retry-After"]
        check("before the weights: alive, not ready", codes == [200, 200, 503] and retry, (codes, retry))
        loaded = ask(server, "GET", "/api/ps")[2]
        check("before the weights: nothing is loaded", loaded == b'{"models":[]}', loaded)
        refused(server, "an invalid request before the weights", {"model": server_model, "prompt": 1})
        waits = connect(server)
        waits.sendall(post({"model": server_model, "prompt": PROMPT}))
        if end == "SIGTERM":
            waits.close()
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            check("SIGTERM before the weights", server.end(15) == 0, server.log)
        elif end == "a broken shard":
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            check("weights that cannot be used: exit 1", server.end(15) == 1 and any(
                l["severity"] == "ERROR" and "held.hot" in l["message"] for l in server.log), server.log)
            waits.close()
        else:
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            check("early requests are answered", b" 200 OK" in waits.recv(4096)[:20])
            # When all pages are resident, which may be after the first answer.
            check("after the weights: ready", server.wait_log("ready") and ask(server, "GET", "/readyz")[0] == 200)
            waits.close()
            check("  exit status 0", server.stop() == 0)
        held.close()


def fails(what, status, words, *args, **more):
    server = Server(*args, **more)
    got = server.end(15)
    text = "".join(server.other) + json.dumps(server.log[-1:])
    good = got == status and words in text and not server.other and server.log[-1]["severity"] == "ERROR"
    check("exit %d: %s" % (status, what), good, (got, text))


def test_refusals_to_start(folder):
    fails("no such model", 1, "nowhere.hot", model=os.path.join(folder, "nowhere.hot"))
    if not os.path.exists("/models"):
        fails("no model at all", 1, "/models", model=None)
    damaged = os.path.join(folder, "damaged.hot")
    data = bytearray(open(MODEL, "rb").read())
    data[len(data) // 2] ^= 0xff
    open(damaged, "wb").write(data)
    fails("a damaged head", 1, "damaged.hot", model=damaged)
    shutil.copy(MODEL, os.path.join(folder, "bare.hot"))
    fails("weights are missing", 1, "bare.hot.001", model=os.path.join(folder, "bare.hot"))
    fails("two models", 2, "one model", "--model", MODEL)
    fails("more context than the model has", 1, "--ctx", "--ctx", "1000000")
    for option, value in (("--port", "70000"), ("--port", "http"), ("--parallel", "0"), ("--max-queue", "-1"),
                          ("--request-timeout", "0"), ("--what", "x"), ("--host", "a b")):
        fails("%s %s" % (option, value), 2, option, option, value)
    for name, value in (("PORT", "70000"), ("PORT", "http"), ("PORT", "-1"), ("OLLAMA_HOST", "h:x"),
                        ("OLLAMA_HOST", "ftp://h"), ("OLLAMA_HOST", "[::1"), ("OLLAMA_NUM_PARALLEL", "many"),
                        ("OLLAMA_CONTEXT_LENGTH", "1.5"), ("OLLAMA_MAX_QUEUE", "-3")):
        fails("%s=%s" % (name, value), 2, name, env={name: value})
    fails("a host that is not this machine's", 1, "192.0.2.1", "--host", "192.0.2.1", "--port", "0")
    with Server() as server:
        fails("the port is taken", 1, str(server.port), "--port", str(server.port))
    helped = subprocess.run([HOTLAYERD, "serve", "--help"], capture_output=True, text=True)
    check("--help", helped.returncode == 0 and "--max-queue" in helped.stdout and not helped.stderr, helped)


def listens(env, *args):
    server = Server(*args, env=env)
    line = server.wait_log("listening")
    ready = server.wait_log("ready")
    server.stop()
    return (line["address"], line["port"], ready["context"]) if line and ready else None


def test_addresses():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = str(probe.getsockname()[1])
    # The log names the bound address; each server stops as soon as it has logged that, so a wildcard is bound only
    # briefly.
    port = int(free)
    for env, args, want in (({"OLLAMA_HOST": "127.0.0.1:" + free}, (), ("127.0.0.1", port)),
                            ({"OLLAMA_HOST": " 'http://127.0.0.1:%s/' " % free}, (), ("127.0.0.1", port)),
                            ({"PORT": free, "OLLAMA_HOST": "127.0.0.1:1"}, (), ("127.0.0.1", port)),
                            ({"PORT": '"%s"' % free, "OLLAMA_HOST": ""}, ("--host", "127.0.0.1"), ("127.0.0.1", port)),
                            ({"PORT": "1", "OLLAMA_HOST": "192.0.2.1"}, ("--host", "127.0.0.1", "--port", free),
                             ("127.0.0.1", port)),
                            ({"PORT": free}, (), ("0.0.0.0", port))):
        got = listens(env, *args)
        check("%s %s" % (env, " ".join(args)), got and got[:2] == want, got)
    if os.path.exists("/proc/net/if_inet6") and "00000000000000000000000000000001" in open("/proc/net/if_inet6").read():
        got = listens({"OLLAMA_HOST": "[::1]:" + free})
        check("IPv6", got and got[:2] == ("::1", port), got)
    env = {"OLLAMA_HOST": "127.0.0.1:" + free}
    check("OLLAMA_CONTEXT_LENGTH", listens({**env, "OLLAMA_CONTEXT_LENGTH": "50"})[2] == 50)
    check("OLLAMA_CONTEXT_LENGTH 0 is automatic", listens({**env, "OLLAMA_CONTEXT_LENGTH": "0"})[2] == context)
    ignored = {"OLLAMA_DEBUG": "false", "OLLAMA_KEEP_ALIVE": "-1", "OLLAMA_MODELS": "/nowhere", "OLLAMA_ORIGINS": "*",
               "OLLAMA_FLASH_ATTENTION": "1", "OLLAMA_LOAD_TIMEOUT": "5m", "OLLAMA_MAX_LOADED_MODELS": "3"}
    check("Ollama's other variables have no effect", listens({**env, **ignored}) == ("127.0.0.1", port, context))
    for value, lines in (("f16", 0), ("q8_0", 0), ("q4_0", 1), ("", 0)):
        server = Server(env={**env, "OLLAMA_KV_CACHE_TYPE": value})
        check("OLLAMA_KV_CACHE_TYPE=%s" % value, server.wait_log("ready") and server.stop() == 0 and len(
            [l for l in server.log if l["severity"] == "WARNING" and "OLLAMA_KV_CACHE_TYPE" in l["message"]]) == lines,
            server.log)
    check("--ctx wins", listens({**env, "OLLAMA_CONTEXT_LENGTH": "50"}, "--ctx", "60")[2] == 60)


def test_ways_of_loading():
    options = {"num_predict": 30, "temperature": 0}
    said = []
    for way in ("map", "stage"):
        with Server("--load", way) as server:
            said.append(generate(server, stream=False, options=options)[1]["response"])
            check("ready: --load " + way, server.wait_log("ready")["phases"]["weights_ready"] > 0, server.log)
    check("  both say the same", said[0] == said[1], said)


def test_few_descriptors():
    with Server(files=64) as server:
        crowd = [connect(server) for _ in range(100)]
        before = os.times()
        time.sleep(0.5)
        for s in crowd[:-1]:
            s.close()
        crowd[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        check("more connections than descriptors: they wait", b" 200 " in crowd[-1].recv(1000))
        check("  without a word", not server.lines("accept") and len(server.log) <= 2, server.log)


def find_prompt(server):
    """The model may be random: use a prompt that it answers."""
    letters = random.Random(1)
    for prompt in ["Once upon a time"] + ["".join(letters.choices("abcdehilnorstu ", k=4)) for _ in range(300)]:
        said = generate(server, prompt, stream=False, options={"temperature": 0, "num_predict": 60})[1]
        if said["eval_count"] == 60 and len(set(said["response"])) > 10 and "\0" not in said["response"]:
            return prompt
    raise RuntimeError("the model does not fit these tests: it generates no text")


def main():
    global server_model, context, PROMPT
    folder = tempfile.mkdtemp()
    try:
        endless = make_endless(folder)
        with Server() as server:
            server_model = json.loads(ask(server, "GET", "/api/tags")[2])["models"][0]["name"].removesuffix(":latest")
            context = server.wait_log("ready")["context"]
        with Server() as server:
            PROMPT = find_prompt(server)
        with Server() as server:
            for test in (test_log_of_start, test_small_routes, test_streaming, test_sampling, test_stops,
                         test_load_requests, test_names, test_connections, test_crowd, test_bad_bodies,
                         test_large_bodies):
                test(server)
        test_slow_clients(endless)
        test_leaving(endless)
        test_parallel(endless)
        test_term(endless)
        test_early_requests(folder)
        test_refusals_to_start(folder)
        test_addresses()
        test_ways_of_loading()
        test_few_descriptors()
    finally:
        shutil.rmtree(folder)
    print("%(passed)d passed, %(failed)d failed" % tally)
    return tally["failed"] != 0


if __name__ == "__main__":
    sys.exit(main())
