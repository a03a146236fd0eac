"""Compares `hotlayer pack` and `hotlayerd logits` with the oracle's figures.

    python3 compare.py HOTLAYER HOTLAYERD FIXTURE_DIR...

For each fixture and each quantization: packs it, asks for the logits of its tokens, compares them with expected.json.
Prints one line per comparison: `ok` or `FAIL` and two relative errors ||a - b|| / ||b||, over all positions and of the
worst position; exits 1 if anything failed. Needs Python alone.
"""
import json
import math
import os
import subprocess
import sys
import tempfile

QUANTS = ("keep", "bf16", "q8")

# Limits over all positions. With float32 and float16 tiles everything is computed in float32: only its rounding may
# show. With bf16 and int8 tiles the activations are rounded too, while the oracle rounds weights alone: simulated on
# these fixtures, that is 0.002 (bf16) and 0.008 (int8).
EXACT, ROUNDED = 1e-5, 1e-2
WORST_POSITION = 2  # times the limit: one position averages less than all


def limit(quant, dtype):
    return EXACT if quant == "keep" and dtype in ("float32", "float16") else ROUNDED


class Failure(Exception):
    pass


def run(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(str(error)) from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        what = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise Failure(f"{command[1]}: {what}: {message[-1] if message else 'no message'}")
    return done.stdout


def logits(hotlayer, hotlayerd, fixture, quant, tokens):
    with tempfile.TemporaryDirectory() as temporary:
        model = os.path.join(temporary, "x.hot")
        run(hotlayer, "pack", fixture, "-o", model, "--quant", quant)
        text = run(hotlayerd, "logits", "--model", model, "--tokens", ",".join(map(str, tokens)), "--all")
    try:
        return json.loads(text)["logits"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"the answer is not {{\"logits\":[...]}}: {error!r}") from error


def errors(got, want):
    """Returns the relative error over all positions, and that of the worst."""
    if [len(row) for row in got] != [len(row) for row in want]:
        raise Failure(f"{len(got)} positions of {len(got[0]) if got else 0}, not {len(want)} of {len(want[0])}")
    wrong = [math.fsum((a - b) * (a - b) for a, b in zip(g, w)) for g, w in zip(got, want)]
    right = [math.fsum(b * b for b in w) for w in want]
    if not all(map(math.isfinite, wrong)):
        raise Failure("a logit is not finite")
    return math.sqrt(sum(wrong) / sum(right)), max(math.sqrt(a / b) for a, b in zip(wrong, right))


def compare(hotlayer, hotlayerd, fixture, quant):
    """Prints the line; returns whether the figures are within the limits."""
    label = f"{os.path.basename(os.path.normpath(fixture)):<14} {quant:<5}"
    with open(os.path.join(fixture, "config.json")) as file:
        most = limit(quant, json.load(file)["torch_dtype"])
    with open(os.path.join(fixture, "expected.json")) as file:
        expected = json.load(file)
    try:
        got = logits(hotlayer, hotlayerd, fixture, quant, expected["tokens"])
        if len(got) != len(expected["tokens"]):
            raise Failure(f"{len(got)} positions for {len(expected['tokens'])} tokens")
        overall, worst = errors(got[expected["first_position"] :], expected["logits"][quant])
    except Failure as failure:
        print(f"{label} FAIL {failure}", flush=True)
        return False
    good = overall <= most and worst <= most * WORST_POSITION
    print(f"{label} {'ok' if good else 'FAIL'}  {overall:.2e} worst position {worst:.2e} limit {most:.0e}", flush=True)
    return good


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: compare.py HOTLAYER HOTLAYERD FIXTURE_DIR...")
    hotlayer, hotlayerd, *fixtures = sys.argv[1:]
    good = [compare(hotlayer, hotlayerd, fixture, quant) for fixture in fixtures for quant in QUANTS]
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
