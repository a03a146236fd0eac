"""Compares the numbers in a .gguf's blocks, as the packer reads them, with those of the package gguf, bit by bit.

    python3 blocks.py BLOCK_VALUES

Blocks are random bits, without infinities and NaNs among their scales, and blocks that gguf itself quantizes. The last
line gives the number of compared values.
"""
import subprocess
import sys

import gguf
import numpy as np

BLOCKS = 4000
# type -> the byte offsets of its halves
HALVES = {"F16": (0,), "BF16": (), "Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q4_K": (0, 2),
          "Q5_K": (0, 2), "Q6_K": (208,)}


def ours(program, name, blocks):
    out = subprocess.run((program, name), input=blocks.tobytes(), check=True, capture_output=True).stdout
    return np.frombuffer(out, np.float32)


def main():
    rng, compared = np.random.default_rng(21), 0
    for name, halves in HALVES.items():
        kind = gguf.GGMLQuantizationType[name]
        numbers, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (BLOCKS, size), np.uint8)
        for at in halves:
            blocks[:, at + 1] &= 0xfb  # never all bits of the exponent
        tests = [blocks]
        try:
            tests.append(gguf.quants.quantize(rng.normal(0, 3, (64, numbers)).astype(np.float32), kind).view(np.uint8))
        except NotImplementedError:
            pass
        for raw in tests:
            want = gguf.quants.dequantize(raw.reshape(len(raw), -1), kind).astype(np.float32).reshape(-1)
            got = ours(sys.argv[1], name, raw)
            same = (got.view(np.uint32) == want.view(np.uint32)) | ((got == 0) & (want == 0)) | (np.isnan(got) & np.isnan(want))
            assert got.size == want.size and same.all(), (name, got[~same][:4], want[~same][:4])
            compared += got.size
    print(f"{compared} numbers of {len(HALVES)} types")


main()
