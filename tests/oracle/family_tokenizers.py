"""The small tokenizers of make_families.py: as files of a Hugging Face folder, and as the fields of a GGUF.

A tokenizer is a dict: kind, "spm" (SentencePiece) or "bytes" (byte-level BPE); tokens, a list of (text, score, type)
with GGUF's token types, which are SentencePiece's; merges; the ids bos, eos, unk, pad; bos_first; prefix, a space
before a text.
"""
import json
import os

from make_fixtures import blob, number, piece

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

WORDS = ["\u2581t", "he", "\u2581the", "er", "in", "\u2581a", "on", "re"]
LETTERS = list("\u2581etaonihsrdlucmy")
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def spm(specials, count, prefix):
    """specials: texts of the first tokens, among them <unk>; then the bytes, words and letters, up to count."""
    tokens = [(text, 0.0, UNKNOWN if text == "<unk>" else CONTROL) for text in specials]
    tokens += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    normal = (WORDS[: max(0, count - len(tokens) - 12)] + LETTERS)[: count - len(tokens)]
    tokens += [(text, float(-rank), NORMAL) for rank, text in enumerate(normal)]
    assert len(tokens) == count, len(tokens)
    find = {text: i for i, text in enumerate(specials)}
    return dict(
        kind="spm", tokens=tokens, merges=[], bos_first=True, prefix=prefix,
        bos=find.get("<bos>", find.get("<s>")), eos=find.get("<eos>", find.get("</s>")), unk=find["<unk>"],
        pad=find.get("<pad>"),
    )


def byte_symbols():
    """GPT-2's letters for the bytes: printable ones stand for themselves, the others are numbered from 256 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(other)}
    return [letters[byte] for byte in plain + other]


def bytes_bpe(specials, bos, eos, pad, bos_first, pattern, pre):
    """The bytes, twelve merges, then specials."""
    merges = ["Ġ t", "h e", "Ġt he", "e r", "i n", "Ġ a", "o n", "r e", "a t", "o r", "Ġ s", "n d"]
    texts = byte_symbols() + [merge.replace(" ", "") for merge in merges]
    tokens = [(text, 0.0, NORMAL) for text in texts] + [(text, 0.0, CONTROL) for text in specials]
    find = {text: i for i, (text, _, _) in enumerate(tokens)}
    return dict(
        kind="bytes", tokens=tokens, merges=merges, bos_first=bos_first, pattern=pattern, pre=pre,
        bos=find.get(bos), eos=find[eos], pad=find.get(pad), unk=None, prefix=False,
    )


def text_of(t, name):
    return t["tokens"][t[name]][0]


def spm_model(t):
    """Writes SentencePiece's ModelProto: pieces, the meaning of the ids, how text becomes pieces."""
    pieces = b"".join(piece(text, score, kind) for text, score, kind in t["tokens"])
    trainer = number(3, 2) + number(4, len(t["tokens"])) + number(35, 1)  # model_type BPE, vocab_size, byte_fallback
    trainer += number(40, t["unk"]) + number(41, t["bos"]) + number(42, t["eos"])
    if t["pad"] is not None:
        trainer += number(43, t["pad"])
    # add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces
    normalizer = blob(1, b"identity") + number(3, int(t["prefix"])) + number(4, 0) + number(5, 1)
    return pieces + blob(2, trainer) + blob(3, normalizer)


def tokenizer_json(t):
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": text, **plain} for i, (text, _, kind) in enumerate(t["tokens"]) if kind == CONTROL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": t["pattern"]}, "behavior": "Isolated", "invert": False}
    post = byte_level
    if t["bos_first"]:
        bos = text_of(t, "bos")
        post = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [t["bos"]], "tokens": [bos]}},
        }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if t["pre"] == "qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": post,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": t["pre"] == "llama-bpe",
            "vocab": {text: i for i, (text, _, kind) in enumerate(t["tokens"]) if kind == NORMAL},
            "merges": t["merges"],
        },
    }


def write_files(folder, t, tokenizer_class, template):
    config = {"tokenizer_class": tokenizer_class, "chat_template": template}
    config |= {f"{name}_token": text_of(t, name) for name in ("bos", "eos", "unk", "pad") if t[name] is not None}
    config |= {"add_bos_token": t["bos_first"], "add_eos_token": False, "model_max_length": 128}
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump(config, file, indent=1)
        file.write("\n")
    if t["kind"] == "spm":
        with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
            file.write(spm_model(t))
    else:
        with open(os.path.join(folder, "tokenizer.json"), "w") as file:
            json.dump(tokenizer_json(t), file, indent=None, separators=(",", ":"))
            file.write("\n")


def add_to_gguf(writer, t, rows, template, add_bos_key, space_prefix_key):
    """Writes the fields as the converters do: as many tokens as the table has rows, the missing ones named [PADn].
    add_bos_key: whether the file has the key for bos before a text (files made by older converters from a
    tokenizer.json do not); space_prefix_key: whether it has the key for the space before a text (Gemma's files do,
    others do not).
    """
    tokens = t["tokens"] + [(f"[PAD{i}]", -10000.0, UNUSED) for i in range(len(t["tokens"]), rows)]
    writer.add_tokenizer_model("llama" if t["kind"] == "spm" else "gpt2")
    writer.add_tokenizer_pre("default" if t["kind"] == "spm" else t["pre"])
    writer.add_token_list([text.encode() for text, _, _ in tokens])
    if t["kind"] == "spm":
        writer.add_token_scores([score for _, score, _ in tokens])
    writer.add_token_types([kind for _, _, kind in tokens])
    if t["merges"]:
        writer.add_token_merges(t["merges"])
    for name, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("unk", writer.add_unk_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        if t[name] is not None:
            add(t[name])
    if add_bos_key:
        writer.add_add_bos_token(t["bos_first"])
        writer.add_add_eos_token(False)
    if space_prefix_key:
        writer.add_add_space_prefix(t["prefix"])
    writer.add_chat_template(template)
