"""One JSON value that is not quite what it ought to be: mended where its meaning is certain."""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

from cprqueue.domain.mapping import Damaged

DEEPEST = 200
"""Levels of the most deeply nested value that is read."""

STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]]', re.DOTALL)
"""A whole string, or else one character that opens or closes something."""

FAILED = (ValueError, RecursionError, ArithmeticError)
"""What reading a value may raise."""

_BLANKS = re.compile(r"[\x00-\x20]*")
_KEY = re.compile(r'[{,]\s*("[^"\\]*")\s*:\s*')
_RAW_CONTROLS = dict.fromkeys(range(0x20), " ")


def mended(raw: str, *, at: int) -> Any:
    """Read one value that begins at byte ``at``; Damaged where it cannot be read."""
    text = decoded(raw).translate(_RAW_CONTROLS).strip()
    if not _is_deep(text):
        with suppress(*FAILED):
            value, end = _lenient(text, 0)
            if end == len(text):
                return value
    return Damaged(byte=at, known=_known(text))


def decoded(raw: str) -> str:
    """Return what bytes, given as Latin-1, say in UTF-8, or else in Windows-1252."""
    return raw.encode("latin-1").decode("utf-8", _BAD_BYTES)


def _is_deep(text: str) -> bool:
    depth = 0
    if text.count("{") + text.count("[") > DEEPEST:
        for match in STRUCTURE.finditer(text):
            depth += (match[0] in "{[") - (match[0] in "}]")
            if depth > DEEPEST:
                return True
    return False


def _known(text: str) -> dict[str, Any]:
    """Return the fields before the damage."""
    found: dict[str, Any] = {}
    at = 0
    while match := _KEY.match(text, at):
        try:
            found[match[1][1:-1].casefold()], at = _lenient(text, match.end())
        except FAILED:
            break
        at = _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # matches nothing too
    return found


def _windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


_BAD_BYTES = "cprqueue.windows-1252"
codecs.register_error(_BAD_BYTES, _windows_1252)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object in which two jobs have run into one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name.casefold() for name, _ in pairs]
        if names.count("jobid") > 1:
            raise ValueError("two jobs in one object")
    return found


def _none(_constant: str) -> None:
    return None


def _int(digits: str) -> int | None:
    return int(digits) if len(digits) < 1000 else None


def _number(digits: str) -> Decimal | None:
    try:
        return Decimal(digits)
    except ArithmeticError:
        return None


strict = json.JSONDecoder(parse_float=Decimal, parse_constant=_none).raw_decode
_lenient = json.JSONDecoder(
    parse_float=_number, parse_int=_int, parse_constant=_none, object_pairs_hook=_object
).raw_decode
