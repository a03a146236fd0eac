#!/usr/bin/env python3
"""How `hotlayer pack` reads the small files around the weights: stops, license, name, chat template.

    python3 tests/pack/meta.py HOTLAYER MODEL_FOLDER

MODEL_FOLDER is examples/demo/model: its vocabulary has 1000 tokens, of which the last two, <|begin_of_text|> and
<|end_of_text|>, are special. Each case changes some files of a copy and gives the expected output of `hotlayer
inspect`. Ends with "N passed, N failed".
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

HOTLAYER, FOLDER = sys.argv[1:]
BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer_config.json"
tally = {"passed": 0, "failed": 0}


def check(what, good, saw):
    tally["passed" if good else "failed"] += 1
    if not good:
        print("FAIL %s: %s" % (what, str(saw)[:2000]))


def base(name):
    with open(os.path.join(FOLDER, name)) as f:
        return json.load(f)


def changed(name, **fields):
    """Returns the file's object with these fields; None removes a field."""
    return {key: value for key, value in {**base(name), **fields}.items() if value is not None}


def pack(files, arguments=(), folder="model"):
    """Returns the meta section, or the packer's message. A file that is None is missing; objects become JSON."""
    with tempfile.TemporaryDirectory() as work:
        model, out = os.path.join(work, folder), os.path.join(work, "x.hot")
        shutil.copytree(FOLDER, model)
        for name, content in files.items():
            path = os.path.join(model, name)
            if content is None:
                os.remove(path)
            else:
                raw = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else \
                    json.dumps(content).encode()
                with open(path, "wb") as f:
                    f.write(raw)
        arguments = [argument.replace("MODEL", model) for argument in arguments]
        done = subprocess.run([HOTLAYER, "pack", model, "-o", out, *arguments], capture_output=True, text=True)
        if done.returncode:
            return done.stderr
        shown = subprocess.run([HOTLAYER, "inspect", "--json", out], capture_output=True, text=True, check=True)
        return json.loads(shown.stdout)["meta"]


def has(what, files, arguments=(), folder="model", **fields):
    """Checks those fields of the meta section; None: the field is absent."""
    meta = pack(files, arguments, folder)
    check(what, isinstance(meta, dict) and all(meta.get(key) == value for key, value in fields.items()), meta)


def says(what, files, word, arguments=()):
    answer = pack(files, arguments)
    check(what, isinstance(answer, str) and word in answer, answer)


def stops():
    has("the generation's end", {}, stop_tokens=[999], stop_texts=None, license=None, template=None)
    has("a list, each once", {GENERATION: {"eos_token_id": [5, 999, 5]}}, stop_tokens=[5, 999])
    has("the configuration's end", {GENERATION: {}, CONFIG: changed(CONFIG, eos_token_id=7)}, stop_tokens=[7])
    has("the generation's goes first", {CONFIG: changed(CONFIG, eos_token_id=7)}, stop_tokens=[999])
    nothing = {GENERATION: None, CONFIG: changed(CONFIG, eos_token_id=None)}
    has("the tokenizer's end, where nothing else says it", nothing, stop_tokens=[999])
    has("an empty list is nothing", {**nothing, GENERATION: {"eos_token_id": []}}, stop_tokens=[999])
    has("64 of them", {GENERATION: {"eos_token_id": list(range(64))}}, stop_tokens=list(range(64)))
    says("65 of them", {GENERATION: {"eos_token_id": list(range(65))}}, "more than 64 stop tokens")
    has("the last of the vocabulary", {GENERATION: {"eos_token_id": 0}}, stop_tokens=[0])
    says("one beyond", {GENERATION: {"eos_token_id": base(CONFIG)["vocab_size"]}}, "eos_token_id must be token numbers")
    has("a text", {GENERATION: {"eos_token_id": 1, "stop_strings": "END"}}, stop_texts=["END"])
    has("texts", {GENERATION: {"eos_token_id": 1, "stop_strings": ["a", "b" * 255]}}, stop_texts=["a", "b" * 255])
    says("an empty text", {GENERATION: {"stop_strings": [""]}}, "stop_strings")
    says("a long text", {GENERATION: {"stop_strings": "b" * 256}}, "stop_strings")


def licences():
    card = "---\nlanguage: en\nlicense: %s\ntags: [x]\n---\n# Model\nlicense: no\n"
    has("a licence", {"README.md": card % "apache-2.0"}, license="apache-2.0")
    has("a licence in a file of Windows", {"README.md": (card % "mit").replace("\n", "\r\n")}, license="mit")
    has("without blanks around it", {"README.md": card % "  gemma\t "}, license="gemma")
    has("199 bytes", {"README.md": card % ("x" * 199)}, license="x" * 199)
    has("200 bytes", {"README.md": card % ("x" * 200)}, license=None)
    has("nothing", {"README.md": card % ""}, license=None)
    has("not UTF-8", {"README.md": b"---\nlicense: \xff\n---\n"}, license=None)
    has("not in the front matter", {"README.md": "---\nlanguage: en\n---\nlicense: no\n"}, license=None)
    has("no front matter", {"README.md": "# Model\n---\nlicense: no\n---\n"}, license=None)
    has("no end of it", {"README.md": "---\nlicense: mit"}, license="mit")
    has("three dashes", {"README.md": "---"}, license=None)
    has("no card", {"README.md": None}, license=None)
    has("an empty card", {"README.md": ""}, license=None)


