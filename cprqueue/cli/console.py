"""What every command prints with: results to standard output, everything else to standard error.

Nothing from outside is read as rich's markup, and none of it can move the cursor. Where
standard output is no terminal, nothing is wrapped: one row of a table is one line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import TextIOBase
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cprqueue import streams
from cprqueue.errors import UsageError
from cprqueue.services.reports import words
from cprqueue.services.reports.words import clean as clean

UNWRAPPED = 100_000
Cell = str | Text


class OutputClosed(Exception):
    """Whoever read standard output has read enough, as ``head`` does."""


class OutputFailed(Exception):
    """Standard output cannot be written: a full disk, for example."""


@contextmanager
def writing() -> Iterator[None]:
    """Write to standard output in the block. Raises OutputClosed or OutputFailed."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputFailed(f"standard output: {error.strerror}") from None


class _Out(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        with writing():
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        raise OutputClosed


class _Err(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        with suppress(OSError):  # what nobody can read never stops the work
            super().print(*objects, **options)


def _width(stream: TextIOBase | Any) -> int | None:
    terminal = stream is not None and stream.isatty()
    return None if terminal or os.environ.get("COLUMNS") else UNWRAPPED


out = _Out(highlight=False, width=_width(sys.stdout))
"""Standard output: results."""

err = _Err(stderr=True, highlight=False, width=_width(sys.stderr))
"""Standard error: progress, notes, errors."""

document_printed = False
"""True once a command has printed its JSON document: there is never a second one."""


def prepare_streams() -> None:
    """Make standard output and error take any text, and none of our files take their place."""
    global document_printed
    document_printed = False
    streams.fill_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def give_up_output() -> None:
    """Drop what is still to be written: Python would try again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    global document_printed
    document_printed = True
    plain = not (out.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=plain, default=_plain)
    with writing():
        if sys.stdout is not None:
            sys.stdout.write(f"{text}\n")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def require_text(*words: str) -> None:
    """Raise UsageError where a word of the command line is no text in this terminal's encoding."""
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UsageError(f"{word!r} is no text in this terminal's encoding ({out.encoding})")


def say(text: str) -> None:
    """Print one line of result on standard output."""
    out.print(Text(clean(text)), soft_wrap=True)


def note(text: str) -> None:
    """Print one line of news on standard error."""
    err.print(Text(clean(text)), soft_wrap=True)


def say_error(text: str) -> None:
    """Print an error line for each line of ``text``, in red where there are colours."""
    for line in text.splitlines():
        err.print(Text.assemble(("error: ", "bold red"), clean(line)), soft_wrap=True)


def warn(text: str) -> None:
    """Print one line of result that asks for attention."""
    out.print(Text.assemble(("warning: ", "bold yellow"), clean(text)), soft_wrap=True)


def mark(*, good: bool) -> Text:
    """Return a check mark or a cross, in plain letters where the terminal knows no others."""
    signs = ("ok", "failed") if err.options.ascii_only else ("✓", "✗")
    return Text(signs[0], "green") if good else Text(signs[1], "red")


def table(title: str, *columns: str) -> Table:
    """Start a table in the house style; fill it with ``add_row``, and only so."""
    made = Table(
        title=Text(clean(title), "bold") if title else None,
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for name in columns:
        made.add_column(name, overflow="fold")
    return made


def add_row(made: Table, cells: Iterable[Cell]) -> None:
    """Add a row whose texts are printed as they are."""
    made.add_row(*(Text(clean(cell)) if isinstance(cell, str) else cell for cell in cells))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Iterable[Cell]]) -> None:
    """Print a table."""
    made = table(title, *columns)
    for row in rows:
        add_row(made, row)
    show(made)


def show(made: Table) -> None:
    """Print a table, for a file or a pipe without the spaces that fill its last column."""
    if out.is_terminal:
        out.print(made)
        return
    with out.capture() as printed:
        out.print(made)
    with writing():
        if sys.stdout is not None:
            sys.stdout.writelines(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def show_pairs(rows: Mapping[str, str]) -> None:
    """Print two columns without a head: what it is, and what is to say about it."""
    made = Table(show_header=False, box=None, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, text in rows.items():
        add_row(made, (name, text))
    show(made)


def show_outcomes(rows: Iterable[tuple[bool, str, str]]) -> None:
    """Print a line for each: whether it is well, what it is, and what is to say about it."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for good, name, text in rows:
        word = Text("OK", "green") if good else Text("problem", "bold red")
        add_row(made, (word, name, text))
    show(made)


def moment(at: datetime | None) -> str:
    """Return a moment in CPR_TIMEZONE: every time that a command shows."""
    from cprqueue.bootstrap import application

    return words.shown(at, application().settings.timezone)


def when(at: datetime | None) -> str:
    """Say how long ago (or ahead) a moment is, in words."""
    if at is None:
        return "never"
    seconds = (datetime.now(UTC) - at).total_seconds()
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    unit, length = next((u for u in units if abs(seconds) >= u[1]), units[-1])
    text = f"{abs(seconds) / length:.0f} {unit}"
    return f"in {text}" if seconds < 0 else f"{text} ago"
