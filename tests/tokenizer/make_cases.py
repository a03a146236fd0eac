#!/usr/bin/env python3
"""Trains the small tokenizers in this folder and writes cases.tsv next to each: the reference libraries' results for
many texts.

    spm/       SentencePiece BPE with byte fallback, a dummy prefix, user-defined and control pieces
    fallback/  the same vocabulary as a tokenizer.json like Llama 2's
    metaspace/ the same as transformers 5 writes it, with added tokens that strip and that are normalized
    llama/     the same as a GGUF
    bytes/     byte-level BPE with Llama 3's pattern, NFC, whole words first, added tokens of all kinds
    qwen2/     byte-level BPE with Qwen 2's pattern, as a GGUF

A line: flags (HL_ENCODE_), text, ids, and the decoded ids; texts in hexadecimal, "-" if there are only ids. Needs
sentencepiece, protobuf and tokenizers.
"""
import io
import json
import os
import random

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
import make_gguf
from texts import BROKEN, PLAIN, texts, young_texts

BOS, SPECIAL = 1, 2
HERE = os.path.dirname(os.path.abspath(__file__))
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def corpus():
    rng = random.Random(7)
    words = "the a of and to in is that it was for on are with as his they at be this from have or one had by word but not".split()
    words += "what all were we when your can said there use an each which she do how their if will up other about out many".split()
    words += "then them these so some her would make like him into time has look two more write go see number no way could".split()
    words += "привет мир слово это как что когда здесь".split() + "größe straße schön grün über für".split() + "世界 你好 日本 今天".split()
    lines = [" ".join(rng.choice(words) for _ in range(rng.randint(3, 14))).capitalize() + rng.choice(".!?") for _ in range(600)]
    code = ["    if x == 0:\n        return y", "for (int i = 0; i < n; i++) {", "\treturn value;", "self.items.append(item)"] * 20
    return lines + code + [t for t in PLAIN if t and len(t) < 200] * 2


def folder(name):
    path = os.path.join(HERE, name)
    os.makedirs(path, exist_ok=True)
    return path


def train_spm():
    out = io.BytesIO()
    lines = [piece for line in corpus() for piece in line.replace("\0", "").splitlines() if piece]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, model_type="bpe", vocab_size=560, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, user_defined_symbols=["<sep>", "<sep><sep>", "~~"], control_symbols=["<turn>", "</turn>"],
        num_threads=1, minloglevel=2)
    model = sentencepiece_model_pb2.ModelProto.FromString(out.getvalue())
    model.trainer_spec.ClearField("input")
    return model


def spm_as_json(model):
    """Converts as the transformers library does: every pair of pieces that makes a piece is a merge, in the order of
    scores.
    """
    ids = {p.piece: i for i, p in enumerate(model.pieces)}
    merges = []
    for i, p in enumerate(model.pieces):
        if p.type == 1:
            pairs = [(p.piece[:k], p.piece[k:]) for k in range(1, len(p.piece))]
            merges += [(-p.score, i, pair) for pair in pairs if pair[0] in ids and pair[1] in ids]
    added = [{"id": i, "content": p.piece, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": p.type != 4}
             for i, p in enumerate(model.pieces) if p.type in (2, 3, 4)]
    mark = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    unmark = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [ids["<s>"]], "tokens": ["<s>"]}}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, mark]},
        "pre_tokenizer": None, "post_processor": template,
        "decoder": {"type": "Sequence", "decoders": [unmark, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                  "byte_fallback": True, "vocab": ids, "merges": [f"{a} {b}" for _, _, (a, b) in sorted(merges, key=lambda m: m[:2])]},
    }


def spm_as_metaspace(as_json):
    out = json.loads(json.dumps(as_json))
    out["normalizer"] = None
    out["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    strips = [("<left>", True, False, False), ("<right>", False, True, False), ("<both>", True, True, True), ("<normal>", False, False, True)]
    for i, (content, left, right, normalized) in enumerate(strips, len(out["model"]["vocab"])):
        out["added_tokens"].append({"id": i, "content": content, "single_word": False, "lstrip": left, "rstrip": right,
                                    "normalized": normalized, "special": content == "<both>"})
    return out


def train_bytes(pattern=LLAMA3, ignore_merges=True):
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
    hf = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    hf.normalizer = normalizers.NFC()
    hf.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    hf.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    hf.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False))
    hf.add_special_tokens(["<|begin|>", "<|end|>", "<|turn|>"])
    hf.add_tokens([AddedToken("<|call|>", normalized=False), AddedToken("<|call|>x", normalized=False), AddedToken("<think>", normalized=True)] +
                  ([AddedToken("<strip>", normalized=False, lstrip=True, rstrip=True)] if ignore_merges else []))
    begin = hf.token_to_id("<|begin|>")
    hf.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", begin)])
    return json.loads(hf.to_str())


