"""Write what ``domain.recording`` decided: the job, its link and its history."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from cprqueue.domain.recording import Change, LinkNeed
from cprqueue.domain.records import Recorded
from cprqueue.store import events, jobs, links, push_queue
from cprqueue.store.database import clock


def write(conn: Connection, known: Recorded | None, change: Change) -> list[int]:
    """Write the change; return the ids of the jobs that are due by it.

    Raises Overtaken where the record is not as ``known`` any more: read and decide again.
    """
    if change.event is None:
        if known is not None and change.columns:
            jobs.change(conn, known, change.job_id, change.columns)
        return []
    now = clock(conn)
    _write_job(conn, known, change, now)
    text, run_id = change.event, change.event_run_id
    events.add(conn, [events.event(change.job_id, "recorded", text, at=now, run_id=run_id)])
    due = _write_link(conn, change, now)
    if change.released is not None:
        due += push_queue.requeue_name_conflicts(conn, change.released, now=now)
    return due


def _write_job(conn: Connection, known: Recorded | None, change: Change, now: datetime) -> None:
    recorded = {"recorded_at": now} if "rule" in change.columns else {}
    if known is None:
        jobs.add(conn, change.job_id, {**change.columns, **recorded})
    else:
        jobs.change(conn, known, change.job_id, {**change.columns, **recorded})


def _write_link(conn: Connection, change: Change, now: datetime) -> list[int]:
    job_id, digest = change.job_id, change.desired_hash
    match change.link:
        case None:
            return []
        case LinkNeed.REST:
            push_queue.set_idle(conn, [job_id])
            return []
        case LinkNeed.ADD:
            push_queue.add(conn, job_id, digest, now=now)
        case LinkNeed.RESTORE:
            links.assume_archived(conn, job_id)
            push_queue.set_due(conn, job_id, digest, now=now)
        case LinkNeed.PUSH:
            push_queue.set_due(conn, job_id, digest, now=now)
    return [job_id]
