#!/usr/bin/env python3
"""Chat templates over HTTP: /api/generate, /api/chat and /api/show of a model with a chat template.

    python3 tests/server/chat.py HOTLAYERD MODEL_FOLDER

Packs MODEL_FOLDER with the templates in this file, one in Jinja and one in Go. The "context" of an answer and
"_debug_render_only" show what the model read. Prints a line per check and ends with "N passed, N failed".
"""

import json
import os
import re
import select
import subprocess
import sys
import tempfile
import time

from serving import (BYTE, HOTLAYERD, MODEL as FOLDER, Server, ask, check, connect, pack, post as request, tally,
                     write_bytes_speaker)

JINJA = """{{ bos_token }}{% for m in messages -%}
{%- if m.role == 'system' and m.content == 'forbidden' %}{{ raise_exception('No "system" here: ' ~ m.content) }}{% endif -%}
[{{ m.role }}] {{ m.content }}{{ eos_token }}
{% endfor %}{% for t in tools or [] %}<{{ t | tojson }}>{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"""
GO = """{{ if .System }}S:{{ .System }} {{ end }}U:{{ .Prompt }} A:{{ .Response }}"""


def make(name, folder, template, suffix=".jinja"):
    path = os.path.join(folder, name + suffix)
    with open(path, "w") as f:
        f.write(template)
    return pack(FOLDER, os.path.join(folder, name + ".hot"), "--name", name, "--template", path)


def post(server, path, body):
    status, headers, data = ask(server, "POST", path, json.dumps(body))
    return status, headers, [json.loads(line) for line in data.splitlines()]


def tokens(model, text):
    """Returns the ids of a text whose special tokens are special, without the token that a text begins with."""
    command = [HOTLAYERD, "tokenize", "--model", model, "--special", text]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)[1:]


def rendered(server, path, body):
    status, _, lines = post(server, path, {**body, "_debug_render_only": True})
    return lines[0].get("_debug_info", {}).get("rendered_template") if status == 200 else (status, lines)


def same(what, got, want):
    check(what, got == want, (got, want))


def test_jinja(server, model):
    bos, eos = "<|begin_of_text|>", "<|end_of_text|>"
    user = bos + "[user] Hi!" + eos + "\n[assistant] "
    ask_hi = {"model": "jinja", "prompt": "Hi!", "options": {"temperature": 0, "num_predict": 4}}
    same("generate renders one message", rendered(server, "/api/generate", ask_hi), user)
    same("and the system's text", rendered(server, "/api/generate", {**ask_hi, "system": "Be ü."}),
         bos + "[system] Be ü." + eos + "\n[user] Hi!" + eos + "\n[assistant] ")
    same("raw renders nothing", rendered(server, "/api/generate", {**ask_hi, "raw": True}), "Hi!")
    status, _, lines = post(server, "/api/generate", {**ask_hi, "stream": False})
    answer = lines[0]
    want = tokens(model, user)
    same("the model reads these tokens", (status, answer["context"][: len(want)], answer["prompt_eval_count"]),
         (200, want, len(want)))
    check("the text begins once", want[0] == 998 and want[1] != 998, want)
    _, _, plain = post(server, "/api/generate", {**ask_hi, "raw": True, "prompt": user.replace(bos, ""), "stream": False})
    same("raw with the same text gives the same answer", plain[0]["response"], answer["response"])
    status, _, lines = post(server, "/api/generate", {**ask_hi, "system": "forbidden"})
    check("an exception of a template is a 400", status == 400 and 'No "system" here: forbidden' in lines[0]["error"],
          (status, lines))
    status, _, lines = post(server, "/api/generate", {**ask_hi, "suffix": "end"})
    check("no place for a suffix", status == 400 and "suffix" in lines[0]["error"], (status, lines))

    chat = {"model": "jinja", "options": ask_hi["options"], "messages": [
        {"role": "System", "content": "s"}, {"role": "user", "content": "Hi!"}, {"role": "assistant", "content": ""},
        {"role": "user", "content": "Wie geht's? \U0001f600"}]}
    same("chat renders all messages", rendered(server, "/api/chat", chat),
         bos + "[system] s" + eos + "\n[user] Hi!" + eos + "\n[assistant] " + eos + "\n[user] Wie geht's? \U0001f600" + eos
         + "\n[assistant] ")
    status, headers, lines = post(server, "/api/chat", {**chat, "messages": [{"role": "user", "content": "Hi!"}]})
    text = "".join(line["message"]["content"] for line in lines)
    check("chat streams messages", status == 200 and headers["Content-Type"] == "application/x-ndjson" and lines[-1]["done"]
          and all(line["message"]["role"] == "assistant" for line in lines) and "context" not in lines[-1], lines)
    same("with generate's answer", text, answer["response"])
    status, _, lines = post(server, "/api/chat", {**chat, "stream": False})
    check("chat in one piece", status == 200 and len(lines) == 1 and lines[0]["message"]["content"] and lines[0]["done"]
          and "response" not in lines[0], lines)
    status, _, lines = post(server, "/api/chat", {"model": "jinja", "messages": []})
    check("no messages load", status == 200 and lines[-1]["done_reason"] == "load", lines)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"x": 1.0, "y": [1, 2.5e3, True, None, "é"]}}}]
    status, _, lines = post(server, "/api/chat", {**chat, "tools": tools})
    check("tools are refused, not forgotten", status == 400 and "tools" in lines[0]["error"], lines)
    same("tools are rendered with their order and numbers",
         rendered(server, "/api/chat", {**chat, "messages": [{"role": "user", "content": "x"}], "tools": tools}),
         bos + "[user] x" + eos + '\n<{"type": "function", "function": {"name": "f", "parameters": {"x": 1.0, "y": [1, 2500.0, '
         'true, null, "é"]}}}>[assistant] ')

    same("a template of the request", rendered(server, "/api/generate", {**ask_hi, "template": GO, "system": "s"}),
         "S:s U:Hi! A:")
    status, _, lines = post(server, "/api/generate", {**ask_hi, "template": "{{ if }"})
    check("an invalid template is a 400", status == 400 and "template" in lines[0]["error"], lines)
    status, _, lines = post(server, "/api/generate", {**ask_hi, "template": "{{ if .System }}"})
    check("an endless one too", status == 400 and "template" in lines[0]["error"], lines)
    loop = "{{ range 100000 }}%s{{ end }}" % ("{{ if 1 }}{{ end }}" * 6000)
    for what, words, body in (("an endless one", "steps", {"template": loop}), ("a huge text", "bytes of memory", {
            "template": "{{ $x := .Prompt }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}"})):
        status, _, lines = post(server, "/api/generate", {**ask_hi, **body})
        check("a template of the request: %s" % what, status == 400 and words in lines[0]["error"], lines)
    for body in ({}, {"raw": True}):
        status, _, lines = post(server, "/api/generate", {**ask_hi, **body, "prompt": "x" * 30000})
        check("30000 bytes are refused for 512 tokens", status == 400 and "bytes does not fit" in lines[0]["error"], lines)
    status, _, lines = post(server, "/api/chat", {**chat, "messages": [{"role": "user", "content": ""}] * 22000})
    check("22000 messages", status == 400 and "65536 values" in lines[0]["error"], lines)

    status, _, (show,) = post(server, "/api/show", {"model": "jinja:latest"})
    check("show", status == 200 and show["template"] == JINJA and eos in show["parameters"]
          and show["details"]["family"] == "llama" and show["model_info"]["llama.context_length"] == 512
          and show["capabilities"] == ["completion"] and show["modified_at"].endswith("Z"), show)
    for body, code in (({"model": "nobody"}, 404), ({}, 400), ([], 400), ({"name": "jinja"}, 200)):
        same("show %s" % json.dumps(body), post(server, "/api/show", body)[0], code)


