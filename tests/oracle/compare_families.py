"""Compares every family with transformers' figures: `hotlayer pack` and `hotlayerd logits` on families/, see README.md.

    python3 compare_families.py HOTLAYER HOTLAYERD FAMILIES [NAME...]

For each model, packs the folder as transformers wrote it, the folder in the style of older publications, the folder
with the tensors' names of some versions of transformers, the folder with a head apart from the embedding, and the GGUF.
Compares the logits of all positions, computed in one step, one by one and seven at a time, with logits.f32. The GGUF
must encode texts as the folder does. Prints a line per comparison and, last, "N passed, N failed". Needs Python alone.
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

# Relative limits, over all positions. With float32 and float16 tiles everything is computed in float32: only its
# rounding may show. With bfloat16 and int8 tiles the activations are rounded too.
LIMITS = {"F32": 5e-6, "F16": 5e-6, "BF16": 1e-2, "Q8_0": 1e-2}  # by the type of the matrices
WORST_POSITION = 2  # times the limit: one position averages less than all
STEPS = ((), ("--batch", "1"), ("--batch", "7"))
TEXTS = (
    "the rain in another ocean",
    " two  spaces,\ta tab\n\nand 12345 units",
    "<s>[INST] caf\u00e9 <end_of_turn><|im_end|><|eot_id|></s>",
)


def read_json(path):
    with open(path) as file:
        return json.load(file)


def read_logits(path, columns, kept):
    """Reads rows of little-endian float32; returns the first `kept` columns of each."""
    values = array.array("f")
    with open(path, "rb") as file:
        values.frombytes(file.read())
    if sys.byteorder == "big":
        values.byteswap()
    return [values[i : i + kept].tolist() for i in range(0, len(values), columns)]


def edit_tensors(path, edit):
    """Changes a safetensors file's header and data with `edit`."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = edit(json.loads(file.read(length)), file.read())
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def untie(folder):
    """Makes the head a tensor of its own, equal to the embedding."""

    def edit(header, data):
        embedding = header["language_model.model.embed_tokens.weight"]
        begin, end = embedding["data_offsets"]
        place = {"data_offsets": [len(data), len(data) + end - begin]}
        return {**header, "language_model.lm_head.weight": embedding | place}, data + data[begin:end]

    edit_tensors(os.path.join(folder, "model.safetensors"), edit)
    path = os.path.join(folder, "config.json")
    config = read_json(path) | {"tie_word_embeddings": False}
    config["text_config"]["tie_word_embeddings"] = False
    with open(path, "w") as file:
        json.dump(config, file)


def in_memory_name(name):
    """Renames the published "language_model.model.x" as models have it in memory, and in files saved by transformers
    4.52 and later.
    """
    if name.startswith("language_model.model."):
        return "model.language_model." + name.removeprefix("language_model.model.")
    return "model." + name if name.startswith(("vision_tower.", "multi_modal_projector.")) else name


def sources(families, name, work):
    """Yields (what, path to pack)."""
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
        edit_tensors(
            os.path.join(other, "model.safetensors"),
            lambda header, data: ({in_memory_name(name): value for name, value in header.items()}, data),
        )
        yield "other names", other
        untied = shutil.copytree(folder, os.path.join(work, "untied"))
        untie(untied)
        yield "untied", untied
    if os.path.exists(folder + ".gguf"):
        yield "gguf", folder + ".gguf"


class Checks:
    def __init__(self, hotlayer, hotlayerd, families):
        self.hotlayer, self.hotlayerd, self.families = hotlayer, hotlayerd, families
        self.passed = self.failed = 0

    def line(self, label, check, *arguments):
        """Runs a check, which returns the text to print, and raises Failure if something is wrong."""
        try:
            text, good = check(*arguments), True
        except Failure as failure:
            text, good = failure, False
        self.passed += good
        self.failed += not good
        print(f"{label:<40} {'ok  ' if good else 'FAIL'} {text}", flush=True)
        return good

    def pack(self, path, model, scale):
        """Rounding of the embeddings' scale is too small to show in logits with bfloat16 tiles: read the scale."""
        run(self.hotlayer, "pack", path, "-o", model, "--quant", "keep")
        program = json.loads(run(self.hotlayer, "inspect", "--json", model))["program"]
        found = [float(line.split(" = ")[1].split(" * ")[0]) for line in program if line.startswith("gather")]
        if scale and (len(found) != 1 or abs(found[0] - scale) > 1e-5 * scale):
            raise Failure(f"the embeddings' scale is {found}, not {scale}")
        return "packed"

    def logits(self, model, tokens, steps, want, most):
        ids = ",".join(map(str, tokens))
        answer = run(self.hotlayerd, "logits", "--model", model, "--tokens", ids, "--all", *steps)
        overall, worst = errors(json.loads(answer)["logits"], want)
        text = f"{overall:.2e} worst position {worst:.2e} limit {most:.0e}"
        if overall > most or worst > WORST_POSITION * most:
            raise Failure(text)
        return text

    def texts(self, model, texts):
        """Fills the dictionary of texts and their tokens; texts already in it must have the same tokens."""
        for text in TEXTS:
            got = json.loads(run(self.hotlayerd, "tokenize", "--model", model, "--special", text))
            if texts.setdefault(text, got) != got:
                raise Failure(f"{text!r} is {got}, but {texts[text]} in the folder")
        return f"{len(TEXTS)} texts"

    def model(self, name):
        folder = os.path.join(self.families, name)
        expected, texts = read_json(os.path.join(folder, "expected.json")), {}
        with tempfile.TemporaryDirectory() as work:
            model = os.path.join(work, "x.hot")
            for what, path in sources(self.families, name, work):
                gguf = what == "gguf"
                columns = expected["gguf_vocabulary" if gguf else "vocabulary"]
                want = read_logits(os.path.join(folder, "logits.f32"), expected["vocabulary"], columns)
                # A folder has no Q8_0: there the same weights are float32.
                most = LIMITS["F32" if expected["stored"] == "Q8_0" and not gguf else expected["stored"]]
                label = f"{name} {what}"
                if not self.line(label, self.pack, path, model, None if gguf else expected.get("embedding_scale")):
                    continue
                thorough = what in ("folder", "gguf")
                for steps in STEPS if thorough else STEPS[:1]:
                    self.line(" ".join((label, *steps)), self.logits, model, expected["tokens"], steps, want, most)
                if thorough:
                    self.line(label, self.texts, model, texts)


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: compare_families.py HOTLAYER HOTLAYERD FAMILIES [NAME...]")
    hotlayer, hotlayerd, families, *names = sys.argv[1:]
    checks = Checks(hotlayer, hotlayerd, families)
    for name in names or sorted(entry.name for entry in os.scandir(families) if entry.is_dir()):
        checks.model(name)
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
