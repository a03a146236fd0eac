"""Makes cases.json, which run_cases.py checks without jinja2: the templates of constructs.py and families/, some
conversations, and jinja2's output.

    make_cases.py          needs the package jinja2
"""
import json
import os

import conversations
from compare import HERE, constructs, families
from constructs import REFUSED
from environment import make_environment, render_theirs


def main():
    env = make_environment()
    contexts, rows = [], []
    few = [json.dumps(c, ensure_ascii=False) for c in conversations.all_conversations()][::9]
    cases = list(constructs()) + [(t, c) for t, c in families([]) if c in few]
    for template, context in cases:
        status, text = render_theirs(env, template, context)
        context = json.loads(context)
        if context not in contexts:
            contexts.append(context)
        rows.append([template, contexts.index(context), text if status == "ok" else None])
    rows += [[template, 0, None] for template in REFUSED]
    with open(os.path.join(HERE, "cases.json"), "w") as out:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        out.write('{"contexts": ' + json.dumps(contexts, ensure_ascii=False) + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
