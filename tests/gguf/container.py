"""Reads and writes the container of .gguf files [https://github.com/ggml-org/ggml/blob/master/docs/gguf.md].

A file is (keys, tensors): keys is {name: (kind, value)}, where an array's kind is (ARRAY, kind of the items); tensors
is {name: (type, dims, data)}, dims innermost first, as in the file. Needs Python alone.
"""
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
         "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
         "BF16": (30, 1, 2)}  # number, numbers in a block, bytes of a block
NAMES = {number: name for name, (number, _, _) in TYPES.items()}
ALIGNMENT = 32


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def encode(kind, value):
    """Returns type and value; a value of the kind None is bytes to be copied unchanged."""
    if kind is None:
        return value
    if kind == STRING:
        return struct.pack("<I", STRING) + text(value)
    if isinstance(kind, tuple):
        head = struct.pack("<IIQ", ARRAY, kind[1], len(value))
        if kind[1] == STRING:
            return head + b"".join(map(text, value))
        return head + struct.pack(f"<{len(value)}{FORMATS[kind[1]]}", *value)
    return struct.pack("<I" + FORMATS[kind], kind, value)


def size_of(kind, dims):
    _, numbers, size = TYPES[kind]
    count = 1
    for n in dims:
        count *= n
    return count // numbers * size


def pad(raw, alignment):
    return raw + bytes(-len(raw) % alignment)


def assemble(keys, tensors, version=3, alignment=ALIGNMENT, counts=None, offsets=None):
    """Returns the file's bytes. Writes the other arguments unchecked, even if they are wrong: keys may be a list of
    pairs, with a name twice; counts is (tensors, keys); offsets {name: offset}. A type may be a number.
    """
    keys = list(keys.items() if isinstance(keys, dict) else keys)
    tensors = list(tensors.items() if isinstance(tensors, dict) else tensors)
    n_tensors, n_keys = counts or (len(tensors), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys)
    head += b"".join(text(name) + encode(kind, value) for name, (kind, value) in keys)
    data = b""
    for name, (kind, dims, raw) in tensors:
        data = pad(data, alignment)
        number = TYPES[kind][0] if kind in TYPES else kind
        head += text(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        head += struct.pack("<IQ", number, (offsets or {}).get(name, len(data)))
        data += raw
    return pad(head, alignment) + pad(data, alignment)


class Reader:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.raw, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def text(self):
        n = self.take("Q")
        self.at += n
        return self.raw[self.at - n : self.at]

    def value(self):
        kind = self.take("I")
        if kind == STRING:
            return kind, self.text()
        if kind != ARRAY:
            return kind, self.take(FORMATS[kind])
        item, n = self.take("IQ")
        if item == STRING:
            return (ARRAY, item), [self.text() for _ in range(n)]
        values = struct.unpack_from(f"<{n}{FORMATS[item]}", self.raw, self.at)
        self.at += n * struct.calcsize(FORMATS[item])
        return (ARRAY, item), list(values)


def parse(raw):
    """Returns (keys, tensors) of a correct file, in the file's order."""
    reader = Reader(raw)
    reader.at = 8
    n_tensors, n_keys = reader.take("QQ")
    keys, tensors = {}, {}
    for _ in range(n_keys):
        name = reader.text().decode()
        keys[name] = reader.value()
    for _ in range(n_tensors):
        name = reader.text().decode()
        dims = [reader.take("Q") for _ in range(reader.take("I"))]
        number, offset = reader.take("IQ")
        tensors[name] = NAMES[number], dims, offset
    alignment = keys.get("general.alignment", (U32, ALIGNMENT))[1]
    start = -(-reader.at // alignment) * alignment
    for name, (kind, dims, offset) in tensors.items():
        tensors[name] = kind, dims, raw[start + offset : start + offset + size_of(kind, dims)]
    return keys, tensors
