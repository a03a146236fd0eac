#!/usr/bin/env python3
"""Generations end at the model's stop tokens and texts, at the end of a turn in its chat template, and at the stop
texts of a request.

    python3 tests/server/stops.py HOTLAYERD MODEL_FOLDER

The models say "abcdé", then the token </s>, then "x", byte by byte, again and again until they are stopped.
MODEL_FOLDER is not used. Prints a line per check and ends with "N passed, N failed".
"""

import json
import os
import subprocess
import sys
import tempfile

from serving import BYTE, HOTLAYERD, Server, ask, check, pack, tally, write_bytes_speaker

EOS = 2
SAYS = [BYTE + byte for byte in "abcdé".encode()] + [EOS, BYTE + ord("x")]
NEVER = BYTE + ord("!")
TURNS = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% if m.role == 'assistant' %} </s>{% endif %}\n{% endfor %}"
GO = '{{ range .Messages }}[{{ .Role }}] {{ .Content }}{{ if eq .Role "assistant" }}</s>{{ end }}\n{{ end }}'


def make(folder, eos, template=None, suffix=".jinja", **generation):
    """Makes a model with these stops."""
    source = tempfile.mkdtemp(dir=folder)
    write_bytes_speaker(source, SAYS, eos_token_id=eos)
    with open(os.path.join(source, "generation_config.json"), "w") as f:
        json.dump(generation, f)
    path = os.path.join(source, "template" + suffix)
    with open(path, "w") as f:
        f.write(template or "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}")
    return pack(source, os.path.join(source, "m.hot"), "--name", "m", "--template", path)


def say(server, path, stream, options):
    """Returns the text, the reason for its end, and its number of tokens."""
    body = {"model": "m", "stream": stream, "options": {"temperature": 0, **options}}
    body.update({"messages": [{"role": "user", "content": "hi"}]} if path == "/api/chat" else {"prompt": "hi"})
    status, _, data = ask(server, "POST", path, json.dumps(body))
    lines = [json.loads(line) for line in data.splitlines()]
    if status != 200:
        return status, lines
    texts = [line["message"]["content"] if path == "/api/chat" else line["response"] for line in lines]
    return "".join(texts), lines[-1]["done_reason"], lines[-1]["eval_count"]


def ends(server, what, want, **options):
    for path in ("/api/generate", "/api/chat"):
        for stream in (True, False):
            got = say(server, path, stream, options)
            check("%s: %s%s" % (what, path, ", streamed" if stream else ""), got == want, (got, want))


def test_requests(server):
    ends(server, "nothing stops it", ("abcdéxabcd", "length", 12), num_predict=12)
    ends(server, "a text", ("ab", "stop", 4), stop="cd")
    ends(server, "the first of them", ("a", "stop", 3), stop=["dé", "bc", "cd"])
    ends(server, "what begins first, though a token is the other", ("a", "stop", 3), stop=["bc", "c"])
    ends(server, "a character of two tokens", ("abcd", "stop", 6), stop=["é"])
    ends(server, "a text around a token without text", ("abcd", "stop", 8), stop=["éx"])
    ends(server, "at once", ("", "stop", 1), stop=["a"])
    ends(server, "the name of a control token", ("abcdé", "stop", 7), stop=["</s>"])
    ends(server, "part of the name of a control token", ("abcdéxabcd", "length", 12), num_predict=12, stop=["</"])
    ends(server, "part of a stop text is text", ("abcd", "length", 4), num_predict=4, stop=["cd!"])
    ends(server, "half a character", ("abcd\ufffd", "length", 5), num_predict=5, stop=["é!"])


def main():
    with tempfile.TemporaryDirectory() as folder:
        with Server(model=make(folder, NEVER)) as server:
            test_requests(server)
        for what, want, model in (
                ("eos of config.json", ("abcdé", "stop", 6), make(folder, EOS)),
                ("eos of generation_config.json", ("ab", "stop", 2), make(folder, EOS, eos_token_id=[NEVER, SAYS[2], EOS])),
                ("stop_strings", ("abc", "stop", 6), make(folder, NEVER, stop_strings=["zz", "dé"])),
                ("stop_strings, one", ("a", "stop", 2), make(folder, NEVER, stop_strings="b")),
                ("stop_strings, a control token", ("abcdé", "stop", 7), make(folder, NEVER, stop_strings=["</s>"])),
                ("the end of a turn", ("abcdé", "stop", 6), make(folder, NEVER, TURNS)),
                ("the end of a turn, Go", ("abcdé", "stop", 6), make(folder, NEVER, GO, ".gotmpl")),
                ("the end of a turn, behind words of the template", ("abcdé", "stop", 6),
                 make(folder, NEVER, "Give an answer. " + TURNS))):
            with Server(model=model) as server:
                ends(server, what, want, num_predict=20)
            done = subprocess.run([HOTLAYERD, "generate", "--model", model, "-p", "hi", "-n", "20"], stdout=subprocess.PIPE)
            check("%s: the command" % what, done.stdout.decode() == want[0] + "\n", done)
        with Server(model=make(folder, NEVER, stop_strings=["d"])) as server:
            ends(server, "the model's and the request's", ("ab", "stop", 3), stop=["c"])
            ends(server, "the request's and the model's", ("abc", "stop", 4), stop=["é"])
    print("%(passed)d passed, %(failed)d failed" % tally)
    return tally["failed"] != 0


if __name__ == "__main__":
    sys.exit(main())
