"""A Llama-type Hugging Face folder as a .gguf, as llama.cpp's converter would write it.

    python3 make_gguf.py FOLDER OUT.gguf [F32 | F16 | BF16 | Q8_0]

Without a type the matrices keep theirs. Rows of q and k are put in pairs, vectors become F32. Needs Python alone.
"""
import json
import os
import struct
import sys

from container import ARRAY, BOOL, F32, I32, STRING, TYPES, U32, assemble

NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4


def read_json(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


# ---- numbers ----


def to_f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def decode(kind, raw):
    if kind == "BF16":
        halves = struct.unpack(f"<{len(raw) // 2}H", raw)
        return struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves)))
    if kind == "Q8_0":
        values = []
        for at in range(0, len(raw), 34):
            scale, *quants = struct.unpack_from("<e32b", raw, at)
            values += (scale * quant for quant in quants)
        return values
    return struct.unpack(f"<{len(raw) // TYPES[kind][2]}{'f' if kind == 'F32' else 'e'}", raw)


def q8_0(values):
    """Quantizes by the rule of `hotlayer pack --quant q8`, in float32: scale = max|x| / 127 as fp16, quants to the
    nearest.
    """
    raw = b""
    for at in range(0, len(values), 32):
        block = values[at : at + 32]
        scale = struct.pack("<e", to_f32(max(map(abs, block)) / 127))
        step = struct.unpack("<e", scale)[0]
        quants = (round(to_f32(x / step)) if step else 0 for x in block)
        raw += scale + struct.pack("<32b", *(max(-127, min(127, quant)) for quant in quants))
    return raw


