"""Writes model folders that `hotlayer pack` must refuse, one fault each.

    python3 make_folders.py OUTDIR

OUTDIR/NAME/ is a model folder; OUTDIR/cases.tsv gives for each the parts of a useful message:

    NAME TAB the faulty file TAB a word: the field, the tensor or the value; may be empty

OUTDIR/good, OUTDIR/good-sharded and OUTDIR/good-with-more have no fault and are not in the table: a packer that refuses
those proves nothing. Needs Python alone; the good models are fixtures of the oracle.
"""
import json
import os
import struct
import sys

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle", "fixtures")
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.model"
INDEX = "model.safetensors.index.json"
SECOND_SHARD = "model-00002-of-00003.safetensors"
GATE, UP = "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"
ATTENTION = "model.layers.0.self_attn."
DEEP = b"[" * 100000

CASES = []  # (name, file, word, function that damages a folder, which fixture)


def case(name, file, word="", fixture="f32-awkward"):
    def add(spoil):
        CASES.append((name, file, word, spoil, fixture))
        return spoil

    return add


# A folder is {file name: bytes}.


def read_folder(fixture):
    folder = os.path.join(FIXTURES, fixture)
    files = {}
    for name in sorted(set(os.listdir(folder)) - {"expected.json"}):
        with open(os.path.join(folder, name), "rb") as file:
            files[name] = file.read()
    return files


def write_folder(path, files):
    os.makedirs(path)
    for name, raw in files.items():
        with open(os.path.join(path, name), "wb") as file:
            file.write(raw)


def split(raw):
    """Returns a safetensors file as (header text, data)."""
    n = int.from_bytes(raw[:8], "little")
    return raw[8 : 8 + n], raw[8 + n :]


def join(text, data):
    return len(text).to_bytes(8, "little") + text + data


def replace_header(files, text):
    files[WEIGHTS] = join(text, split(files[WEIGHTS])[1])


def edit_row(files, tensor, **fields):
    """Changes a tensor's entry in the header; leaves the data alone."""
    header = json.loads(split(files[WEIGHTS])[0])
    header[tensor].update(fields)
    replace_header(files, json.dumps(header).encode())


def row(files, tensor):
    return json.loads(split(files[WEIGHTS])[0])[tensor]


def edit_tensors(files, edit, name=WEIGHTS):
    """Rewrites the file without gaps; `edit` changes {tensor: (dtype, shape, bytes)}."""
    text, data = split(files[name])
    header = json.loads(text)
    header.pop("__metadata__", None)
    tensors = {t: (r["dtype"], r["shape"], data[slice(*r["data_offsets"])]) for t, r in header.items()}
    edit(tensors)
    header, data = {}, b""
    for tensor, (dtype, shape, raw) in tensors.items():
        header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    files[name] = join(json.dumps(header).encode(), data)


def zeros(*shape):
    count = 1
    for n in shape:
        count *= n
    return "F32", list(shape), bytes(4 * count)


def edit_config(files, **fields):
    """Changes fields; None removes one, NULL stands for JSON's null."""
    config = json.loads(files[CONFIG])
    for key, value in fields.items():
        config.pop(key, None)
        if value is not None:
            config[key] = None if value is NULL else value
    files[CONFIG] = json.dumps(config).encode()


NULL = object()


def config_case(name, key, value, **more):
    case("config-" + name, CONFIG, key)(lambda files: edit_config(files, **{key: value}, **more))


# The container: header and offsets of a safetensors file.


@case("weights-absent", WEIGHTS)
def _(files):
    del files[WEIGHTS]


@case("weights-empty", WEIGHTS)
def _(files):
    files[WEIGHTS] = b""


@case("weights-five-bytes", WEIGHTS)
def _(files):
    files[WEIGHTS] = files[WEIGHTS][:5]


@case("truncated-in-header", WEIGHTS)
def _(files):
    files[WEIGHTS] = files[WEIGHTS][:200]


