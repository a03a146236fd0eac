"""Compares the oracle itself with other implementations: with `transformers` in float64 (needs torch and transformers,
as nothing else here does) and with a text that a model's own program printed.

    python3 cross_check.py FIXTURE_DIR...
    python3 cross_check.py --greedy MODEL_DIR       MODEL_DIR/expected_greedy.txt: 200 positions from BOS, temperature 0
"""
import json
import os
import struct
import sys

import numpy as np

from llama_oracle import Llama


def in_float64(model):
    """transformers computes angles and norms in float32 whatever the model's type. This keeps its frequencies and does
    the rest in float64, so that the figures agree to the last digit.
    """
    import torch

    frequencies = model.model.rotary_emb.inv_freq.double()

    def rotary(x, position_ids, **_):
        angles = (position_ids[..., None].double() * frequencies).repeat(1, 1, 2)
        return angles.cos(), angles.sin()

    def norm(module):
        return lambda x: module.weight * x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)

    model.model.rotary_emb.forward = rotary
    for module in model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = norm(module)


def cross_check(folder):
    import torch
    from transformers import LlamaForCausalLM

    with open(os.path.join(folder, "expected.json")) as file:
        expected = json.load(file)
    tokens = expected["tokens"]
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="sdpa").eval()
    ours = Llama(folder).logits(tokens)

    def worst():
        with torch.no_grad():
            theirs = model(torch.tensor([tokens])).logits[0].numpy()
        return np.abs(ours - theirs).max() / np.abs(theirs).max()

    plain = worst()
    in_float64(model)
    exact = worst()
    stored = np.abs(ours[expected["first_position"] :] / np.array(expected["logits"]["keep"]) - 1).max()
    name = os.path.basename(os.path.normpath(folder))
    print(f"{name:<14} as it is {plain:.1e}  all in float64 {exact:.1e}  digits in expected.json {stored:.1e}")
    return plain < 1e-6 and exact < 1e-13 and stored < 1e-7


def read_varint(raw, at):
    value = shift = 0
    while True:
        value |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 0x80:
            return value, at


def fields(raw):
    """Yields (field, value) of a protobuf message."""
    at = 0
    while at < len(raw):
        key, at = read_varint(raw, at)
        if key & 7 == 0:
            value, at = read_varint(raw, at)
        elif key & 7 == 2:
            size, at = read_varint(raw, at)
            value, at = raw[at : at + size], at + size
        else:
            value, at = struct.unpack_from("<f", raw, at)[0], at + 4
        yield key >> 3, value


def greedy(folder, positions=200):
    with open(os.path.join(folder, "tokenizer.model"), "rb") as file:
        pieces = [dict(fields(value)) for field, value in fields(file.read()) if field == 1]
    model = Llama(folder)
    tokens, margin = [1], np.inf
    for _ in range(positions):
        last = model.logits(tokens)[-1]
        second, first = np.sort(last)[-2:]
        margin = min(margin, first - second)
        tokens.append(int(last.argmax()))
    text = b""
    for token in tokens[1:]:
        byte = pieces[token].get(3) == 6
        text += bytes([int(pieces[token][1][3:5], 16)]) if byte else pieces[token][1].replace("\u2581".encode(), b" ")
    with open(os.path.join(folder, "expected_greedy.txt"), "rb") as file:
        same = file.read().strip() == text.strip()
    print(f"{positions} positions, {'the same text' if same else 'ANOTHER TEXT'}; the closest call was {margin:.1e}")
    if not same:
        print(text.decode(errors="replace"))
    return same


if __name__ == "__main__":
    if sys.argv[1] == "--greedy":
        good = [greedy(sys.argv[2])]
    else:
        good = [cross_check(folder) for folder in sys.argv[1:]]
    sys.exit(0 if all(good) else 1)
