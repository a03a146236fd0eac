"""Texts that tokenizers disagree about, the same in every run: for make_cases.py and compare.py."""
import random

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


def random_text(rng, extra=()):
    parts = []
    for _ in range(rng.randint(1, 9)):
        if extra and rng.random() < 0.25:
            parts.append(rng.choice(extra))
        elif rng.random() < 0.3:
            parts.append(rng.choice(PLAIN))
        else:
            pool = rng.choice(POOLS)
            parts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 12))))
    return "".join(parts)


def texts(count, seed=1, extra=()):
    """The plain ones and `count` random ones, some with the strings in `extra` inside."""
    rng = random.Random(seed)
    inside = [t for e in extra for t in (e, f" {e} ", f"a{e}b", f"{e}{e} x")]
    return PLAIN + inside + [random_text(rng, extra) for _ in range(count)]


BROKEN = [
    b"\xff", b"a\xffb", b"\xe4\xbd", b"\xe4\xbdA", b"\xe4\xbd\xe4\xbd\xa0", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x99", b"\xf4\x90\x80\x80", b"ok \x80\x81\x82 ok",
    b"\xf0\x9f\x99\x82\xf0\x9f", b"\xe2\x96", b"\xe2\x96\x81\xe2", b"\xfe\xfe\xff\xff", b" \xc3 ",
]