@case("truncated-in-data", WEIGHTS)
def _(files):
    files[WEIGHTS] = files[WEIGHTS][:-1000]


@case("truncated-by-one-byte", WEIGHTS)
def _(files):
    files[WEIGHTS] = files[WEIGHTS][:-1]


@case("data-beyond-the-last-tensor", WEIGHTS)
def _(files):
    files[WEIGHTS] += bytes(8)


def header_length(name, length):
    @case("header-length-" + name, WEIGHTS)
    def _(files):
        files[WEIGHTS] = length(files[WEIGHTS]).to_bytes(8, "little") + files[WEIGHTS][8:]


header_length("beyond-file", lambda raw: len(raw))
header_length("one-too-far", lambda raw: len(raw) - 7)
header_length("0", lambda raw: 0)
header_length("2-to-63", lambda raw: 1 << 63)
header_length("2-to-64-less-8", lambda raw: (1 << 64) - 8)  # 8 + length wraps to 0


def header_text(name, text):
    case("header-" + name, WEIGHTS)(lambda files: replace_header(files, text(split(files[WEIGHTS])[0])))


header_text("not-json", lambda text: b"these are not the tensors you look for")
header_text("cut-json", lambda text: text.rstrip()[:-20])
header_text("nul-bytes", lambda text: bytes(64))
header_text("array", lambda text: b"[" + text + b"]")
header_text("number", lambda text: b"7")
header_text("deep", lambda text: DEEP)
header_text("deep-in-entry", lambda text: text.rstrip()[:-1] + b',"x":' + DEEP)


@case("header-entry-not-object", WEIGHTS, UP)
def _(files):
    header = json.loads(split(files[WEIGHTS])[0])
    header[UP] = 7
    replace_header(files, json.dumps(header).encode())


@case("duplicate-tensor", WEIGHTS, UP)
def _(files):
    twin = f',"{UP}":{json.dumps(row(files, UP))}}}'
    replace_header(files, split(files[WEIGHTS])[0].rstrip()[:-1] + twin.encode())


@case("overlap", WEIGHTS, "_proj")
def _(files):
    """Two tensors of one size share their bytes; the file has no gap."""
    edit_tensors(files, lambda tensors: tensors.update({UP: ("F32", [0], b"")}))
    edit_row(files, UP, shape=row(files, GATE)["shape"], data_offsets=row(files, GATE)["data_offsets"])


@case("hole", WEIGHTS)
def _(files):
    text, data = split(files[WEIGHTS])
    header = json.loads(text)
    at = header[UP]["data_offsets"][0]
    for name, entry in header.items():
        if name != "__metadata__" and entry["data_offsets"][0] >= at:
            entry["data_offsets"] = [offset + 8 for offset in entry["data_offsets"]]
    files[WEIGHTS] = join(json.dumps(header).encode(), data[:at] + bytes(8) + data[at:])


def offsets(name, change, word=UP):
    @case("offsets-" + name, WEIGHTS, word)
    def _(files):
        edit_row(files, UP, data_offsets=change(*row(files, UP)["data_offsets"]))


offsets("out-of-range", lambda begin, end: [begin + (1 << 40), end + (1 << 40)], "_proj")  # or a gap before the next
offsets("wrapping", lambda begin, end: [(1 << 64) - 8, (1 << 64) - 8 + end - begin])
offsets("end-before-begin", lambda begin, end: [end, begin])
offsets("negative", lambda begin, end: [-(end - begin), 0])
offsets("fractional", lambda begin, end: [begin + 0.5, end + 0.5])
offsets("1e300", lambda begin, end: [begin, 1e300])
offsets("string", lambda begin, end: [str(begin), str(end)])
offsets("one", lambda begin, end: [begin])
offsets("three", lambda begin, end: [begin, end, end])
offsets("null", lambda begin, end: None)


def shape(name, value):
    case("shape-" + name, WEIGHTS, UP)(lambda files: edit_row(files, UP, shape=value))


