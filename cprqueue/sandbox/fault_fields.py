"""The fields of a fault rule as JSON gives them, each checked where it enters."""

from __future__ import annotations

from typing import Any

KINDS = {
    "status": "a status instead of the act",
    "rate_limited": "429 instead of the act",
    "drop": "the connection closes before the act",
    "lost": "the act, then the connection closes without an answer",
    "act_then_status": "the act, then a status in place of its answer",
    "garbled": "an answer that says JSON and is none",
    "html": "an HTML page",
    "cut": "half of the answer, then the connection closes",
    "slow": "a wait before the answer",
    "drip": "the answer in small pieces over a while",
    "items": "single items of a write fail, the others are done",
}
SERVICES = ("rm", "qbt")


def read(name: str, value: Any) -> Any:
    """Return one field's value; ValueError names the field and what it may be."""
    try:
        return _READERS[name](value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} of a fault cannot be {value!r}: {error}") from None


def _one_of(*choices: str) -> Any:
    def chosen(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return chosen


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("must be a text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("must be a number from 1")
    return value


def _counts(value: Any) -> tuple[int, ...]:
    counts = tuple(_count(n) for n in (value if isinstance(value, list | tuple) else [value]))
    if not counts:
        raise ValueError("must name at least one")
    return counts


def _fraction(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise ValueError("must be from 0 to 1")
    return float(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or float(value) < 0:
        raise ValueError("must not be negative")
    return float(value)


def _status(value: Any) -> int:
    if type(value) is not int or not 200 <= value <= 599:
        raise ValueError("must be from 200 to 599")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false")
    return value


def _act(value: Any) -> bool:
    return {"first": True, "after": False}[value] if value in ("first", "after") else _bool(value)


def _pairs(value: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(dict(value).items())


_READERS: dict[str, Any] = {
    "kind": _one_of(*KINDS),
    "service": _one_of(*SERVICES),
    "method": _text,
    "path": _text,
    "nth": _counts,
    "every": _count,
    "share": _fraction,
    "times": _count,
    "status": _status,
    "body": _text,
    "html": _bool,
    "headers": _pairs,
    "seconds": _seconds,
    "act": _act,
    "positions": _counts,
    "item_share": _fraction,
    "where": _pairs,
    "code": _count,
    "message": _text,
    "extra": _text,
}
