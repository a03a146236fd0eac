"""Texts that tokenizers disagree about, the same in every run: for make_cases.py and compare.py."""
import codecs
import random
import unicodedata

PLAIN = [
    "", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\t\t\t", " \n ", "\n \n", "a", " a", "a ", " a ", "  a  b   c    d",
    "Hello world", "Hello, world! How are you?", "The quick brown fox jumps over the lazy dog.",
    "I'm sure they'll say we've done it; it's John's, isn't it? I'D, YOU'LL, WE'VE, HE'S, DON'T, 'tis",
    "'\u017f '\u017fx I'\u017f 'S's 'Ll 'RE", "1", "12", "123", "1234", "12345 67890 3.14159 1,000,000 0xFF 1e-9", "\u0661\u0662\u0663\u0664 \u00bd \u2167 \u00b2\u00b3",
    "def f(x):\n    if x > 0:\n        return x ** 2\n\treturn [i for i in range(x)]\n",
    "#include <stdio.h>\r\nint main(void) {\r\n    printf(\"%d\\n\", 42);\r\n}\r\n",
    "<table>\n<tr><td>a</td>\t<td>b</td></tr>\n</table>", "{\"a\": [1, 2, {\"b\": null}]}", "https://example.org/a?b=c&d=%20#e",
    "Grüße aus Köln, Ünïcödé façade naïve Ærøskøbing", "Straße ẞ ﬁ ﬀ Ⅷ ① ㎏", "Привет, мир! Съешь ещё этих мягких булок.",
    "Γειά σου Κόσμε ΐ ΰ", "你好，世界。今天天气很好！", "日本語のテキスト、カタカナとひらがな。ｶﾀｶﾅ", "안녕하세요 세계 \u1112\u1161\u11ab", "مرحبا بالعالم، كيف حالك؟", "שלום עולם",
    "नमस्ते दुनिया क्षत्रिय", "สวัสดีชาวโลก", "Xin chào thế giới Tiếng Việt", "ሰላም ልዑል", "ជំរាបសួរ", "தமிழ் உலகம்", "🙂", "🙂🙃 emoji 😀!", "👨‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 🇩🇪🇫🇷", "❤️ ☎︎ ✌🏿",
    "e\u0301 \u0065\u0301 \u00e9 n\u0303 A\u030a \u212b \u1e9b\u0323", "a\u0323\u0307 a\u0307\u0323 q\u0307\u0323\u0301", "z̸̢̛̗͓̈́̀a̷̰̎l̶̨̈́g̶̦̈́o̸̪̔", "\u0958 \u2126 \ufb1d \U0001d15e",
    "\u00a0\u2003\u3000\u2028\u2029\u0085\u200b\u180e\ufeff x", "a\u0085b\u180ec\u200bd\u2028e", "\u182c\u1820\u1836\u1822\u1837\u180e\u1820 \u180e x\u180ey  \u180ez", "\x00", "a\x00b\x00\x00c", "\x01\x02\x7f\x1b[0m", "\u2581", "\u2581\u2581a\u2581 b", "\ufffd \U0010ffff \ue000 \ufdd0",
    "\U0001d54f\U0001d557 \U00020000\U0002a6d6 \U0001f9ff", " " * 7, " " * 16 + "x", " " * 100, "\n" * 40, "\t" * 40 + "x", " \t \n \r\n\t  \n\n  x  ", "word" + " " * 31 + "word" + " " * 33 + "word",
    "a" * 100, "ab" * 80, "=" * 77, "-" * 64 + "\n", "." * 19 + "?!?!", "!!!???...", "(((([[[[{{{{<<<<", "日" * 30, "🙂" * 9, "\u0301" * 12, "aaaaaaaaab" * 7,
    "CamelCaseIdentifier snake_case_identifier SCREAMING_SNAKE kebab-case", "one.two.three@four.five", "tab\tseparated\tvalues\nline two\r", "mixedСкриптыの文字", "x\u200dy\u200cz", "end with space ", "end with newline\n",
    "don\u2019t \u201cquote\u201d \u2018s\u2026 \u2014 dash", "\u01c5 \u01f2 \u0130 \u0131 \u1e9e", "$100 €5 £3 ¥7 ₹9 50% 3×4 ±1 ≠ ≤ ∞ √2", "a/b\\c|d~e^f`g", "<0x41> <0x0A> <0xE2>", "<unk> <s> </s>",
]

POOLS = [
    "abcdefghijklmnopqrstuvwxyz", "eetaoinshr  ", "ABCXYZ", "0123456789", " ", " ", " \n\t\r", "  \n", ".,;:!?'\"-()[]{}<>/\\|@#$%^&*_+=~`", "'sS'tT'lL'mM'dDrReEvV", "éèüößñçåæø", "абвгдежзийклмн",
    "αβγδε", "的一是不了人我在有他这", "あいうえおカキクケコ", "가나다라마한국어", "ابتثجحخ", "אבגדה", "कखगघङािी्", "กขฃคฅ", "🙂😀🎉👍🏽❤️\u200d", "\u0301\u0300\u0323\u0308\u030a\u0327",
    "\u00a0\u2003\u3000\u2028\u0085\u200b", "\u0661\u0662½Ⅷ²", "\u2581", "𝕏𝔘𠀀", "\u1100\u1161\u11a8\u1112", "\x00\x01\x7f", "\u1e0a\u0323\u212b\u2126",
]


