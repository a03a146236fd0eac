"""A server process, requests, and models with chosen answers, for tests of the server.

The first two arguments of the command line are the program and the model.
"""

import array
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENDLESS_NAME = "endless-" + "x" * 112  # long, so that its lines are long
HOTLAYERD, MODEL = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
tally = {"passed": 0, "failed": 0}


def check(name, condition, detail=""):
    tally["passed" if condition else "failed"] += 1
    print("ok" if condition else "FAIL", name, "" if condition else str(detail)[:600], flush=True)


class Process:
    """A program that logs a JSON object per line on stderr; parses its log as it arrives."""

    def __init__(self, args, **more):
        self.log, self.other, self.news = [], [], threading.Condition()
        self.process = subprocess.Popen(args, stderr=subprocess.PIPE, **more)
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()

    def read_log(self):
        for line in self.process.stderr:
            with self.news:
                try:
                    self.log.append(json.loads(line))
                except ValueError:
                    self.other.append(line.decode(errors="replace"))
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def lines(self, message, **fields):
        return [l for l in self.log if l["message"] == message and all(l.get(k) == v for k, v in fields.items())]

    def wait_log(self, message, count=1, seconds=30, **fields):
        """Returns the last of `count` such lines, or None."""
        with self.news:
            self.news.wait_for(
                lambda: len(self.lines(message, **fields)) >= count or not self.reader.is_alive(), seconds)
            found = self.lines(message, **fields)
        return found[-1] if len(found) >= count else None

    @property
    def port(self):
        line = self.wait_log("listening")
        if not line:
            raise RuntimeError("no server: %s %s" % (self.log, self.other))
        return line["port"]

    def end(self, seconds=30):
        """Waits until the process ends by itself; returns its exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait() or "killed"
        self.reader.join(5)
        return status

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def __enter__(self):
        self.port
        return self

    def __exit__(self, kind, *_):
        status = self.stop() if self.process.poll() is None else self.process.returncode
        if not kind:
            check("  the server ends with status 0", status == 0 and not self.other, (status, self.other))


class Server(Process):
    """hotlayerd serve. `early` is a signal that is pending when it starts."""

    def __init__(self, *args, model=MODEL, env=None, files=None, early=None):
        environment = {k: v for k, v in os.environ.items() if k != "PORT" and not k.startswith("OLLAMA_")}
        environment.update(env or {})
        # AddressSanitizer's quarantine of freed memory would count as used.
        environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"
        if model and os.path.basename(model) == "endless.hot":
            args = ["--ctx", "65536", "--threads", "1", *args]
        args = [HOTLAYERD, "serve", *(["--model", model] if model else []), *args]
        if not env and "--port" not in args:
            args += ["--port", "0"]

        def prepare():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            if early:  # a signal pending for the program, as exec() leaves it
                signal.pthread_sigmask(signal.SIG_BLOCK, [early])
                os.kill(os.getpid(), early)

        super().__init__(args, env=environment, preexec_fn=prepare)


def ask(server, method, path, body=None, headers=None, connection=None):
    c = connection or http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    c.request(method, path, body, headers or {})
    r = c.getresponse()
    data = r.read()
    if not connection:
        c.close()
    return r.status, r.headers, data


def connect(server, receive=None, mss=None):
    s = socket.socket()
    if receive:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    if mss:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    s.settimeout(30)
    s.connect(("127.0.0.1", server.port))
    return s


def post(body, path="/api/generate", version="1.1", extra=""):
    body = json.dumps(body).encode()
    return ("POST %s HTTP/%s\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n" % (path, version, len(body), extra)
            ).encode() + body


def read_all(s):
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return data
            data += piece
    except OSError:
        return data


# ---- models with chosen answers ----


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def write_speaker(folder, says, vocabulary, **config):
    """Writes a model that says the tokens `says`, at most 16, in turn and again from the beginning, whatever it reads.
    All weights are zero but the embeddings and the head, so a position's state depends on its token alone. The state is
    a row of a Hadamard matrix, and only the next token's row of the head is parallel to it.
    """
    width = 16
    rows = [array.array("f", [-1.0 if (i & j).bit_count() % 2 else 1.0 for j in range(width)]) for i in range(len(says))]
    embedding, head = rows[0] * vocabulary, array.array("f", bytes(4 * width * vocabulary))
    for i, token in enumerate(says):
        embedding[token * width:(token + 1) * width] = rows[(i + 1) % len(says)]
        head[token * width:(token + 1) * width] = rows[i]
    layer = "model.layers.0."
    zeros = {layer + "self_attn.q_proj.weight": [16, width], layer + "self_attn.k_proj.weight": [8, width],
             layer + "self_attn.v_proj.weight": [8, width], layer + "self_attn.o_proj.weight": [width, 16],
             layer + "mlp.gate_proj.weight": [16, width], layer + "mlp.up_proj.weight": [16, width],
             layer + "mlp.down_proj.weight": [width, 16]}
    tensors = {name: (shape, [0.0] * (shape[0] * shape[1])) for name, shape in zeros.items()}
    for name in (layer + "input_layernorm.weight", layer + "post_attention_layernorm.weight", "model.norm.weight"):
        tensors[name] = ([width], [1.0] * width)
    tensors["model.embed_tokens.weight"] = ([vocabulary, width], embedding)
    tensors["lm_head.weight"] = ([vocabulary, width], head)
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
                   "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
                   "head_dim": 8, "vocab_size": vocabulary, "max_position_embeddings": 65536, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1,
                   "eos_token_id": 2, "torch_dtype": "float32", **config}, f)


def pack(source, out, *more):
    packer = os.path.join(os.path.dirname(HOTLAYERD), "hotlayer")
    done = subprocess.run([packer, "pack", source, "-o", out, "--quant", "keep", *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return out


BYTE = 3  # in the tokenizer of write_bytes_speaker(): the token of byte 0; <unk>, <s> and </s> come first
BYTES_VOCABULARY = 283


def write_bytes_speaker(folder, says, **config):
    """Writes a speaker with a tokenizer of bytes and a few more pieces."""
    fixture = os.path.join(TESTS, "oracle", "fixtures", "f16-sharded")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(os.path.join(fixture, name), folder)
    write_speaker(folder, says, BYTES_VOCABULARY, **config)


def make_endless(folder):
    source = os.path.join(folder, "source")
    os.mkdir(source)
    write_bytes_speaker(source, [BYTE + ord("a")])
    return pack(source, os.path.join(folder, "endless.hot"), "--name", ENDLESS_NAME)
