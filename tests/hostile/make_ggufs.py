"""Writes .gguf files that `hotlayer pack` must refuse, one fault each.

    python3 make_ggufs.py OUTDIR

OUTDIR/NAME is a file (of a model in parts, the one to name); OUTDIR/ggufs.tsv gives for each the parts of a useful
message:

    NAME TAB the faulty file TAB a word: the key, the tensor or the value; may be empty

OUTDIR/good.gguf and OUTDIR/good-00001-of-00003.gguf have no fault and are not in the table. Needs Python alone.
"""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "gguf"))
from check import in_parts  # noqa: E402
from container import ARRAY, BOOL, F32, I32, STRING, U16, U32, U64, assemble, text  # noqa: E402
from make_gguf import convert  # noqa: E402

KEYS, TENSORS = convert(os.path.join(HERE, "..", "oracle", "fixtures", "f32-awkward"))
GOOD = assemble(KEYS, TENSORS)
Q, EMBEDDING = "blk.0.attn_q.weight", "token_embd.weight"
HUGE = 1 << 63

FILES, CASES = {}, []


def case(name, word, raw, fault=None):
    FILES[name + ".gguf"] = raw
    CASES.append((name + ".gguf", fault or name + ".gguf", word))


def keys_case(name, word, **edits):
    """Changes keys, written with '__' for '.'; None removes one."""
    keys = {**KEYS, **{key.replace("__", "."): value for key, value in edits.items()}}
    case("key-" + name, word, assemble({key: value for key, value in keys.items() if value is not None}, TENSORS))


def tensor_case(name, word, tensor, row):
    """Changes a tensor; None removes it."""
    tensors = {**TENSORS, tensor: row}
    case("tensor-" + name, word, assemble(KEYS, {key: value for key, value in tensors.items() if value is not None}))


def place_of(raw):
    """Returns the offset of these bytes in the good file."""
    assert GOOD.count(raw) == 1, raw
    return GOOD.index(raw)


def zeros(*dims, kind="F32", size=4):
    count = 1
    for n in dims:
        count *= n
    return kind, list(dims), bytes(count * size)


