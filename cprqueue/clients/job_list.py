"""A job list in a file: its items one after another, in flat memory, however odd some are.

The file is taken as Latin-1, in which a character is a byte: so a place in the text is a place
in the file, and no character is ever cut at the end of a piece. What holds other characters
than ASCII is read again as what it is, UTF-8 or Windows-1252, but an item at a time.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cprqueue.clients.odd_json import FAILED, STRUCTURE, decoded, mended, strict
from cprqueue.domain.mapping import Damaged
from cprqueue.errors import UnreadableAnswer

ANSWER = "RestorationManager's answer"
WRAPPINGS = ("results", "jobs", "value", "$values")

PIECE = 256 * 1024
LONGEST = 16 * 1024 * 1024
"""Bytes of the longest item: as much as may have to be in memory."""


_BLANKS = re.compile(r"[\x00-\x20]*")
_NEXT = re.compile(r"[\x00-\x20]*([,\]])[\x00-\x20]*(?=[^\x00-\x20])")
_SCALAR = re.compile(r"[^\x00-\x20,:\]}]*")
_BOUNDARY = re.compile(r"\}[\x00-\x20]*,[\x00-\x20]*\{")
_REFERENCES = re.compile(r'\{[\x00-\x20]*"\$')
_PAIRS = {"}": "{", "]": "["}


def read_job_list(path: Path, name: str = ANSWER) -> Iterator[Any]:
    """Yield the items of a job list one after another, in flat memory.

    Numbers come as int or Decimal, NaN and infinite ones as None; bytes that are no UTF-8 count
    as Windows-1252, raw control characters as blanks. An object that still is no JSON, but
    whose end is certain, comes as Damaged. Raises UnreadableAnswer with one line, which calls
    the file ``name`` and says where, for one that is empty, cut short, not JSON, or no list of
    jobs.
    """
    with path.open("rb") as file:
        window = _Window(file, name)
        around = window.enter()
        yield from _items(window)
        window.leave(around)


def says_nothing(path: Path) -> bool:
    """Tell whether the file is empty or says ``null``: the answer of one who has no jobs."""
    with path.open("rb") as file:
        found = file.read(PIECE).removeprefix(codecs.BOM_UTF8).strip(bytes(range(0x21)))
        return found in (b"", b"null") and not file.read(1)


def read_object(body: bytes) -> Any:
    """Read one JSON value as ``read_job_list`` reads its items. Raises UnreadableAnswer."""
    found = mended(body.removeprefix(codecs.BOM_UTF8).decode("latin-1"), at=0)
    if isinstance(found, Damaged):
        raise UnreadableAnswer("not JSON")
    return found


class _Window:
    """The part of the file that is in memory; ``at`` is how far it has been read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file = file
        self.name = name
        self.text = file.read(PIECE).removeprefix(codecs.BOM_UTF8).decode("latin-1")
        self.plain = self.text.isascii()
        self.begin = file.tell() - len(self.text)
        self.at = 0
        self.last: Any = None
        self.number = 0
        self.id_field = '"jobId"'

    def more(self) -> bool:
        """Read on, and forget what is behind ``at``; False at the end of the file."""
        piece = self.file.read(max(PIECE, len(self.text) - self.at)).decode("latin-1")
        self.begin += self.at
        self.text = self.text[self.at :] + piece
        self.plain = self.text.isascii()
        self.at = 0
        return bool(piece)

    def note(self, item: Any) -> None:
        """Remember the item that was read last, and how its list spells jobId."""
        self.last = item
        self.number += 1
        if self.number == 1 and isinstance(item, dict):
            names = [name for name in item if name.casefold() == "jobid"]
            self.id_field = f'"{names[0]}"' if names else self.id_field

    def peek(self) -> str:
        """Go to the next character that is no blank, and return it; "" at the end."""
        while True:
            self.at = _BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches nothing too
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def expect(self, expected: str) -> str:
        """Go behind the next character, which must be one of ``expected``, and return it."""
        found = self.peek()
        if not found:
            raise self.cut_short()
        if found not in expected:
            raise self.not_json()
        self.at += 1
        return found

    def take(self) -> str:
        """Go behind the next value, and return its text: certain to begin and end there."""
        first = self.peek()
        if first not in ("{", "[", '"'):
            return self._take_scalar()
        opened: list[str] = []
        done = 0
        while True:
            match = STRUCTURE.search(self.text, self.at + done)
            if match is None or match[0] == '"':  # the end is not in here yet
                done = (match.start() if match else len(self.text)) - self.at
                self._need_more()
                continue
            done = match.end() - self.at
            if match[0] in ("{", "["):
                opened.append(match[0])
            elif match[0] in _PAIRS and (not opened or opened.pop() != _PAIRS[match[0]]):
                raise self.not_json(done - 1)
            if not opened:
                self.at += done
                return self.text[self.at - done : self.at]

    def _need_more(self) -> None:
        if len(self.text) - self.at > LONGEST:
            text = f"is not JSON: there is no end within {LONGEST >> 20} MiB to what begins"
            raise self._problem(text, self.begin + self.at)
        if not self.more():
            raise self.cut_short()

    def _take_scalar(self) -> str:
        while True:
            match: Any = _SCALAR.match(self.text, self.at)
            if match.end() < len(self.text) or len(match[0]) > LONGEST or not self.more():
                break
        if not match[0]:
            raise self.not_json() if self.peek() else self.cut_short()
        self.at = match.end()
        return str(match[0])

    # -- the way to the list, and from it ------------------------------------------------

    def enter(self) -> int:
        """Go to the first item; return how many objects are open around the list."""
        around = 0
        while self.peek() == "{":
            self.at += 1
            around += 1
            if not self._find_list():
                raise UnreadableAnswer(f"{self.name} is JSON, but not a list of jobs")
        if not self.peek():
            raise UnreadableAnswer(f"{self.name} is empty") if not around else self.cut_short()
        if self.peek() != "[":
            byte = self.begin + self.at
            if isinstance(mended(self.take(), at=byte), Damaged) or self.peek():
                raise self._problem("is not JSON", byte)
            raise UnreadableAnswer(f"{self.name} is JSON, but not a list of jobs")
        self.at += 1
        return around

    def _find_list(self) -> bool:
        """Go to the list in an object, or to the object that stands for it (``$values``)."""
        if self.peek() == "}":
            return False
        while True:
            key = self._take_key()
            if key.casefold() in WRAPPINGS and self._begins_list():
                return True
            self.peek()
            self.take()
            if self.expect(",}") == "}":
                return False

    def _take_key(self) -> str:
        if self.expect('"'):
            self.at -= 1
        key = self.take()
        self.expect(":")
        return key[1:-1]

    def _begins_list(self) -> bool:
        if self.peek() == "{" and len(self.text) - self.at < PIECE:
            self.more()
        return self.peek() == "[" or _REFERENCES.match(self.text, self.at) is not None

    def leave(self, around: int) -> None:
        """Go from behind the list to the end of the file, which must be where it ought to be."""
        for _ in range(around):
            while self.expect(",}") == ",":
                self._take_key()
                self.take()
        if self.peek():
            raise self.not_json()

    # -- what is wrong, and where --------------------------------------------------------

    def cut_short(self) -> UnreadableAnswer:
        """Build the error for a file that ends before its list does."""
        at_end = self.at == len(self.text)
        what = "it ends" if at_end else "there is no end to what begins"
        return self._problem(f"was cut short: {what}", self.begin + self.at)

    def not_json(self, ahead: int = 0) -> UnreadableAnswer:
        """Build the error for what cannot be, so many characters ahead."""
        return self._problem("is not JSON", self.begin + self.at + ahead)

    def _problem(self, what: str, byte: int) -> UnreadableAnswer:
        before = f", behind {_label(self.last) or f'item {self.number}'}" if self.number else ""
        return UnreadableAnswer(f"{self.name} {what} at byte {byte}{before}")


