"""A .gguf packs to the same bytes as the folder of the same weights, however it was written.

    python3 check.py HOTLAYER HOTLAYERD

Compares weights and program of packed folders, of .gguf files that make_gguf.py makes of them, and of variants of
these. The last line is "N passed, N failed". tests/oracle checks that the results are right. Needs Python alone.
"""
import glob
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from container import ARRAY, BOOL, F32, STRING, U16, U32, assemble, parse
from make_gguf import convert, recode

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEMO = os.path.join(ROOT, "examples", "demo", "model")
FIXTURES = sorted(glob.glob(os.path.join(ROOT, "tests", "oracle", "fixtures", "*")))
FAMILIES = os.path.join(ROOT, "tests", "oracle", "families")
SECTION_META, SECTION_PROGRAM = 0, 1

passed = failed = 0


def check(name, holds, why=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok' if holds else 'FAIL'} {name}{'' if holds else ': ' + str(why)}", flush=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[1]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


class Packed:
    """The output of `hotlayer pack` for a folder, or for {file name: bytes}, whose first name is the argument. Packs
    without loss unless the options differ; "--quant", None is the default.
    """

    def __init__(self, source, *options, keep=None):
        with tempfile.TemporaryDirectory() as work:
            if isinstance(source, dict):
                for name, raw in source.items():
                    with open(os.path.join(work, name), "wb") as file:
                        file.write(raw)
                source = os.path.join(work, next(iter(source)))
            head = os.path.join(keep or work, "m.hot")
            options = options or ("--quant", "keep")
            run(HOTLAYER, "pack", source, "-o", head, *(options if options[1] else ()))
            raw = read(head)
            self.program = self.section(raw, SECTION_PROGRAM)
            self.meta = json.loads(self.section(raw, SECTION_META))
            self.weights = b"".join(map(read, sorted(glob.glob(head + ".*"))))

    @staticmethod
    def section(raw, index):
        offset, size = struct.unpack_from("<QQ", raw, 40 + 24 * index)  # include/hotlayer/layout.h
        return raw[offset : offset + size]

    def differs(self, other):
        return " and ".join(what for what in ("program", "weights") if getattr(self, what) != getattr(other, what))


def same(name, one, other):
    """Checks that two sources, as arguments of Packed, give the same output."""
    try:
        difference = Packed(*one).differs(Packed(*other))
        check(name, not difference, difference)
    except RuntimeError as error:
        check(name, False, error)


def gguf(keys, tensors, **more):
    return {"m.gguf": assemble(keys, tensors, **more)}


def family(name):
    return parse(read(os.path.join(FAMILIES, name + ".gguf")))


def in_parts(keys, tensors, n):
    """Splits like llama.cpp's gguf-split: the metadata are in the first part."""
    files, rows = {}, list(tensors.items())
    for i in range(n):
        own = {"split.no": (U16, i), "split.count": (U16, n), "split.tensors.count": (U32, len(rows))}
        part = dict(rows[i * len(rows) // n : (i + 1) * len(rows) // n])
        files[f"m-{i + 1:05}-of-{n:05}.gguf"] = assemble({**keys, **own} if i == 0 else own, part)
    return files


def check_folders():
    for folder in [*FIXTURES, DEMO]:
        name = os.path.basename(folder)
        same(f"{name}: unchanged", (folder,), (gguf(*convert(folder)),))
        same(f"{name}: Q8_0 is what --quant q8 makes", (folder, "--quant", "q8"),
             (gguf(*convert(folder, "Q8_0")), "--quant", "q8"))


def check_containers():
    keys, tensors = convert(DEMO)
    plain = (gguf(keys, tensors),)
    same("version 2", plain, (gguf(keys, tensors, version=2),))
    same("alignment 4096", plain,
         (gguf({**keys, "general.alignment": (U32, 4096)}, tensors, alignment=4096),))
    same("alignment 1", plain, (gguf({**keys, "general.alignment": (U32, 1)}, tensors, alignment=1),))
    same("three parts", plain, (in_parts(keys, tensors, 3),))
    name = Packed(in_parts(keys, tensors, 3)).meta["name"]
    check("three parts: the name is the part before the numbers", name == "m", name)
    flat = {name: (kind, [*dims, 1, 1] if len(dims) == 2 else dims, raw) for name, (kind, dims, raw) in tensors.items()}
    same("matrices with trailing dimensions of 1", plain, (gguf(keys, flat),))
    same("tensors in another order", plain, (gguf(keys, dict(reversed(tensors.items()))),))


def check_types():
    """Matrices that are one in the program, and have different types in the file, become operations of their own, each
    exact.
    """
    keys, tensors = convert(DEMO, "F32")
    mixed, plain = dict(tensors), dict(tensors)
    for name, (_, dims, raw) in tensors.items():
        kind = "Q8_0" if "attn_q" in name or "ffn_up" in name else "F16" if "attn_k" in name else None
        if kind and ".weight" in name:
            values = recode("F32", raw, kind)
            mixed[name] = kind, dims, values
            plain[name] = "F32", dims, recode(kind, values, "F32")
    with tempfile.TemporaryDirectory() as work:
        logits = []
        for source in mixed, plain:
            Packed(gguf(keys, source), keep=work)
            model = os.path.join(work, "m.hot")
            types = {t["name"]: t["type"] for t in json.loads(run(HOTLAYER, "inspect", "--json", model))["tensors"]}
            logits.append(json.loads(run(HOTLAYERD, "logits", "--model", model, "--tokens", "1,280,5,261"))["logits"])
            if source is mixed:
                names = [types.get("blocks.0." + name) for name in ("attn.qkv.0", "attn.qkv.1", "attn.qkv.2", "attn.qkv",
                                                                    "ffn.gate_up.0", "ffn.gate_up.1")]
                check("parts of different types keep them", names == ["q8", "f16", "f32", None, "f32", "q8"], names)
        scale = max(map(abs, logits[1]))
        error = max(abs(a - b) for a, b in zip(*logits)) / scale
        check("and the logits are those of the same numbers", 0 < error < 2e-2, error)
    blocks = (gguf(*family("mistral-full-q8")),)
    same("--quant keep keeps Q8_0", blocks, (*blocks, "--quant", "q8"))
    check_default(mixed, blocks[0])


def check_default(mixed, blocks):
    """Without --quant numbers become q4, and blocks stay; the meta section shows which."""
    same("the default keeps Q8_0", (blocks, "--quant", None), (blocks, "--quant", "keep"))
    said = Packed(blocks, "--quant", None).meta["quantization"]
    check("the meta section says so", said == "keep", said)
    plain = gguf(*convert(DEMO))
    same("the default makes q4 of numbers", (plain, "--quant", None), (plain, "--quant", "q4"))
    said = Packed(plain, "--quant", None).meta["quantization"]
    check("the meta section says so", said == "q4", said)
    with tempfile.TemporaryDirectory() as work:
        keys, _ = convert(DEMO, "F32")
        packed = Packed(gguf(keys, mixed), "--quant", None, keep=work)
        listed = json.loads(run(HOTLAYER, "inspect", "--json", os.path.join(work, "m.hot")))["tensors"]
        types = {t["name"]: t["type"] for t in listed}
        names = [types.get(name) for name in ("blocks.0.attn.qkv.0", "blocks.0.attn.qkv.1", "blocks.0.ffn.gate_up.0",
                                              "blocks.0.ffn.gate_up.1", "blocks.0.ffn.down", "embed")]
        check("the default, of both", names == ["q8", "q4", "q4", "q8", "q4", "q8"], names)
        check("the meta section says so", packed.meta["quantization"] == "keep+q4", packed.meta["quantization"])


def check_logits():
    with tempfile.TemporaryDirectory() as work:
        for folder in FIXTURES:
            answers = []
            for source in folder, gguf(*convert(folder)):
                Packed(source, keep=work)
                answers.append(run(HOTLAYERD, "logits", "--model", os.path.join(work, "m.hot"), "--tokens",
                                   "1,280,0,5,261,17", "--all"))
            check(f"{os.path.basename(folder)}: logits", answers[0] == answers[1] and len(answers[0]) > 1000)


def check_text():
    answers, metas = [], []
    with tempfile.TemporaryDirectory() as work:
        for source in DEMO, {"demo-1M-BF16.gguf": assemble(*convert(DEMO))}:
            metas.append(Packed(source, keep=work).meta)
            answers.append(run(HOTLAYERD, "generate", "--model", os.path.join(work, "m.hot"), "--raw", "--temp", "0",
                               "-n", "60", "-p", "Once upon a time, there was a"))
    check("demo: the same story", answers[0] == answers[1] and len(answers[0]) > 100, answers)
    check("demo: source", metas[1]["source"] == "gguf", metas[1])
    check("demo: license", metas[1]["license"] == "apache-2.0", metas[1])
    check("demo: name", metas[1]["name"] == "demo-1M-BF16", metas[1])
    for key in "stop_tokens", "context", "width", "blocks", "parameters", "family", "quantization":
        check(f"demo: {key}", metas[0][key] == metas[1][key], (metas[0][key], metas[1][key]))


def check_gemma3():
    """Ollama's names for the same model, and the fields that older files lack."""
    keys, tensors = family("gemma3-linear")
    base, local = keys["gemma3.rope.freq_base"][1], keys["gemma3.rope.freq_base_swa"][1]
    keys |= {"gemma3.context_length": (U32, 131072), "gemma3.attention.layer_norm_rms_epsilon": (F32, 1e-6)}
    absent = ("gemma3.rope.freq_base", "gemma3.rope.freq_base_swa", "gemma3.attention.layer_norm_rms_epsilon",
              "gemma3.rope.scaling.type", "gemma3.rope.scaling.factor")
    ollamas = {key: value for key, value in keys.items() if key not in absent}
    ollamas |= {
        "gemma3.rope.global.freq_base": (F32, base), "gemma3.rope.local.freq_base": (F32, local),
        "gemma3.mm.tokens_per_image": (U32, 256), "gemma3.vision.block_count": (U32, 1),
        "tokenizer.ggml.add_padding_token": (BOOL, 0),
    }
    picture = {"v.blk.0.attn_q.weight": ("Q4_0", [32, 2], bytes(36)), "mm.mm_soft_emb_norm.weight": ("F32", [3], bytes(12))}
    same("gemma3: Ollama's file", (gguf(keys, tensors),), (gguf(ollamas, {**tensors, **picture}),))
    short = {**keys, "gemma3.rope.scaling.type": (STRING, "none"), "gemma3.context_length": (U32, 32768)}
    unscaled = {key: value for key, value in ollamas.items()} | {"gemma3.context_length": (U32, 32768)}
    same("gemma3: Ollama's 1B is not scaled", (gguf(short, tensors),), (gguf(unscaled, tensors),))
    pattern = "gemma3.attention.sliding_window_pattern"
    blocks = keys["gemma3.block_count"][1]
    same("gemma3: a period of 6", (gguf(keys, tensors),), (gguf({**keys, pattern: (U32, 6)}, tensors),))
    truths = [int(i % 3 < 2) for i in range(blocks)]
    same("gemma3: a pattern of booleans", (gguf({**keys, pattern: (U32, 3)}, tensors),),
         (gguf({**keys, pattern: ((ARRAY, BOOL), truths)}, tensors),))
    check("gemma3: the pattern has priority", Packed(gguf({**keys, pattern: (U32, 3)}, tensors)).program
          != Packed(gguf(keys, tensors)).program)
    windowless = {key: value for key, value in keys.items() if "sliding_window" not in key}
    same("gemma3: no window", (gguf({**keys, pattern: (U32, 1)}, tensors),), (gguf(windowless, tensors),))


def check_mistral():
    keys, tensors = family("llama2-mha")
    with tempfile.TemporaryDirectory() as work:
        folder = shutil.copytree(os.path.join(FAMILIES, "llama2-mha"), os.path.join(work, "mistral"))
        path = os.path.join(folder, "config.json")
        config = json.loads(read(path))
        config |= {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 9}
        config = {key: value for key, value in config.items() if key not in ("attention_bias", "mlp_bias")}
        with open(path, "w") as file:
            json.dump(config, file)
        same("a window makes a Mistral", (folder,),
             (gguf({**keys, "llama.attention.sliding_window": (U32, 9)}, tensors),))
    same("a window of 0 does not", (gguf(keys, tensors),),
         (gguf({**keys, "llama.attention.sliding_window": (U32, 0)}, tensors),))


def check_defaults():
    """The default of an absent key, and a factor of 0."""
    keys, tensors = family("gemma2")
    window = "gemma2.attention.sliding_window"
    absent = {key: value for key, value in keys.items() if key != window}
    same("gemma2: no window is one of 4096", (gguf({**keys, window: (U32, 4096)}, tensors),), (gguf(absent, tensors),))
    keys, tensors = family("llama2-mha")
    for key in "llama.rope.scaling.factor", "llama.rope.scale_linear":
        same(f"{key} 0 scales nothing", (gguf(keys, tensors),), (gguf({**keys, key: (F32, 0.0)}, tensors),))
        check(f"{key} 2 scales", Packed(gguf({**keys, key: (F32, 2.0)}, tensors)).weights
              != Packed(gguf(keys, tensors)).weights)


def check_stops():
    """Without a key for it, tokens' texts tell what ends a turn."""
    keys, tensors = family("gemma2")
    for key in "tokenizer.ggml.eot_token_id", "tokenizer.chat_template":
        keys.pop(key, None)
    tokens = keys["tokenizer.ggml.tokens"][1]
    want = [keys["tokenizer.ggml.eos_token_id"][1], tokens.index(b"<end_of_turn>")]
    got = Packed(gguf(keys, tensors)).meta["stop_tokens"]
    check("stops: found by their texts", got == want, got)
    keys["tokenizer.ggml.eot_token_id"] = U32, 7
    keys["tokenizer.ggml.eos_token_ids"] = (ARRAY, U32), [want[0], 9]
    got = Packed(gguf(keys, tensors)).meta["stop_tokens"]
    check("stops: all that are named", got == [want[0], 7, 9, want[1]], got)


def main():
    for part in (check_folders, check_containers, check_types, check_logits, check_text, check_gemma3, check_mistral,
                 check_defaults, check_stops):
        try:
            part()
        except (RuntimeError, KeyError, OSError) as error:
            check(part.__name__, False, repr(error))
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: check.py HOTLAYER HOTLAYERD")
    HOTLAYER, HOTLAYERD = sys.argv[1:]
    main()
