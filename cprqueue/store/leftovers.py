"""Table ``links`` again: creates of unknown fate, left open by jobs that are no longer active."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from cprqueue.models import Held
from cprqueue.store.links import IDLE, free, held_columns
from cprqueue.tables import links


def unsettled(conn: Connection, *, now: datetime, quiet: timedelta) -> list[Row[Any]]:
    """Return the idle links whose jobcode may have been created, but not within ``quiet``."""
    statement = select(links).where(
        links.c.state == IDLE,
        links.c.intent == "create_jobcode",
        links.c.jobcode_id.is_(None),
        links.c.intent_at <= now - quiet,
        free(now),
    )
    return list(conn.execute(statement.order_by(links.c.job_id)))


def settle(conn: Connection, row: Row[Any], held: Held, *, now: datetime) -> bool:
    """Write what came of the request that ``row`` was waiting for; False where it has changed.

    Raises IntegrityError where another job is linked to the same jobcode.
    """
    statement = update(links).where(
        links.c.job_id == row.job_id,
        links.c.state == IDLE,
        links.c.intent == row.intent,
        links.c.intent_at == row.intent_at,
        free(now),
    )
    ended = {"intent": None, "intent_at": None, "lease": None, "lease_until": None}
    return conn.execute(statement.values(**held_columns(held), **ended)).rowcount == 1
