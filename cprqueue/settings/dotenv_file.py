"""Read ``.env`` strictly: every line is a setting, a comment or empty, or the file is refused.

python-dotenv's own parser does the reading, but what it would pass over in silence is an error
here, and nothing in a value is replaced: ``${x}`` stays ``${x}``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from cprqueue.errors import SettingsError
from cprqueue.settings import small_file

_LINE_END = re.compile(r"\r\n|\n|\r")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

MOST_BYTES = 2**20
"""So large a file is another one, under the name of ours."""


def read(path: Path) -> dict[str, str]:
    """Return the variables of the file; none if there is no such file.

    Raises SettingsError with a line for each line that is wrong.
    """
    found: dict[str, str] = {}
    problems = []
    for line, binding in _bindings(_text(path)):
        problem = _problem(binding, found)
        if problem:
            problems.append(f"{path.name} line {line} {problem}")
        elif binding.key is not None:
            found[binding.key] = binding.value or ""
    if problems:
        raise SettingsError(*problems)
    return found


def _text(path: Path) -> str:
    try:
        raw = small_file.read(path, MOST_BYTES)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return ""
        cure = "give this user the right to read it, or move it away"
        raise SettingsError(f"{path} cannot be read ({error.strerror}): {cure}") from None
    if raw.startswith(_UTF_16) or b"\0" in raw:
        line = raw[: max(raw.find(b"\0"), 0)].count(b"\n") + 1
        raise SettingsError(f"{path.name} line {line} {_not_utf_8(raw)}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SettingsError(
            f"{path.name} line {line} is no UTF-8: save the file as UTF-8"
        ) from None


def _not_utf_8(raw: bytes) -> str:
    """Say what a file with zero bytes is: a power cut leaves nothing else in some."""
    if raw.startswith(_UTF_16) or raw[:4].count(b"\0") in (1, 2):
        return "is UTF-16: save the file as UTF-8"
    return "holds zero bytes: the file is damaged: write it anew"


def _bindings(text: str) -> Iterator[tuple[int, Binding]]:
    """Yield each statement with the number of its own line; the parser counts empty ones in."""
    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        empty = written[: len(written) - len(written.lstrip())]
        yield binding.original.line + len(_LINE_END.findall(empty)), binding


def _problem(binding: Binding, earlier: dict[str, str]) -> str:
    """Say what is wrong with one statement, without its value, which may be a secret."""
    written, name = binding.original.string.strip(), binding.key
    if _LINE_END.search(written) or (binding.error and re.search("=\\s*[\"']", written)):
        return f"has a quote that is not closed, or text behind it: {_starting(written)}"
    if not binding.error and name is None:
        return ""  # a comment, or nothing
    if binding.error or name is None or binding.value is None or not _NAME.fullmatch(name):
        return "is no setting: write NAME=value, or # before a comment"
    if re.search(r"[\r\n\0]", binding.value):
        return f"sets {name} to several lines: put the value between single quotes"
    if earlier.get(name, binding.value) != binding.value:
        return f"sets {name} a second time, differently: leave one of them"
    return ""


def _starting(written: str) -> str:
    name = written.removeprefix("export").split("=", 1)[0].strip()
    return f"see to the quotes of {name}" if _NAME.fullmatch(name) else "see to its quotes"
