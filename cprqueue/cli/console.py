"""What all commands share to print: two consoles, tables, JSON, one-line errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

out = Console()
"""Standard output: results."""

err = Console(stderr=True)
"""Standard error: progress, notes, errors."""


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=_plain)
    sys.stdout.write("\n")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def say_error(text: str) -> None:
    """Print a line for each problem, in red where there are colours."""
    for line in text.splitlines():
        err.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def note(text: str) -> None:
    """Print one line of news to standard error."""
    err.print(Text(text), soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Print one line of result on standard output."""
    out.print(Text(text), soft_wrap=True, highlight=False)


def table(title: str, *columns: str) -> Table:
    """Start a table in the house style."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold")
    return made


def pairs(rows: Mapping[str, str]) -> Table:
    """Build two columns without a head: what it is, and what is to say about it."""
    made = Table(show_header=False, box=None, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, text in rows.items():
        made.add_row(name, Text(text))
    return made


def when(moment: datetime | None) -> str:
    """Say how long ago (or ahead) a moment is, in words."""
    if moment is None:
        return "never"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    ahead = seconds < 0
    size = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if size >= length or unit == "s":
            words = f"{size / length:.0f} {unit}"
            break
    return f"in {words}" if ahead else f"{words} ago"
