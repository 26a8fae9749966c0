"""Table ``events``: what happened to a job, when and why. Texts never hold an address."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from cprqueue.domain.cutting import cut
from cprqueue.domain.records import Event
from cprqueue.store.tables import events


def event(job_id: int, kind: str, text: str, *, at: datetime, run_id: int | None = None) -> Event:
    """Build one event; kinds: recorded, pushed, retry, parked, found, late,
    archived, restored, held, kept, unkept, drift, ordered."""
    return Event(job_id=job_id, kind=kind, text=cut(text, 1000), at=at, run_id=run_id)


def ordered(
    job_ids: Iterable[int], what: str, by: str, *, at: datetime, run_id: int | None = None
) -> list[Event]:
    """Build the events that say who ordered something; none where nobody is named."""
    text = f"{what}, ordered by {by}"
    return [event(job_id, "ordered", text, at=at, run_id=run_id) for job_id in job_ids if by]


def add(conn: Connection, rows: Iterable[Event]) -> None:
    """Write events."""
    found = [row.as_row() for row in rows]
    if found:
        conn.execute(insert(events).inline(), found)


def of_job(conn: Connection, job_id: int, *, limit: int = 50) -> list[Event]:
    """Return a job's newest events, oldest first."""
    statement = select(events).where(events.c.job_id == job_id)
    newest = conn.execute(statement.order_by(events.c.event_id.desc()).limit(limit)).mappings()
    return [Event.from_row(row) for row in reversed(newest.all())]


def forget_before(conn: Connection, moment: datetime) -> int:
    """Delete events older than ``moment``; return how many."""
    return conn.execute(delete(events).where(events.c.at < moment)).rowcount
