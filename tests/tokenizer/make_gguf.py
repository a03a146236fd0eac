#!/usr/bin/env python3
"""make_gguf.py FOLDER OUT.gguf: writes the tokenizer of a model's folder as converters write it into a GGUF's metadata;
no tensors.

tokenizer.model -> "llama" with its own scores and types. tokenizer.json, byte-level -> "gpt2"; with byte fallback ->
"llama", with the scores that SentencePiece's trainer gives: the earlier the piece, the higher.
[https://github.com/ggml-org/ggml/blob/master/docs/gguf.md]
"""
import json
import os
import struct
import sys

U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
PRES = {  # part of the pattern, NFC, ignore_merges; other combinations have no name
    (r"|\p{N}{1,3}|", False, True): "llama-bpe",
    (r"|\p{N}|", True, False): "qwen2",
}


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def value_of(value):
    """type and bytes; lists are of one type"""
    if isinstance(value, bool):
        return BOOL, struct.pack("<?", value)
    if isinstance(value, int):
        return U32, struct.pack("<I", value)
    if isinstance(value, float):
        return F32, struct.pack("<f", value)
    if isinstance(value, (str, bytes)):
        return STRING, text(value)
    kind = I32 if isinstance(value[0], int) else value_of(value[0])[0]
    items = b"".join(struct.pack("<i", v) if kind == I32 else value_of(v)[1] for v in value)
    return ARRAY, struct.pack("<IQ", kind, len(value)) + items


def gguf(keys):
    pairs = b"".join(text(k) + struct.pack("<I", value_of(v)[0]) + value_of(v)[1] for k, v in keys.items())
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + pairs
    return out + bytes(-len(out) % 32)


def spm_keys(path):
    from sentencepiece import sentencepiece_model_pb2
    with open(path, "rb") as file:
        model = sentencepiece_model_pb2.ModelProto.FromString(file.read())
    ids = {p.piece: i for i, p in enumerate(model.pieces)}
    return {"model": "llama", "pre": "default", "tokens": [p.piece for p in model.pieces], "scores": [p.score for p in model.pieces],
            "token_type": [p.type for p in model.pieces], "bos_token_id": ids["<s>"], "eos_token_id": ids["</s>"],
            "unknown_token_id": ids["<unk>"], "add_bos_token": True, "add_eos_token": False,
            "add_space_prefix": model.normalizer_spec.add_dummy_prefix}


def template_ids(data):
    processors = [data["post_processor"] or {}]
    processors = processors[0].get("processors", processors)
    for p in processors:
        if p["type"] == "TemplateProcessing":
            return [p["special_tokens"][part["SpecialToken"]["id"]]["ids"][0] for part in p["single"] if "SpecialToken" in part]
    return []


def json_keys(data):
    model, added = data["model"], {t["id"]: t for t in data["added_tokens"]}
    tokens = {i: t for t, i in model["vocab"].items()} | {i: t["content"] for i, t in added.items()}
    n = max(tokens) + 1
    kinds = [UNUSED if i not in tokens else NORMAL if i not in added else CONTROL if added[i]["special"] else USER_DEFINED for i in range(n)]
    names = [tokens.get(i, f"[PAD{i}]") for i in range(n)]
    begin = template_ids(data)
    keys = {"tokens": names, "token_type": kinds, "add_bos_token": bool(begin)} | ({"bos_token_id": begin[0]} if begin else {})
    if model.get("byte_fallback"):
        for i, name in enumerate(names):
            kinds[i] = UNKNOWN if name == model["unk_token"] else BYTE if len(name) == 6 and name.startswith("<0x") else kinds[i]
        if "<0x09>" not in names:  # Gemma 2's tokenizer.json has the text that it stands for
            at = names.index("<0x08>") + 1
            names[at], kinds[at] = "<0x09>", BYTE
        prefix = "Prepend" in json.dumps(data["normalizer"])
        return {"model": "llama", "pre": "default", "scores": [-float(i) for i in range(n)], "add_space_prefix": prefix} | keys
    pattern = json.dumps(data["pre_tokenizer"]).replace("\\\\", "\\")
    nfc, whole = "NFC" in json.dumps(data["normalizer"]), bool(model.get("ignore_merges"))
    pres = [name for (part, *flags), name in PRES.items() if part in pattern and flags == [nfc, whole]]
    if not pres:
        return None
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return {"model": "gpt2", "pre": pres[0], "merges": merges} | keys


def convert(folder):
    """Returns None if a GGUF cannot express it."""
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.exists(path):
        keys = spm_keys(os.path.join(folder, "tokenizer.model"))
    else:
        with open(path) as file:
            keys = json_keys(json.load(file))
    if keys is None:
        return None
    return gguf({"general.architecture": "llama"} | {"tokenizer.ggml." + k: v for k, v in keys.items()})


def main():
    with open(sys.argv[2], "wb") as out:
        out.write(convert(sys.argv[1]))


if __name__ == "__main__":
    main()
