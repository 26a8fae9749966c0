"""Which asking of RM was later: each gets a number as it begins, and no clock is asked.

A run's id does not say it: a fetch that was ordered first may begin after another one.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from cprqueue.domain.states import RunKind
from cprqueue.errors import Overtaken
from cprqueue.store import app_state
from cprqueue.store.database import clock
from cprqueue.store.tables import runs

NAME = "sightings"


def next_number(conn: Connection) -> int:
    """Return the number of an asking that begins now; higher than every one before.

    Above every run's id too, because the version before counted by those. Raises Overtaken where
    somebody else asks at the same moment.
    """
    now, was = clock(conn), app_state.get(conn, NAME)
    newest = conn.execute(select(func.max(runs.c.run_id))).scalar() or 0
    number = max(was if isinstance(was, int) else 0, int(newest)) + 1
    taken = (
        app_state.put_first(conn, NAME, number, now=now)
        if was is None
        else app_state.swap(conn, NAME, was, number, now=now)
    )
    if not taken:
        raise Overtaken("another fetch or resync began at the same moment")
    return number


def number_at(conn: Connection, moment: datetime) -> int:
    """Return the number of the last asking before ``moment``: for a file of that age."""
    asked = func.coalesce(runs.c.sighting, runs.c.run_id)
    where = runs.c.observed_at <= moment, runs.c.kind != RunKind.IMPORT
    statement = select(func.max(asked)).where(*where)
    return int(conn.execute(statement).scalar() or 0)