shape("disagrees-with-bytes", [52, 41])
shape("negative", [-52, -40])  # the product is right
shape("fractional", [52.5, 40])
shape("1e300", [52, 1e300])
shape("string", "52x40")
shape("null", None)
shape("deep", [52, [[40]]])


@case("shape-product-wraps-to-bytes", WEIGHTS, UP)
def _(files):
    """2^32 * 2^32 elements are 0 modulo 2^64, which the entry contains."""
    edit_tensors(files, lambda tensors: tensors.update({UP: ("F32", [1 << 32, 1 << 32], b"")}))


@case("dtype-unknown", WEIGHTS, UP)
def _(files):
    edit_row(files, UP, dtype="F33")


@case("dtype-number", WEIGHTS, UP)
def _(files):
    edit_row(files, UP, dtype=32)


@case("dtype-integer-weights", WEIGHTS, UP)
def _(files):
    edit_tensors(files, lambda tensors: tensors.update({UP: ("I64", [52, 40], bytes(8 * 52 * 40))}))


# The tensors' roles.


def tensor_missing(tensor):
    case("missing-" + tensor, WEIGHTS, tensor)(lambda files: edit_tensors(files, lambda tensors: tensors.pop(tensor)))


tensor_missing(UP)
tensor_missing("model.embed_tokens.weight")
tensor_missing("model.norm.weight")
tensor_missing("lm_head.weight")


@case("missing-bias", WEIGHTS, ATTENTION + "q_proj.bias")
def _(files):
    edit_config(files, attention_bias=True)


def tensor_more(tensor, *dims):
    case("more-" + tensor, WEIGHTS, tensor)(
        lambda files: edit_tensors(files, lambda tensors: tensors.update({tensor: zeros(*dims)}))
    )


tensor_more(ATTENTION + "q_proj.bias", 60)
case("more-control-characters", WEIGHTS, "]0;x")(
    lambda files: edit_tensors(files, lambda t: t.update({"model.layers.0.\33]0;x\7\n": zeros(1)}))
)
tensor_more(ATTENTION + "q_norm.weight", 12)
tensor_more("model.layers.2.input_layernorm.weight", 40)
tensor_more("model.layers.01.input_layernorm.weight", 40)


def tensor_shape(name, tensor, *dims):
    case("role-" + name, WEIGHTS, tensor)(
        lambda files: edit_tensors(files, lambda tensors: tensors.update({tensor: zeros(*dims)}))
    )


tensor_shape("transposed", UP, 40, 52)
tensor_shape("flat", UP, 52 * 40)
tensor_shape("three-dimensions", UP, 52, 8, 5)
tensor_shape("three-dimensions-more", UP, 52, 40, 2)
tensor_shape("scalar", UP)
tensor_shape("norm-a-matrix", "model.norm.weight", 40, 2)
tensor_shape("no-rows", UP, 0, 40)
tensor_shape("short-norm", "model.norm.weight", 39)
tensor_shape("short-embedding", "model.embed_tokens.weight", 280, 40)
tensor_shape("narrow-head", "lm_head.weight", 281, 39)
tensor_shape("wide-keys", ATTENTION + "k_proj.weight", 60, 40)


@case("role-head-dim-left-out", WEIGHTS, "q_proj")
def _(files):
    """hidden_size / num_attention_heads is 8 then; the tensors have 12."""
    edit_config(files, head_dim=None)


# config.json


def config_text(name, text):
    case("config-" + name, CONFIG)(lambda files: files.update({CONFIG: text(files[CONFIG])}))


@case("config-absent", CONFIG)
def _(files):
    del files[CONFIG]


