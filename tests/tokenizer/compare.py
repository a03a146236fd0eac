#!/usr/bin/env python3
"""compare.py ENCODE_LINES FOLDER ROWS [COUNT]: holds a model's tokenizer against the reference library.

FOLDER has a tokenizer.model (reference: sentencepiece) or a tokenizer.json (reference: tokenizers). ENCODE_LINES is the built
encode_lines.c. Prints each difference, and a summary; exits 1 when there is one."""
import os
import subprocess
import sys

from texts import BROKEN, texts

BOS, SPECIAL = 1, 2


def ours(program, folder, rows, flags, cases):
    lines = "".join(c.hex() + "\n" for c in cases)
    out = subprocess.run([program, folder, rows, str(flags)], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
    for line in out.decode().splitlines():
        ids, text = line.split("\t")
        yield [int(i) for i in ids.split(",") if i], bytes.fromhex(text)


def report(name, cases, got, want):
    bad = 0
    for case, g, w in zip(cases, got, want, strict=True):
        for what, a, b in (("ids", g[0], w[0]), ("text", g[1], w[1])):
            if a != b:
                bad += 1
                if bad <= 8:
                    print(f"{name} {what}: {case!r}\n   ours      {a!r}\n   reference {b!r}")
    print(f"{name}: {len(cases)} texts, {bad} differences")
    return bad


def main():
    program, folder, rows = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 3000
    model = os.path.join(folder, "tokenizer.model")
    bad = 0
    if os.path.exists(model):
        import sentencepiece
        sp = sentencepiece.SentencePieceProcessor(model_file=model)
        cases = [t.encode() for t in texts(count)] + BROKEN
        want = [(ids, sp.decode(ids).encode()) for ids in map(sp.encode, cases)]
        bad += report("sentencepiece", cases, list(ours(program, folder, rows, 0, cases)), want)
    else:  # of both files the packer takes the model
        path = os.path.join(folder, "tokenizer.json")
        import tokenizers
        hf = tokenizers.Tokenizer.from_file(path)
        added = [t.content for t in hf.get_added_tokens_decoder().values()]
        cases = texts(count, 2, added[:3] + added[-3:] + added[len(added) // 3::40])
        for flags in (SPECIAL | BOS, SPECIAL, 0):
            hf.encode_special_tokens = not flags & SPECIAL
            ids = [e.ids for e in hf.encode_batch(cases, add_special_tokens=bool(flags & BOS))]
            want = [(i, hf.decode(i, skip_special_tokens=True).encode()) for i in ids]
            bad += report(f"tokenizers, flags {flags}", cases, list(ours(program, folder, rows, flags, [c.encode() for c in cases])), want)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
