"""Listings of QuickBooks Time, read so that no row is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.mapping import read_jobcode, read_location
from cprqueue.domain.models import BATCH, Jobcode, Json, Location, name_key
from cprqueue.errors import UnreadableAnswer

T = TypeVar("T", Jobcode, Location)


READINGS = 3


def read_all(
    qbt: QuickBooksTime,
    endpoint: str,
    read: Callable[[Mapping[str, Json]], T],
    filters: Mapping[str, str],
    alive: Callable[[], None] = lambda: None,
) -> list[T]:
    """Read a listing to its end so that no row is missing.

    The order of a listing is not documented and rows may move between pages while it is read.
    When ids only ever rise from page to page, nothing can have slipped past; otherwise it is
    read again until two readings agree.
    """
    before: set[int] = set()
    for _ in range(READINGS):
        found, in_order = _read_once(qbt, endpoint, read, filters, alive)
        if in_order or set(found) == before:
            return list(found.values())
        before = set(found)
    raise UnreadableAnswer(
        f"QuickBooks Time's {endpoint} kept changing while they were read: try again later"
    )


def _read_once(
    qbt: QuickBooksTime,
    endpoint: str,
    read: Callable[[Mapping[str, Json]], T],
    filters: Mapping[str, str],
    alive: Callable[[], None],
) -> tuple[dict[int, T], bool]:
    found: dict[int, T] = {}
    in_order, highest = True, -1
    for items, _more in qbt.pages(endpoint, filters):
        values = [read(item) for item in items]
        ids: list[int] = [value.id for value in values]
        in_order = in_order and (not ids or min(ids) > highest)
        highest = max([highest, *ids])
        found.update((value.id, value) for value in values)
        alive()
    return found, in_order


OVERLAP = timedelta(minutes=5)
"""Where QuickBooks Time has not answered this process yet, our clocks may differ by this much."""


ANY = {"active": "both", "type": "all"}


def everything(
    qbt: QuickBooksTime, alive: Callable[[], None] = lambda: None
) -> tuple[list[Jobcode], list[Location]]:
    """Read every jobcode of any kind and every location, archived ones too."""
    both = {"active": "both"}
    jobcodes = read_all(qbt, "jobcodes", read_jobcode, ANY, alive)
    return jobcodes, read_all(qbt, "locations", read_location, both, alive)


def changed_jobcodes(qbt: QuickBooksTime, since: datetime, *, now: datetime) -> list[Jobcode]:
    """Read every jobcode of any kind that was made or changed since then."""
    filters = {**modified(qbt, since, now=now), **ANY}
    return read_all(qbt, "jobcodes", read_jobcode, filters)


def modified(qbt: QuickBooksTime, since: datetime, *, now: datetime) -> dict[str, str]:
    """Return the filter for what was changed since a moment by the database's clock.

    ``now`` is that clock's time. How long ago it was counts, on QuickBooks Time's own clock.
    """
    age = max(now - since, timedelta(0)) + OVERLAP
    return {"modified_since": timestamp((qbt.transport.time or min(now, datetime.now(UTC))) - age)}


def named(qbt: QuickBooksTime, name: str) -> list[Jobcode]:
    """Return the ordinary top-level jobcodes, archived ones too, whose names count as ``name``.

    A star in the name is a wild card for the service, so its answer is filtered again.
    """
    found = qbt.jobcodes(name=name, parent_ids=0, **ANY)
    return [code for code in found if name_key(code.name) == name_key(name)]


def by_ids(listing: Callable[..., Iterator[T]], ids: Iterable[int], **filters: str) -> list[T]:
    """Read rows by their ids, 50 a call: so many fit into any URL."""
    everything = sorted(set(ids))
    found: list[T] = []
    for start in range(0, len(everything), BATCH):
        part = ",".join(map(str, everything[start : start + BATCH]))
        found += listing(ids=part, **filters)
    return found


def timestamp(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