ASSIGNED = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
MARKS = [c for c in ASSIGNED if unicodedata.combining(chr(c))]
EMOJI = [c for c in range(0x1F300, 0x1FB00) if unicodedata.category(chr(c)) == "So"]
CODE = ["if (a[i] != b) {", "    return x;\n", "\t\tfor i in range(10):\n", "/* ... */", "=> ", "::", "->next", "0x7fFF", "#define X(y) \\\n", "</div>\r\n", "\"key\": null,", "$HOME/.x", "// ---\n", "a += 1;", "}\n\n\n"]


def script(rng):
    """neighbours in Unicode, like the letters of one script"""
    start = rng.choice(ASSIGNED)
    return "".join(chr(start + rng.randrange(64)) if rng.random() < 0.85 else " " for _ in range(rng.randint(2, 20)) if not 0xD7C0 <= start < 0xE000 and start < 0x10FF00)


def emoji(rng):
    parts = [chr(rng.choice(EMOJI)) + rng.choice(["", "", "\ufe0f", chr(rng.randint(0x1F3FB, 0x1F3FF))]) for _ in range(rng.randint(1, 5))]
    return rng.choice(["\u200d", "", " "]).join(parts)


def marks(rng):
    bases = rng.choice(["aeioucnsq", "\u0905\u0995\u0e01\u05d0\u0627", "\u1100\u1161\u11a8\uac00", "\u0391\u0415\u1e9b"])
    return "".join(rng.choice(bases) + "".join(chr(rng.choice(MARKS)) for _ in range(rng.randint(0, 4))) for _ in range(rng.randint(1, 5)))


KINDS = [
    script, script, emoji, marks,
    lambda rng: "".join(chr(rng.choice(ASSIGNED)) for _ in range(rng.randint(1, 16))),
    lambda rng: "".join(chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)))) for _ in range(rng.randint(1, 10))),
    lambda rng: "".join(chr(rng.randrange(0xA0) if rng.random() < 0.5 else rng.randrange(0x20)) for _ in range(rng.randint(1, 16))),
    lambda rng: rng.choice([" ", "\n", "\t", "\u00a0", "\r\n", "\u3000"]) * rng.randint(1, 70),
    lambda rng: rng.choice(["", "-", "$"]) + str(rng.randrange(10 ** rng.randint(1, 25))) + rng.choice(["", ".5", "e-7", "%", ",000"]),
    lambda rng: "".join(rng.choice(CODE) for _ in range(rng.randint(1, 6))),
]


# Of versions 10 to 17 of Unicode, unassigned, and changed since: letters, digits, marks that combine or compose.
YOUNG = [0x295, 0x378, 0x558, 0x897, 0x1ABF, 0x1ACF, 0x1C89, 0xA7CB, 0xA7CE, 0x105D2, 0x10D24, 0x10D40, 0x10EFD, 0x1133B, 0x11930, 0x11935, 0x1171E, 0x11F00,
         0x11F50, 0x16EA0, 0x1D2C0, 0x1E030, 0x1E08F, 0x1E4EC, 0x1E4F0, 0x1E6C0, 0x2EBF0, 0x2FFC, 0x323B0, 0x10FFFD]


def young_texts():
    for c in map(chr, YOUNG):
        yield from (c, f"a{c}b {c}{c}", f"1{c}2{c}", f"{c}\u0307\u0323 q{c}\u0323\u0301{c}", f" {c}!")
    yield "\U00011935\U00011930 \U000105d2\u0307"


def random_text(rng, extra=()):
    parts = []
    for _ in range(rng.randint(1, 9)):
        if extra and rng.random() < 0.25:
            parts.append(rng.choice(extra))
        elif rng.random() < 0.2:
            parts.append(rng.choice(PLAIN))
        elif rng.random() < 0.5:
            parts.append(rng.choice(KINDS)(rng))
        else:
            pool = rng.choice(POOLS)
            parts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 12))))
    return "".join(parts)


def random_bytes(rng):
    """Returns bytes that are mostly not UTF-8."""
    if rng.random() < 0.4:
        return rng.randbytes(rng.randint(1, 24))
    text = bytearray(random_text(rng).encode())
    for _ in range(rng.randint(1, 4)):
        if text:
            text[rng.randrange(len(text))] = rng.randrange(256)
    return bytes(text[rng.randint(0, 3):])


def repaired(data):
    """Returns text, with U+FFFD for each byte that is not UTF-8."""
    return data.decode("utf-8", "each_byte")


codecs.register_error("each_byte", lambda e: ("\ufffd" * (e.end - e.start), e.end))


def all_characters(joint, size=256):
    """Returns texts that contain each code point, in order, between joints."""
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    return [joint.join(points[at:at + size]) for at in range(0, len(points), size)]


def texts(count, seed=1, extra=()):
    """Yields the plain texts and `count` random ones, some with the strings in `extra` inside."""
    rng = random.Random(seed)
    inside = [t for e in extra for t in (e, f" {e} ", f"a{e}b", f"{e}{e} x")]
    return PLAIN + inside + [random_text(rng, extra) for _ in range(count)]


BROKEN = [
    b"\xff", b"a\xffb", b"\xe4\xbd", b"\xe4\xbdA", b"\xe4\xbd\xe4\xbd\xa0", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x99", b"\xf4\x90\x80\x80", b"ok \x80\x81\x82 ok",
    b"\xf0\x9f\x99\x82\xf0\x9f", b"\xe2\x96", b"\xe2\x96\x81\xe2", b"\xfe\xfe\xff\xff", b" \xc3 ",
]
