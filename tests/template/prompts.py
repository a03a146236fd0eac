"""Compares the tokens that a model reads, through the server, with jinja2 and tokenizers.

    prompts.py HOTLAYERD FOLDER...

Each FOLDER holds a tokenizer.json and a tokenizer_config.json with a chat template. Conversations go through a server
whose model has random weights: the rendered prompt must be jinja2's text, and the model's tokens must be those of the
text. The same for a template in Go's language, where the server adds the token that a text begins with, once. The last
line is "N prompts agree" or "N prompts agree, N differ".
"""
import json
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "server"))
from environment import make_environment
from serving import Server, ask, pack, write_speaker
from tokenizers import Tokenizer

GO = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
TEXTS = ["Hi", "", " ", "\n", "  spaces around \n\n", "Grüße, 世界! 🙂 e\u0301 \u200d\u00a0\u2028", "tabs\tand\r\n\r\n\r\nlines   ",
         "{{ x }} {% y %} {# z #}", "\\n 'quotes' \"and\" <b>&amp;</b>", "١٢٣ 1234567 0x1F_", "def f(x):\n    return x  # !\n" * 20]


def conversations(names):
    """Returns lists of messages; `names` are those of special tokens, which users may write."""
    texts = TEXTS + ["a %s b" % name for name in names] + ["".join(names), "x" + names[0], names[-1]]
    for text in texts:
        yield [("user", text)]
        yield [("system", text), ("user", "Hi")]
        yield [("user", "Hi"), ("assistant", text), ("user", text)]
        yield [("system", "Be kind."), ("user", text), ("assistant", "Hello!"), ("user", "And?"), ("assistant", text), ("user", text)]
    yield [("user", "q %d" % i) if i % 2 == 0 else ("assistant", "a %d\n" % i) for i in range(31)]
    yield [("assistant", "I begin"), ("user", "?")]
    yield [("user", "a"), ("user", "b")]
    yield [("system", "a"), ("system", "b"), ("user", "c")]
    yield [("system", "alone")]


class Comparison:
    def __init__(self, folder):
        with open(os.path.join(folder, "tokenizer_config.json")) as f:
            config = json.load(f)
        self.special = {k: v["content"] if isinstance(v, dict) else v for k, v in config.items() if k.endswith("_token") and v}
        self.jinja = make_environment().from_string(config["chat_template"])
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.bos = self.special.get("bos_token")
        self.names = [t for t in map(self.tokenizer.id_to_token, range(self.tokenizer.get_vocab_size(True)))
                      if t and t in ("<|eot_id|>", "<|start_header_id|>", "<end_of_turn>", "<start_of_turn>", "<|im_end|>", "<|im_start|>")]
        self.names += [self.bos] if self.bos else []
        self.agree = self.differ = 0

    def check(self, what, got, want):
        self.agree += got == want
        self.differ += got != want
        if got != want and self.differ <= 20:
            print("FAIL %r\n     ours   %r\n     theirs %r" % (what, got, want))

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def render(self, messages):
        try:
            return 200, self.jinja.render(messages=messages, tools=None, documents=None, add_generation_prompt=True, **self.special)
        except Exception as e:  # whatever a template raises
            return 400, str(e)

    def rendered(self, server, path, body):
        status, answer = self.ask(server, path, {**body, "_debug_render_only": True})
        return status, answer["_debug_info"]["rendered_template"] if status == 200 else answer["error"]

    def ask(self, server, path, body):
        status, _, data = ask(server, "POST", path, json.dumps({"model": "m", "stream": False, "options": {"num_predict": 1}, **body}))
        return status, json.loads(data)

    def compare_chat(self, server, messages):
        want, text = self.render(messages)
        status, got = self.rendered(server, "/api/chat", {"messages": messages})
        if want != 200:
            self.check(messages, (status, text in got), (want, True))
            return
        self.check(messages, (status, got), (want, text))
        count = self.ask(server, "/api/chat", {"messages": messages})[1].get("prompt_eval_count")
        self.check(("count", messages), count, len(self.ids(text)))

    def seen(self, server, body):
        """Returns the tokens of a prompt: the context without the generated token."""
        answer = self.ask(server, "/api/generate", body)[1]
        return answer["context"][: answer["prompt_eval_count"]]

    def compare_generate(self, server, messages, ids):
        body = {"prompt": messages[-1]["content"], "system": messages[0]["content"] if len(messages) == 2 else ""}
        if not body["prompt"]:
            return  # asks for no tokens
        status, text = self.rendered(server, "/api/generate", body)
        if status == 200:
            self.check(("tokens", messages), self.seen(server, body), ids(text))

    def beginning(self, text):
        """Adds the model's own beginning, unless the text has it, as Ollama's runner does."""
        ids = self.ids(text)
        own = self.tokenizer.encode("", add_special_tokens=True).ids
        return ids if ids[: len(own)] == own else own + ids

    def run(self, jinja, go):
        with Server(model=jinja) as server:
            for conversation in conversations(self.names):
                messages = [{"role": role, "content": content} for role, content in conversation]
                self.compare_chat(server, messages)
                if len(messages) == 1 or [m["role"] for m in messages] == ["system", "user"]:
                    self.compare_generate(server, messages, self.ids)
        with Server(model=go) as server:
            for text in TEXTS + self.names:
                self.compare_generate(server, [{"content": text}], self.beginning)
            for template in ["{{ .Prompt }}"] + ["%s{{ .Prompt }}" % self.bos] * bool(self.bos):
                for text in TEXTS[5:7] + self.names:
                    self.check(("template", template, text), self.seen(server, {"prompt": text, "template": template}),
                               self.beginning(template.replace("{{ .Prompt }}", text)))


def make(folder, work):
    source = os.path.join(work, "source")
    os.mkdir(source)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(folder, name), source)
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    write_speaker(source, [5], tokenizer.get_vocab_size(True), eos_token_id=4)
    path = os.path.join(work, "t.gotmpl")
    with open(path, "w") as f:
        f.write(GO)
    return (pack(source, os.path.join(work, "jinja.hot"), "--name", "m"),
            pack(source, os.path.join(work, "go.hot"), "--name", "m", "--template", path))


def main():
    agree = differ = 0
    for folder in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as work:
            comparison = Comparison(folder)
            comparison.run(*make(folder, work))
            agree += comparison.agree
            differ += comparison.differ
    print("%d prompts agree" % agree + (", %d differ" % differ if differ else ""))
    return differ != 0


if __name__ == "__main__":
    sys.exit(main())
