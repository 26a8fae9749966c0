"""The morning's lines: what came and went since the morning before, and what waits for a person.

They hold job numbers, never an address.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from sqlalchemy import Connection

from cprqueue.domain.alerting import Alert, Condition, Level
from cprqueue.domain.cutting import listed
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import signs
from cprqueue.services.reports import warnings
from cprqueue.services.reports.words import counted
from cprqueue.store import links, news, runs
from cprqueue.store.database import clock

PERIOD = timedelta(days=1)
LATE = timedelta(hours=6)
"""A digest that was missed is sent for so long."""

NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What happened from ``since`` to ``until``: job numbers, and lines for people."""

    since: datetime
    until: datetime
    jobs: dict[str, int]
    came: list[str]
    went: list[str]
    drifted: list[str]
    waits: list[str]

    def lines(self) -> list[str]:
        """Return all of it, a line each."""
        number = self.jobs
        return [
            f"{counted(number['active'], 'active job')}: {number['in_sync']} in step, "
            f"{number['due']} due, {number['parked']} parked, {number['held']} held",
            _line("came", self.came),
            _line("went", self.went),
            *([_line("changed by hand in QuickBooks Time", self.drifted)] if self.drifted else []),
            *(f"waits for a person: {text}" for text in self.waits),
            *([] if self.waits else ["nothing waits for a person"]),
        ]

    def as_alert(self) -> Alert:
        """Return it as a message."""
        return Alert(title="digest", text="\n".join(self.lines()), level=Level.INFO)


def _line(word: str, numbers: Sequence[str]) -> str:
    named = f" ({listed(numbers, NAMED)})" if numbers else ""
    return f"{word}: {len(numbers)}{named}"


def read(conn: Connection, latest: signs.Latest) -> Digest:
    """Read the digest of the day that ends now; ``latest``: as for ``signs.read``."""
    now = clock(conn)
    since, numbers = now - PERIOD, links.counts(conn)
    tried = runs.newest(conn, RunKind.FETCH)
    succeeded = runs.newest(conn, RunKind.FETCH, RunState.DONE)
    return Digest(
        since=since,
        until=now,
        jobs=numbers,
        came=news.came_since(conn, since),
        went=news.happened_since(conn, "archived", since),
        drifted=news.happened_since(conn, "drift", since),
        waits=warnings.read(conn, tried, succeeded, parked=numbers["parked"], latest=latest),
    )


def due(now: datetime, at: time, timezone: tzinfo) -> list[date]:
    """Return the days whose digest is due: its hour has come, and not long ago.

    An hour that the clocks leave out comes an hour later, one that comes twice counts once.
    """
    today = now.astimezone(timezone).date()
    days = (today - timedelta(days=1), today)
    moments = {day: datetime.combine(day, at, tzinfo=timezone) for day in days}
    return [day for day, moment in moments.items() if timedelta(0) <= now - moment < LATE]


def as_conditions(
    conn: Connection, days: Sequence[date], known: Container[str], latest: signs.Latest
) -> Iterator[Condition]:
    """Return the digests that are due as events; those that are known need no text."""
    for day in days:
        name = f"digest/{day}"
        alert = read(conn, latest).as_alert() if name not in known else None
        text = alert.text if alert else ""
        yield Condition(name=name, title="digest", text=text, level=Level.INFO)