def recode(kind, raw, wanted):
    if kind == wanted:
        return raw
    values = decode(kind, raw)
    if wanted == "Q8_0":
        return q8_0(values)
    if wanted != "BF16":
        return struct.pack(f"<{len(values)}{'f' if wanted == 'F32' else 'e'}", *values)
    bits = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
    return struct.pack(f"<{len(bits)}H", *((b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits))


def in_pairs(raw, heads, rows):
    """Moves row i of a head's first half to 2i, row i of its second half to 2i + 1."""
    size, half = len(raw) // rows, rows // heads // 2
    order = [head * 2 * half + side * half + i for head in range(heads) for i in range(half) for side in (0, 1)]
    return b"".join(raw[row * size : (row + 1) * size] for row in order)


# ---- tensors ----


def read_tensors(folder):
    """Returns {name: (dtype, shape, data)}."""
    index, tensors = read_json(folder, "model.safetensors.index.json"), {}
    for name in sorted(set(index.get("weight_map", {}).values())) or ["model.safetensors"]:
        with open(os.path.join(folder, name), "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            data = file.read()
        for tensor, row in header.items():
            if tensor != "__metadata__":
                tensors[tensor] = row["dtype"], row["shape"], data[slice(*row["data_offsets"])]
    return tensors


def rename(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, block, stem = stem.split(".", 3)
        return f"blk.{block}.{NAMES[stem]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def convert_tensor(name, dtype, shape, raw, config, wanted):
    kind = wanted or dtype
    if len(shape) == 1 or (kind == "Q8_0" and shape[-1] % 32):
        kind = "F32" if len(shape) == 1 else dtype  # llama.cpp too does not quantize rows that do not fill the blocks
    if ".q_proj." in name:
        raw = in_pairs(raw, config["num_attention_heads"], shape[0])
    if ".k_proj." in name:
        raw = in_pairs(raw, config["num_key_value_heads"], shape[0])
    return kind, shape[::-1], recode(dtype, raw, kind)


# ---- metadata ----


def fields_of_message(raw):
    """Yields the (field number, value) pairs of protocol buffers, one after another."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            value |= (raw[at] & 127) << shift
            shift += 7
            at += 1
            if raw[at - 1] < 128:
                return value

    while at < len(raw):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        else:
            n = number() if tag & 7 == 2 else 4
            yield tag >> 3, raw[at : at + n]
            at += n


def spm_keys(path):
    """SentencePiece's piece types have GGUF's numbers [sentencepiece_model.proto]."""
    with open(path, "rb") as file:
        model = list(fields_of_message(file.read()))
    pieces = [dict(fields_of_message(value)) for field, value in model if field == 1]
    normalizer = [dict(fields_of_message(value)) for field, value in model if field == 3]
    return {
        "tokenizer.ggml.model": (STRING, "llama"),
        "tokenizer.ggml.pre": (STRING, "default"),
        "tokenizer.ggml.tokens": ((ARRAY, STRING), [piece[1] for piece in pieces]),
        "tokenizer.ggml.scores": ((ARRAY, F32), [struct.unpack("<f", piece.get(2, bytes(4)))[0] for piece in pieces]),
        "tokenizer.ggml.token_type": ((ARRAY, I32), [piece.get(3, NORMAL) for piece in pieces]),
        "tokenizer.ggml.add_space_prefix": (BOOL, int(normalizer[0].get(3, 1)) if normalizer else 1),
    }


def bpe_keys(tokenizer):
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    tokens = {index: (token, NORMAL) for token, index in model["vocab"].items()}
    for row in added:
        tokens[row["id"]] = row["content"], CONTROL if row["special"] else USER_DEFINED
    rows = [tokens[i] for i in range(len(tokens))]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    three = r"\p{N}{1,3}" in json.dumps(tokenizer["pre_tokenizer"]).replace("\\\\", "\\")
    return {
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "llama-bpe" if three else "qwen2"),
        "tokenizer.ggml.tokens": ((ARRAY, STRING), [token for token, _ in rows]),
        "tokenizer.ggml.token_type": ((ARRAY, I32), [kind for _, kind in rows]),
        "tokenizer.ggml.merges": ((ARRAY, STRING), merges),
    }


def tokenizer_keys(folder, config):
    settings = read_json(folder, "tokenizer_config.json")
    spm = os.path.join(folder, "tokenizer.model")
    keys = spm_keys(spm) if os.path.exists(spm) else bpe_keys(read_json(folder, "tokenizer.json"))
    for key, field in (("bos", "bos_token_id"), ("eos", "eos_token_id")):
        keys[f"tokenizer.ggml.{key}_token_id"] = U32, config[field]
    keys["tokenizer.ggml.add_bos_token"] = BOOL, int(settings.get("add_bos_token", True))
    keys["tokenizer.ggml.add_eos_token"] = BOOL, int(settings.get("add_eos_token", False))
    if settings.get("chat_template"):
        keys["tokenizer.chat_template"] = STRING, settings["chat_template"]
    return keys


def convert(folder, wanted=None):
    """Returns (keys, tensors) for container.py."""
    config = read_json(folder, "config.json")
    assert config["architectures"] == ["LlamaForCausalLM"], folder
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    keys = {
        "general.architecture": (STRING, "llama"),
        "general.type": (STRING, "model"),
        "general.name": (STRING, os.path.basename(os.path.normpath(folder))),
        "general.license": (STRING, "apache-2.0"),
        "general.file_type": (U32, 0),
        "general.quantization_version": (U32, 2),
        "llama.block_count": (U32, config["num_hidden_layers"]),
        "llama.context_length": (U32, config["max_position_embeddings"]),
        "llama.embedding_length": (U32, config["hidden_size"]),
        "llama.feed_forward_length": (U32, config["intermediate_size"]),
        "llama.attention.head_count": (U32, config["num_attention_heads"]),
        "llama.attention.head_count_kv": (U32, config["num_key_value_heads"]),
        "llama.attention.layer_norm_rms_epsilon": (F32, config["rms_norm_eps"]),
        "llama.attention.key_length": (U32, head_dim),
        "llama.attention.value_length": (U32, head_dim),
        "llama.rope.dimension_count": (U32, head_dim),
        "llama.rope.freq_base": (F32, config["rope_theta"]),
        "llama.vocab_size": (U32, config["vocab_size"]),
    }
    keys.update(tokenizer_keys(folder, config))
    tensors = {}
    for name, (dtype, shape, raw) in read_tensors(folder).items():
        tensors[rename(name)] = convert_tensor(name, dtype, shape, raw, config, wanted)
    return keys, tensors


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    with open(sys.argv[2], "wb") as file:
        file.write(assemble(*convert(sys.argv[1], *sys.argv[3:])))


if __name__ == "__main__":
    main()