config_text("empty", lambda text: b"")
config_text("broken", lambda text: text[: len(text) // 2])
config_text("not-json", lambda text: b"hidden_size: 40\n")
config_text("array", lambda text: b"[" + text + b"]")
config_text("null", lambda text: b"null")
config_text("deep", lambda text: DEEP)

case("config-unknown-architecture", CONFIG, "ystery")(
    lambda files: edit_config(files, architectures=["MysteryForCausalLM"], model_type="mystery")
)
case("config-no-architecture", CONFIG)(lambda files: edit_config(files, architectures=None, model_type=None))
case("config-architectures-number", CONFIG)(lambda files: edit_config(files, architectures=7, model_type=7))

for field in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
    config_case("without-" + field, field, None)
    config_case("string-" + field, field, "40")
    config_case("zero-" + field, field, 0)
    config_case("negative-" + field, field, -40)
    config_case("fractional-" + field, field, 40.5)
    config_case("huge-" + field, field, 1e300)
config_case("null-hidden_size", "hidden_size", NULL)
config_case("array-hidden_size", "hidden_size", [40])
config_case("layers-1e9", "num_hidden_layers", 10**9)
config_case("layers-2-to-32-and-2", "num_hidden_layers", (1 << 32) + 2)  # 2 in 32 bits, as the tensors have
config_case("zero-kv-heads", "num_key_value_heads", 0)
config_case("negative-kv-heads", "num_key_value_heads", -1)
config_case("zero-head_dim", "head_dim", 0)
config_case("context-0", "max_position_embeddings", 0)
config_case("eps-string", "rms_norm_eps", "small")
config_case("eps-negative", "rms_norm_eps", -1e-5)
config_case("theta-0", "rope_theta", 0)
config_case("theta-string", "rope_theta", "10000")
config_case("unknown-activation", "hidden_act", "mystery")
config_case("partial-rotary", "partial_rotary_factor", 0.5)
config_case("rope-string", "rope_parameters", "default")
config_case("rope-unknown-type", "rope_parameters", {"rope_type": "mystery"})
config_case("rope-unknown-field", "rope_parameters", {"rope_type": "default", "factor": 8.0})
config_case("rope-partial", "rope_parameters", {"rope_theta": 10000.0, "partial_rotary_factor": 0.5})
case("config-rope-frequencies-infinite", "", "rope")(
    lambda files: edit_config(files, rope_theta=1e-29, rope_scaling={"type": "linear", "factor": 1e-29})
)
config_case("tied-string", "tie_word_embeddings", "maybe")
case("config-unknown-rope", CONFIG, "rope")(
    lambda files: edit_config(files, rope_scaling={"rope_type": "mystery", "type": "mystery", "factor": 2.0})
)


@case("config-heads-not-multiple", CONFIG, "num_key_value_heads")
def _(files):
    """5 heads over 3; the tensors agree."""
    edit_config(files, num_key_value_heads=3)
    resize_attention(files, q=60, kv=36)


@case("config-head_dim-odd", CONFIG, "head_dim")
def _(files):
    """13 columns have no halves to rotate; the tensors agree."""
    edit_config(files, head_dim=13)
    resize_attention(files, q=65, kv=13)


def resize_attention(files, q, kv):
    def edit(tensors):
        for i in range(2):
            block = f"model.layers.{i}.self_attn."
            tensors[block + "q_proj.weight"] = zeros(q, 40)
            tensors[block + "k_proj.weight"] = zeros(kv, 40)
            tensors[block + "v_proj.weight"] = zeros(kv, 40)
            tensors[block + "o_proj.weight"] = zeros(40, q)

    edit_tensors(files, edit)


# The index of a model in several files.


def index_case(name, file, word, edit):
    @case("index-" + name, file, word, fixture="f16-sharded")
    def _(files):
        index = json.loads(files[INDEX])
        edit(index["weight_map"], index)
        files[INDEX] = json.dumps(index).encode()


def redirect(weight_map, target):
    for tensor, shard in weight_map.items():
        if shard == SECOND_SHARD:
            weight_map[tensor] = target


def index_text(name, text):
    case("index-" + name, INDEX, fixture="f16-sharded")(lambda files: files.update({INDEX: text}))


case("index-names-missing-file", SECOND_SHARD, fixture="f16-sharded")(lambda files: files.pop(SECOND_SHARD))
case("index-names-truncated-file", SECOND_SHARD, fixture="f16-sharded")(
    lambda files: files.update({SECOND_SHARD: files[SECOND_SHARD][:-100]})
)
# The file outside is good: only the refusal to leave the folder can stop these two.
index_case("leaves-the-folder", INDEX, "escape.safetensors", lambda m, index: redirect(m, "../escape.safetensors"))
index_case("absolute-path", INDEX, "escape.safetensors", lambda m, index: redirect(m, OUTSIDE))
index_case("names-nothing", INDEX, "", lambda m, index: redirect(m, ""))
index_case("names-the-folder", INDEX, "", lambda m, index: redirect(m, "."))
index_case("names-a-number", INDEX, "", lambda m, index: redirect(m, 2))
index_case("lacks-a-tensor", INDEX, UP, lambda m, index: m.pop(UP))
index_case("names-the-wrong-file", "model-00003-of-00003.safetensors", "q_proj.weight",
           lambda m, index: m.update({ATTENTION + "q_proj.weight": "model-00003-of-00003.safetensors"}))
index_case("without-map", INDEX, "weight_map", lambda m, index: index.pop("weight_map"))
index_case("map-not-object", INDEX, "weight_map", lambda m, index: index.update(weight_map=[1, 2]))
index_text("broken", b'{"weight_map": {"model.norm.weight": ')
index_text("empty", b"")
index_text("deep", DEEP)


# The tokenizer.


@case("tokenizer-of-another-kind", "vocab.json")
def _(files):
    del files[TOKENIZER]
    files["vocab.json"] = b"{}"


def tokenizer(name, change, word=""):
    case("tokenizer-" + name, TOKENIZER, word)(lambda files: files.update({TOKENIZER: change(files[TOKENIZER])}))


def piece(text, score):
    """SentencePiece: field 1 of the model; in it 1 the text, 2 the score."""
    body = bytes([10, len(text)]) + text + b"\x15" + struct.pack("<f", score)
    return bytes([10, len(body)]) + body


tokenizer("empty", lambda raw: b"")
tokenizer("truncated", lambda raw: raw[: len(raw) // 2 + 1])  # inside a piece
tokenizer("text", lambda raw: b"<unk> <s> </s>\n")
tokenizer("length-2-to-63", lambda raw: raw + b"\x0a" + b"\x80" * 8 + b"\x80\x01")
tokenizer("endless-number", lambda raw: raw + b"\x0a" + b"\xff" * 64)
tokenizer("score-nan", lambda raw: piece(b"q", float("nan")) + raw)
tokenizer("larger-than-vocabulary", lambda raw: raw + b"".join(piece(b"x%d" % i, -99) for i in range(21)), "281")


def tokenizer_json(name, raw):
    @case("tokenizer-json-" + name, "tokenizer.json")
    def _(files):
        del files[TOKENIZER]
        files["tokenizer.json"] = raw


tokenizer_json("broken", b'{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, ')
tokenizer_json("empty", b"")
tokenizer_json("deep", DEEP)


# The chat template and its other files. The fixtures have none.

TOKENIZER_CONFIG, SPECIALS, GENERATION = "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"


def json_case(name, file, word, **fields):
    case(name, file, word)(lambda files: files.update({file: json.dumps(fields).encode()}))


def raw_case(name, file, word, raw):
    case(name, file, word)(lambda files: files.update({file: raw}))


json_case("template-number", TOKENIZER_CONFIG, "chat_template", chat_template=7)
json_case("template-object", TOKENIZER_CONFIG, "chat_template", chat_template={"default": "x"})
json_case("template-list-empty", TOKENIZER_CONFIG, "default", chat_template=[])
json_case("template-list-without-default", TOKENIZER_CONFIG, "default",
          chat_template=[{"name": "rag", "template": "x"}, 7, "default"])
json_case("template-list-number", TOKENIZER_CONFIG, "chat_template", chat_template=[{"name": "default", "template": 7}])
json_case("template-huge", TOKENIZER_CONFIG, "too large", chat_template="x" * ((1 << 19) + 1))
json_case("template-broken", TOKENIZER_CONFIG, "chat template", chat_template="{% if %}")
json_case("template-nul", TOKENIZER_CONFIG, "NUL", chat_template="a\0b")
raw_case("template-file-empty", "chat_template.jinja", "empty", b"")
raw_case("template-file-nul", "chat_template.jinja", "NUL", b"a\0b")
raw_case("template-file-not-utf-8", "chat_template.jinja", "UTF-8", b"a\xffb")
raw_case("template-json-broken", "chat_template.json", "", b'{"chat_template": ')
json_case("template-json-number", "chat_template.json", "chat_template", chat_template=7)
raw_case("tokenizer_config-array", TOKENIZER_CONFIG, "object", b"[]")
raw_case("tokenizer_config-not-utf-8", TOKENIZER_CONFIG, "UTF-8", b'{"chat_template": "\xc3("}')
raw_case("config-not-utf-8", CONFIG, "UTF-8", b'{"architectures": ["\xed\xa0\x80"]}')


@case("specials-broken", SPECIALS)
def _(files):
    files["chat_template.jinja"], files[SPECIALS] = b"x", b'{"bos_token": '


json_case("eos-text", GENERATION, "eos_token_id", eos_token_id="</s>")
json_case("eos-negative", GENERATION, "eos_token_id", eos_token_id=-1)
json_case("eos-beyond", GENERATION, "eos_token_id", eos_token_id=281)
json_case("eos-list-text", GENERATION, "eos_token_id", eos_token_id=[2, "</s>"])
json_case("eos-list-in-list", GENERATION, "eos_token_id", eos_token_id=[[2]])
json_case("eos-list-long", GENERATION, "more than 64 stop tokens", eos_token_id=list(range(65)))
json_case("eos-list-endless", GENERATION, "eos_token_id", eos_token_id=[2] * 400000 + [-1])
json_case("eos-object", GENERATION, "eos_token_id", eos_token_id={"a": 2})
json_case("stop-strings-number", GENERATION, "stop_strings", stop_strings=7)
json_case("stop-strings-empty", GENERATION, "stop_strings", stop_strings=["a", ""])
json_case("stop-strings-long", GENERATION, "stop_strings", stop_strings="x" * 256)
json_case("stop-strings-many", GENERATION, "stop_strings", stop_strings=["a"] * 17)


@case("config-eos-beyond", CONFIG, "eos_token_id")
def _(files):
    """Only if no other file contains it."""
    del files[GENERATION]
    edit_config(files, eos_token_id=281)


def main():
    global OUTSIDE
    if len(sys.argv) != 2:
        sys.exit("usage: make_folders.py OUTDIR")
    out = os.path.abspath(sys.argv[1])
    OUTSIDE = os.path.join(out, "escape.safetensors")
    os.makedirs(out, exist_ok=True)
    write_folder(os.path.join(out, "good"), read_folder("f32-awkward"))
    write_folder(os.path.join(out, "good-sharded"), read_folder("f16-sharded"))
    more = read_folder("f32-awkward")
    names = "model.layers.0.self_attn.rotary_emb.inv_freq", "vision_tower.layers.0.bias", "v_head.summary.weight"
    edit_tensors(more, lambda tensors: tensors.update({name: zeros(6) for name in names}))
    write_folder(os.path.join(out, "good-with-more"), more)
    with open(OUTSIDE, "wb") as file:
        file.write(read_folder("f16-sharded")[SECOND_SHARD])
    with open(os.path.join(out, "cases.tsv"), "w") as table:
        for name, blamed, word, spoil, fixture in CASES:
            good = read_folder(fixture)
            files = dict(good)
            spoil(files)
            if files == good:
                sys.exit(f"{name}: nothing was spoilt")
            write_folder(os.path.join(out, name), files)
            table.write(f"{name}\t{blamed}\t{word}\n")


if __name__ == "__main__":
    main()
