"""Breaks a good .hot file in every way that its readers must notice. Needs Python alone.

    python3 make_hot.py GOOD.hot OUTDIR

OUTDIR/NAME/ holds a model under the file name of GOOD.hot, one fault each; OUTDIR/cases-hot.tsv gives the program that
must refuse it:

    NAME TAB verify|run|both TAB a word that a useful message contains; may be empty

`verify` is `hotlayer verify`; `run` is `hotlayerd generate`, which does not read all weights to checksum them.
Checksums are corrected after the damage, except in the cases about checksums: then only validation can stop the reader.
OUTDIR/good is the untouched model.

The offsets below are those of include/hotlayer/layout.h, tile.h and program.h.
"""
import copy
import json
import os
import struct
import sys

PAGE, SHARD_ALIGN = 4096, 2 << 20
SECTIONS = ("meta", "program", "tensors", "tokenizer", "template")
META, PROGRAM, TENSORS, TOKENIZER = range(4)
NONE = 0xFFFFFFFF

# struct hl_header
VERSION, CRC, HEAD_BYTES, WEIGHT_BYTES, N_TENSORS, N_SHARDS = 8, 12, 16, 24, 32, 36
SECTION_ROW, SHARD_ROW, ROW_BYTES, MAX_SHARDS = 40, 160, 24, 96
HEADER_RESERVED = SHARD_ROW + ROW_BYTES * MAX_SHARDS
# struct hl_section and struct hl_shard, within a row
OFFSET, BYTES, ROW_CRC, ROW_RESERVED = 0, 8, 16, 20
# struct hl_trailer
TRAILER_VERSION, TRAILER_INDEX, TRAILER_ROW, TRAILER_RESERVED = 8, 12, 16, 40
# struct hl_tensor
TENSOR_BYTES, T_TYPE, T_RESERVED, T_ROWS, T_COLS, T_OFFSET, T_SIZE = 72, 40, 44, 48, 52, 56, 64
N_TYPES = 5
# struct hl_program
P_BUFFERS, P_KVS, P_OPS, P_VOCABULARY, P_CONTEXT, P_LOGITS, P_RESERVED, PROGRAM_BYTES = 0, 4, 8, 12, 16, 20, 24, 64
OP_BYTES = 48

# For each kind of operation, in the order of enum hl_op_kind: which of the words after `kind` are spans and tensors.
KINDS = {
    "angles": ({"out": 0}, {"frequencies": 2}),
    "gather": ({"out": 0}, {"table": 2}),
    "norm": ({"out": 0, "in": 2}, {"weight": 4}),
    "linear": ({"out": 0, "in": 2}, {"weight": 4, "bias": 5}),
    "rope": ({"x": 0, "angles": 2}, {}),
    "kv_write": ({"k": 0, "v": 2}, {}),
    "attend": ({"out": 0, "q": 2}, {}),
    "gate": ({"out": 0, "gate": 2, "up": 4}, {}),
    "add": ({"out": 0, "in": 2}, {}),
    "pick": ({"out": 0, "in": 2}, {}),
    "softcap": ({"x": 0}, {}),
}
KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS)}


def crc_table():
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        yield n