def test_go(server, model):
    ask_hi = {"model": "go", "prompt": "Hi!", "options": {"temperature": 0, "num_predict": 4}}
    same("Go: generate", rendered(server, "/api/generate", ask_hi), "U:Hi! A:")
    same("Go: with a system's text", rendered(server, "/api/generate", {**ask_hi, "system": "s"}), "S:s U:Hi! A:")
    fill = {**ask_hi, "suffix": "end", "template": "{{ .Prompt }}<gap>{{ .Suffix }}"}
    same("Go: a suffix", rendered(server, "/api/generate", fill), "Hi!<gap>end")
    status, _, lines = post(server, "/api/generate", {**ask_hi, "suffix": "end"})
    check("Go: no place for a suffix", status == 400 and "suffix" in lines[0]["error"], (status, lines))
    chat = {"model": "go", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                                        {"role": "user", "content": "c"}]}
    same("Go: turn by turn", rendered(server, "/api/chat", chat), "U:a A:bU:c A:")
    _, _, (answer,) = post(server, "/api/generate", {**ask_hi, "stream": False})
    got = answer["context"]
    check("Go: the text's beginning is added", got[0] == 998 and got[1] != 998 and answer["prompt_eval_count"] > 2, got)
    own = {**ask_hi, "template": "<|begin_of_text|>{{ .Prompt }}", "stream": False}
    got = post(server, "/api/generate", own)[2][0]["context"]
    check("Go: unless the text has it", got[0] == 998 and got[1] != 998, got)
    status, _, (show,) = post(server, "/api/show", {"model": "go"})
    check("Go: show gives the template as it is", status == 200 and show["template"] == GO
          and show["capabilities"] == ["completion"], show)
    same("Go: only control tokens end a turn", show["parameters"], 'stop                           "<|end_of_text|>"')


def write_source(folder, files):
    """Makes a model whose folder has these files besides those of every model; `tokenizer_config.json` gets more keys.
    """
    source = tempfile.mkdtemp(dir=folder)
    write_bytes_speaker(source, [BYTE + ord("a")])
    for name, content in files.items():
        path = os.path.join(source, name)
        if name == "tokenizer_config.json":
            with open(path) as f:
                content = {**json.load(f), **content}
        with open(path, "w") as f:
            f.write(content if isinstance(content, str) else json.dumps(content))
    return source


