#!/usr/bin/env python3
"""Writes a model folder in a real model's shape whose weights are all zero: sparse files, made at once.

    bench/zeros.py llama3.2-1b|llama3.1-8b FOLDER

Speed does not depend on the values, so start-up and tokens per second can be measured with it; what it says is of no interest.
The tokenizer is the demo model's, with fewer tokens than the embedding has rows.
"""
import json
import os
import shutil
import struct
import sys

SHAPES = {  # width, ffn, blocks, heads, key/value heads, head_dim, vocabulary, tied
    "llama3.2-1b": (2048, 8192, 16, 32, 8, 64, 128256, True),
    "llama3.1-8b": (4096, 14336, 32, 32, 8, 128, 128256, False),
}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    width, ffn, blocks, heads, kv_heads, head_dim, vocabulary, tied = SHAPES[sys.argv[1]]
    folder = sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    shapes = {"model.embed_tokens.weight": [vocabulary, width], "model.norm.weight": [width]}
    if not tied:
        shapes["lm_head.weight"] = [vocabulary, width]
    for block in range(blocks):
        prefix = f"model.layers.{block}."
        shapes |= {
            prefix + "input_layernorm.weight": [width],
            prefix + "post_attention_layernorm.weight": [width],
            prefix + "self_attn.q_proj.weight": [heads * head_dim, width],
            prefix + "self_attn.k_proj.weight": [kv_heads * head_dim, width],
            prefix + "self_attn.v_proj.weight": [kv_heads * head_dim, width],
            prefix + "self_attn.o_proj.weight": [width, heads * head_dim],
            prefix + "mlp.gate_proj.weight": [ffn, width],
            prefix + "mlp.up_proj.weight": [ffn, width],
            prefix + "mlp.down_proj.weight": [width, ffn],
        }
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": ffn,
        "num_hidden_layers": blocks, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
        "vocab_size": vocabulary, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "hidden_act": "silu", "tie_word_embeddings": tied, "torch_dtype": "bfloat16",
    }
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    demo = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "demo", "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(demo, name), folder)


main()