def names():
    has("the folder's name", {}, folder="Model-1.0_x:y", name="Model-1.0_x:y")
    has("made into a name", {}, folder=".hidden model\u00e9", name="-hidden-model--")
    has("cut", {}, folder="n" * 200, name="n" * 128)
    has("given", {}, ["--name", "mine"], name="mine")
    has("given, as long as can be", {}, ["--name", "a" * 128], name="a" * 128)
    for name in (".a", "", "a/b", "a b", "a" * 129, "\u00e9"):
        says("%r is none" % name[:9], {}, "is not a model name", ["--name", name])


def templates():
    jinja = {"template_language": "jinja"}
    has("in the tokenizer's configuration", {TOKENIZER: changed(TOKENIZER, chat_template="a")}, template="a", **jinja)
    has("in a file of its own, which goes first", {TOKENIZER: changed(TOKENIZER, chat_template="a"),
                                                   "chat_template.jinja": "b", "chat_template.json": {"chat_template": "c"}},
        template="b", **jinja)
    has("the tokenizer's before the last", {TOKENIZER: changed(TOKENIZER, chat_template="a"),
                                            "chat_template.json": {"chat_template": "c"}}, template="a")
    has("in the last place", {"chat_template.json": {"chat_template": "c"}}, template="c", tools_apart=None)
    named = [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]
    has("the default among many", {TOKENIZER: changed(TOKENIZER, chat_template=named)}, template="d", tools_apart=None)
    named += [{"name": "tool_use", "template": "t"}]
    has("one for tools beside it", {TOKENIZER: changed(TOKENIZER, chat_template=named)}, template="d", tools_apart=True)
    has("many in the last place", {"chat_template.json": {"chat_template": named}}, template="d", tools_apart=True)
    has("none", {"chat_template.json": {"chat_template": None}}, template=None, template_language=None)
    files = {"chat_template.jinja": "a", "b.jinja": "b", "c.gotmpl": "{{ .Prompt }}", "bad.jinja": "{% if %}"}
    has("given", files, ["--template", "MODEL/b.jinja"], template="b", **jinja)
    has("given, Go's", files, ["--template", "MODEL/c.gotmpl"], template="{{ .Prompt }}", template_language="go")
    says("given, broken", files, "model/bad.jinja: chat template, line 1", ["--template", "MODEL/bad.jinja"])
    says("given, not there", files, "model/none: cannot be opened", ["--template", "MODEL/none"])
    says("given, a folder", files, "model: not a regular file", ["--template", "MODEL"])
    has("of the largest size", {"chat_template.jinja": "x" * (1 << 19)}, template="x" * (1 << 19))
    says("larger", {"chat_template.jinja": "x" * ((1 << 19) + 1)}, "chat_template.jinja: a chat template of 524289 bytes")


def turns():
    """The text after an answer in a template ends a turn; only special tokens in it count."""
    def of(template, what, stop_tokens, **more):
        files = {"chat_template.jinja": template}
        for name, fields in more.items():
            files[name.replace("__", ".")] = fields
        has(what, files, stop_tokens=stop_tokens)

    each = "{%% for m in messages %%}[{{ m.role }}] {{ m.content }}%s{%% endfor %%}"
    of(each % BEGIN, "a special token's text", [999, 998])
    of(each % (" \n" + BEGIN), "behind blanks", [999, 998])
    of(each % END, "the one that is known", [999])
    of(each % "</s>", "a plain text", [999])
    of(each % ("x" + BEGIN), "not at once", [999])
    of("{{ messages[0].content }}", "a template without answers", [999])
    of("{# nothing #}", "a template that says nothing", [999])
    of("{{ raise_exception('no') }}", "a template that refuses", [999])
    of(each % "{{ bos_token }}", "by its name", [999, 998])
    config = changed(TOKENIZER, bos_token={"content": BEGIN, "lstrip": False})
    of(each % "{{ bos_token }}", "by its name, as an object", [999, 998], tokenizer_config__json=config)
    config = changed(TOKENIZER, bos_token=None)
    of(each % "{{ bos_token }}", "by a name that nothing has", [999], tokenizer_config__json=config)
    of(each % "{{ bos_token }}", "by a name of the other file", [999, 998], tokenizer_config__json=config,
       special_tokens_map__json={"bos_token": {"content": BEGIN}})
    of(each % "{{ bos_token }}", "which goes last", [999, 998], special_tokens_map__json={"bos_token": "</s>"})
    config = changed(TOKENIZER, extra_special_tokens={"turn_token": BEGIN, "number_token": 7})
    of(each % "{{ turn_token }}", "by a name of the model's own", [999, 998], tokenizer_config__json=config)
    many = {"t%02d_token" % i: "</s>" for i in range(40)}
    of(each % "{{ bos_token }}", "by a name among many", [999, 998], special_tokens_map__json=many)


def main():
    for part in stops, licences, names, templates, turns:
        part()
    print("%(passed)d passed, %(failed)d failed" % tally)
    sys.exit(1 if tally["failed"] else 0)


if __name__ == "__main__":
    main()