def test_sources(folder):
    """Checks where a model's own template is read from, and its special tokens."""
    names = "{{ bos_token }}{{ eos_token }}{{ image_token }}{{ pad_token }}{{ [legacy is defined, tokenizer_class is defined] }}"
    tools = {"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]}
    both = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "default"}]
    for what, want, files in (
            ("tokenizer_config.json", "config", {"tokenizer_config.json": {"chat_template": "config"}}),
            ("one of several", "default", {"tokenizer_config.json": {"chat_template": both}}),
            ("chat_template.json", "json", {"chat_template.json": {"chat_template": "json"}}),
            ("tokenizer_config.json before chat_template.json", "config", {
                "tokenizer_config.json": {"chat_template": "config"}, "chat_template.json": {"chat_template": "json"}}),
            ("chat_template.jinja before all", "file", {
                "chat_template.jinja": "file", "tokenizer_config.json": {"chat_template": "config"}}),
            ("special tokens", "<s></s><img><pad>[False, False]", {
                "chat_template.jinja": names, "special_tokens_map.json": {"pad_token": "<pad>", "eos_token": "no"},
                "tokenizer_config.json": {"eos_token": {"content": "</s>"}, "extra_special_tokens": {"image_token": "<img>"}}})):
        with Server(model=pack(write_source(folder, files), os.path.join(folder, "m.hot"), "--name", "m")) as server:
            same("template: " + what, rendered(server, "/api/generate", {"model": "m", "prompt": "x"}), want)
            got = rendered(server, "/api/chat", {"model": "m", **tools})
            check("template: %s: tools" % what, "without its template for tools" in str(got) if want == "default" else
                  got == want, got)
    with Server(model=pack(write_source(folder, {}), os.path.join(folder, "m.hot"), "--name", "m")) as server:
        status, _, lines = post(server, "/api/chat", {"model": "m", "messages": tools["messages"]})
        check("no template, no chat", status == 400 and "no chat template" in lines[0]["error"], lines)
        same("no template: the prompt is bare", rendered(server, "/api/generate", {"model": "m", "prompt": "x"}), "x")
    for what, words, files in (
            ("a number", "chat_template", {"tokenizer_config.json": {"chat_template": 1}}),
            ("no default", '"default"', {"tokenizer_config.json": {"chat_template": both[:1]}}),
            ("a NUL", "NUL", {"chat_template.jinja": "a\0b"}),
            ("a megabyte and more", "too large", {"chat_template.jinja": "x" * 1_048_577}),
            ("half a megabyte and more", "524288", {"chat_template.jinja": "x" * 524_289}),
            ("broken", "line 2", {"chat_template.json": {"chat_template": "\n{% if %}"}})):
        try:
            said = pack(write_source(folder, files), os.path.join(folder, "x.hot"))
        except RuntimeError as e:
            said = str(e)
        check("no template: " + what, words in said, said)


def memory(server):
    """Returns the MiB in use, once they no longer change."""
    last = -1
    while True:
        with open("/proc/%d/status" % server.process.pid) as f:
            now = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) // 1024
        if now == last:
            return now
        last = now
        time.sleep(0.5)


def test_waiting(folder):
    """Queued requests hold tokens, not the megabytes of their bodies."""
    source = write_source(folder, {"chat_template.jinja": "{{ messages | length }}"})
    model = pack(source, os.path.join(folder, "m.hot"), "--name", "m")
    large = "x" * 12_000_000
    chat = {"model": "m", "messages": [{"role": "user", "content": large}]}
    with Server("--ctx", "65536", "--threads", "1", model=model) as server:
        waiting = []
        before = memory(server)
        for path, body in [("/api/chat", chat), ("/api/generate", {"model": "m", "prompt": large})] * 6:
            s = connect(server)
            s.sendall(request({**body, "stream": False}, path))
            waiting.append(s)
        after = memory(server)
        most = 48 if b"__tsan_init" not in open(HOTLAYERD, "rb").read() else 192  # its shadow memory is as large again
        check("12 requests of 12 MB wait in 48 MiB", after - before < most and not select.select(waiting, [], [], 0)[0],
              (before, after))
        for s in waiting:
            s.close()


def main():
    with tempfile.TemporaryDirectory() as folder:
        model = make("jinja", folder, JINJA)
        with Server(model=model) as server:
            test_jinja(server, model)
        model = make("go", folder, GO, ".gotmpl")
        with Server(model=model) as server:
            test_go(server, model)
        with Server(model=make("fill", folder, "{{ .Prompt }}{{ .Suffix }}", ".gotmpl")) as server:
            same("a template that fills gaps", post(server, "/api/show", {"model": "fill"})[2][0]["capabilities"],
                 ["completion", "insert"])
        test_sources(folder)
        test_waiting(folder)
    print("%(passed)d passed, %(failed)d failed" % tally)
    sys.exit(0 if tally["failed"] == 0 else 1)


if __name__ == "__main__":
    main()
