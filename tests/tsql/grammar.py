"""What SQL Server would not take: a T-SQL grammar, and what a grammar lets pass.

As a program it reads a JSON list of statements and writes one of what is wrong with them.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache

REFUSED = {
    "EXISTS is no value there": r"(SELECT|,)\s+EXISTS\b",
    "there is no true and no false": r"\b(true|false)\b",
    "IS wants NULL": r"\bIS\s+(NOT\s+)?(?!NOT\b|NULL\b)\S",
    "NULLs cannot be ordered": r"\bNULLS\s+(FIRST|LAST)\b",
    "a row is no value there": r"\)\s+IN\s+\(\s*\(",
    "there is no row lock of this name": r"\bFOR\s+UPDATE\b",
    "TEXT and NTEXT are outdated, and cannot be compared": r"\w\s+N?TEXT(\s+(COLLATE|NULL|NOT)|,)",
    "a type without Unicode": r"(?<!version_num )(?<!@const_name )\b(VAR)?CHAR\(",
    "a type that rounds times": r"\bDATETIME\b",
    "a column is ordered by once": r"ORDER BY [^()]*?(\b\w+\.[\w\[\]]+)( DESC)?, "
    r"[^()]*?(?<![\w.])\1( DESC)?\s*([,)]|$)",
    "OUTPUT is refused on a table with a trigger": r"(?<!version_num\) )\bOUTPUT\b",
    "a string of bytes, not of Unicode, in a value": r"(?<!N)'[^']*[^\x00-\x7f]",
}

VERBS = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "ALTER",
    "DROP",
    "SAVE",
    "ROLLBACK",
    "SET",
    "DECLARE",
]
"""The grammar takes any other first word for the name of a procedure."""


def faults(statement: str) -> list[str]:
    """Say what SQL Server would not take in the statement; parameters are ``@p``."""
    found = [why for why, words in REFUSED.items() if re.search(words, statement, re.IGNORECASE)]
    first = re.sub(r"--.*", "", statement).split(maxsplit=1)[:1]
    found += [f"unknown first word {word}" for word in first if word.upper() not in VERBS]
    return found + [f"no T-SQL: {part}" for part in _unparsable(statement)]


def _unparsable(statement: str) -> list[str]:
    lexer, parser = _tools()
    tokens, errors = lexer.lex(statement)
    tree = parser.parse(tokens)
    parts = [part.raw for part in tree.recursive_crawl("unparsable")] if tree else [statement]
    return [str(error) for error in errors] + parts


@cache
def _tools():  # type: ignore[no-untyped-def]  # sqlfluff's types, which take seconds to import
    from sqlfluff.core import FluffConfig
    from sqlfluff.core.parser import Lexer, Parser

    config = FluffConfig(overrides={"dialect": "tsql", "templater": "raw"})
    return Lexer(config=config), Parser(config=config)


if __name__ == "__main__":
    json.dump([faults(statement) for statement in json.load(sys.stdin)], sys.stdout)
