"""Counts and spans for ``cprqueue metrics``: nothing here grows with the age of the database.

Pushes are counted from the table ``events``, which forgets: so of a span that is given, not since
ever. Each statement reads an index or a table of jobs once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, case, func, select

from cprqueue.domain.states import LinkState, RunKind, RunState
from cprqueue.store.tables import events, links, runs

OUTCOMES = ("pushed", "retry", "parked")
"""Kinds of events that end one attempt of a push."""

_BETWEEN = ("retry", "parked", "held", "late")
"""Kinds of events that may stand between a change and the push that answers it."""


def oldest_due(conn: Connection) -> datetime | None:
    """Return since when the oldest due job is due; None where none is."""
    moment = select(func.min(links.c.due_since)).where(links.c.state == LinkState.DUE)
    found: datetime | None = conn.execute(moment).scalar()
    return found


def runs_by_kind(conn: Connection) -> dict[tuple[RunKind, RunState], int]:
    """Count the runs on record by kind and state; runs are never deleted."""
    statement = select(runs.c.kind, runs.c.state, func.count())
    found = conn.execute(statement.group_by(runs.c.kind, runs.c.state))
    return {(kind, state): int(number) for kind, state, number in found}


def pushes(conn: Connection, *, since: datetime) -> dict[str, int]:
    """Count the attempts to push since then by their outcome."""
    statement = select(events.c.kind, func.count()).where(events.c.at >= since)
    found = conn.execute(statement.where(events.c.kind.in_(OUTCOMES)).group_by(events.c.kind))
    return dict.fromkeys(OUTCOMES, 0) | {kind: int(number) for kind, number in found}


def push_delays(conn: Connection, *, since: datetime) -> list[tuple[timedelta, int]]:
    """Return how long changes of jobs took to QuickBooks Time that were pushed since then.

    Each time with the number of jobs that took it. It begins when RestorationManager was asked
    for the list that showed the change (``runs.observed_at`` of the fetch; for a resync and an
    import when the change was recorded), and ends with the first push after it. A push that
    answers no change, such as one that sets back what was changed by hand, is not counted.
    """
    pushed, before, change = (events.alias(name) for name in ("pushed", "before", "change"))
    last = (
        select(pushed.c.at, func.max(before.c.event_id).label("event_id"))
        .join_from(
            pushed,
            before,
            and_(before.c.job_id == pushed.c.job_id, before.c.event_id < pushed.c.event_id),
        )
        .where(pushed.c.at >= since, pushed.c.kind == "pushed", before.c.kind.not_in(_BETWEEN))
        .group_by(pushed.c.event_id, pushed.c.at)
        .subquery()
    )
    fetch = and_(runs.c.run_id == change.c.run_id, runs.c.kind == RunKind.FETCH)
    begun = case((runs.c.observed_at.is_not(None), runs.c.observed_at), else_=change.c.at)
    answered = (
        select(last.c.at, begun.label("begun"))
        .join_from(last, change, change.c.event_id == last.c.event_id)
        .outerjoin(runs, fetch)
        .where(change.c.kind == "recorded")
        .subquery()
    )
    # Fifty jobs of one push share both moments: few rows come of many jobs.
    statement = select(answered.c.at, answered.c.begun, func.count())
    found = conn.execute(statement.group_by(answered.c.at, answered.c.begun))
    return [(max(at - begun, timedelta(0)), int(number)) for at, begun, number in found]
