"""Random templates, the same for the same seed. Few are meaningful; both sides must agree about all of them. They
contain nothing that Python prints with an address, and no slices of constants, which jinja2 computes in another way.
"""
import json
import random

from constructs import CONTEXT

TEXTS = ["", "a", "B", "ab c", " x ", "a,b,a", "Ünï", "ß\u00a0ﬁ", "日本", "🙂", "12", "-3.5", "1e3", "0x1f", "%s-%d", "{}{}", "l1\nl2\n", "A\tb", "'\"", "<a&b>", "ΑΣ", "upper", "items", "role"]
NAMES = ["a", "b", "s", "u", "empty", "none", "yes", "no", "list", "words", "nested", "nothing", "d", "users", "lines", "blank", "messages", "missing", "x", "y", "ns"]
ATTRIBUTES = ["name", "age", "x", "role", "content", "a", "b", "tags", "0", "first", "zz"]
FILTERS = ["abs", "capitalize", "count", "default({0})", "default({0}, true)", "dictsort", "e", "first", "float", "float({0})", "indent", "indent({1}, true)", "int", "int({0})", "items|list", "join", "join({0})", "last", "length", "list", "lower",
           "map('upper')|list", "map('length')|list", "map(attribute={A})|list", "max", "min", "reject('odd')|list", "reject('string')|list", "replace({0}, {0})", "reverse|list", "round", "round({1})", "select('defined')|list", "select|list", "select('string')|list",
           "selectattr({A})|list", "selectattr({A}, 'eq', {0})|list", "rejectattr({A})|list", "sort", "sort(reverse=true)", "sort(attribute={A})", "string", "sum", "title", "tojson", "tojson(indent={1})", "trim", "trim({0})", "truncate({1})",
           "unique|list", "upper", "urlencode", "wordcount", "batch({1})|list", "slice({1})|list", "groupby({A})|list", "center({1})", "format({0})", "format({0}, {0})", "safe", "attr({A})"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable", "callable", "odd", "even", "true", "false", "lower", "upper", "divisibleby({1})", "eq {0}", "in {0}", "sameas {0}", "gt {0}", "le({0})"]
METHODS = ["upper()", "lower()", "strip()", "strip({0})", "lstrip()", "rstrip({0})", "split()", "split({0})", "split({0}, {1})", "rsplit({0}, {1})", "rsplit(none, {1})", "splitlines()", "startswith({0})", "endswith({0})", "replace({0}, {0})", "replace({0}, {0}, {1})",
           "find({0})", "rfind({0})", "find({0}, {1})", "rfind({0}, {1}, {1})", "count({0})", "index({0})", "join({0})", "title()", "capitalize()", "swapcase()", "casefold()", "isdigit()", "isalpha()", "isalnum()", "isupper()", "islower()", "isspace()", "zfill({1})", "ljust({1})", "center({1}, '*')",
           "partition({0})", "rpartition({0})", "removeprefix({0})", "removesuffix({0})", "items()|list", "keys()|list", "values()|list", "get({0})", "get({0}, {0})", "append({0})", "pop()", "copy()", "format({0}, {0})", "update({0})", "startswith(({0}, {0}))"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
LOOP = ["index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "previtem", "nextitem", "cycle('p', 'q')", "changed(x)"]


class Maker:
    def __init__(self, rng):
        self.rng = rng

    def pick(self, items):
        return self.rng.choice(items)

    def small(self):
        return str(self.pick([0, 1, 2, 3, 4, 7, 10, -1, -2]))

    def constant(self):
        r = self.rng.random()
        if r < 0.4:
            return repr(self.pick(TEXTS)).replace("\\xa0", "\u00a0")
        if r < 0.6:
            return self.small()
        return self.pick(["1.5", "2.0", "-0.5", "1e20", "0.1", "true", "false", "none", "[]", "{}", "()", "(1, 2)", "100", "1000000007", "3.14159"])

    def fill(self, text, depth):
        while "{" in text and any(m in text for m in ("{0}", "{1}", "{A}")):
            text = text.replace("{1}", self.small(), 1) if "{1}" in text else text
            text = text.replace("{A}", repr(self.pick(ATTRIBUTES)), 1) if "{A}" in text else text
            text = text.replace("{0}", self.expression(depth - 1), 1) if "{0}" in text else text
        return text

    def expression(self, depth):
        r = self.rng.random()
        if depth <= 0 or r < 0.15:
            return self.pick(NAMES) if self.rng.random() < 0.6 else self.constant()
        e = self.expression
        if r < 0.30:
            return f"({e(depth - 1)} {self.pick(BINARY)} {e(depth - 1)})"
        if r < 0.48:
            return f"{e(depth - 1)}|{self.fill(self.pick(FILTERS), depth)}" if self.rng.random() < 0.5 else f"({e(depth - 1)})|{self.fill(self.pick(FILTERS), depth)}"
        if r < 0.58:
            return f"({e(depth - 1)} is {self.pick(['', 'not '])}{self.fill(self.pick(TESTS), depth)})"
        if r < 0.72:
            return f"({e(depth - 1)}).{self.fill(self.pick(METHODS), depth)}"
        if r < 0.80:
            return f"{self.pick(NAMES)}.{self.pick(ATTRIBUTES)}" if self.rng.random() < 0.5 else f"{self.pick(NAMES)}[{e(depth - 1)}]"
        if r < 0.86:
            return f"{self.pick([n for n in NAMES if n != 'none'])}[{self.pick(['', self.small()])}:{self.pick(['', self.small()])}{self.pick(['', ':', ':' + self.small()])}]"
        if r < 0.90:
            return f"[{e(depth - 1)}, {e(depth - 1)}]"
        if r < 0.93:
            return f"{{{self.constant()}: {e(depth - 1)}}}"
        if r < 0.96:
            return f"({e(depth - 1)} if {e(depth - 1)}{self.pick([' else ' + e(depth - 1), ''])})"
        return f"{self.pick(['not ', '-', '+'])}{e(depth - 1)}"

    def blank(self):
        return self.pick(["", "", "", " ", "\n", "  \n", "\n  ", "t", "t\n", "\n\n", " \t"])

    def tag(self, text):
        return "{%" + self.pick(["", "", "", "-", "+"]) + " " + text + " " + self.pick(["", "", "", "-", "+"]) + "%}"

    def target(self):
        return self.pick(["x", "y", "a", "s", "list", "x", "y", "x, y"])

    def statement(self, depth, loops):
        r = self.rng.random()
        if depth <= 0 or r < 0.35:
            inside = f"loop.{self.pick(LOOP)}" if loops and self.rng.random() < 0.3 else self.expression(2)
            return self.blank() + "{{" + self.pick(["", "", "-"]) + " " + inside + " " + self.pick(["", "", "-"]) + "}}" + self.blank()
        if r < 0.50:
            return self.tag(f"set {self.target()} = {self.expression(2)}")
        if r < 0.65:
            middle = self.tag("elif " + self.expression(2)) + self.body(depth - 1, loops) if self.rng.random() < 0.3 else ""
            other = self.tag("else") + self.body(depth - 1, loops) if self.rng.random() < 0.5 else ""
            return self.tag("if " + self.expression(2)) + self.body(depth - 1, loops) + middle + other + self.tag("endif")
        if r < 0.83:
            over = self.pick([self.expression(2), "list", "words", "messages", "range(3)", "d.items()", "users", "nested", "s"])
            test = f" if {self.expression(2)}" if self.rng.random() < 0.25 else ""
            leave = self.tag("if " + self.expression(1)) + self.tag(self.pick(["break", "continue"])) + self.tag("endif") if self.rng.random() < 0.3 else ""
            other = self.tag("else") + self.body(depth - 1, loops) if self.rng.random() < 0.2 else ""
            return self.tag(f"for {self.target()} in {over}{test}") + leave + self.body(depth - 1, True) + other + self.tag("endfor")
        if r < 0.87:
            return self.tag("set ns = namespace(v=0)") + self.tag("set ns.v = " + self.expression(2)) + "{{ ns.v }}"
        if r < 0.93:
            call = f"{{{{ m({self.expression(1)}{self.pick(['', ', y=2', ', ' + self.expression(1)])}) }}}}"
            return self.tag(f"macro m(x, y={self.expression(1)})") + self.body(depth - 1, False) + self.tag("endmacro") + call
        if r < 0.95:
            return self.tag(f"set {self.pick(['x', 'y'])}{self.pick(['', ' | upper', ' | trim'])}") + self.body(depth - 1, False) + self.tag("endset")
        if r < 0.97:
            return self.tag(f"with {self.pick(['x', 'y'])} = {self.expression(1)}") + self.body(depth - 1, loops) + self.tag("endwith")
        if r < 0.985:
            return self.tag("filter " + self.pick(["upper", "trim", "indent", "title"])) + self.body(depth - 1, False) + self.tag("endfilter")
        return self.pick(["{# c #}", "{#- c -#}", "{% raw %} {{ {% endraw %}", "{%- raw -%} x {%- endraw +%}", "{% generation %}g{{ x }}{% endgeneration %}"])

    def body(self, depth, loops):
        return "".join(self.blank() + self.statement(depth, loops) + self.blank() for _ in range(self.rng.randint(1, 3)))


def make(n, seed):
    rng = random.Random(seed)
    maker = Maker(rng)
    context = json.dumps(CONTEXT)
    for i in range(n):
        if i % 2:
            yield "{{ " + maker.expression(4) + " }}", context
        else:
            yield maker.body(4, False), context
