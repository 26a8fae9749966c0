"""Pure: counts and times as a person reads them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def counted(number: int, noun: str) -> str:
    """Return ``1 job`` or ``2 jobs``: every count of things that a person reads."""
    plural = noun.removesuffix("h") + "hes" if noun.endswith("h") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def shown(moment: datetime | None, timezone: str) -> str:
    """Return a moment in CPR_TIMEZONE, with the zone's name; ``never`` for None."""
    if moment is None:
        return "never"
    return f"{moment.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S %Z}"
