"""Holds every family to transformers' figures: `hotlayer pack` and `hotlayerd logits` on families/, see README.md.

    python3 compare_families.py HOTLAYER HOTLAYERD FAMILIES [NAME...]

For each model: packs the folder as transformers wrote it, the folder in the style of older publications, the folder
with the names that some versions of transformers gave the tensors, and the GGUF; compares the logits of all positions,
computed in one step, one by one and seven at a time, with logits.f32. Prints a line per comparison and, last,
"N passed, N failed". Needs Python alone.
"""
import array
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from compare import Failure, errors, run

# Relative, over all positions. Beside float32 and float16 tiles everything is computed in float32: only its rounding
# may show. Beside bfloat16 and int8 tiles the activations are rounded too.
LIMITS = {"F32": 1e-5, "F16": 1e-5, "BF16": 1e-2, "Q8_0": 1e-2}  # by what the matrices are stored as
WORST_POSITION = 2  # times the limit: one position averages less than all
STEPS = ((), ("--batch", "1"), ("--batch", "7"))


def read_json(path):
    with open(path) as file:
        return json.load(file)


def read_logits(path, columns, kept):
    """Rows of little-endian float32; of each the first `kept` columns."""
    values = array.array("f")
    with open(path, "rb") as file:
        values.frombytes(file.read())
    if sys.byteorder == "big":
        values.byteswap()
    return [values[i : i + kept].tolist() for i in range(0, len(values), columns)]


def rename_tensors(path, change):
    """Rewrites the names in a safetensors file; offsets count from the end of the header, so that they stay."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    text = json.dumps({change(name): value for name, value in header.items()}).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def in_memory_name(name):
    """The published "language_model.model.x" as models had it in memory, and were saved, from transformers 4.52 on."""
    if name.startswith("language_model.model."):
        return "model.language_model." + name.removeprefix("language_model.model.")
    return "model." + name if name.startswith(("vision_tower.", "multi_modal_projector.")) else name


def sources(families, name, work):
    """(what, path to pack)"""
    folder = os.path.join(families, name)
    config = os.path.join(folder, "config.json")
    if os.path.exists(config):
        yield "folder", folder
    if os.path.exists(os.path.join(folder, "config.old.json")):
        old = shutil.copytree(folder, os.path.join(work, "old"))
        os.replace(os.path.join(old, "config.old.json"), os.path.join(old, "config.json"))
        yield "old config", old
    if os.path.exists(config) and "text_config" in read_json(config):
        other = shutil.copytree(folder, os.path.join(work, "other"))
        rename_tensors(os.path.join(other, "model.safetensors"), in_memory_name)
        yield "other names", other
    if os.path.exists(folder + ".gguf"):
        yield "gguf", folder + ".gguf"


def check_scale(hotlayer, model, expected):
    """Rounding of the embedding's scale is too small to show in logits beside bfloat16 tiles: it is read instead."""
    program = json.loads(run(hotlayer, "inspect", "--json", model))["program"]
    scales = [float(line.split(" = ")[1].split(" * ")[0]) for line in program if line.startswith("gather")]
    if len(scales) != 1 or abs(scales[0] - expected) > 1e-5 * expected:
        raise Failure(f"the embeddings' scale is {scales}, not {expected}")


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def line(self, label, good, text):
        self.passed += good
        self.failed += not good
        print(f"{label:<40} {'ok  ' if good else 'FAIL'} {text}", flush=True)

    def attempt(self, label, check):
        try:
            self.line(label, *check())
        except Failure as failure:
            self.line(label, False, failure)


def compare(hotlayerd, model, tokens, want, most, steps):
    answer = run(hotlayerd, "logits", "--model", model, "--tokens", ",".join(map(str, tokens)), "--all", *steps)
    overall, worst = errors(json.loads(answer)["logits"], want)
    good = overall <= most and worst <= WORST_POSITION * most
    return good, f"{overall:.2e} worst position {worst:.2e} limit {most:.0e}"


def check_source(hotlayer, hotlayerd, what, path, expected, logits, tally, label):
    gguf = what == "gguf"
    want = read_logits(logits, expected["vocabulary"], expected["gguf_vocabulary" if gguf else "vocabulary"])
    # A folder has no Q8_0: there the same weights are float32.
    most = LIMITS["F32" if expected["stored"] == "Q8_0" and not gguf else expected["stored"]]
    with tempfile.TemporaryDirectory() as work:
        model = os.path.join(work, "x.hot")
        try:
            run(hotlayer, "pack", path, "-o", model, "--quant", "keep")
            if "embedding_scale" in expected and not gguf:
                check_scale(hotlayer, model, expected["embedding_scale"])
        except Failure as failure:
            tally.line(label, False, failure)
            return
        for steps in STEPS if what in ("folder", "gguf") else STEPS[:1]:
            tally.attempt(
                " ".join((label, *steps)), lambda: compare(hotlayerd, model, expected["tokens"], want, most, steps)
            )


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: compare_families.py HOTLAYER HOTLAYERD FAMILIES [NAME...]")
    hotlayer, hotlayerd, families, *names = sys.argv[1:]
    tally = Tally()
    for name in names or sorted(entry.name for entry in os.scandir(families) if entry.is_dir()):
        folder = os.path.join(families, name)
        expected = read_json(os.path.join(folder, "expected.json"))
        with tempfile.TemporaryDirectory() as work:
            for what, path in sources(families, name, work):
                logits = os.path.join(folder, "logits.f32")
                check_source(hotlayer, hotlayerd, what, path, expected, logits, tally, f"{name} {what}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
