"""Writes the fixtures: small random Llamas as Hugging Face folders, each with the oracle's logits in expected.json.

    python3 make_fixtures.py            rewrites fixtures/ next to this file; same seed, same bytes

expected.json: {"tokens": [...], "first_position": p, "logits": {"keep": [[...], ...], "bf16": ..., "q8": ...}}, one row
for each position from p on.
"""
import json
import os
import struct

import numpy as np

from llama_oracle import QUANTS, Llama, round_to_bf16

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")

# Shapes that no tile divides, every storage type, one file and several, tied and untied, heads grouped and not.
VARIANTS = {
    "f32-awkward": dict(
        dtype="F32", hidden=40, heads=5, kv_heads=1, head_dim=12, inner=52, blocks=2, vocabulary=281, tied=False,
        bias=False, theta=10000.0, eps=1e-3, shards=1, tokens=13, stored=13,
    ),
    "bf16-tied": dict(
        dtype="BF16", hidden=64, heads=4, kv_heads=2, head_dim=16, inner=172, blocks=1, vocabulary=288, tied=True,
        bias=False, theta=500000.0, eps=1e-5, shards=1, tokens=13, stored=13,
    ),
    "f16-sharded": dict(
        dtype="F16", hidden=32, heads=4, kv_heads=2, head_dim=8, inner=72, blocks=2, vocabulary=283, tied=False,
        bias=True, theta=10000.0, eps=1e-4, shards=3, tokens=13, stored=13,
    ),
    "f32-mha": dict(
        dtype="F32", hidden=48, heads=4, kv_heads=4, head_dim=12, inner=100, blocks=3, vocabulary=282, tied=True,
        bias=False, theta=10000.0, eps=1e-6, shards=1, tokens=70, stored=5,
    ),
}


