"""Standard output and error of programs that go on when nobody can read them.

A line that cannot be written (a full disk, a closed terminal or pipe) is lost, and counted; one
line says how many as soon as one can be written again.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

Told = Callable[[int], str]
"""Returns the line that says how many lines were lost."""


def lost_lines(number: int) -> str:
    """Return the line in plain text."""
    return f"{number} lines before this one could not be written"


PATIENCE_SECONDS = 1.0
"""How long a program waits for a reader who has stopped reading; then the line is lost."""


class Lossy(io.RawIOBase):
    """Writes to a file descriptor and never raises OSError.

    ``patience_seconds``: how long a pipe or a terminal may be full; None: for ever.
    """

    def __init__(
        self, number: int, told: Told = lost_lines, *, patience_seconds: float | None = None
    ) -> None:
        self._number, self._told = number, told
        self._patience = patience_seconds
        self._lost = 0
        self._counting = threading.Lock()
        self._line_is_cut = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def lose(self, lines: int) -> None:
        """Count lines that were lost before they came here; from any thread."""
        with self._counting:
            self._lost += lines

    def write(self, data: Buffer, /) -> int:
        """Write all of it, or count its lines as lost."""
        text = bytes(data)
        lost = self._lost
        if lost and self._written(f"{self._told(lost)}\n".encode()):
            self.lose(-lost)
            lost = 0
        if lost or not self._written(text):
            self.lose(max(1, text.count(b"\n")))
        return len(text)

    def _written(self, text: bytes) -> bool:
        rest = b"\n" + text if self._line_is_cut else text
        try:
            while rest:
                if not self._has_room():
                    return False
                rest = rest[os.write(self._number, self._piece(rest)) :]
                self._line_is_cut = bool(rest)
        except OSError:
            return False
        return True

    def _has_room(self) -> bool:
        """Tell whether a piece can be written, at once where the one before could not."""
        if self._patience is None:
            return True
        room = select.poll()
        room.register(self._number, select.POLLOUT)
        return bool(room.poll(0 if self._lost else self._patience * 1000))

    def _piece(self, rest: bytes) -> bytes:
        """Return no more than a pipe has room for that has room at all."""
        return rest if self._patience is None else rest[: select.PIPE_BUF]


def protect_error(told: Told = lost_lines, *, patience_seconds: float | None = None) -> None:
    """Let what this process writes to standard error be lost where it cannot be written."""
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        over = _over(2, sys.stderr, told, patience_seconds)
        sys.stderr = sys.__stderr__ = over  # type: ignore[misc, assignment]


def protect_output(told: Told = lost_lines) -> None:
    """Do the same for standard output: for programs whose work is no output."""
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        over = _over(1, sys.stdout, told, PATIENCE_SECONDS)
        sys.stdout = sys.__stdout__ = over  # type: ignore[misc, assignment]


def write_now(text: str) -> None:
    """Write to standard error without any lock, buffer or wait, as a signal handler must."""
    room = select.poll()
    room.register(2, select.POLLOUT)
    with suppress(OSError):
        if room.poll(0):
            os.write(2, text.encode(errors="backslashreplace"))


def fill_descriptors() -> None:
    """Keep our files from taking the place of standard input, output or error.

    A descriptor that was closed (``>&-``) would be given to the next file that is opened.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(opened, True)


def _over(number: int, before: TextIO | None, told: Told, patience: float | None) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    raw = io.BufferedWriter(Lossy(number, told, patience_seconds=patience))
    return io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)
