"""Compares the template engine with jinja2.

    compare.py RENDER [FOLDER...] [--random N] [--seed N]

RENDER is build/tests/template/render. Renders the templates of constructs.py, those in families/ and those of the
FOLDERs' tokenizer_config.json with many conversations, and N random templates. Both must give the same text, or both an
error. The last line is "N templates agree" or "N templates agree, N differ".
"""
import argparse
import glob
import json
import os
import sys

import conversations
import random_templates
from constructs import CONTEXT, EXPRESSIONS, STATEMENTS
from environment import make_environment, render_ours, render_theirs

HERE = os.path.dirname(os.path.abspath(__file__))


def constructs():
    context = json.dumps(CONTEXT)
    for line in EXPRESSIONS.split("\n"):
        if line.strip():
            yield "{{ " + line + " }}", context
    for template in STATEMENTS:
        yield template, context


def families(folders):
    templates = [open(path).read() for path in sorted(glob.glob(os.path.join(HERE, "families", "*.jinja")))]
    for folder in folders:
        path = os.path.join(folder, "tokenizer_config.json")
        template = json.load(open(path)).get("chat_template") if os.path.exists(path) else None
        templates += [template] if isinstance(template, str) else [t["template"] for t in template or []]
    for template in templates:
        for conversation in conversations.all_conversations():
            yield template, json.dumps(conversation, ensure_ascii=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("render")
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20)
    args = parser.parse_args()
    cases = list(constructs()) + list(families(args.folders)) + list(random_templates.make(args.random, args.seed))
    env = make_environment()
    differ = 0
    for (template, context), ours in zip(cases, render_ours(args.render, cases)):
        theirs = render_theirs(env, template, context)
        if ours != theirs and not (ours[0] == theirs[0] == "error"):
            differ += 1
            if differ <= args.show:
                print(f"FAIL {template!r}\n     ours   {ours[0]} {ours[1]!r}\n     theirs {theirs[0]} {theirs[1]!r}")
    print(f"{len(cases) - differ} templates agree" + (f", {differ} differ" if differ else ""))
    return differ != 0


if __name__ == "__main__":
    sys.exit(main())
