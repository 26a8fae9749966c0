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
    children = sorted(set(item.state_before.family) - {item.jobcode_id})
    below = sorted(links.with_jobcodes(conn, children).values())
    for keep in keeps.standing(conn, clock(conn), [link.job_id, *below]).values():
        return Outcome.HELD_BACK, keep.text(timezone)
    for child in (jobs.existing(conn, job_id) for job_id in below):
        if child.active:
            return Outcome.HELD_BACK, f"has an active child: {child.job_number}"
    return None
