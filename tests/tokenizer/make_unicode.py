#!/usr/bin/env python3
"""Writes runtime/tokenizer/unicode_versions.c: the differences between the reference library's Unicode and that of
PCRE2 and utf8proc.

Asks `tokenizers` about every code point, and compares with Python's unicodedata, whose version must be at most 14: that
of the oldest supported PCRE2 and utf8proc. Characters assigned then have kept their properties since, in every library;
the table lists the others. Needs tokenizers and clang-format.
"""
import os
import subprocess
import sys
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn".split()
CHANGED_LATER = [0x295]  # Ll until Unicode 17, Lo in 18
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HEAD = '''/* Tables that make this program's Unicode the reference library's, whatever PCRE2 and utf8proc it is built with.
 *
 * Written by tests/tokenizer/make_unicode.py. All libraries agree on the characters of Unicode 14, but not on later
 * ones. So split patterns never see later ones. Each has a stand-in: an older character of as many bytes, in the
 * general category that the later one has for the reference (Unicode 16). And NFC leaves characters unchanged that the
 * reference's NFC (Unicode 9) does not know.
 */
#include "base/sizes.h"
#include "runtime/tokenizer/tokenizer_inside.h"

'''
TAIL = '''
const struct hl_ranges hl_later_characters = {later, HL_COUNT(later)};
const struct hl_ranges hl_inert_characters = {inert, HL_COUNT(inert)};
'''


def reference_categories():
    found = {}
    for category in CATEGORIES:
        split = pre_tokenizers.Split(Regex(r"\p{%s}" % category), "removed", invert=True)
        for at in range(0, len(POINTS), 20000):
            for kept, _ in split.pre_tokenize_str("".join(map(chr, POINTS[at:at + 20000]))):
                found.update((ord(c), category) for c in kept)
    return found


def length(c):
    return len(chr(c).encode())


def stand_ins():
    reference = reference_categories()
    later = {c for c in POINTS if unicodedata.category(chr(c)) == "Cn"} | set(CHANGED_LATER)
    later |= {c for c in POINTS if unicodedata.category(chr(c)) != reference[c]}
    unassigned = {2: 0x81, 3: 0xFDD0, 4: 0x10FFFE}  # a control character; noncharacters, which will never be assigned
    first = {}
    for c in POINTS:  # U+0250 and above: no case variants of ASCII, which patterns name
        if c not in later and c >= 0x250:
            first.setdefault((length(c), reference[c]), c)
    for c in sorted(later):
        if reference[c] == "Cn":
            yield c, unassigned[length(c)]
        else:
            yield c, first[length(c), reference[c]]


def ranges(pairs):
    out = []
    for c, other in pairs:
        if out and out[-1][1] + 1 == c and out[-1][2] == other:
            out[-1][1] = c
        else:
            out.append([c, c, other])
    return out


def decompositions():
    """composite -> its two parts, as NFC may compose them; without Hangul"""
    for c in POINTS:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            yield c, int(parts[0], 16), int(parts[1], 16)


def inert():
    """Returns code points that the reference's NFC takes for starters that compose with nothing, though they do, or may
    do so in later versions.
    """
    nfc = normalizers.NFC().normalize_str
    must = {c for c in POINTS if unicodedata.category(chr(c)) == "Cn"}
    active = set(range(0x1100, 0x1113)) | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3)) | set(range(0xAC00, 0xD7A4))
    for c in POINTS:
        if unicodedata.combining(chr(c)):
            # q + c + a mark of a class above or below: does c take part in the ordering?
            moves = any(nfc("q" + a + b) != "q" + a + b for m in "\u0334\u0345" for a, b in ((chr(c), m), (m, chr(c))))
            (active if moves else must).add(c)
        if nfc(chr(c)) != chr(c):
            active.add(c)
    for c, a, b in decompositions():
        if nfc(chr(a) + chr(b)) == chr(c) or nfc(chr(c)) != chr(c):
            active.update((c, a, b))
        elif unicodedata.normalize("NFC", chr(a) + chr(b)) == chr(c):
            must.update((c, a))
    clash = must & active
    if clash:
        sys.exit(f"both inert and not: {sorted(map(hex, clash))}")
    out, open_range = [], None
    for c in POINTS:  # code points that both lack may be in either: that gives few ranges
        if c in must:
            if open_range is None:
                open_range = [c, c]
            open_range[1] = c
        elif c in active and open_range:
            out.append(open_range)
            open_range = None
    return out + ([open_range] if open_range else [])


def write_rows(out, rows):
    line = "   "
    for row in rows:
        text = " {" + ", ".join(f"0x{n:X}" for n in row) + "},"
        if len(line) + len(text) > 118:
            out.write(line + "\n")
            line = "   "
        line += text
    out.write(line + "\n};\n")


def main():
    if unicodedata.unidata_version > "14.0.0" or len(unicodedata.unidata_version) < 6:
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}; 14.0.0 at most is needed (Python 3.11)")
    rows = [row for row in ranges(stand_ins()) if row[0] != row[2]]
    boundaries = [(first, last, 0) for first, last in inert()]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../runtime/tokenizer/unicode_versions.c")
    with open(path, "w") as out:
        out.write(HEAD)
        out.write("static const struct hl_range later[] = {\n")
        write_rows(out, rows)
        out.write("\nstatic const struct hl_range inert[] = {\n")
        write_rows(out, boundaries)
        out.write(TAIL)
    subprocess.run(["clang-format", "-i", path], check=True)

if __name__ == "__main__":
    main()
