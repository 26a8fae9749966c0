"""Pure: the beginning of a text that a column holds."""

from __future__ import annotations


def cut(text: str, units: int) -> str:
    """Return as much of ``text`` as a column of this length holds on every database.

    SQL Server counts UTF-16 units: two for an emoji. No character is cut in two.
    """
    if text.isascii() or len(text) <= units // 2:
        return text[:units]
    return text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "ignore")
