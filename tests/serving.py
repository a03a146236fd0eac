"""What tests of the server share: a server process, requests, and a model that never stops.

The first two arguments of the command line are the program and the model.
"""

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

HERE = os.path.dirname(os.path.abspath(__file__))
ENDLESS_NAME = "endless-" + "x" * 112  # long, so that its lines are
HOTLAYERD, MODEL = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
tally = {"passed": 0, "failed": 0}


def check(name, condition, detail=""):
    tally["passed" if condition else "failed"] += 1
    print("ok" if condition else "FAIL", name, "" if condition else str(detail)[:600], flush=True)


class Server:
    """A server process; its log is parsed as it comes."""

    def __init__(self, *args, model=MODEL, env=None, files=None):
        self.log, self.other, self.news = [], [], threading.Condition()
        environment = {k: v for k, v in os.environ.items() if k != "PORT" and not k.startswith("OLLAMA_")}
        environment.update(env or {})
        # What AddressSanitizer keeps of freed memory would count as used.
        environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"
        if model and os.path.basename(model) == "endless.hot":
            args = ["--ctx", "65536", "--threads", "1", *args]
        args = [HOTLAYERD, "serve", *(["--model", model] if model else []), *args]
        if not env and "--port" not in args:
            args += ["--port", "0"]

        def limit():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(args, stderr=subprocess.PIPE, env=environment, preexec_fn=limit)
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
        """The last of `count` such lines, or None."""
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
        """The exit status, once it has ended by itself."""
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
            check("  the server ends well", status == 0 and not self.other, (status, self.other))


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


def post(body, version="1.1", extra=""):
    body = json.dumps(body).encode()
    return ("POST /api/generate HTTP/%s\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n" % (version, len(body), extra)
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


# ---- a model that never stops ----


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack("<%df" % len(values), *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def make_endless(folder):
    """All weights are zero but the embeddings, so that every position's state is the same, and the head's row of "a"."""
    width, ffn, vocabulary, letter = 16, 16, 283, 3 + ord("a")
    source = os.path.join(folder, "source")
    os.mkdir(source)
    fixture = os.path.join(HERE, "oracle", "fixtures", "f16-sharded")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(os.path.join(fixture, name), source)
    with open(os.path.join(source, "config.json"), "w") as f:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
                   "intermediate_size": ffn, "num_hidden_layers": 1, "num_attention_heads": 2,
                   "num_key_value_heads": 1, "head_dim": 8, "vocab_size": vocabulary,
                   "max_position_embeddings": 65536, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
                   "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32"}, f)
    head = [0.0] * (vocabulary * width)
    head[letter * width:(letter + 1) * width] = [1.0] * width
    layer = "model.layers.0."
    zeros = {layer + "self_attn.q_proj.weight": [16, width], layer + "self_attn.k_proj.weight": [8, width],
             layer + "self_attn.v_proj.weight": [8, width], layer + "self_attn.o_proj.weight": [width, 16],
             layer + "mlp.gate_proj.weight": [ffn, width], layer + "mlp.up_proj.weight": [ffn, width],
             layer + "mlp.down_proj.weight": [width, ffn]}
    tensors = {name: (shape, [0.0] * (shape[0] * shape[1])) for name, shape in zeros.items()}
    for name in (layer + "input_layernorm.weight", layer + "post_attention_layernorm.weight", "model.norm.weight"):
        tensors[name] = ([width], [1.0] * width)
    tensors["model.embed_tokens.weight"] = ([vocabulary, width], [1.0] * (vocabulary * width))
    tensors["lm_head.weight"] = ([vocabulary, width], head)
    write_safetensors(os.path.join(source, "model.safetensors"), tensors)
    out = os.path.join(folder, "endless.hot")
    packer = os.path.join(os.path.dirname(HOTLAYERD), "hotlayer")
    subprocess.run([packer, "pack", source, "-o", out, "--name", ENDLESS_NAME], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out
