#!/usr/bin/env python3
"""compare.py ENCODE_LINES FOLDER ROWS [COUNT]: compares a model's tokenizer with the reference libraries.

FOLDER has a tokenizer.json (reference: tokenizers), a tokenizer.model (reference: sentencepiece), or both, which are
then compared one after another. A GGUF made of each is compared too. ENCODE_LINES is the program of encode_lines.c.
Compares COUNT random texts, COUNT rows of random ids, and every code point in some contexts. Prints each difference,
and a summary; exits 1 if there is one.

In a row of byte tokens that is partly UTF-8, the tokenizers library decodes every byte as U+FFFD once it knows the
whole row. A decoder that streams must decode character by character, as sentencepiece does. Such rows are left out. A
GGUF with scores has no merges: there the reference is sentencepiece, with a model of the same pieces.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import make_gguf
from texts import BROKEN, all_characters, random_bytes, repaired, texts

BOS, SPECIAL = 1, 2


def as_bytes(case):
    return case.encode() if isinstance(case, str) else case


class SentencePiece:
    flags = (0,)
    extra = ()
    byte_of, skipped = {}, ()

    def __init__(self, **model):
        import sentencepiece
        self.sp = sentencepiece.SentencePieceProcessor(**model)
        self.pool = [i for i in range(self.sp.vocab_size()) if not self.sp.is_unused(i)]

    def decode(self, rows):
        return [self.sp.decode(ids).encode() for ids in rows]

    def encode(self, flags, cases):
        return self.sp.encode([as_bytes(c) for c in cases], num_threads=2)


class Tokenizers:
    flags = (SPECIAL | BOS, SPECIAL, 0)

    def __init__(self, path):
        import tokenizers
        self.hf = tokenizers.Tokenizer.from_file(path)
        added = [t.content for t in self.hf.get_added_tokens_decoder().values()]
        self.extra = added[:3] + added[-3:] + added[len(added) // 3::40]
        vocabulary = self.hf.get_vocab()
        self.pool = sorted(vocabulary.values())
        self.skipped = {i for i, t in self.hf.get_added_tokens_decoder().items() if t.special}
        self.byte_of = {vocabulary[name]: b for b in range(256) if (name := f"<0x{b:02X}>") in vocabulary}

    def decode(self, rows):
        return [text.encode() for text in self.hf.decode_batch(rows, skip_special_tokens=True)]

    def encode(self, flags, cases):
        self.hf.encode_special_tokens = not flags & SPECIAL
        cases = [c if isinstance(c, str) else repaired(c) for c in cases]
        return [e.ids for e in self.hf.encode_batch_fast(cases, add_special_tokens=bool(flags & BOS))]


def scored(data):
    """Returns the sentencepiece model of the pieces in the GGUF of a tokenizer.json."""
    from sentencepiece import sentencepiece_model_pb2
    keys = make_gguf.json_keys(data)
    model = sentencepiece_model_pb2.ModelProto()
    for piece, score, kind in zip(keys["tokens"], keys["scores"], keys["token_type"], strict=True):
        model.pieces.add(piece=piece, score=score, type=kind)
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    for kind in ("unk", "bos", "eos", "pad"):  # by id, whatever their names are
        setattr(model.trainer_spec, kind + "_id", -1)
    model.trainer_spec.unk_id = keys["token_type"].index(make_gguf.UNKNOWN)
    model.trainer_spec.unk_piece = keys["tokens"][model.trainer_spec.unk_id]
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = keys["add_space_prefix"]
    model.normalizer_spec.remove_extra_whitespaces = False
    return SentencePiece(model_proto=model.SerializeToString())


def ours(program, source, rows, flags, lines):
    out = subprocess.run([program, source, rows, str(flags)], input="".join(line + "\n" for line in lines).encode(),
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
    """Returns random ids, with neighbours in the vocabulary more often than by chance: there bytes follow bytes."""
    rng = random.Random(9)
    for _ in range(count):
        ids = []
        for _ in range(rng.randint(1, 8)):
            start = rng.randrange(len(pool)) if rng.random() < 0.6 else rng.randrange(min(len(pool), 520))
            ids += [pool[(start + rng.randrange(64)) % len(pool)] for _ in range(rng.randint(1, 4))]
        yield ids


def agreed(ids, byte_of, skipped):
    row = bytearray()
    for i in [i for i in ids if i not in skipped] + [None]:
        if i in byte_of:
            row.append(byte_of[i])
        elif row:
            broken = repaired(bytes(row)).count("\ufffd")
            if broken not in (0, len(row)):
                return False
            row.clear()
    return True


def compare(program, name, reference, sources, rows, count):
    bad = 0
    rng = random.Random(10)
    broken = BROKEN + [random_bytes(rng) for _ in range(count // 10)]
    sweep = [t for joint in ("", " ", "1", "\u0301a")[:4 if count >= 20000 else 1] for t in all_characters(joint)]
    for flags in reference.flags:
        first = flags == reference.flags[0]
        cases = texts(count if first else count // 5, 2 + flags, reference.extra) + broken + (sweep if first else [])
        ids = reference.encode(flags, cases)
        want = list(zip(ids, reference.decode(ids), strict=True))
        lines = [as_bytes(c).hex() for c in cases]
        for source in sources:
            bad += report(f"{name} {os.path.basename(source)}, flags {flags}", cases, list(ours(program, source, rows, flags, lines)), want)
    ids = [i for i in id_rows(reference.pool, count) if agreed(i, reference.byte_of, reference.skipped)]
    want = list(zip(ids, reference.decode(ids), strict=True))
    lines = ["=" + ",".join(map(str, i)) for i in ids]
    for source in sources:
        bad += report(f"{name} {os.path.basename(source)}, random ids", ids, list(ours(program, source, rows, 0, lines)), want)
    return bad


def main():
    program, folder, rows = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 20000
    work = tempfile.mkdtemp()
    bad = 0
    for name in ("tokenizer.json", "tokenizer.model"):
        path, alone = os.path.join(folder, name), os.path.join(work, name.split(".")[1])
        if not os.path.exists(path):
            continue
        os.mkdir(alone)
        for each in (name, "tokenizer_config.json"):
            if os.path.exists(os.path.join(folder, each)):
                shutil.copyfile(os.path.join(folder, each), os.path.join(alone, each))
        converted = make_gguf.convert(alone)
        sources = [alone] + ([alone + ".gguf"] if converted else [])
        if converted:
            with open(alone + ".gguf", "wb") as out:
                out.write(converted)
        if name == "tokenizer.model":
            bad += compare(program, "sentencepiece:", SentencePiece(model_file=path), sources, rows, count)
            continue
        with open(path) as file:
            data = json.load(file)
        fallback = data["model"].get("byte_fallback")
        bad += compare(program, "tokenizers:", Tokenizers(path), [alone] if fallback else sources, rows, count)
        if fallback and converted:
            bad += compare(program, "sentencepiece:", scored(data), [alone + ".gguf"], rows, count)
    shutil.rmtree(work)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
