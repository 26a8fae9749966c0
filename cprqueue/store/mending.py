"""What a person has to mend in RestorationManager or QuickBooks Time; each answer is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from cprqueue.domain.records import Record
from cprqueue.domain.states import RunKind, RunState
from cprqueue.store import runs
from cprqueue.store.places import REFUSED_PLACES
from cprqueue.store.tables import jobs, links, qbt_export


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """Active jobs at one address, of several numbers: two of them, and how many there are."""

    one: int
    other: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced(Record):
    """A location that QuickBooks Time could not place, with the job whose jobcode has it."""

    job_id: int
    job_number: str
    addr1: str
    city: str
    geocoding_status: str


def doubled(conn: Connection, *, limit: int) -> list[list[tuple[int, str]]]:
    """Return the active jobs that share a number, each number's together: ids and numbers."""
    shared = (
        select(jobs.c.name_key)
        .where(jobs.c.active, jobs.c.name_key != "")
        .group_by(jobs.c.name_key)
        .having(func.count() > 1)
        .order_by(jobs.c.name_key)
        .limit(limit)
    )
    keys = list(conn.execute(shared).scalars())
    these = select(jobs.c.name_key, jobs.c.job_id, jobs.c.job_number)
    found: dict[str, list[tuple[int, str]]] = {key: [] for key in keys}
    some = these.where(jobs.c.active, jobs.c.name_key.in_(keys)).order_by(jobs.c.job_id)
    for row in conn.execute(some.limit(10 * limit)):
        found[row.name_key].append((row.job_id, row.job_number))
    return list(found.values())


def twins(conn: Connection, *, limit: int) -> list[Twin]:
    """Return active jobs at one address with different numbers, the newest first."""
    where = [func.lower(column) for column in (jobs.c.addr1, jobs.c.city)] + [jobs.c.zip]
    newest = func.max(jobs.c.job_id)
    statement = (
        select(func.min(jobs.c.job_id), newest, func.count())
        .where(jobs.c.active, jobs.c.addr1 != "")
        .group_by(*where)
        .having(func.count(jobs.c.name_key.distinct()) > 1)
        .order_by(newest.desc())
        .limit(limit)
    )
    return [
        Twin(one=one, other=other, number=number) for one, other, number in conn.execute(statement)
    ]


def unplaced(conn: Connection, *, limit: int) -> list[Unplaced]:
    """Return what QuickBooks Time could not place, by the newest snapshot's rows."""
    newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    if newest is None:
        return []
    linked = qbt_export.join(links, links.c.location_id == qbt_export.c.location_id)
    statement = (
        select(
            jobs.c.job_id, jobs.c.job_number, jobs.c.addr1, jobs.c.city,
            qbt_export.c.geocoding_status,
        )
        .select_from(linked.join(jobs, jobs.c.job_id == links.c.job_id))
        .where(
            qbt_export.c.run_id == newest.run_id,
            qbt_export.c.geocoding_status.in_(REFUSED_PLACES),
            qbt_export.c.jobcode_id == links.c.jobcode_id,
            # One whose address RM changed since has a new answer coming.
            func.lower(qbt_export.c.addr1) == func.lower(jobs.c.addr1),
            jobs.c.active,
        )
        .order_by(jobs.c.job_number)
        .limit(limit)
    )  # fmt: skip
    return [Unplaced.from_row(row) for row in conn.execute(statement).mappings()]


def with_progress(conn: Connection, values: Sequence[str]) -> dict[str, int]:
    """Count the active jobs with each of these progress values."""
    if not values:
        return {}
    these = select(jobs.c.progress, func.count()).where(jobs.c.active)
    found = conn.execute(these.where(jobs.c.progress.in_(values)).group_by(jobs.c.progress))
    return {progress: int(number) for progress, number in found}
