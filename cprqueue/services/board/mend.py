"""To mend: what nobody can push right, each kind with its cure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue.services import progress_values
from cprqueue.services.reports.words import counted
from cprqueue.store import job_pages, mending, namesakes
from cprqueue.store.database import Database, clock
from cprqueue.store.job_pages import JobRow
from cprqueue.store.mending import Twin

SHOWN = 50
PROGRESS_IS_NEWS = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A job by its id, with what people call it."""

    job_id: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing to mend: the jobs that it is about, and what to say of them."""

    jobs: list[Named]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is to be mended of one kind, with the cure; ``more``: there are others."""

    title: str
    cure: str
    found: list[Found]
    more: bool


def read(db: Database) -> list[Kind]:
    """Read all that is to be mended, the first few of each kind."""
    with db.read() as conn:
        return [_doubled(conn), _twins(conn), _unplaced(conn), _progress(conn), _below(conn)]


def _kind(title: str, cure: str, found: list[Found]) -> Kind:
    return Kind(title=title, cure=cure, found=found[:SHOWN], more=len(found) > SHOWN)


def _doubled(conn: Connection) -> Kind:
    groups = mending.doubled(conn, limit=SHOWN + 1)
    found = [
        Found(jobs=[_named(i, number) for i, number in rows], text="have one number")
        for rows in groups
    ]
    cure = "Give one of them another number in RestorationManager, or close it there."
    return _kind("Two jobs with one number", cure, found)


def _twins(conn: Connection) -> Kind:
    twins = mending.twins(conn, limit=SHOWN + 1)
    ids = [job_id for twin in twins for job_id in (twin.one, twin.other)]
    rows = {row.job_id: row for row in job_pages.of_ids(conn, ids)}
    found = [_twin(twin, rows) for twin in twins if {twin.one, twin.other} <= set(rows)]
    cure = (
        "Often right, as water and rebuild of one loss; where one is a copy, close it in "
        "RestorationManager, so that the crew clocks in on the other."
    )
    return _kind("Two numbers at one address", cure, found)


def _twin(twin: Twin, rows: dict[int, JobRow]) -> Found:
    first, second = rows[twin.one], rows[twin.other]
    where = ", ".join(filter(None, (first.addr1, first.city)))
    others = f", with {twin.number - 2} more" if twin.number > 2 else ""
    both = [_named(row.job_id, row.job_number) for row in (first, second)]
    return Found(jobs=both, text=f"at {where}{others}")


def _unplaced(conn: Connection) -> Kind:
    rows = mending.unplaced(conn, limit=SHOWN + 1)
    found = [
        Found(
            jobs=[_named(row.job_id, row.job_number)],
            text=f"at {', '.join(filter(None, (row.addr1, row.city)))}",
        )
        for row in rows
    ]
    cure = (
        "Correct the address in RestorationManager: without a place on the map nobody is "
        "reminded to clock in there. QuickBooks Time is asked again every night."
    )
    return _kind("Addresses that QuickBooks Time could not place", cure, found)


def _progress(conn: Connection) -> Kind:
    new = progress_values.new_since(conn, clock(conn) - PROGRESS_IS_NEWS)[: SHOWN + 1]
    counts = mending.with_progress(conn, new)
    found = [
        Found(jobs=[], text=f"{value}: {counted(counts[value], 'active job')}")
        for value in new
        if value in counts
    ]
    cure = "Where it means that a job is over, add it to RM_INACTIVE_PROGRESS in .env."
    return _kind("New progress values, which count as active", cure, found)


def _below(conn: Connection) -> Kind:
    rows = namesakes.rows_below_parents(conn, limit=SHOWN + 1)
    found = [
        Found(jobs=[_named(job_id, number)], text="is also the name of a jobcode that is not ours")
        for job_id, number in rows
    ]
    cure = (
        "In QuickBooks Time, archive the jobcode below the customer or project once its hours "
        "are done: the job has one of its own at the top."
    )
    return _kind("Names that are in use below a customer or project", cure, found)


def _named(job_id: int, job_number: str) -> Named:
    return Named(job_id=job_id, label=job_number or f"RM job {job_id}")
