"""Logits of a Hugging Face Llama folder, computed the slow and obvious way: the reference for the tests of packer and
runtime. Shares no code with them, and needs numpy alone.

    python3 llama_oracle.py FOLDER 1,2,3 [keep|bf16|q8]        one JSON line: {"logits":[[...],...]}

Weights are read exactly, then optionally rounded as the packer would round them; from there on everything is float64.

    keep   as the file says
    bf16   every matrix rounded to bfloat16, to nearest, ties to even
    q8     every matrix quantized: per row and 32 columns, d = float16(max|x| / 127), q = clip(rint(x / d), -127, 127)
           and 0 where d is 0; the value is d * q

Vectors (norm weights, biases) stay as they are in all three.
"""
import json
import os
import sys

import numpy as np

QUANTS = ("keep", "bf16", "q8")


def round_to_bf16(x):
    """Rounds to bfloat16, to nearest, ties to even; returns float32. Finite values only."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def round_to_q8(x):
    rows, cols = x.shape
    blocks = -(-cols // 32)
    padded = np.zeros((rows, blocks * 32), np.float32)
    padded[:, :cols] = x
    padded = padded.reshape(rows, blocks, 32)
    d = (np.abs(padded).max(axis=2, keepdims=True) / np.float32(127)).astype(np.float16).astype(np.float32)
    q = np.rint(np.divide(padded, d, out=np.zeros_like(padded), where=d != 0))
    return (np.clip(q, -127, 127) * d).reshape(rows, -1)[:, :cols]


def decode(dtype, raw, shape):
    """Returns a safetensors tensor as float32, without loss."""
    if dtype == "F32":
        values = np.frombuffer(raw, "<f4")
    elif dtype == "F16":
        values = np.frombuffer(raw, "<f2").astype(np.float32)
    elif dtype == "BF16":
        values = (np.frombuffer(raw, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        raise ValueError(f"dtype {dtype} is not F32, F16 or BF16")
    return values.reshape(shape)


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: decode(row["dtype"], data[slice(*row["data_offsets"])], row["shape"]) for name, row in header.items()}


def read_tensors(folder):
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read_safetensors(os.path.join(folder, "model.safetensors"))
    with open(index) as file:
        weight_map = json.load(file)["weight_map"]
    shards = {name: read_safetensors(os.path.join(folder, name)) for name in sorted(set(weight_map.values()))}
    return {name: shards[shard][name] for name, shard in weight_map.items()}


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Llama:
    def __init__(self, folder, quant="keep"):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = config = json.load(file)
        if config["model_type"] != "llama" or config.get("rope_scaling") or config["hidden_act"] != "silu":
            raise ValueError(f"{folder}: not a plain Llama")
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads", self.heads)
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        rounding = {"keep": lambda w: w, "bf16": round_to_bf16, "q8": round_to_q8}[quant]
        self.tensors = {
            name: (rounding(value) if value.ndim == 2 else value).astype(np.float64)
            for name, value in read_tensors(folder).items()
        }

    def linear(self, x, name):
        """x (n, in) -> (n, out)"""
        y = x @ self.tensors[name + ".weight"].T
        return y + self.tensors[name + ".bias"] if name + ".bias" in self.tensors else y

    def norm(self, x, name):
        return rms_norm(x, self.tensors[name + ".weight"], self.config["rms_norm_eps"])

    def angles(self, n):
        """Returns (n, head_dim / 2) angles. Exponent, power and quotient are each rounded to float32, as in training;
        the angles are exact.
        """
        exponents = np.arange(0, self.head_dim, 2).astype(np.float32) / np.float32(self.head_dim)
        powers = (self.config["rope_theta"] ** exponents.astype(np.float64)).astype(np.float32)
        frequencies = np.float32(1) / powers
        return np.arange(n)[:, None] * frequencies.astype(np.float64)

    @staticmethod
    def rope(x, angles):
        """x (heads, n, head_dim): column i turns with column i + head_dim / 2."""
        a, b = np.split(x, 2, axis=-1)
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def attention(self, x, block):
        n = len(x)

        def project(name, heads):
            return self.linear(x, f"{block}.self_attn.{name}").reshape(n, heads, self.head_dim).transpose(1, 0, 2)

        angles = self.angles(n)
        q = self.rope(project("q_proj", self.heads), angles)
        k = self.rope(project("k_proj", self.kv_heads), angles)
        v = project("v_proj", self.kv_heads)
        group = self.heads // self.kv_heads
        scores = q @ np.repeat(k, group, axis=0).transpose(0, 2, 1) / np.sqrt(self.head_dim)
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        mixed = softmax(scores) @ np.repeat(v, group, axis=0)
        return self.linear(mixed.transpose(1, 0, 2).reshape(n, -1), f"{block}.self_attn.o_proj")

    def feed_forward(self, x, block):
        gate = self.linear(x, f"{block}.mlp.gate_proj")
        up = self.linear(x, f"{block}.mlp.up_proj")
        return self.linear(gate / (1 + np.exp(-gate)) * up, f"{block}.mlp.down_proj")

    def logits(self, tokens):
        """(len(tokens), vocabulary), float64"""
        x = self.tensors["model.embed_tokens.weight"][tokens]
        for i in range(self.config["num_hidden_layers"]):
            block = f"model.layers.{i}"
            x = x + self.attention(self.norm(x, f"{block}.input_layernorm"), block)
            x = x + self.feed_forward(self.norm(x, f"{block}.post_attention_layernorm"), block)
        tied = self.config.get("tie_word_embeddings", False)
        return self.linear(self.norm(x, "model.norm"), "model.embed_tokens" if tied else "lm_head")


if __name__ == "__main__":
    oracle = Llama(sys.argv[1], *sys.argv[3:4])
    print(json.dumps({"logits": oracle.logits([int(t) for t in sys.argv[2].split(",")]).tolist()}))
