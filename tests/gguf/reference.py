"""Compares our own writer of .gguf files, and the packer's reader, with the Python packages gguf and numpy.

    python3 reference.py HOTLAYER FOLDER...

A file that gguf writes from the same keys and numbers must pack to the same bytes as that of container.py; Q8_0,
bfloat16 and the pairs of rows must equal numpy's. The last line gives the number of comparisons.
"""
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np

from container import TYPES, assemble
from make_gguf import convert, decode, in_pairs, recode


def rows_in_pairs(values, heads):
    """As llama.cpp's converter does it."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def write(path, keys, tensors):
    writer = gguf.GGUFWriter(path, keys["general.architecture"][1])
    for name, (kind, value) in keys.items():
        if name == "general.architecture":
            continue
        if isinstance(kind, tuple):
            writer.add_key_value(name, value, gguf.GGUFValueType.ARRAY, gguf.GGUFValueType(kind[1]))
        else:
            writer.add_key_value(name, bool(value) if kind == 7 else value, gguf.GGUFValueType(kind))
    for name, (kind, dims, raw) in tensors.items():
        number, numbers, size = TYPES[kind]
        data = np.frombuffer(raw, np.uint8).reshape(*dims[:0:-1], dims[0] // numbers * size)
        if kind in ("F32", "F16"):
            data = data.view("<f4" if kind == "F32" else "<f2")
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType(number))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def packed(hotlayer, path, folder):
    head = os.path.join(folder, "m.hot")
    subprocess.run((hotlayer, "pack", path, "-o", head, "--name", "m", "--quant", "keep"), check=True, capture_output=True)
    with open(head, "rb") as file, open(head + ".001", "rb") as weights:
        return file.read(), weights.read()


def check_numbers():
    """Checks the conversions of make_gguf.py, on numbers of all sizes."""
    rng = np.random.default_rng(5)
    values = (rng.normal(0, 1, (24, 64)) * 2.0 ** rng.integers(-12, 12, (24, 1))).astype(np.float32)
    raw, kinds = values.tobytes(), gguf.GGMLQuantizationType
    for kind in "F16", "BF16":
        got = np.frombuffer(recode("F32", raw, kind), np.uint8)
        assert np.array_equal(got, gguf.quants.quantize(values, kinds[kind]).view(np.uint8).reshape(-1)), kind
    blocks = recode("F32", raw, "Q8_0")
    want = gguf.quants.dequantize(np.frombuffer(blocks, np.uint8).reshape(24, -1), kinds.Q8_0)
    assert np.array_equal(np.array(decode("Q8_0", blocks), np.float32).reshape(24, 64), want)
    assert np.abs(want - values).max(axis=1).max() <= np.abs(values).max() / 127
    for heads in 1, 2, 3, 6:
        assert in_pairs(raw, heads, 24) == rows_in_pairs(values, heads).tobytes(), heads
    return values.size


def main():
    hotlayer, *folders = sys.argv[1:]
    count, files = check_numbers(), 0
    for folder in folders:
        for kind in None, "F32", "F16", "BF16", "Q8_0":
            keys, tensors = convert(folder, kind)
            with tempfile.TemporaryDirectory() as work:
                ours, theirs = os.path.join(work, "ours.gguf"), os.path.join(work, "theirs.gguf")
                with open(ours, "wb") as file:
                    file.write(assemble(keys, tensors))
                write(theirs, keys, tensors)
                assert packed(hotlayer, ours, work) == packed(hotlayer, theirs, work), (folder, kind)
                files += 1
    print(f"{files} files pack to the same, {count} numbers are the same")


if __name__ == "__main__":
    main()
