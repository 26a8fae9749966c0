"""Pure: counts and times as a person reads them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from cprqueue.log import printable


def clean(text: str) -> str:
    """Return text from outside with all that is not printable as Python writes it: ``\\n``."""
    return printable(text)


def cell(value: object) -> str:
    """Return a cell that a spreadsheet shows as it is: a formula begins with one of these."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        value = "; ".join(map(str, value))
    text = clean(str(value)) if value is not None else ""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def counted(number: int, noun: str) -> str:
    """Return ``1 job`` or ``2 jobs``: every count of things that a person reads."""
    plural = noun.removesuffix("h") + "hes" if noun.endswith("h") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def without_commands(text: str) -> str:
    """Return why a push is held, for a page: the commands that decide on it are buttons there."""
    return text.partition(": `cprqueue")[0]


def shown(moment: datetime | None, timezone: str) -> str:
    """Return a moment in CPR_TIMEZONE, with the zone's name; ``never`` for None."""
    if moment is None:
        return "never"
    return f"{moment.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S %Z}"
