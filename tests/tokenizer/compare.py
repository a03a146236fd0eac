#!/usr/bin/env python3
"""compare.py ENCODE_LINES FOLDER ROWS [COUNT]: holds a model's tokenizer against the reference library.

FOLDER has a tokenizer.model (reference: sentencepiece) or a tokenizer.json (reference: tokenizers). ENCODE_LINES is the built
encode_lines.c. COUNT random texts, COUNT rows of random ids, and every code point in some contexts. Prints each difference, and
a summary; exits 1 when there is one.

In a row of byte tokens that is partly UTF-8, the tokenizers library makes every byte U+FFFD once it knows the whole row; a
decoder that must give text as it comes goes by characters, as sentencepiece does. Such rows are left out."""
import os
import random
import subprocess
import sys
import time

from texts import BROKEN, all_characters, random_bytes, repaired, texts

BOS, SPECIAL = 1, 2


def ours(program, folder, rows, flags, lines):
    out = subprocess.run([program, folder, rows, str(flags)], input="".join(line + "\n" for line in lines).encode(),
                         stdout=subprocess.PIPE, check=True).stdout
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
                    at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
                    print(f"{name} {what}: {case[:500]!r}\n   ours      ..{a[max(0, at - 3):at + 20]!r}\n   reference ..{b[max(0, at - 3):at + 20]!r}")
    print(f"{name}: {len(cases)} texts, {bad} differences")
    return bad


def id_rows(pool, count):
    """Random ids, neighbours in the vocabulary more often than chance would have it: bytes follow bytes there."""
    rng = random.Random(9)
    for _ in range(count):
        ids = []
        for _ in range(rng.randint(1, 8)):
            start = rng.randrange(len(pool)) if rng.random() < 0.6 else rng.randrange(min(len(pool), 520))
            ids += [pool[(start + rng.randrange(64)) % len(pool)] for _ in range(rng.randint(1, 4))]
        yield ids


def agreed(ids, byte_of):
    row = bytearray()
    for i in ids + [None]:
        if i in byte_of:
            row.append(byte_of[i])
        elif row:
            broken = repaired(bytes(row)).count("\ufffd")
            if broken not in (0, len(row)):
                return False
            row.clear()
    return True


def main():
    program, folder, rows = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 20000
    model = os.path.join(folder, "tokenizer.model")
    bad = 0
    rng = random.Random(10)
    broken = BROKEN + [random_bytes(rng) for _ in range(count // 10)]
    sweep = all_characters("") + all_characters(" ") + all_characters("1") + all_characters("\u0301a")
    if os.path.exists(model):
        import sentencepiece
        sp = sentencepiece.SentencePieceProcessor(model_file=model)

        def encode(flags, cases):
            return [(ids, sp.decode(ids).encode()) for ids in sp.encode(cases, num_threads=2)]
        kinds = [(0, "sentencepiece")]
        extra, byte_of = (), {}
        pool = [i for i in range(sp.vocab_size()) if not sp.is_unused(i)]

        def decode(ids):
            return sp.decode(ids).encode()
    else:  # of both files the packer takes the model
        import tokenizers
        hf = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        added = [t.content for t in hf.get_added_tokens_decoder().values()]
        extra = added[:3] + added[-3:] + added[len(added) // 3::40]
        kinds = [(f, f"tokenizers, flags {f}") for f in (SPECIAL | BOS, SPECIAL, 0)]
        vocabulary = hf.get_vocab()
        pool = sorted(vocabulary.values())
        byte_of = {vocabulary.get(f"<0x{b:02X}>"): b for b in range(256)}

        def decode(ids):
            return hf.decode(ids, skip_special_tokens=True).encode()

        def encode(flags, cases):
            hf.encode_special_tokens = not flags & SPECIAL
            out = hf.encode_batch([c if isinstance(c, str) else repaired(c) for c in cases], add_special_tokens=bool(flags & BOS))
            return [(e.ids, decode(e.ids)) for e in out]
    for flags, name in kinds:
        start = time.time()
        cases = texts(count, 2 + flags, extra) + broken + (sweep if flags == kinds[0][0] else [])
        want = encode(flags, [c.encode() if isinstance(c, str) and not extra else c for c in cases])
        lines = [(c.encode() if isinstance(c, str) else c).hex() for c in cases]
        bad += report(name, cases, list(ours(program, folder, rows, flags, lines)), want)
        print(f"   {time.time() - start:.1f} s")
    ids = [i for i in id_rows(pool, count) if agreed(i, byte_of)]
    want = [(i, decode(i)) for i in ids]
    bad += report("random ids", ids, list(ours(program, folder, rows, 0, ["=" + ",".join(map(str, i)) for i in ids])), want)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
