"""Read the loose types that the API accepts, and the moments it speaks."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from cprqueue.sandbox.quickbooks_time.refusals import ItemRefusedError

_YES = {"yes", "true", "1"}
_NO = {"no", "false", "0"}
_MOMENT = re.compile(
    r"(?P<clock>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?P<offset>Z|[+-]\d\d:?\d\d)?"
)


def boolean(name: str, value: object) -> bool:
    """Return a boolean from true, "yes", "true", 1 or "1", and their opposites."""
    word = str(value).lower() if isinstance(value, (bool, int, str)) else ""
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise _invalid(name)


def number(name: str, value: object) -> float:
    """Return a number from a number or its text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _invalid(name)
    try:
        return float(value)
    except ValueError:
        raise _invalid(name) from None


def whole(name: str, value: object) -> int:
    """Return an integer that is not negative from a number or its text."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _invalid(name)
    if not re.fullmatch(r"\d{1,18}", str(value)):
        raise _invalid(name)
    return int(value)


def text(name: str, value: object) -> str:
    """Return text from text, a number or null."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _invalid(name)
    return str(value)


def moment(value: str, *, offset_needed: bool = False) -> datetime:
    """Return the second that an ISO 8601 text names, read as UTC if it has no offset.

    Raises ValueError for anything else, such as an offset whose ``+`` became a space.
    """
    found = _MOMENT.fullmatch(value)
    if found is None or (offset_needed and not found["offset"]):
        raise ValueError(value)
    parsed = datetime.fromisoformat(found["clock"] + (found["offset"] or "Z"))
    return parsed.astimezone(UTC)


def stamp(value: datetime) -> str:
    """Return ``2026-01-31T12:00:00+00:00``."""
    return value.isoformat()


def named_id(item: dict[str, Any]) -> int:
    """Return the item's id; an item without one is refused."""
    if item.get("id") in (None, ""):
        raise ItemRefusedError("Missing param: id")
    return whole("id", item["id"])


def _invalid(name: str) -> ItemRefusedError:
    return ItemRefusedError(f"Invalid value for {name}")
