"""Writes models for tests/golden/run.sh, the same bytes on every machine: a .gguf of every type of blocks, and a model
around every tokenizer of tests/tokenizer.

    python3 make_models.py OUTDIR

Needs Python alone.
"""
import json
import os
import random
import shutil
import struct
import sys

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TESTS, "gguf"))
from container import TYPES, assemble, parse, size_of  # noqa: E402
from make_tiny import keys, shapes  # noqa: E402

# For each type, the parts of a block that may have any bits, and the number of fp16 scales before them; Q6_K's scale
# comes last.
SCALES = {"Q4_0": 1, "Q4_1": 2, "Q5_0": 1, "Q5_1": 2, "Q8_0": 1, "Q4_K": 2, "Q5_K": 2, "Q6_K": 1}


def block(kind, numbers):
    size = TYPES[kind][2]
    if kind in ("F32", "F16", "BF16"):
        value = numbers.uniform(-1, 1)
        form = {"F32": "<f", "F16": "<e"}.get(kind)
        return struct.pack(form, value) if form else struct.pack("<f", value)[2:]
    scales = struct.pack(f"<{SCALES[kind]}e", *(numbers.uniform(0.001, 0.1) for _ in range(SCALES[kind])))
    rest = numbers.randbytes(size - len(scales))
    return rest + scales if kind == "Q6_K" else scales + rest


def around_gguf(path, width, data):
    """Writes the tokenizer of a .gguf without tensors, with a Llama of one block around it. Calls `data` for each
    tensor.
    """
    with open(path, "rb") as file:
        tokenizer, _ = parse(file.read())
    rows = len(tokenizer["tokenizer.ggml.tokens"][1])
    fields = {name: value for name, value in keys("llama", width).items() if not name.startswith("tokenizer.")}
    fields.pop("llama.vocab_size")
    fields.update((name, value) for name, value in tokenizer.items() if name.startswith("tokenizer."))
    tensors = {}
    for name, dims in shapes("llama", width).items():
        dims = [dims[0], rows] if name in ("token_embd.weight", "output.weight") else dims
        kind, raw = data(dims) if len(dims) == 2 else ("F32", struct.pack("<f", 1) * dims[0])
        tensors[name] = kind, dims, raw
    return assemble(fields, tensors, alignment=8)


def zeros(dims):
    return "F32", bytes(size_of("F32", dims))


def blocks_of(kind):
    numbers = random.Random(kind)
    return lambda dims: (kind, b"".join(block(kind, numbers) for _ in range(size_of(kind, dims) // TYPES[kind][2])))


def size_of_vocabulary(folder):
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.exists(path):
        return 4096  # more rows than tokens are allowed
    with open(path, encoding="utf-8") as file:
        tokenizer = json.load(file)
    ids = [*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])]
    return max(ids) + 1


def around_files(folder, out):
    """Copies a tokenizer's files, with a Llama of zeros around them."""
    os.makedirs(out)
    for name in "tokenizer.json", "tokenizer.model", "tokenizer_config.json":
        if os.path.exists(os.path.join(folder, name)):
            shutil.copy(os.path.join(folder, name), out)
    rows = size_of_vocabulary(folder)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2, "vocab_size": rows,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
    }
    with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    block = "model.layers.0."
    matrices = {
        "model.embed_tokens": [rows, 4], "model.norm": [4], block + "input_layernorm": [4],
        block + "post_attention_layernorm": [4], block + "self_attn.q_proj": [4, 4], block + "self_attn.k_proj": [2, 4],
        block + "self_attn.v_proj": [2, 4], block + "self_attn.o_proj": [4, 4], block + "mlp.gate_proj": [4, 4],
        block + "mlp.up_proj": [4, 4], block + "mlp.down_proj": [4, 4],
    }
    header, at = {}, 0
    for name, shape in matrices.items():
        size = 4 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name + ".weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(os.path.join(out, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + bytes(at))


def main():
    out = sys.argv[1]
    tokenizers = os.path.join(TESTS, "tokenizer")
    os.makedirs(out, exist_ok=True)
    for kind in ("F32", "F16", "BF16", *SCALES):
        with open(os.path.join(out, f"type-{kind}.gguf"), "wb") as file:
            file.write(around_gguf(os.path.join(tokenizers, "qwen2", "tokenizer.gguf"), 256, blocks_of(kind)))
    for name in sorted(os.listdir(tokenizers)):
        folder = os.path.join(tokenizers, name)
        if os.path.exists(os.path.join(folder, "tokenizer.gguf")):
            with open(os.path.join(out, f"tokenizer-{name}.gguf"), "wb") as file:
                file.write(around_gguf(os.path.join(folder, "tokenizer.gguf"), 4, zeros))
        elif os.path.exists(os.path.join(folder, "cases.tsv")):
            around_files(folder, os.path.join(out, f"tokenizer-{name}"))


if __name__ == "__main__":
    main()
