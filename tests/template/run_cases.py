"""run_cases.py RENDER: renders the templates of cases.json and compares the results with jinja2's. A case without a
text must fail. The last line is "N passed, N failed".
"""
import json
import os
import sys

from environment import render_ours


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases.json")) as file:
        data = json.load(file)
    contexts = [json.dumps(c, ensure_ascii=False) for c in data["contexts"]]
    cases = data["cases"]
    results = render_ours(sys.argv[1], [(template, contexts[index]) for template, index, _ in cases])
    failed = 0
    for (template, _, expected), (status, text) in zip(cases, results):
        right = status == "error" and text if expected is None else (status, text) == ("ok", expected)
        if not right:
            failed += 1
            print(f"FAIL {template!r}\n     expected {expected!r}\n     got {status} {text!r}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
