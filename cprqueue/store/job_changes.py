"""The record of one job: read what decides, write what ``domain.recording`` decided."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from cprqueue.domain.recording import Change, LinkNeed
from cprqueue.domain.records import JobRecord, KnownJob, Recorded
from cprqueue.errors import Overtaken
from cprqueue.store import events, links, push_queue
from cprqueue.store.database import clock
from cprqueue.store.tables import jobs
from cprqueue.store.tables import links as links_table

RECORDED = select(
    jobs.c.content_hash,
    jobs.c.sighting,
    jobs.c.observed_at,
    jobs.c.seen_run_id,
    jobs.c.complete_run_id,
    jobs.c.active,
    jobs.c.rule,
    jobs.c.name_key,
    links_table.c.state,
    links_table.c.desired_hash,
    links_table.c.jobcode_id,
    links_table.c.due_run_id,
).select_from(jobs.outerjoin(links_table, jobs.c.job_id == links_table.c.job_id))
_RECORDED_OF_ONE = RECORDED.where(jobs.c.job_id == bindparam("id"))


def recorded(conn: Connection, job_id: int) -> Recorded | None:
    """Return what the record says of the job, with its link's state; None if unknown."""
    row = conn.execute(_RECORDED_OF_ONE, {"id": job_id}).mappings().first()
    return Recorded.from_row(row) if row else None


def known(conn: Connection) -> dict[int, KnownJob]:
    """Return the same of every job, by job id."""
    statement = RECORDED.add_columns(jobs.c.job_id, jobs.c.first_run_id)
    return {row["job_id"]: KnownJob.from_row(row) for row in conn.execute(statement).mappings()}


def write(conn: Connection, known: Recorded | None, change: Change) -> list[int]:
    """Write the change; return the ids of the jobs that are due by it.

    Raises Overtaken where the record is not as ``known`` any more: read and decide again.
    """
    now = clock(conn) if change.event is not None else None
    if known is None:
        row = {"job_id": change.job_id, **change.columns, "recorded_at": now}
        conn.execute(insert(jobs), row)
    elif change.columns:
        recorded = {"recorded_at": now} if "rule" in change.columns else {}
        change_as_read(conn, known, change.job_id, {**change.columns, **recorded})
    if now is None or change.event is None:
        return []
    text, run_id = change.event, change.event_run_id
    events.add(conn, [events.event(change.job_id, "recorded", text, at=now, run_id=run_id)])
    due = _write_link(conn, change, now)
    if change.released is not None:
        due += push_queue.requeue_name_conflicts(conn, change.released, now=now)
    return due


def _write_link(conn: Connection, change: Change, now: datetime) -> list[int]:
    job_id, digest, waits_for = change.job_id, change.desired_hash, change.waits_for
    match change.link:
        case None:
            return []
        case LinkNeed.REST:
            push_queue.set_idle(conn, [job_id])
            return []
        case LinkNeed.ADD:
            push_queue.add(conn, job_id, digest, now=now, waits_for=waits_for)
        case LinkNeed.RESTORE:
            links.assume_archived(conn, job_id)
            push_queue.set_due(conn, job_id, digest, now=now, waits_for=waits_for)
        case LinkNeed.PUSH:
            push_queue.set_due(conn, job_id, digest, now=now, waits_for=waits_for)
    return [] if waits_for else [job_id]


AS_READ = ("sighting", "seen_run_id", "complete_run_id")


def change_as_read(
    conn: Connection, row: JobRecord | Recorded, job_id: int, values: Mapping[str, object]
) -> None:
    """Update a known job that is still as ``recorded`` or ``jobs.get`` gave it in ``row``.

    Raises Overtaken where it is not: it was read without a lock, and may have changed since.
    """
    as_read = [jobs.c[name] == bindparam(f"read_{name}") for name in AS_READ]
    read = {f"read_{name}": getattr(row, name) for name in AS_READ}
    statement = update(jobs).where(jobs.c.job_id == bindparam("id"), *as_read)
    if conn.execute(statement, {"id": job_id, **read, **values}).rowcount != 1:
        raise Overtaken(f"RM job {job_id} was recorded by somebody else at the same moment")
