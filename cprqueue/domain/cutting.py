"""Pure: the beginning of a text that a column, or a line for people, holds."""

from __future__ import annotations

from collections.abc import Sequence

NAME_SHOWN = 64
"""So much of a job number is said in a list: as long as one can be in QuickBooks Time."""


def cut(text: str, units: int) -> str:
    """Return as much of ``text`` as a column of this length holds on every database.

    SQL Server counts UTF-16 units: two for an emoji. No character is cut in two.
    """
    if text.isascii() or len(text) <= units // 2:
        return text[:units]
    return text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "ignore")


def listed(names: Sequence[str], at_most: int) -> str:
    """Return the first names, each shortened: what follows them in a line has room, too."""
    more = ["..."] if len(names) > at_most else []
    return ", ".join([*map(shortened, names[:at_most]), *more])


def shortened(name: str) -> str:
    """Return a job number as it is said in a list."""
    return f"{cut(name, NAME_SHOWN)}..." if len(name) > NAME_SHOWN else name
