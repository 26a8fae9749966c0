"""The text a login carries: ``{username: 'U', password: 'P'}``, an object literal in base64."""

from __future__ import annotations

import base64
import binascii
import re

_PAIR = r"\s*(\w+)\s*:\s*'((?:[^'\\]|\\.)*)'\s*"
_LITERAL = re.compile(r"\s*\{" + _PAIR + "," + _PAIR + r",?\s*\}\s*", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)


def parse(authorization: str) -> dict[str, str] | None:
    """Return the fields of an ``Authorization`` header, or None where it holds no such literal.

    ValueError: what follows ``Basic`` is not base64.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("The Authorization header is not base64.") from error
    match = _LITERAL.fullmatch(text)
    if match is None:
        return None
    first, first_value, second, second_value = match.groups()
    return {first: _unescape(first_value), second: _unescape(second_value)}


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else match[3]
