"""jinja2 as Hugging Face transformers sets it up for chat templates (apply_chat_template), and our renderer."""
import datetime
import json
import subprocess
import warnings

GLOBALS = {"bos_token": "<s>", "eos_token": "</s>"}
NOW = 1_721_952_000  # 2024-07-26 00:00:00 UTC; run with TZ=UTC


def make_environment(now=NOW):
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    warnings.simplefilter("ignore", SyntaxWarning)  # of the Python code that jinja2 generates

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

        def _body(self, caller):
            return caller()

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(format):
        return datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime(format)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def render_theirs(env, template, context):
    """Renders with jinja2; returns ("ok", text) or ("error", message)."""
    try:
        text = env.from_string(template).render(**{**GLOBALS, **json.loads(context)})
        text.encode()
        return "ok", text
    except Exception as e:  # a template's fault may raise any exception of Python's
        return "error", f"{type(e).__name__}: {e}"


def render_ours(program, cases, now=NOW):
    """Renders many (template, context as JSON) with our renderer; returns the same."""
    lines = "".join(f"{t.encode().hex()}\t{c.encode().hex()}\t{now}\n" for t, c in cases)
    run = subprocess.run([program], input=lines.encode(), stdout=subprocess.PIPE, env={"TZ": "UTC"}, check=False)
    results = []
    for line in run.stdout.decode().splitlines():
        status, text = line.split("\t")
        results.append((status, bytes.fromhex(text).decode(errors="replace")))
    if run.returncode or len(results) != len(cases):
        raise SystemExit(f"{program}: exit {run.returncode} at case {len(results)}: {cases[len(results):len(results) + 1]}")
    return results