CRC_TABLE = tuple(crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def u32(raw, at):
    return struct.unpack_from("<I", raw, at)[0]


def u64(raw, at):
    return struct.unpack_from("<Q", raw, at)[0]


def put32(raw, at, value):
    struct.pack_into("<I", raw, at, value & 0xFFFFFFFF)


def put64(raw, at, value):
    struct.pack_into("<Q", raw, at, value & 0xFFFFFFFFFFFFFFFF)


class Hot:
    """The head file and the shards' files as bytearrays, with the addresses of the parts to damage."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        with open(path, "rb") as file:
            self.head = bytearray(file.read())
        self.shards = []
        for i in range(u32(self.head, N_SHARDS)):
            with open(f"{path}.{i + 1:03}", "rb") as file:
                self.shards.append(bytearray(file.read()))

    def shard_name(self, i):
        return f"{self.name}.{i + 1:03}"

    def section_row(self, section):
        return SECTION_ROW + ROW_BYTES * section

    def section(self, section):
        """(offset, bytes)"""
        return struct.unpack_from("<QQ", self.head, self.section_row(section))

    def put_section(self, section, offset, size):
        struct.pack_into("<QQ", self.head, self.section_row(section), offset, size)

    def append_section(self, section, raw, skew=0):
        """Moves a section, with new content, to the end of the head file."""
        self.head += bytes(-len(self.head) % PAGE + skew)
        self.put_section(section, len(self.head), len(raw))
        self.head += raw
        put64(self.head, HEAD_BYTES, len(self.head))

    def tensor(self, i):
        return self.section(TENSORS)[0] + TENSOR_BYTES * i

    def tensor_name(self, i):
        return bytes(self.head[self.tensor(i) :][:40]).rstrip(b"\0").decode()

    @property
    def program(self):
        return self.section(PROGRAM)[0]

    def count(self, field):
        return u32(self.head, self.program + field)

    def buffer(self, i):
        return self.program + PROGRAM_BYTES + 8 * i

    def kv(self, i):
        return self.buffer(self.count(P_BUFFERS)) + 8 * i

    def op(self, i):
        return self.kv(self.count(P_KVS)) + OP_BYTES * i

    def find_op(self, kind):
        """Returns the address of the first operation of a kind, or None."""
        ops = (self.op(i) for i in range(self.count(P_OPS)))
        return next((op for op in ops if u32(self.head, op) == KIND_NUMBER[kind]), None)

    def word(self, kind, word):
        """Returns the address of one word of the first operation of a kind."""
        return self.find_op(kind) + 4 + 4 * word

    def get(self, kind, word):
        return u32(self.head, self.word(kind, word))

    def put_shard(self, i, field, value):
        """Header and trailer agree about it."""
        store = put32 if field >= ROW_CRC else put64
        store(self.head, SHARD_ROW + ROW_BYTES * i + field, value)
        store(self.shards[i], self.trailer(i) + TRAILER_ROW + field, value)

    def trailer(self, i):
        return len(self.shards[i]) - PAGE

    def seal(self):
        """Corrects the head's checksums. Sections outside the file keep their sum."""
        for section in range(len(SECTIONS)):
            offset, size = self.section(section)
            if offset + size <= len(self.head):
                put32(self.head, self.section_row(section) + ROW_CRC, crc32c(self.head[offset : offset + size]))
        put32(self.head, CRC, 0)
        put32(self.head, CRC, crc32c(self.head[:PAGE]))

    def write(self, folder):
        os.makedirs(folder)
        for name, raw in [(self.name, self.head)] + [(self.shard_name(i), raw) for i, raw in enumerate(self.shards)]:
            if raw is not None:
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(raw)


class Cases:
    """Damaged copies of the good model, written as they are made."""

    def __init__(self, good, out):
        self.good, self.out, self.rows = good, out, []

    def add(self, name, word, spoil, seal=True, commands="both"):
        hot = copy.deepcopy(self.good)
        spoil(hot)
        if seal:
            hot.seal()
        if (hot.head, hot.shards) == (self.good.head, self.good.shards):
            raise SystemExit(f"{name}: nothing was spoilt")
        hot.write(os.path.join(self.out, name))
        self.rows.append(f"{name}\t{commands}\t{word}\n")

    def put32(self, name, word, address, value):
        """`address` and `value` take the model; value may be a plain number."""
        self.put(put32, name, word, address, value)

    def put64(self, name, word, address, value):
        self.put(put64, name, word, address, value)

    def put(self, store, name, word, address, value):
        self.add(name, word, lambda hot: store(hot.head, address(hot), value(hot) if callable(value) else value))


def flip(raw, at, bit=3):
    raw[at] ^= 1 << bit


def at(offset):
    """Returns an address in the header."""
    return lambda hot: offset


def checksum_cases(cases):
    """Flips one bit, and leaves the checksums."""
    for name, where in (
        ("magic", 0), ("version", VERSION), ("crc", CRC), ("head-bytes", HEAD_BYTES), ("weight-bytes", WEIGHT_BYTES),
        ("n-tensors", N_TENSORS), ("n-shards", N_SHARDS), ("section-row", SECTION_ROW), ("shard-row", SHARD_ROW),
        ("section-crc", SECTION_ROW + ROW_CRC), ("shard-crc", SHARD_ROW + ROW_CRC), ("last-byte", PAGE - 1),
    ):
        cases.add("flip-header-" + name, "", lambda hot, where=where: flip(hot.head, where), seal=False)
    for section, name in enumerate(SECTIONS):
        offset, size = cases.good.section(section)
        for part, where in (("first", offset), ("middle", offset + size // 2), ("last", offset + size - 1)):
            cases.add(f"flip-{name}-{part}", name, lambda hot, where=where: flip(hot.head, where), seal=False)
    for i in range(len(cases.good.shards)):
        last, shard = cases.good.trailer(i) - 1, cases.good.shard_name(i)
        for part, where in (("first", 0), ("middle", last // 2), ("last", last)):
            cases.add(f"flip-shard{i + 1}-{part}", shard, lambda hot, i=i, where=where: flip(hot.shards[i], where),
                      seal=False, commands="verify")


def header_cases(cases):
    for size in (0, 7, 100, PAGE - 1, PAGE):
        cases.add(f"head-cut-to-{size}", "", lambda hot, size=size: hot.head.__delitem__(slice(size, None)), seal=False)
    cases.add("head-cut-by-one", "", lambda hot: hot.head.pop(), seal=False)
    cases.add("head-longer", "", lambda hot: hot.head.extend(bytes(PAGE)), seal=False)
    cases.add("magic-of-a-shard", "", lambda hot: hot.head.__setitem__(slice(0, 8), b"HOTSHARD"))
    for version in (0, 1, 3, NONE):
        cases.put32(f"version-{version}", "version", at(VERSION), version)
    cases.put64("head-bytes-more", "", at(HEAD_BYTES), lambda hot: len(hot.head) + PAGE)
    cases.put64("head-bytes-fewer", "", at(HEAD_BYTES), lambda hot: len(hot.head) - 1)
    cases.put64("weight-bytes-more", "", at(WEIGHT_BYTES), lambda hot: u64(hot.head, WEIGHT_BYTES) + SHARD_ALIGN)
    cases.put64("weight-bytes-fewer", "", at(WEIGHT_BYTES), lambda hot: u64(hot.head, WEIGHT_BYTES) - PAGE)
    cases.put64("weight-bytes-0", "", at(WEIGHT_BYTES), 0)
    cases.put64("weight-bytes-2-to-63", "", at(WEIGHT_BYTES), 1 << 63)
    cases.put32("n-tensors-one-more", "tensor", at(N_TENSORS), lambda hot: u32(hot.head, N_TENSORS) + 1)
    cases.put32("n-tensors-one-fewer", "tensor", at(N_TENSORS), lambda hot: u32(hot.head, N_TENSORS) - 1)
    # 72 * 2^29 is 0 modulo 2^32
    cases.put32("n-tensors-wraps", "tensor", at(N_TENSORS), lambda hot: u32(hot.head, N_TENSORS) + (1 << 29))
    cases.put32("n-tensors-max", "tensor", at(N_TENSORS), NONE)
    for shards in (0, len(cases.good.shards) + 1, MAX_SHARDS + 1, NONE):
        cases.put32(f"n-shards-{shards}", "shard", at(N_SHARDS), shards)
    unused = SHARD_ROW + ROW_BYTES * len(cases.good.shards)
    cases.put32("reserved-header", "reserved", at(HEADER_RESERVED), 1)
    cases.put32("reserved-header-end", "reserved", at(PAGE - 4), 1 << 31)
    cases.put32("reserved-section", "reserved", at(SECTION_ROW + ROW_RESERVED), 1)
    cases.add("reserved-shard", "", lambda hot: hot.put_shard(0, ROW_RESERVED, 1))
    cases.put64("unused-shard-row", "", at(unused + BYTES), PAGE)


def section_cases(cases):
    for section, name in enumerate(SECTIONS):
        row = cases.good.section_row(section)
        offset, size = cases.good.section(section)
        other = cases.good.section((section + 1) % len(SECTIONS))[0]

        def raw(hot, offset=offset, size=size):
            return bytes(hot.head[offset : offset + size])

        cases.put64(f"section-{name}-on-another", name, at(row + OFFSET), other)
        cases.put64(f"section-{name}-behind-end", name, at(row + OFFSET), -(-len(cases.good.head) // PAGE) * PAGE)
        cases.put64(f"section-{name}-bytes-max", name, at(row + BYTES), (1 << 64) - 1)
        cases.put64(f"section-{name}-empty", name, at(row + BYTES), 0)
        # offset + bytes wraps to PAGE
        cases.add(f"section-{name}-wraps", name,
                  lambda hot, section=section: hot.put_section(section, (1 << 64) - PAGE, 2 * PAGE))
        cases.add(f"section-{name}-not-on-page", name,
                  lambda hot, section=section, raw=raw: hot.append_section(section, raw(hot), skew=8))
        cases.put64(f"section-{name}-half", name, at(row + BYTES), size // 2)
        if section in (PROGRAM, TENSORS):
            cases.add(f"section-{name}-longer", name,
                      lambda hot, section=section, raw=raw: hot.append_section(section, raw(hot) + bytes(8)))
    for name, text in (
        ("text", b"no JSON"), ("array", b"[]"), ("cut", b'{"name": "x'), ("deep", b"[" * 100000),
        ("deep-value", b'{"name": ' + b"[" * 100000),
    ):
        cases.add(f"meta-{name}", "meta", lambda hot, text=text: hot.append_section(META, text))
    offset, size = cases.good.section(META)
    meta = json.loads(bytes(cases.good.head[offset : offset + size]))
    for name, value in (("empty", ""), ("escape", "a\x1b[2J"), ("quote", 'a"b'), ("newline", "a\nb"), ("long", "x" * 129)):
        text = json.dumps({**meta, "name": value}).encode()
        cases.add(f"meta-name-{name}", "name", lambda hot, text=text: hot.append_section(META, text))
    for key, name, value in (
        ("stop_texts", "many", ["x"] * 17), ("stop_texts", "long", ["x" * 256]), ("stop_texts", "empty", [""]),
        ("stop_texts", "number", [1]), ("stop_tokens", "many", [1] * 65), ("stop_tokens", "negative", [-1]),
        ("stop_tokens", "beyond", [1 << 32]), ("stop_tokens", "text", ["1"]), ("template", "absent", None),
    ):
        text = json.dumps({**meta, key: value}).encode()
        cases.add(f"meta-{key}-{name}", key, lambda hot, text=text: hot.append_section(META, text))
    for name, byte in (("zeros", b"\0"), ("ones", b"\xff")):
        size = cases.good.section(TOKENIZER)[1]
        cases.add(f"tokenizer-{name}", "tokenizer",
                  lambda hot, byte=byte, size=size: hot.append_section(TOKENIZER, byte * size))


def shard_cases(cases):
    good, first = cases.good, cases.good.shard_name(0)

    def shard(name, spoil, word=first):
        cases.add("shard-" + name, word, spoil)

    shard("missing", lambda hot: hot.shards.__setitem__(0, None))
    shard("empty", lambda hot: hot.shards[0].clear())
    shard("cut-by-one", lambda hot: hot.shards[0].pop())
    shard("without-trailer", lambda hot: hot.shards[0].__delitem__(slice(-PAGE, None)))
    shard("longer", lambda hot: hot.shards[0].extend(bytes(PAGE)))
    shard("trailer-magic", lambda hot: flip(hot.shards[0], hot.trailer(0)))
    shard("trailer-version", lambda hot: put32(hot.shards[0], hot.trailer(0) + TRAILER_VERSION, 1))
    shard("trailer-index", lambda hot: put32(hot.shards[0], hot.trailer(0) + TRAILER_INDEX, 1))
    shard("trailer-offset", lambda hot: put64(hot.shards[0], hot.trailer(0) + TRAILER_ROW, SHARD_ALIGN))
    shard("trailer-bytes", lambda hot: flip(hot.shards[0], hot.trailer(0) + TRAILER_ROW + BYTES + 1, 4))
    shard("trailer-crc", lambda hot: flip(hot.shards[0], hot.trailer(0) + TRAILER_ROW + ROW_CRC))
    shard("trailer-row-reserved", lambda hot: flip(hot.shards[0], hot.trailer(0) + TRAILER_ROW + ROW_RESERVED))
    shard("trailer-reserved", lambda hot: flip(hot.shards[0], hot.trailer(0) + TRAILER_RESERVED))
    shard("trailer-last-byte", lambda hot: flip(hot.shards[0], len(hot.shards[0]) - 1))
    size = u64(good.head, SHARD_ROW + BYTES)
    for name, field, value in (
        ("not-at-0", OFFSET, SHARD_ALIGN), ("off-alignment", OFFSET, PAGE),
        ("offset-wraps", OFFSET, (1 << 64) - SHARD_ALIGN), ("bytes-odd", BYTES, size - 1), ("bytes-fewer", BYTES, size - PAGE), ("bytes-more", BYTES, size + PAGE),
        ("bytes-0", BYTES, 0),
        ("above-limit", BYTES, 1 << 32), ("bytes-wrap", BYTES, (1 << 64) - PAGE),
    ):
        shard(name, lambda hot, field=field, value=value: hot.put_shard(0, field, value), word="")
    if len(good.shards) > 1:
        shard("swapped", lambda hot: hot.shards.__setitem__(slice(0, 2), hot.shards[1::-1]), word=good.name + ".00")
        shard("second-missing", lambda hot: hot.shards.__setitem__(1, None), word=good.shard_name(1))
        shard("second-on-first", lambda hot: hot.put_shard(1, OFFSET, 0), word="")
        further = u64(good.head, SHARD_ROW + ROW_BYTES + OFFSET) + SHARD_ALIGN
        shard("second-further", lambda hot: hot.put_shard(1, OFFSET, further), word="")


def tensor_cases(cases):
    good = cases.good
    i = good.get("linear", 4)
    name = good.tensor_name(i)
    n = u32(good.head, N_TENSORS)

    def field(label, store, offset, value):
        store("tensor-" + label, name, lambda hot: hot.tensor(i) + offset, value)

    field("type-unknown", cases.put32, T_TYPE, N_TYPES)
    field("type-max", cases.put32, T_TYPE, NONE)
    cases.put32("tensor-type-vector", "", lambda hot: hot.tensor(i) + T_TYPE, 0)
    field("reserved", cases.put32, T_RESERVED, 1)
    for label, offset in (("rows", T_ROWS), ("cols", T_COLS)):
        field(label + "-0", cases.put32, offset, 0)
        field(label + "-max", cases.put32, offset, NONE)
        field(label + "-more", cases.put32, offset, lambda hot, o=offset: u32(hot.head, hot.tensor(i) + o) + 64)
    field("behind-weights", cases.put64, T_OFFSET, lambda hot: u64(hot.head, WEIGHT_BYTES))
    field("sticks-out", cases.put64, T_OFFSET, lambda hot: u64(hot.head, WEIGHT_BYTES) - PAGE)
    field("wraps", cases.put64, T_OFFSET, (1 << 64) - PAGE)
    field("not-on-page", cases.put64, T_OFFSET, lambda hot: u64(hot.head, hot.tensor(i) + T_OFFSET) ^ 64)
    for label, change in (("more", PAGE), ("fewer", -PAGE)):
        field("bytes-" + label, cases.put64, T_SIZE, lambda hot, c=change: u64(hot.head, hot.tensor(i) + T_SIZE) + c)
    field("bytes-0", cases.put64, T_SIZE, 0)
    if len(good.shards) > 1:
        end = u64(good.head, SHARD_ROW + OFFSET) + u64(good.head, SHARD_ROW + BYTES)
        field("between-shards", cases.put64, T_OFFSET, end)
        field("across-shards", cases.put64, T_OFFSET, end - PAGE)

    def fill_name(hot):
        hot.head[hot.tensor(n - 1) : hot.tensor(n - 1) + 40] = b"A" * 40

    def text_behind_nul(hot):
        hot.head[hot.tensor(n - 1) + 39] = ord("A")
        hot.head[hot.tensor(n - 1) + 38] = 0

    cases.add("tensor-name-endless", "name", fill_name)
    cases.add("tensor-name-not-padded", "name", text_behind_nul)


def operand_cases(cases):
    """Every span and every tensor of every kind of operation in the program."""
    good = cases.good
    for kind, (spans, tensors) in KINDS.items():
        if good.find_op(kind) is None:
            continue
        for span, word in spans.items():
            label = f"op-{kind}-{span}"
            cases.put32(label + "-buffer", "op", lambda hot, w=(kind, word): hot.word(*w), good.count(P_BUFFERS))
            cases.put32(label + "-buffer-max", "op", lambda hot, w=(kind, word): hot.word(*w), NONE)
            cols = u32(good.head, good.buffer(good.get(kind, word)))
            cases.put32(label + "-column", "op", lambda hot, w=(kind, word + 1): hot.word(*w), cols)
            cases.put32(label + "-column-max", "op", lambda hot, w=(kind, word + 1): hot.word(*w), NONE)
        for tensor, word in tensors.items():
            label = f"op-{kind}-{tensor}"
            tiles_belong = tensor in ("table", "weight") and kind != "norm"
            wrong = good.get("norm", 4) if tiles_belong else good.get("linear", 4)
            values = {"unknown": u32(good.head, N_TENSORS), "wrong-type": wrong, "none": NONE}
            if tensor == "bias":
                del values["none"]
            for suffix, value in values.items():
                cases.put32(f"{label}-{suffix}", "op", lambda hot, w=(kind, word): hot.word(*w), value)


def operation_cases(cases):
    good = cases.good

    def op(label, kind, word, value):
        cases.put32(f"op-{kind}-{label}", "op", lambda hot: hot.word(kind, word), value)

    for value in (len(KINDS), NONE):
        cases.put32(f"op-kind-{value}", "op", lambda hot: hot.op(hot.count(P_OPS) - 1), value)
    op("cols-max", "norm", 6, NONE)
    op("cols-fewer", "norm", 6, lambda hot: hot.get("norm", 6) - 1)
    op("cols-0", "norm", 6, 0)
    op("groups-max", "norm", 5, NONE)
    # groups * cols wraps back modulo 2^32
    op("groups-wrap", "norm", 5, lambda hot: 1 + (1 << 32) // (hot.get("norm", 6) & -hot.get("norm", 6)))
    op("heads-max", "rope", 4, NONE)
    op("head_dim-max", "rope", 5, NONE)
    op("rotated-odd", "rope", 6, lambda hot: hot.get("rope", 6) - 1)
    op("rotated-beyond-head", "rope", 6, lambda hot: hot.get("rope", 5) + 2)
    for kind in ("kv_write", "attend"):
        op("kv-unknown", kind, 4, lambda hot: hot.count(P_KVS))
        op("kv-max", kind, 4, NONE)
    op("heads-0", "attend", 5, 0)
    op("heads-max", "attend", 5, NONE)
    heads, kv_heads = good.get("attend", 5), u32(good.head, good.kv(good.get("attend", 4)))
    if kv_heads > 1:
        # With fewer heads, their buffers suffice: only the rule itself can refuse them.
        op("heads-not-multiple", "attend", 5, max(n for n in range(1, heads) if n % kv_heads))
    op("cols-max", "gate", 6, NONE)
    op("activation-unknown", "gate", 7, 2)
    op("activation-max", "gate", 7, NONE)
    op("cols-max", "add", 4, NONE)
    op("cols-max", "pick", 4, NONE)
    if good.find_op("softcap") is not None:
        op("cols-max", "softcap", 2, NONE)


def program_cases(cases):
    good = cases.good

    def field(label, word, offset, value):
        cases.put32("program-" + label, word, lambda hot: hot.program + offset, value)

    for label, offset, size in (("n-buffers", P_BUFFERS, 8), ("n-kvs", P_KVS, 8), ("n-ops", P_OPS, OP_BYTES)):
        count = good.count(offset)
        field(f"{label}-max", "program", offset, NONE)
        field(f"{label}-0", "program", offset, 0)
        field(f"{label}-one-more", "program", offset, count + 1)
        # times the size: the same modulo 2^32
        field(f"{label}-wraps", "program", offset, count + (1 << 32) // (size & -size))
    field("vocabulary-0", "vocabulary", P_VOCABULARY, 0)
    field("vocabulary-max", "vocabulary", P_VOCABULARY, NONE)
    logits = u32(good.head, good.buffer(good.count(P_LOGITS)))
    field("vocabulary-beyond-logits", "vocabulary", P_VOCABULARY, logits + 1)
    field("context-0", "context", P_CONTEXT, 0)
    field("logits-unknown", "logits", P_LOGITS, good.count(P_BUFFERS))
    field("logits-max", "logits", P_LOGITS, NONE)
    field("logits-of-tokens", "logits", P_LOGITS, good.get("gather", 0))
    for i in range(10):
        field(f"reserved-{i}", "reserved", P_RESERVED + 4 * i, 1)

    def beyond_table(hot):
        """The logits are wide enough; the table has no row for the last token."""
        buffer = hot.buffer(hot.count(P_LOGITS))
        put32(hot.head, buffer, u32(hot.head, buffer) + 64)
        put32(hot.head, hot.program + P_VOCABULARY, u32(hot.head, hot.tensor(hot.get("gather", 2)) + T_ROWS) + 1)

    cases.add("program-vocabulary-beyond-table", "", beyond_table)

    def buffer(label, word, index, offset, value):
        cases.put32("buffer-" + label, word, lambda hot: hot.buffer(index) + offset, value)

    buffer("cols-0", "", good.get("gather", 0), 0, 0)
    buffer("narrow", "op", good.get("gather", 0), 0, lambda hot: u32(hot.head, hot.buffer(hot.get("gather", 0))) - 1)
    buffer("domain-unknown", "buffer", good.get("gather", 0), 4, 2)
    buffer("domain-outputs", "", good.get("gather", 0), 4, 1)
    buffer("domain-tokens", "", good.count(P_LOGITS), 4, 0)

    def kv(label, heads, head_dim):
        cases.add("kv-" + label, "", lambda hot: struct.pack_into("<II", hot.head, hot.kv(0), heads, head_dim))

    heads, head_dim = struct.unpack_from("<II", good.head, good.kv(0))
    kv("heads-0", 0, head_dim)
    kv("head_dim-0", heads, 0)
    kv("heads-max", NONE, head_dim)
    kv("head_dim-max", heads, NONE)
    kv("product-wraps", 1 << 16, 1 << 16)
    kv("wider", heads, head_dim + 2)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: make_hot.py GOOD.hot OUTDIR")
    good, out = Hot(sys.argv[1]), sys.argv[2]
    good.write(os.path.join(out, "good"))
    cases = Cases(good, out)
    for add in (checksum_cases, header_cases, section_cases, shard_cases, tensor_cases, operand_cases, operation_cases,
                program_cases):
        add(cases)
    with open(os.path.join(out, "cases-hot.tsv"), "w") as table:
        table.writelines(cases.rows)


if __name__ == "__main__":
    main()