def random_tensors(rng, v):
    """Makes weights with the names of Hugging Face's Llama, float32. As in a trained model, attention scores and logits
    spread by one or two, and a block changes the residual stream by less than the stream is. So the next block does not
    amplify the rounding of the last, and a limit on the error is meaningful.
    """
    tensors = {}

    def matrix(name, rows, cols, gain=1.0):
        tensors[name + ".weight"] = rng.normal(0, gain / np.sqrt(cols), (rows, cols))

    def vector(name, values):
        tensors[name] = values

    q, kv, hidden = v["heads"] * v["head_dim"], v["kv_heads"] * v["head_dim"], v["hidden"]
    matrix("model.embed_tokens", v["vocabulary"], hidden, np.sqrt(hidden))
    for i in range(v["blocks"]):
        block = f"model.layers.{i}"
        vector(f"{block}.input_layernorm.weight", rng.uniform(0.6, 1.4, hidden))
        for name, rows, cols, gain in (
            ("q_proj", q, hidden, 1.1),
            ("k_proj", kv, hidden, 1.1),
            ("v_proj", kv, hidden, 1.0),
            ("o_proj", hidden, q, 0.4),
        ):
            matrix(f"{block}.self_attn.{name}", rows, cols, gain)
            if v["bias"]:
                vector(f"{block}.self_attn.{name}.bias", rng.normal(0, 0.3, rows))
        vector(f"{block}.post_attention_layernorm.weight", rng.uniform(0.6, 1.4, hidden))
        matrix(f"{block}.mlp.gate_proj", v["inner"], hidden, 1.2)
        matrix(f"{block}.mlp.up_proj", v["inner"], hidden)
        matrix(f"{block}.mlp.down_proj", hidden, v["inner"], 0.3)
    vector("model.norm.weight", rng.uniform(0.6, 1.4, hidden) * (2 / np.sqrt(hidden) if v["tied"] else 1))
    if not v["tied"]:
        matrix("lm_head", v["vocabulary"], hidden, 2.0)
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def encode(dtype, values):
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    if dtype == "F16":
        return values.astype("<f2").tobytes()
    return (round_to_bf16(values).view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes()


def write_safetensors(path, tensors, dtype):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        raw = encode(dtype, values)
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def write_json(path, value, **options):
    with open(path, "w") as file:
        json.dump(value, file, **options)
        file.write("\n")


def write_weights(folder, tensors, dtype, shards):
    if shards == 1:
        write_safetensors(os.path.join(folder, "model.safetensors"), tensors, dtype)
        return
    names = list(tensors)
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i * len(names) // shards : (i + 1) * len(names) // shards]
        write_safetensors(os.path.join(folder, file), {name: tensors[name] for name in part}, dtype)
        weight_map.update({name: file for name in part})
    total = sum(len(encode(dtype, values)) for values in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(os.path.join(folder, "model.safetensors.index.json"), index, indent=1)


# Writes SentencePiece's ModelProto by hand [sentencepiece_model.proto]: pieces = 1, trainer_spec = 2, normalizer_spec =
# 3.

def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def blob(field, raw):
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def piece(text, score, kind):
    return blob(1, blob(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, kind))


def sentencepiece_model(vocabulary):
    """<unk> <s> </s>, the 256 bytes, then merges best first, then their letters."""
    merges = ["\u2581t", "he", "\u2581the", "er", "in", "\u2581a", "on", "re"]
    letters = list("\u2581etaonihsrdlucmy\u00e9")
    normal = (merges + letters)[: vocabulary - 259]
    normal += [f"{a}{b}" for a in "sdlmc" for b in "aiou"][: vocabulary - 259 - len(normal)]
    pieces = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3)
    pieces += b"".join(piece(f"<0x{byte:02X}>", 0, 6) for byte in range(256))
    pieces += b"".join(piece(text, -rank, 1) for rank, text in enumerate(normal))
    trainer = number(3, 2) + number(4, vocabulary) + number(35, 1)  # model_type BPE, vocab_size, byte_fallback
    trainer += number(40, 0) + number(41, 1) + number(42, 2)  # unk_id, bos_id, eos_id
    # add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces
    normalizer = blob(1, b"identity") + number(3, 1) + number(4, 0) + number(5, 1)
    return pieces + blob(2, trainer) + blob(3, normalizer)


def write_config(folder, v):
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": v["hidden"],
        "intermediate_size": v["inner"],
        "num_hidden_layers": v["blocks"],
        "num_attention_heads": v["heads"],
        "num_key_value_heads": v["kv_heads"],
        "head_dim": v["head_dim"],
        "vocab_size": v["vocabulary"],
        "max_position_embeddings": 128,
        "rms_norm_eps": v["eps"],
        "rope_theta": v["theta"],
        "hidden_act": "silu",
        "attention_bias": v["bias"],
        "mlp_bias": False,
        "tie_word_embeddings": v["tied"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[v["dtype"]],
    }
    tokenizer = {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "legacy": True,
        "model_max_length": 128,
    }
    generation = {"bos_token_id": 1, "eos_token_id": 2, "do_sample": False}
    write_json(os.path.join(folder, "config.json"), config, indent=1)
    write_json(os.path.join(folder, "tokenizer_config.json"), tokenizer, indent=1)
    write_json(os.path.join(folder, "generation_config.json"), generation, indent=1)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        file.write(sentencepiece_model(v["vocabulary"]))


def rows_as_text(rows):
    return "[" + ",\n".join("[" + ",".join(f"{x:.8g}" for x in row) + "]" for row in rows) + "]"


def write_expected(folder, tokens, first):
    logits = {quant: Llama(folder, quant).logits(tokens)[first:] for quant in QUANTS}
    with open(os.path.join(folder, "expected.json"), "w") as file:
        file.write(f'{{"tokens": {json.dumps(tokens)},\n"first_position": {first},\n"logits": {{\n')
        file.write(",\n".join(f'"{quant}": {rows_as_text(rows)}' for quant, rows in logits.items()))
        file.write("}}\n")


def main():
    for seed, (name, v) in enumerate(VARIANTS.items()):
        rng = np.random.default_rng([2026, seed])
        folder = os.path.join(FIXTURES, name)
        os.makedirs(folder, exist_ok=True)
        write_config(folder, v)
        write_weights(folder, random_tensors(rng, v), v["dtype"], v["shards"])
        # First, last and repeated rows of the table, after BOS.
        tokens = [1, v["vocabulary"] - 1, 0, 5, 5, *rng.integers(3, v["vocabulary"], v["tokens"] - 5).tolist()]
        write_expected(folder, tokens, v["tokens"] - v["stored"])


if __name__ == "__main__":
    main()
