"""Who is on the clock right now: nobody's jobcode is archived under their hands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

from cprqueue.clients.qbtime import QuickBooksTime, whole
from cprqueue.domain.models import BATCH

CLOCK_DAYS = 40
"""Running timesheets are looked up this far back; the listing demands a range of dates."""


def in_use(
    qbt: QuickBooksTime, families: Mapping[int, Iterable[int]], now: datetime
) -> dict[int, str]:
    """Return why these jobcodes are in use, of those that somebody is on the clock for."""
    busy = count_by_family(qbt, families, now.date())
    return {root: f"{people} on the clock right now" for root, people in busy.items()}


def count_by_family(
    qbt: QuickBooksTime, families: Mapping[int, Iterable[int]], today: date
) -> dict[int, int]:
    """Count who is clocked in on each jobcode or one of its family; only where somebody is.

    The listing includes the children of the jobcodes that are asked for.
    """
    since = (today - timedelta(days=CLOCK_DAYS)).isoformat()
    ids = sorted(families)
    people: Counter[int] = Counter()
    for start in range(0, len(ids), BATCH):
        for sheet in qbt.on_the_clock(ids[start : start + BATCH], since=since):
            people[whole(sheet.get("jobcode_id"))] += 1
    found = {root: sum(people[code] for code in family) for root, family in families.items()}
    return {root: number for root, number in found.items() if number}