def write_cases(path, rows):
    with open(os.path.join(path, "cases.tsv"), "w") as out:
        for flags, text, ids, decoded in rows:
            out.write(f"{flags}\t{'-' if text is None else text.hex()}\t{','.join(map(str, ids))}\t{decoded.encode().hex()}\n")


def hf_rows(hf, cases):
    for flags in (SPECIAL | BOS, 0):
        hf.encode_special_tokens = not flags & SPECIAL
        for text in cases:
            ids = hf.encode(text, add_special_tokens=bool(flags & BOS)).ids
            yield flags, text.encode(), ids, hf.decode(ids, skip_special_tokens=True)


def decode_rows(decode, pool, count):
    rng = random.Random(8)
    for _ in range(count):
        ids = [rng.choice(pool) for _ in range(rng.randint(1, 12))]
        yield 0, None, ids, decode(ids)


def write_json(path, name, value):
    with open(os.path.join(path, name), "w") as out:
        json.dump(value, out, ensure_ascii=False, indent=None, separators=(",", ":"))


def write_gguf(name, as_json):
    with open(os.path.join(folder(name), "tokenizer.gguf"), "wb") as out:
        out.write(make_gguf.gguf({"general.architecture": "llama"} | {"tokenizer.ggml." + k: v for k, v in make_gguf.json_keys(as_json).items()}))


def main():
    model = train_spm()
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    extra = ["<sep>", "~~", "<turn>", "</s>"]
    path = folder("spm")
    with open(os.path.join(path, "tokenizer.model"), "wb") as out:
        out.write(model.SerializeToString())
    write_json(path, "tokenizer_config.json", {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": {"content": "</s>"}})
    as_json = spm_as_json(model)
    hf = tokenizers.Tokenizer.from_str(json.dumps(as_json))
    cases = [t.encode() for t in texts(300, 3, extra)] + BROKEN
    rows = [(0, t, sp.encode(t), sp.decode(sp.encode(t))) for t in cases]
    # sentencepiece finds no special tokens in text, except for these, which the two libraries treat differently.
    shared = [t for t in texts(200, 4, ["<turn>", "</s>", "<s>"]) if not any(p in t for p in ("<sep>", "~~", "<unk>"))]
    rows += [(flags, t, ids, sp.decode(ids)) for flags, t, ids, _ in hf_rows(hf, shared) if flags & SPECIAL]
    single = [i for i, p in enumerate(model.pieces) if p.type == 6]
    rows += decode_rows(sp.decode, single + [i for i, p in enumerate(model.pieces) if p.type in (1, 4)], 150)
    write_cases(path, rows)

    path = folder("fallback")
    write_json(path, "tokenizer.json", as_json)
    write_cases(path, hf_rows(hf, texts(200, 5, extra)))
    write_gguf("llama", as_json)
    write_cases(folder("llama"), hf_rows(hf, [t for t in texts(200, 9, extra) if "<unk>" not in t]))  # it decodes as sentencepiece's

    path = folder("metaspace")
    as_json = spm_as_metaspace(as_json)
    write_json(path, "tokenizer.json", as_json)
    hf = tokenizers.Tokenizer.from_str(json.dumps(as_json))
    spaced = [f"{a}{t}{b}" for t in ("<left>", "<right>", "<both>", "<normal>") for a in ("", "a", " ", "x \n\u00a0") for b in ("", "b", " ", "\u3000 y")]
    write_cases(path, hf_rows(hf, spaced + texts(200, 10, extra + ["<left>", " <right> ", " <both> ", "<normal>"])))

    path = folder("bytes")
    as_json = train_bytes()
    write_json(path, "tokenizer.json", as_json)
    write_json(path, "tokenizer_config.json", {"bos_token": "<|begin|>", "eos_token": "<|end|>"})
    hf = tokenizers.Tokenizer.from_str(json.dumps(as_json))
    rows = list(hf_rows(hf, list(young_texts()) + texts(250, 6, ["<|begin|>", "<|turn|>", "<|call|>", "<|call|>x", "<think>", " <strip>  "])))
    write_cases(path, rows + list(decode_rows(hf.decode, range(450), 150)))

    as_json = train_bytes(QWEN2, False)
    hf = tokenizers.Tokenizer.from_str(json.dumps(as_json))
    write_gguf("qwen2", as_json)
    write_cases(folder("qwen2"), hf_rows(hf, list(young_texts()) + texts(200, 11, ["<|begin|>", "<|turn|>", "<|call|>", "<think>"])))


if __name__ == "__main__":
    main()