def _label(item: Any) -> str:
    fields = item.known if isinstance(item, Damaged) else item
    by_name = {k.casefold(): v for k, v in fields.items()} if isinstance(fields, dict) else {}
    found = str(by_name.get("jobid", "")).removesuffix(".0")
    return f"RM job {found}" if found.isdigit() and len(found) < 20 else ""


def _items(window: _Window) -> Iterator[Any]:
    if window.peek() == "]":
        window.at += 1
        return
    mark = ","
    while mark == ",":
        quick = _quick(window)
        if quick:
            value, window.at, mark = quick
            window.note(value)
        else:
            value = _careful(window)
            window.note(value)
            mark = window.expect(",]")
            window.peek()
        yield value


def _quick(window: _Window) -> tuple[Any, int, str] | None:
    """Read the next item, if it is in the window and nothing is odd about it."""
    text, at = window.text, window.at
    try:
        value, end = strict(text, at)
    except FAILED:
        return None
    behind = _NEXT.match(text, end)
    if behind is None or text.count(window.id_field, at, end) > 1:
        return None
    if not window.plain and not text[at:end].isascii():
        value = strict(decoded(text[at:end]), 0)[0]
    return value, behind.end(), behind[1]


def _careful(window: _Window) -> Any:
    """Read the next item, whatever it is."""
    raw = window.take()
    at = window.begin + window.at - len(raw)
    value = mended(raw, at=at)
    if isinstance(value, Damaged) and (raw[0] != "{" or _holds_several(raw)):
        # Where a quote or a bracket is missing, some that are whole may be in it.
        window.at -= len(raw)
        raise window.not_json()
    return value


def _holds_several(raw: str) -> bool:
    return _BOUNDARY.search(raw) is not None or raw.casefold().count('"jobid"') > 1
