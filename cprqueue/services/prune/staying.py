"""Why a planned jobcode stays after all: asked in the transaction before it is archived."""

from __future__ import annotations

from sqlalchemy import Connection

from cprqueue.domain.records import PlanItem
from cprqueue.domain.states import Outcome
from cprqueue.store import jobs, keeps, links
from cprqueue.store.database import clock

Stay = tuple[Outcome, str]
"""What becomes of the item, and why."""


def why_stay(conn: Connection, item: PlanItem, *, timezone: str) -> Stay | None:
    """Return why it stays: its job is active again or kept, or it belongs to another job now.

    Its children would be archived with it, so what holds one of them holds it too.
    """
    job = jobs.get(conn, item.job_id) if item.job_id is not None else None
    link = links.get(conn, item.job_id) if item.job_id is not None else None
    if job is not None and job.active:
        return Outcome.DROPPED, "the job is active again"
    if link is None or link.jobcode_id != item.jobcode_id:
        return Outcome.DROPPED, "the jobcode belongs to another job now"
    family = {item.jobcode_id, *item.state_before.family}
    return _because_of(conn, sorted(links.with_jobcodes(conn, sorted(family)).values()), timezone)


def _because_of(conn: Connection, job_ids: list[int], timezone: str) -> Stay | None:
    kept = keeps.standing(conn, clock(conn), job_ids)
    for keep in kept.values():
        return Outcome.HELD_BACK, keep.text(timezone)
    for job_id in job_ids:
        job = jobs.existing(conn, job_id)
        if job.active:
            return Outcome.HELD_BACK, f"has an active child: {job.job_number}"
    return None
