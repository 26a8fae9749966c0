"""How much was pushed in each of the last hours, from the table ``events``."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, extract, func, select

from cprqueue.store.tables import events

HOUR = timedelta(hours=1)


def pushed_by_hour(conn: Connection, now: datetime, hours: int = 24) -> list[tuple[datetime, int]]:
    """Return the last hours (24 at most), each by its beginning, the one under way last.

    Reads no more than what happened since: the table has an index by time.
    """
    last = now.replace(minute=0, second=0, microsecond=0)
    begins = [last - HOUR * back for back in range(hours - 1, -1, -1)]
    hour = extract("hour", events.c.at)
    statement = select(hour, func.count()).where(
        events.c.at >= begins[0], events.c.kind == "pushed"
    )
    found = {int(key): int(number) for key, number in conn.execute(statement.group_by(hour))}
    return [(begin, found.get(begin.hour, 0)) for begin in begins]
