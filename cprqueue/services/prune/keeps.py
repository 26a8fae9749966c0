"""Keep the jobcodes of jobs, whatever RestorationManager says of them.

A keep and the archive of a batch exclude each other: both write the row of the link. Whichever
comes second finds what the first has put on record. Each call is one transaction: killed before
its commit, it has done nothing, and repeated, it changes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection

from cprqueue.domain.keeps import Keep, end_of_day, reason
from cprqueue.domain.records import JobRecord, PlanItem
from cprqueue.domain.states import Outcome
from cprqueue.services.prune import undo_orders
from cprqueue.services.prune.undo_orders import UndoOrder
from cprqueue.store import events, jobs, keeps, links, locks, plan_items, runs
from cprqueue.store.database import Database, clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A job that is kept. ``note``: why its jobcode is not there all the same, and the cure."""

    job_id: int
    job_number: str
    jobcode_id: int | None
    keep: Keep
    note: str | None


def keep(
    db: Database,
    job_ids: Sequence[int],
    *,
    requested_by: str,
    until: str | None,
    because: str,
    timezone: str,
) -> list[Kept]:
    """Keep these known jobs, ``until`` the end of a day in ``timezone``.

    What was said of them before is replaced. Raises UsageError for a day that is over or none,
    and for a reason that is too long.
    """

    def put(conn: Connection) -> list[Kept]:
        locks.serialize(conn, locks.PRUNE)  # two that keep one job at once
        now = clock(conn)
        end = end_of_day(until, timezone, now=now) if until is not None else None
        rows = [
            Keep(job_id=i, requested_by=requested_by, kept_at=now, until=end, because=why)
            for i in job_ids
        ]
        found = [_kept(conn, row) for row in rows]
        _put(conn, rows, timezone)
        return found

    why = reason(because)
    return db.retrying(put)


def _put(conn: Connection, rows: Sequence[Keep], timezone: str) -> None:
    keeps.put(conn, rows)
    events.add(
        conn,
        [events.event(row.job_id, "kept", row.text(timezone), at=row.kept_at) for row in rows],
    )


def unkeep(db: Database, job_ids: Sequence[int], *, requested_by: str) -> list[int]:
    """Keep these jobs no longer; return those that were kept until now."""

    def remove(conn: Connection) -> list[int]:
        locks.serialize(conn, locks.PRUNE)
        now = clock(conn)
        ids = list(keeps.standing(conn, now, job_ids))
        keeps.remove(conn, job_ids)
        text = f"by {requested_by}: the next prune may archive the jobcode"
        events.add(conn, [events.event(job_id, "unkept", text, at=now) for job_id in ids])
        return ids

    return db.retrying(remove)


def keep_restored(conn: Connection, undo_id: int, items: Sequence[PlanItem], timezone: str) -> None:
    """Keep the jobs of what an undo has restored, where its order says so.

    An active job's jobcode stays by itself, and what a person has said of a job stands.
    """
    order = UndoOrder.of(runs.existing(conn, undo_id))
    if not order.keep_by:
        return
    now, why = clock(conn), f"restored by run {undo_id}, the undo of run {order.of_run}"
    ids = [i for i in _job_ids(items) if not jobs.existing(conn, i).active]
    kept = keeps.standing(conn, now, ids)
    rows = [
        Keep(job_id=i, requested_by=order.keep_by, kept_at=now, until=None, because=why)
        for i in ids
        if i not in kept
    ]
    _put(conn, rows, timezone)


def note_kept(conn: Connection, undo_id: int, order: UndoOrder, timezone: str) -> None:
    """Keep what earlier undos have restored too, and note on this one how many are kept."""
    back = [i for i in undo_orders.covered(conn, order) if i.outcome is Outcome.RESTORED]
    keep_restored(conn, undo_id, back, timezone)
    kept = keeps.standing(conn, clock(conn), _job_ids(back))
    runs.progress(conn, undo_id, detail=asdict(replace(order, kept=len(kept))))


def _job_ids(items: Sequence[PlanItem]) -> list[int]:
    return [item.job_id for item in items if item.job_id is not None]


def _kept(conn: Connection, row: Keep) -> Kept:
    link = links.get(conn, row.job_id, to_write=True)
    job = jobs.existing(conn, row.job_id)
    jobcode_id = link.jobcode_id if link else None
    there = link is None or jobcode_id is None or link.observed.active or job.active
    return Kept(
        job_id=job.job_id,
        job_number=job.job_number,
        jobcode_id=jobcode_id,
        keep=row,
        note=_leaving(conn, job) or (None if there else _archived(conn, job)),
    )


def _leaving(conn: Connection, job: JobRecord) -> str | None:
    """Say that the request which archives the jobcode is on its way."""
    run_id = plan_items.newest_run(conn, job.job_id, Outcome.SENDING)
    if run_id is None:
        return None
    return f"run {run_id} is archiving its jobcode right now: {_cure(run_id, job)}"


def _archived(conn: Connection, job: JobRecord) -> str:
    run_id = plan_items.newest_run(conn, job.job_id, Outcome.ARCHIVED)
    if run_id is None:
        return "its jobcode is archived, not by us: restore it in QuickBooks Time"
    return f"its jobcode is archived: {_cure(run_id, job)}"


def _cure(run_id: int, job: JobRecord) -> str:
    number = f" {shlex.quote(job.job_number)}" if job.job_number else ""
    return f"`cprqueue undo {run_id}{number}` restores it"
