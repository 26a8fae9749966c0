"""Table ``links`` again: creates of unknown outcome, left open by jobs that closed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from cprqueue.domain.models import Observed
from cprqueue.domain.records import Link
from cprqueue.domain.states import Intent, LinkState
from cprqueue.store.links import observed_columns
from cprqueue.store.push_queue import unleased
from cprqueue.store.tables import links


def unsettled(conn: Connection, *, now: datetime, quiet: timedelta) -> list[Link]:
    """Return the idle links whose jobcode may have been created, but not within ``quiet``."""
    statement = select(links).where(
        links.c.state == LinkState.IDLE,
        links.c.intent == Intent.CREATE_JOBCODE,
        links.c.jobcode_id.is_(None),
        links.c.intent_at <= now - quiet,
        unleased(now),
    )
    found = conn.execute(statement.order_by(links.c.job_id)).mappings()
    return [Link.from_row(row) for row in found]


def reopen(conn: Connection, job_id: int, name: str, sent_at: datetime) -> None:
    """Put a create of ``name`` that arrived late back on record, for an inactive job."""
    sent = observed_columns(Observed(name=name))
    own = update(links).where(links.c.job_id == job_id, links.c.jobcode_id.is_(None))
    conn.execute(own.values(**sent, intent=Intent.CREATE_JOBCODE, intent_at=sent_at))


def settle(conn: Connection, row: Link, observed: Observed, *, now: datetime) -> bool:
    """Write what came of the request that ``row`` was waiting for; False where it has changed.

    Raises IntegrityError where another job is linked to the same jobcode.
    """
    statement = update(links).where(
        links.c.job_id == row.job_id,
        links.c.state == LinkState.IDLE,
        links.c.intent == row.intent,
        links.c.intent_at == row.intent_at,
        unleased(now),
    )
    ended = {"intent": None, "intent_at": None, "lease": None, "lease_until": None}
    return conn.execute(statement.values(**observed_columns(observed), **ended)).rowcount == 1
