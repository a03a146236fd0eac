#!/usr/bin/env python3
"""Compares the GPU with the CPU on whole models, on a driver that emulates the GPU.

    python3 models.py HOTLAYER HOTLAYERD LIBFAKECUDA [MODEL...]

A MODEL is a folder or a .gguf; by default the demo's, stories260k where it is at hand, and every small family of
tests/oracle. Each is packed with several quantizations. The logits of all positions, computed in one step, one by one
and seven at a time, must be the CPU's, and so must the greedy tokens. Prints a line per comparison and, last,
"N passed, N failed". Needs Python alone.
"""
import glob
import json
import math
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
# Limits relative to the largest logit of a position. Both devices round activations to bf16 and int8 alike, but a last
# bit before the rounding can turn a number over.
EXACT, ROUNDED = 1e-4, 1e-2
STEPS = ((), ("--batch", "1"), ("--batch", "7"))
PASSED = FAILED = 0


def run(*command, library=None):
    environment = dict(os.environ)
    if library:
        environment["HOTLAYER_LIBCUDA"] = library
    done = subprocess.run(command, capture_output=True, env=environment, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout


def line(label, good, text):
    global PASSED, FAILED
    PASSED += good
    FAILED += not good
    print(f"{label:<64} {'ok  ' if good else 'FAIL'} {text}", flush=True)


def difference(want, got):
    """The largest difference, relative to the largest logit of its position."""
    worst = 0.0
    for row, other in zip(want, got, strict=True):
        size = max(abs(value) for value in row if value is not None) or 1.0
        for value, mine in zip(row, other, strict=True):
            if (value is None) != (mine is None) or (mine is not None and not math.isfinite(mine)):
                return math.inf
            worst = max(worst, abs(value - mine) / size) if value is not None else worst
    return worst


def is_exact(hotlayer, model):
    """Whether all its matrices are float32 or float16, which both devices multiply in float32."""
    described = json.loads(run(hotlayer, "inspect", "--json", model))
    types = {tensor["type"] for tensor in described["tensors"]}
    return types <= {"f32", "f16", "f32 vector"}


def compare(hotlayer, hotlayerd, library, label, model, kv):
    described = json.loads(run(hotlayer, "inspect", "--json", model))
    vocabulary, context = described["vocabulary"], described["meta"]["context"]
    dice = random.Random(7)
    n = min(context - 1, 75)
    tokens = ",".join(str(dice.randrange(vocabulary)) for _ in range(n))
    limit = EXACT if is_exact(hotlayer, model) and kv != "q8" else ROUNDED
    cpu = ["--device", "cpu", "--threads", "1", "--kv", kv]
    gpu = ["--device", "cuda", "--kv", kv]
    ask = [hotlayerd, "logits", "--model", model, "--all", "--tokens", tokens]
    want = json.loads(run(*ask, *cpu))["logits"]
    for steps in STEPS:
        try:
            worst = difference(want, json.loads(run(*ask, *gpu, *steps, library=library))["logits"])
            line(f"{label} kv {kv} {' '.join(steps)}", worst <= limit, f"{worst:.1e} limit {limit:.0e}")
        except RuntimeError as error:
            line(f"{label} kv {kv} {' '.join(steps)}", False, str(error))
    tell = [hotlayerd, "generate", "--model", model, "--raw", "-p", "the rain", "-n", "24", "--temp", "0"]
    try:
        same = run(*tell, *cpu) == run(*tell, *gpu, library=library)
        line(f"{label} kv {kv} greedy", same, "24 tokens")
    except RuntimeError as error:
        line(f"{label} kv {kv} greedy", False, str(error))


def default_models():
    yield os.path.join(ROOT, "examples/demo/model"), ("keep", "q8", "q4"), ("f16", "q8", "f32")
    stories = os.path.join(ROOT, "../shared/models/stories260k")
    if os.path.exists(stories):
        yield stories, ("keep",), ("f16",)
    families = os.path.join(ROOT, "tests/oracle/families")
    for path in sorted(glob.glob(families + "/*")):
        if path.endswith(".gguf"):
            if not os.path.exists(path.removesuffix(".gguf") + "/config.json"):
                yield path, ("keep",), ("f16",)
        elif os.path.exists(path + "/config.json"):
            yield path, ("keep", "q4"), ("f16",)


def main():
    hotlayer, hotlayerd, library = sys.argv[1:4]
    chosen = [(path, ("keep",), ("f16",)) for path in sys.argv[4:]] or default_models()
    for path, quants, kvs in chosen:
        for quant in quants:
            with tempfile.TemporaryDirectory() as work:
                model = os.path.join(work, "m.hot")
                label = f"{os.path.basename(path)} {quant}"
                try:
                    run(hotlayer, "pack", path, "-o", model, "--quant", quant)
                    for kv in kvs:
                        compare(hotlayer, hotlayerd, library, label, model, kv)
                except RuntimeError as error:
                    line(label, False, str(error))
    print(f"{PASSED} passed, {FAILED} failed")
    return FAILED != 0


sys.exit(main())
