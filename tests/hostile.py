r"""Texts that some small language would read as its own: templates, markup, patterns, SQL, shells.

Each stands beside what is left of it once it is cleaned: invisible characters are gone, white
space is one blank, letters are composed. An address also loses its HTML entities.
"""

from __future__ import annotations

import html
import unicodedata

from hypothesis import strategies as st

TEXTS = {
    "100%": "100%",
    "%s %d %i": "%s %d %i",
    "%(here)s": "%(here)s",
    "%20": "%20",
    "a?b=c&d": "a?b=c&d",
    "#7": "#7",
    "[/x]": "[/x]",
    "[bold red]x": "[bold red]x",
    "[link=file:///etc]x": "[link=file:///etc]x",
    ":smile:": ":smile:",
    "${HOME}": "${HOME}",
    "$1 $HOME": "$1 $HOME",
    "{0} {x!r}": "{0} {x!r}",
    "{{x}}": "{{x}}",
    "it's": "it's",
    'say "x"': 'say "x"',
    "back\\slash": "back\\slash",
    "\\N": "\\N",
    "\\u0041\\n": "\\u0041\\n",
    "`id` $(id)": "`id` $(id)",
    "'; DROP TABLE jobs; --": "'; DROP TABLE jobs; --",
    ":param @p1 ?": ":param @p1 ?",
    "_%[a-z]^": "_%[a-z]^",
    "a*b|c": "a*b|c",
    "a;b,c": "a;b,c",
    "=1+1": "=1+1",
    "+1": "+1",
    "-x": "-x",
    "--all": "--all",
    "@x": "@x",
    "~": "~",
    "../../etc": "../../etc",
    "NULL": "NULL",
    "nan": "nan",
    "<b>x</b>": "<b>x</b>",
    "🏠 Haus Ñandú": "🏠 Haus Ñandú",
    "e\u0301": "é",
    "two  blanks": "two blanks",
    "new\r\nline\ttab": "new line tab",
    "page\u2028break\u00a0x": "page break x",
    "\u202eleft\u200f right\ufeff": "left right",
    "\x1b[2Jx\x07": "[2Jx",
    "nul\x00x\x9b": "nulx",
}

ENTITIES = {
    "&lt;b&gt; &amp;amp; &#39;": "<b> & '",
    "&nosuch; &": "&nosuch; &",
}
"""More of them, for addresses."""

PRINTABLE = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")),
    min_size=1,
    max_size=20,
).filter(lambda text: html.unescape(text) == text and unicodedata.is_normalized("NFC", text))
"""Any text of printable letters and signs, which stays as it is."""