def headers():
    case("empty", "", b"")
    case("not-a-gguf", "GGUF", b"GGML" + GOOD[4:])
    case("safetensors-of-that-name", "GGUF", struct.pack("<Q", 2) + b"{}" + bytes(40))
    for name, version, word in (("zero", 0, "version 0"), ("one", 1, "version 1"), ("four", 4, "version 4"),
                                ("big-endian", 3 << 24, "big-endian"), ("huge", 0xFFFFFFFF, "version")):
        case("version-" + name, word, assemble(KEYS, TENSORS, version=version))
    for name, counts, word in (
        ("tensors-2-63", (HUGE, len(KEYS)), "tensors"), ("keys-2-63", (len(TENSORS), HUGE), "keys"),
        ("tensors-most", ((1 << 64) - 1, len(KEYS)), "tensors"), ("keys-most", (len(TENSORS), (1 << 64) - 1), "keys"),
        ("one-more-key", (len(TENSORS), len(KEYS) + 1), ""), ("one-less-key", (len(TENSORS), len(KEYS) - 1), ""),
        ("one-more-tensor", (len(TENSORS) + 1, len(KEYS)), ""), ("tensors-65537", (65537, len(KEYS)), "65537"),
        ("one-less-tensor", (len(TENSORS) - 1, len(KEYS)), ""),
    ):
        case("count-" + name, word, assemble(KEYS, TENSORS, counts=counts))
    first = next(iter(KEYS))
    for name, at in (
        ("in-magic", 3), ("in-version", 6), ("behind-version", 8), ("in-counts", 17), ("behind-counts", 24),
        ("in-key-length", 30), ("in-key-name", place_of(first.encode()) + 3),
        ("in-key-type", place_of(first.encode()) + len(first) + 2),
        ("in-string", place_of(b"apache-2.0") + 4), ("in-array", place_of(b"tokenizer.ggml.scores") + 60),
        ("in-text-array", place_of(b"tokenizer.ggml.tokens") + 100), ("in-tensor-name", place_of(Q.encode()) + 5),
        ("in-dims", place_of(Q.encode()) + len(Q) + 9), ("in-offset", place_of(Q.encode()) + len(Q) + 26),
        ("in-data", len(GOOD) // 2), ("last-tensor", len(GOOD) - 64),
    ):
        case("cut-" + name, "cut short", GOOD[:at])


def keys():
    for name, raw in (
        ("string-2-63", struct.pack("<IQ", STRING, HUGE)), ("string-most", struct.pack("<IQ", STRING, (1 << 64) - 1)),
        ("bytes-2-63", struct.pack("<IIQ", ARRAY, 0, HUGE)), ("numbers-2-62", struct.pack("<IIQ", ARRAY, U32, 1 << 62)),
        ("doubles-2-61", struct.pack("<IIQ", ARRAY, U64, 1 << 61)),
        ("texts-2-63", struct.pack("<IIQ", ARRAY, STRING, HUGE)),
        ("texts-one-too-long", struct.pack("<IIQQ", ARRAY, STRING, 1, HUGE)),
    ):
        case("length-" + name, "cut short", assemble({**KEYS, "x": (None, raw)}, TENSORS))
    for name, raw in (("13", struct.pack("<IQ", 13, 0)), ("most", struct.pack("<IQ", 0xFFFFFFFF, 0)),
                      ("of-array-13", struct.pack("<IIQ", ARRAY, 13, 0)),
                      ("of-array-array", struct.pack("<IIQ", ARRAY, ARRAY, 1) + struct.pack("<IQ", ARRAY, 0) * 1000)):
        case("type-" + name, "type", assemble({**KEYS, "x": (None, raw)}, TENSORS))
    for name, key, word in (("empty", b"", "0 characters"), ("long", b"k" * 70000, "70000 characters"),
                            ("escape", b"a\x1b[2J", "ASCII"), ("nul", b"a\0b", "ASCII"), ("latin", b"\xe9", "ASCII")):
        case("key-name-" + name, word, assemble({**KEYS, key: (U32, 1)}, TENSORS))
    for name, raw in (("nul", b"a\0b"), ("latin", b"caf\xe9"), ("surrogate", b"\xed\xa0\x80"), ("cut", b"\xe2\x82")):
        case("text-" + name, "general.name", assemble({**KEYS, "general.name": (STRING, raw)}, TENSORS))
    case("key-twice", "llama.block_count", assemble([*KEYS.items(), ("llama.block_count", (U32, 2))], TENSORS))
    for name, value in (("0", (U32, 0)), ("3", (U32, 3)), ("24", (U32, 24)), ("2-31", (U32, 1 << 31)),
                        ("text", (STRING, "32")), ("negative", (I32, -32))):
        case("alignment-" + name, "general.alignment", assemble({**KEYS, "general.alignment": value}, TENSORS))


def tensor_infos():
    raw = TENSORS[Q][2]
    for name, dims in (("0", []), ("5", [40, 60, 1, 1, 1])):
        case("dims-" + name, Q, assemble(KEYS, {**TENSORS, Q: ("F32", dims, raw)}))
    at = place_of(text(Q)) + 8 + len(Q)
    case("dims-most", Q, GOOD[:at] + b"\xff\xff\xff\xff" + GOOD[at + 4 :])
    for name, dims in (("zero", [40, 0]), ("2-32-squared", [1 << 32, 1 << 32]), ("2-63", [40, HUGE]),
                       ("wraps-to-fit", [40, 60 + (1 << 61)]), ("negative", [40, (1 << 64) - 60])):
        case("shape-" + name, Q, assemble(KEYS, {**TENSORS, Q: ("F32", dims, raw)}))
    for name, kind in (("gone", 4), ("99", 99), ("most", 0xFFFFFFFF)):
        case("type-of-tensor-" + name, Q, assemble(KEYS, {**TENSORS, Q: (kind, [40, 60], raw)}))
    case("blocks-not-filled", "Q8_0", assemble(KEYS, {**TENSORS, Q: (8, [40, 60], raw)}))
    for name, offset in (("hole", len(GOOD) // 32 * 32 - 64), ("odd", 33), ("beyond", 1 << 40), ("at-the-end", len(GOOD) // 32 * 32),
                         ("wraps", (1 << 64) - 32), ("of-another", 0), ("inside-another", 32)):
        case("offset-" + name, "tensor", assemble(KEYS, TENSORS, offsets={Q: offset}))
    case("tensor-twice", Q, assemble(KEYS, [*TENSORS.items(), (Q, TENSORS[Q])]))
    for name, tensor, word in (("empty", b"", "0 characters"), ("long", b"t" * 200, "200 characters"),
                               ("escape", b"a\x1b]0;x\x07", "ASCII")):
        case("tensor-name-" + name, word, assemble(KEYS, {**TENSORS, tensor: zeros(4)}))
    case("data-behind", "belong to no tensor", GOOD + bytes(64))
    case("tensor-twice-apart", Q, assemble(KEYS, [*TENSORS.items(), ("pad", zeros(8)), (Q, TENSORS[Q])]))
    case("data-absent", "cut short", GOOD[: place_of(TENSORS["blk.0.attn_norm.weight"][2])])


def models():
    keys_case("architecture-absent", "general.architecture", general__architecture=None)
    keys_case("architecture-number", "general.architecture", general__architecture=(U32, 1))
    keys_case("architecture-other", "gptj", general__architecture=(STRING, "gptj"))
    keys_case("architecture-longer", "llama4", general__architecture=(STRING, "llama4"))
    keys_case("adapter", "general.type", general__type=(STRING, "adapter"))
    for key in ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
                "attention.layer_norm_rms_epsilon"):
        edit = "llama__" + key.replace(".", "__")
        keys_case(f"{key}-absent", "llama." + key, **{edit: None})
        keys_case(f"{key}-text", "llama." + key, **{edit: (STRING, "2")})
        keys_case(f"{key}-zero", "llama." + key, **{edit: (F32, 0.0) if "eps" in key else (U32, 0)})
        keys_case(f"{key}-negative", "llama." + key, **{edit: (F32, -1.0) if "eps" in key else (I32, -2)})
    for key, value in (
        ("expert_count", (U32, 8)), ("expert_used_count", (U32, 2)), ("pooling_type", (U32, 1)),
        ("attention.causal", (BOOL, 0)), ("attention.value_length", (U32, 8)), ("attention.head_dim", (U32, 8)),
        ("rope.dimension_count", (U32, 6)),
        ("rope.scaling.type", (STRING, "yarn")), ("rope.scaling.attn_factor", (F32, 1.1)), ("no.such.key", (U32, 1)),
        ("attention.head_count_kv", ((ARRAY, U32), [1, 1])), ("rope.freq_base", (F32, float("nan"))),
        ("rope.freq_base", (F32, float("inf"))), ("rope.scaling.factor", (F32, -8.0)), ("logit_scale", (F32, 2.0)),
        ("tensor_data_layout", (STRING, "other")), ("attention.sliding_window_pattern", (U32, 2)),
        ("attention.sliding_window", (F32, 4096.0)), ("final_logit_softcapping", (F32, 30.0)), ("mm.x", (U32, 1)),
        ("block_count", (U32, 1)), ("block_count", (U32, 3)), ("block_count", (U32, 0xFFFFFFFF)),
        ("attention.head_count", (U32, 0xFFFFFFFF)), ("embedding_length", (U64, 1 << 40)),
    ):
        word = "tensor" if (key, value) == ("block_count", (U32, 3)) else "" if value == (U32, 0xFFFFFFFF) else key
        keys_case(f"{key}-{len(CASES)}", word, **{"llama__" + key.replace(".", "__"): value})
    keys_case("width-other", "[", llama__embedding_length=(U32, 48))
    keys_case("ffn-other", "gate_proj", llama__feed_forward_length=(U32, 64))
    keys_case("head-dim-odd", "head_dim", llama__attention__key_length=(U32, 5),
              llama__attention__value_length=(U32, 5), llama__rope__dimension_count=(U32, 5))
    keys_case("eos-beyond", "eos_token_id", tokenizer__ggml__eos_token_id=(U32, 281))
    keys_case("eos-negative", "eos_token_id", tokenizer__ggml__eos_token_id=(I32, -1))
    keys_case("eos-list-number", "eos_token_ids", tokenizer__ggml__eos_token_ids=(U32, 2))
    keys_case("eos-list-beyond", "eos_token_ids", tokenizer__ggml__eos_token_ids=((ARRAY, U32), [2, 281]))
    keys_case("eos-list-long", "eos_token_ids", tokenizer__ggml__eos_token_ids=((ARRAY, U32), [2] * 65))
    keys_case("template-number", "chat_template", tokenizer__chat_template=(U32, 2))
    keys_case("bos-text-broken", "bos_token_id",
              tokenizer__ggml__tokens=((ARRAY, STRING), [b"<unk>", b"\xff", *KEYS["tokenizer.ggml.tokens"][1][2:]]))


def tensors():
    tensor_case("embedding-absent", EMBEDDING, EMBEDDING, None)
    tensor_case("norm-absent", "norm", "output_norm.weight", None)
    tensor_case("q-absent", "q_proj", Q, None)
    tensor_case("q-turned", "q_proj", Q, zeros(60, 40))
    tensor_case("q-flat", "q_proj", Q, zeros(2400))
    tensor_case("norm-a-matrix", "norm", "output_norm.weight", zeros(40, 2))
    tensor_case("embedding-flat", "embed", EMBEDDING, zeros(281))
    tensor_case("unknown", "foo.weight", "foo.weight", zeros(4))
    tensor_case("of-a-mixture", "ffn_gate_inp", "blk.0.ffn_gate_inp.weight", zeros(40, 8))
    tensor_case("of-gemma", "post_ffw_norm", "blk.0.post_ffw_norm.weight", zeros(40))
    tensor_case("vision-in-llama", "v.blk", "v.blk.0.attn_q.weight", zeros(40))
    tensor_case("block-01", "blk.01", "blk.01.attn_q.weight", zeros(40, 60))
    tensor_case("block-2", "block_count", "blk.2.attn_q.weight", zeros(40, 60))
    tensor_case("block-2-32", "blk.4294967296", "blk.4294967296.attn_q.weight", zeros(40, 60))
    tensor_case("block-long", "blk.", "blk." + "9" * 60 + ".attn_q.weight", zeros(40, 60))
    tensor_case("one-bias", "bias", "blk.0.attn_q.bias", zeros(60))
    tensor_case("q2_k", "Q2_K", Q, ("Q2_K", [256, 60], bytes(84 * 60)))
    tensor_case("q2_k-embedding", "use a file of F16", EMBEDDING, ("Q2_K", [256, 281], bytes(84 * 281)))
    tensor_case("q4_0-shape", "shape", Q, ("Q4_0", [64, 60], bytes(2 * 18 * 60)))
    tensor_case("q6_k-shape", "shape", EMBEDDING, ("Q6_K", [256, 281], bytes(210 * 281)))
    tensor_case("rope-length", "rope_freqs", "rope_freqs.weight", zeros(5))
    tensor_case("rope-zero", "rope_freqs", "rope_freqs.weight", zeros(6))
    for name, bits in (("nan", 0x7FC00000), ("inf", 0x7F800000), ("negative", 0xBF800000)):
        tensor_case("rope-" + name, "rope_freqs", "rope_freqs.weight", ("F32", [6], struct.pack("<I", bits) * 6))


def parts():
    files = in_parts(KEYS, TENSORS, 3)

    def add(name, word, fault, edit, named=1):
        changed = dict(files)
        edit(changed)
        names = {old: name + old[1:] for old in changed}
        FILES.update({names[old]: raw for old, raw in changed.items()})
        CASES.append((f"{name}-{named:05}-of-00003.gguf", name + fault, word))

    def swap(changed):
        a, b = "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"
        changed[a], changed[b] = changed[b], changed[a]

    second = "-00002-of-00003.gguf"
    add("parts-second-named", "first", second, lambda changed: None, named=2)
    add("parts-one-absent", "", second, lambda changed: changed.pop("m" + second))
    add("parts-swapped", "split.no", second, swap)
    add("parts-cut", "cut short", second, lambda changed: changed.update({"m" + second: changed["m" + second][:-32]}))
    again = {"split.no": (U16, 1), "split.count": (U16, 3)}
    add("parts-tensor-twice", "twice", "", lambda changed: changed.update({"m" + second: assemble(again, {
        name: TENSORS[name] for name in list(TENSORS)[-8:]})}))
    case("part-without-its-name", "split.count", files["m-00001-of-00003.gguf"])
    FILES["parts-none-00001-of-00003.gguf"] = GOOD
    FILES["parts-none-00002-of-00003.gguf"] = GOOD
    FILES["parts-none-00003-of-00003.gguf"] = GOOD
    CASES.append(("parts-none-00001-of-00003.gguf", "parts-none", "split.count"))
    FILES["parts-zero-00001-of-00000.gguf"] = GOOD
    CASES.append(("parts-zero-00001-of-00000.gguf", "parts-zero", ""))


def main():
    out = sys.argv[1]
    for write in headers, keys, tensor_infos, models, tensors, parts:
        write()
    FILES["good.gguf"] = GOOD
    FILES.update({"good" + name[1:]: raw for name, raw in in_parts(KEYS, TENSORS, 3).items()})
    os.makedirs(out, exist_ok=True)
    for name, raw in FILES.items():
        with open(os.path.join(out, name), "wb") as file:
            file.write(raw)
    with open(os.path.join(out, "ggufs.tsv"), "w") as table:
        table.writelines("\t".join(row) + "\n" for row in CASES)


if __name__ == "__main__":
    main()
