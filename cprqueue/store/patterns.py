"""LIKE, so that every database takes the same text for the same."""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement

ESCAPE = "\\"


def begins_with(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Compare the beginning of a column with ``text``, whatever that holds."""
    return column.like(f"{escaped(text)}%", escape=ESCAPE)


def escaped(text: str) -> str:
    """Return ``text`` for a pattern; "[" begins a set of characters on SQL Server."""
    return re.sub(r"([\\%_[])", r"\\\1", text)
