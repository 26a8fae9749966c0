"""Whether this installation does its work, from the signs that it leaves in the database.

Until its first fetch has succeeded it has not shown that it does: a container's health check needs
a start period of ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cprqueue.domain.states import RunKind
from cprqueue.services.signs import FETCH, SWEEP, Signs

LOOK = "is `cprqueue up` running? see what it says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that has to be so; ``text``: how it is, and the cure where it is not ``ok``."""

    name: str
    ok: bool
    text: str


def checks(signs: Signs) -> Iterator[Check]:
    """Yield what the database shows of fetches, beat and push."""
    yield _fetch(signs)
    yield _beat(signs)
    cure = "" if "`" in signs.closed else ": `cprqueue check`"
    text = f"{signs.closed}{cure}" if signs.closed else "not stopped"
    yield Check(name="push", ok=not signs.closed, text=text)


def queue_check(signs: Signs, queue: str, *, busy: bool) -> Check:
    """Say whether a worker takes messages from the queue; ``busy``: one says that it is at one."""
    at = signs.taken.get(queue)
    ok = busy or signs.took(queue)
    text = f"a worker took a message {_ago(signs, at)}" if at else "a worker is at a message"
    if not ok:
        last = f"the last message was taken {_ago(signs, at)}" if at else "none was taken yet"
        text = f"{last}: {LOOK} of {queue}"
    return Check(name=f"queue {queue}", ok=ok, text=text)


def _fetch(signs: Signs) -> Check:
    good = signs.good_fetch.finished_at if signs.good_fetch else None
    moving = RunKind.FETCH in signs.moving
    ok = good is not None and (moving or not signs.is_late(FETCH, good))
    last = f"the last good one ended {_ago(signs, good)}" if good else "none has succeeded yet"
    text = f"{last}, another is under way" if moving else last
    if not ok:
        failed = signs.failed_fetch
        why = f"; the last one failed: {failed.note}" if failed is not None else ""
        text = f"{text}{why}: `cprqueue check`, `cprqueue history`"
    return Check(name="fetch", ok=ok, text=text)


def _beat(signs: Signs) -> Check:
    at = signs.ticks.beat_at if signs.ticks else None
    if at is not None and not signs.is_late(SWEEP, at):
        return Check(name="beat", ok=True, text=f"its last sweep ran {_ago(signs, at)}")
    last = f"its last sweep ran {_ago(signs, at)}" if at else "none of its sweeps has run yet"
    text = f"{last}: {LOOK} of beat and maintenance"
    return Check(name="beat", ok=False, text=text)


def _ago(signs: Signs, moment: datetime | None) -> str:
    span = signs.now - moment if moment else timedelta(0)
    seconds = max(0, round(span.total_seconds()))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"
