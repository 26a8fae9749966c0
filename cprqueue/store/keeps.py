"""Table ``keeps``: the jobs whose jobcodes a person keeps. One whose ``until`` has come is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select

from cprqueue.domain.keeps import Keep
from cprqueue.store.chunks import chunks
from cprqueue.store.tables import keeps


def put(conn: Connection, rows: Sequence[Keep]) -> None:
    """Keep these jobs; what was said of them before is replaced."""
    for part in chunks(row.job_id for row in rows):
        conn.execute(delete(keeps).where(keeps.c.job_id.in_(part)))
    if rows:
        conn.execute(insert(keeps), [row.as_row() for row in rows])


def standing(
    conn: Connection, now: datetime, job_ids: Iterable[int] | None = None
) -> dict[int, Keep]:
    """Return what is kept now, of these jobs or of all, by job id."""
    lasts = or_(keeps.c.until.is_(None), keeps.c.until > now)
    if job_ids is None:
        return _found(conn, lasts)
    found: dict[int, Keep] = {}
    for part in chunks(job_ids):
        found |= _found(conn, lasts, keeps.c.job_id.in_(part))
    return found


def _found(conn: Connection, *where: ColumnElement[bool]) -> dict[int, Keep]:
    rows = conn.execute(select(keeps).where(*where)).mappings()
    return {row["job_id"]: Keep.from_row(row) for row in rows}


def remove(conn: Connection, job_ids: Iterable[int]) -> None:
    """Keep these jobs no longer."""
    for part in chunks(job_ids):
        conn.execute(delete(keeps).where(keeps.c.job_id.in_(part)))
