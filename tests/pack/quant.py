"""The default quantization of `hotlayer pack`, and the figures of --quant-report.

    python3 tests/pack/quant.py HOTLAYER

Compares the report with figures of its own. It reads the source's numbers from the safetensors file, and the tiles'
numbers as include/hotlayer/tile.h describes them in words. Needs Python alone; the last line is "N passed, N failed".
"""
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "gguf"))
from make_gguf import decode, read_tensors  # noqa: E402

FIXTURES = os.path.join(ROOT, "tests", "oracle", "fixtures")
PARTS = {"attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attn.out": ("self_attn.o_proj",),
         "ffn.gate_up": ("mlp.gate_proj", "mlp.up_proj"), "ffn.down": ("mlp.down_proj",)}
TILES = {"f32": (8, 512), "f16": (16, 512), "bf16": (16, 512), "q8": (32, 544), "q4": (64, 576), "q6k": (256, 3360)}

passed = failed = 0


def check(name, holds, why=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok' if holds else 'FAIL'} {name}{'' if holds else ': ' + str(why)[:500]}", flush=True)


# ---- tiles, as tile.h describes them ----


def half(tile, at):
    return struct.unpack_from("<e", tile, at)[0]


def nibble(quants, row, col):
    """Returns (number, offset of its byte): lane 4g + j has, for block b, row g + 8h, columns 4j.. low and 16 + 4j..
    high.
    """
    g, h, b, j, k = row % 8, row // 8, col // 32, col % 16 // 4, col % 4
    at = 16 * (4 * g + j) + 4 * (2 * b + h) + k
    return quants[at] >> (4 if col % 32 >= 16 else 0) & 15, at


def quad(row, block):
    return 4 * (row % 8) + 2 * block + row // 8


def pair(row):
    return 2 * (row % 8) + row // 8


def word(row, index):
    return 16 * (4 * (row % 8) + index % 4) + 4 * (2 * (index // 4) + row // 8)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def q6k_value(tile, row, col):
    chunk, inside = col // 64, col % 64
    low, at = nibble(tile[512 * chunk:512 * chunk + 512], row, inside)
    high = tile[2048 + 256 * chunk + at // 16 * 8 + at % 8] >> (0 if at % 16 < 8 else 4)
    high = high >> (0 if inside % 32 < 16 else 2) & 3
    scale = struct.unpack_from("<b", tile, 3072 + 64 * chunk + (0 if inside % 32 < 16 else 32) + quad(row, inside // 32))[0]
    return f32(half(tile, 3328 + 2 * pair(row)) * scale) * (low + 16 * high - 32)


def tile_value(kind, tile, row, col):
    if kind == "q6k":
        return q6k_value(tile, row, col)
    if kind == "q4":
        return half(tile, 512 + 2 * quad(row, col // 32)) * (nibble(tile, row, col)[0] - 8)
    if kind == "q8":
        return half(tile, 512 + 2 * pair(row)) * struct.unpack_from("<b", tile, word(row, col // 4) + col % 4)[0]
    if kind == "f32":
        return struct.unpack_from("<f", tile, word(row, col))[0]
    at = word(row, col // 2) + col % 2 * 2
    return half(tile, at) if kind == "f16" else decode("BF16", tile[at:at + 2])[0]


def source_rows(folder):
    """Returns {name of a matrix in a .hot file: its rows}."""
    tensors, rows = read_tensors(folder), {}
    blocks = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("model.layers."))
    wanted = {f"blocks.{i}.{own}": [f"model.layers.{i}.{name}.weight" for name in names]
              for i in range(blocks) for own, names in PARTS.items()}
    wanted |= {"embed": ["model.embed_tokens.weight"], "head": ["lm_head.weight"]}
    for own, names in wanted.items():
        for kind, shape, raw in (tensors[name] for name in names if name in tensors):
            values = decode(kind, raw)
            rows.setdefault(own, []).extend(values[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0]))
    return rows


def losses(hotlayer, head, folder):
    """Returns {name: (sum of squared errors, sum of squares)} of the packed file."""
    listed = json.loads(subprocess.run((hotlayer, "inspect", "--json", head), capture_output=True, check=True).stdout)
    with open(head + ".001", "rb") as file:
        weights = file.read()
    found, sources = {}, source_rows(folder)
    for tensor in listed["tensors"]:
        if tensor["type"] not in TILES:
            continue
        width, size = TILES[tensor["type"]]
        tiles, error, energy = -(-tensor["cols"] // width), 0.0, 0.0
        for r, numbers in enumerate(sources[tensor["name"]]):
            for c, number in enumerate(numbers):
                at = tensor["offset"] + (r // 16 * tiles + c // width) * size
                value = tile_value(tensor["type"], weights[at:at + size], r % 16, c % width)
                error, energy = error + (number - value) ** 2, energy + number ** 2
        found[tensor["name"]] = error, energy
    return found


# ---- models ----


def write_wide(folder):
    """Writes a model 256 wide, so that its tables become q6k, with rows and columns that no tile divides."""
    rng = random.Random(5)
    shapes = {"model.embed_tokens.weight": [288, 256], "model.norm.weight": [256]}
    for name, shape in {"input_layernorm": [256], "post_attention_layernorm": [256], "self_attn.q_proj": [32, 256],
                        "self_attn.k_proj": [16, 256], "self_attn.v_proj": [16, 256], "self_attn.o_proj": [256, 32],
                        "mlp.gate_proj": [40, 256], "mlp.up_proj": [40, 256], "mlp.down_proj": [256, 40]}.items():
        shapes[f"model.layers.0.{name}.weight"] = shape
    header, data = {}, b""
    for name, shape in shapes.items():
        count = math.prod(shape)
        raw = struct.pack(f"<{count}f", *(rng.gauss(0, 0.1) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    fixture = os.path.join(FIXTURES, "bf16-tied")
    shutil.copy(os.path.join(fixture, "tokenizer.model"), folder)
    with open(os.path.join(fixture, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config |= {"hidden_size": 256, "intermediate_size": 40, "num_attention_heads": 2, "num_key_value_heads": 1}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


# ---- cases ----


def pack(hotlayer, folder, head, *options):
    """(stdout, stderr)"""
    done = subprocess.run((hotlayer, "pack", folder, "-o", head, *options), capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def relative(error, energy):
    return math.sqrt(error / energy) if error else 0.0


def check_report(name, hotlayer, folder, head, options, types):
    """Checks the types and the report's figures, of the default or of the given option."""
    shown = [pack(hotlayer, folder, head, *options, "--json", "--quant-report", "--threads", n)[0] for n in "13"]
    check(f"{name}: the same with 1 and 3 threads", shown[0] == shown[1], shown)
    said = json.loads(shown[0])
    report = said["quant_report"]
    got = {row["name"]: row["type"] for row in report["tensors"]}
    check(f"{name}: types", {key: got.get(key) for key in types} == types, got)
    want = losses(hotlayer, head, folder)
    check(f"{name}: every matrix is in the report", set(want) == set(got), (set(want), set(got)))
    for row in report["tensors"]:
        error = relative(*want[row["name"]])
        check(f"{name}: {row['name']}", abs(row["relative_error"] - error) <= 1e-9 * error, (row, error))
        width, size = TILES[row["type"]]
        bits = 8 * -(-row["rows"] // 16) * -(-row["cols"] // width) * size / (row["rows"] * row["cols"])
        check(f"{name}: {row['name']}: bits", abs(row["bits_per_weight"] - bits) < 1e-9, (row, bits))
    total = relative(*(sum(sums) for sums in zip(*want.values())))
    check(f"{name}: all", abs(report["relative_error"] - total) <= 1e-9 * total, (report["relative_error"], total))
    return said["quantization"]


def check_text(hotlayer, folder, head):
    """The table goes to stderr, without JSON; stdout has the path alone."""
    out, err = pack(hotlayer, folder, head, "--quant", "keep", "--quant-report")
    check("as text: stdout", out == head + "\n", out)
    rows = [line.split() for line in err.splitlines() if re.match(r"(blocks\.|embed|all matrices)", line)]
    check("as text: lossless matrices say 0", len(rows) == 6 and all(row[-1] == "0" for row in rows), err)
    check("as text: the shape", any("256 x 40" in line and " f32 " in line for line in err.splitlines()), err)
    out, err = pack(hotlayer, folder, head)
    check("without it there is no table", "all matrices" not in err and out == head + "\n", err)
    out, _ = pack(hotlayer, folder, head, "--json")
    check("nor in the JSON", "quant_report" not in json.loads(out), out)


def main():
    hotlayer = sys.argv[1]
    with tempfile.TemporaryDirectory() as work:
        head, wide = os.path.join(work, "m.hot"), os.path.join(work, "wide")
        os.mkdir(wide)
        write_wide(wide)
        fixture = os.path.join(FIXTURES, "bf16-tied")
        q4 = {"blocks.0.attn.qkv": "q4", "blocks.0.attn.out": "q4", "blocks.0.ffn.gate_up": "q4", "blocks.0.ffn.down": "q4"}
        said = check_report("default, 256 wide", hotlayer, wide, head, (), {**q4, "embed": "q6k"})
        check("it says q4", said == "q4", said)
        said = check_report("default, 64 wide", hotlayer, fixture, head, (), {**q4, "embed": "q8"})
        check("it says q4", said == "q4", said)
        for quant in "q8", "bf16", "keep":
            kind = "f32" if quant == "keep" else quant
            said = check_report(quant, hotlayer, wide, head, ("--quant", quant), {"embed": kind, "blocks.0.ffn.down": kind})
            check(f"it says {quant}", said == quant, said)
        check_report("keep, bf16", hotlayer, fixture, head, ("--quant", "keep"), {"embed": "bf16"})
        check_text(hotlayer, wide, head)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: quant.py HOTLAYER")
    main()
