#!/usr/bin/env python3
"""Writes a folder of `hotlayer synth` as a BF16 .gguf, as llama.cpp's converter does.

    python3 bench/peers/write_gguf.py FOLDER OUT.gguf

For Llama- and Gemma-3-like folders in BF16. Keeps one tensor at a time in memory. Needs the packages gguf and numpy.
"""
import functools
import json
import os
import sys
import types

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../tests", folder) for folder in ("gguf", "oracle")]
import family_gguf
import make_gguf


def read_config(folder):
    """Returns the config with the names that family_gguf.py takes, those of newer transformers."""
    config = make_gguf.read_json(folder, "config.json")
    rope = {"rope_type": "default", **(config.get("rope_scaling") or {}), "rope_theta": config["rope_theta"]}
    if config["model_type"] == "gemma3_text":
        rope = {"full_attention": rope, "sliding_attention": {"rope_theta": config["rope_local_base_freq"]}}
    config["rope_parameters"] = rope
    if isinstance(config["eos_token_id"], list):
        config["eos_token_id"] = config["eos_token_id"][0]
    return types.SimpleNamespace(**config)


def open_tensors(folder):
    """Returns {name: (path, offset, shape)}."""
    index, tensors = make_gguf.read_json(folder, "model.safetensors.index.json"), {}
    for name in sorted(set(index.get("weight_map", {}).values())) or ["model.safetensors"]:
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        for tensor, row in header.items():
            if tensor != "__metadata__":
                assert row["dtype"] == "BF16", tensor
                tensors[tensor] = path, 8 + size + row["data_offsets"][0], tuple(row["shape"])
    return tensors


def plan(folder, config, rows):
    """Yields (name in the GGUF, shape, function that makes the values) of every tensor, in the file's order."""
    arch = family_gguf.ARCHITECTURES[config.model_type]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    if config.rope_parameters.get("rope_type") == "llama3":
        yield "rope_freqs.weight", (config.head_dim // 2,), lambda: family_gguf.rope_divisors(config)
    for name, (path, offset, shape) in open_tensors(folder).items():
        if name.endswith("embed_tokens.weight"):
            shape = (rows, *shape[1:])
        yield (names.get_name(name, try_suffixes=(".weight",)), shape,
               functools.partial(convert, name, np.memmap(path, np.uint16, "r", offset, shape), config))


def convert(name, values, config):
    """Matrices stay BF16; vectors become F32, and Gemma's include the 1 that its norms add."""
    if values.ndim == 1:
        values = (values.astype(np.uint32) << 16).view(np.float32)
        return values + np.float32(1) if config.model_type == "gemma3_text" else values
    if config.model_type == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        return family_gguf.interleave(values, heads)
    return values


def add_tokenizer(writer, folder, config):
    """Returns the number of tokens."""
    keys = make_gguf.tokenizer_keys(folder, vars(config))
    for name, (kind, value) in keys.items():
        if isinstance(kind, tuple):
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, gguf.GGUFValueType(kind))
    kinds = keys["tokenizer.ggml.token_type"][1]
    if make_gguf.UNKNOWN in kinds:
        writer.add_unk_token_id(kinds.index(make_gguf.UNKNOWN))
    return len(kinds)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, path = sys.argv[1:]
    config = read_config(folder)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[family_gguf.ARCHITECTURES[config.model_type]])
    family_gguf.add_fields(writer, config, {"name": os.path.basename(os.path.normpath(folder)), "stored": "BF16"})
    tensors = list(plan(folder, config, add_tokenizer(writer, folder, config)))
    for name, shape, _ in tensors:
        if len(shape) == 1:
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * shape[0], gguf.GGMLQuantizationType.F32)
        else:
            writer.add_tensor_info(name, (shape[0], 2 * shape[1]), np.dtype(np.uint8), 2 * shape[0] * shape[1],
                                   gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, _, make in tensors:
        writer.write_tensor_data(np.ascontiguousarray(make()))
    writer.close()


main()
