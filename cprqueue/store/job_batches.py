"""The records of many jobs in few statements: of those that are new, or as they were.

Whoever writes one job holds one row. Whoever writes many holds them all until the commit, so it
takes them in the order of their ids, and never a link that is there already: workers that push
hold many of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, update

from cprqueue.domain.recording import Change, LinkNeed
from cprqueue.domain.records import Recorded
from cprqueue.errors import Overtaken
from cprqueue.store import events, push_queue
from cprqueue.store.chunks import chunks
from cprqueue.store.database import clock
from cprqueue.store.job_changes import AS_READ, RECORDED
from cprqueue.store.row_locks import lock
from cprqueue.store.tables import jobs, links

Seen = tuple[Recorded, Change]
Values = tuple[tuple[str, object], ...]

_RECORDED = RECORDED.add_columns(jobs.c.job_id)


def recorded(conn: Connection, job_ids: Iterable[int]) -> dict[int, Recorded]:
    """Return what the record says of these jobs, by id; unknown ones are left out."""
    found: dict[int, Recorded] = {}
    for part in chunks(sorted(job_ids)):
        rows = conn.execute(_RECORDED.where(jobs.c.job_id.in_(part))).mappings()
        found |= {row["job_id"]: Recorded.from_row(row) for row in rows}
    return found


def is_plain(known: Recorded | None, change: Change) -> bool:
    """Tell whether the change may be written with many others: see above."""
    return known is None or change.event is None


def write(conn: Connection, changes: Sequence[tuple[Recorded | None, Change]]) -> None:
    """Write plain changes of different jobs.

    Raises Overtaken where a record is not as it was read any more, and IntegrityError where
    somebody else was first to record a job: nothing is written then, if the caller rolls back.
    """
    in_order = sorted(changes, key=lambda pair: pair[1].job_id)
    _write_seen(conn, [(known, change) for known, change in in_order if known is not None])
    new = [change for known, change in in_order if known is None]
    if new:
        _write_new(conn, new, clock(conn))


def _write_seen(conn: Connection, seen: Sequence[Seen]) -> None:
    """Update the rows that the same fetch read as they were, all of them in one statement."""
    groups: dict[tuple[Values, Values], list[int]] = {}
    for known, change in seen:
        if change.columns:
            as_read = tuple((name, getattr(known, name)) for name in AS_READ)
            groups.setdefault((as_read, tuple(change.columns.items())), []).append(change.job_id)
    if len(groups) > 1:
        for part in chunks(sorted(job_id for ids in groups.values() for job_id in ids)):
            lock(conn, jobs.c.site_id, jobs.c.job_id.in_(part))
    for (read, values), ids in groups.items():
        for part in chunks(ids):
            _update_as_read(conn, part, dict(read), dict(values))


def _update_as_read(
    conn: Connection, ids: Sequence[int], read: Mapping[str, object], values: Mapping[str, object]
) -> None:
    same = (jobs.c[name] == value for name, value in read.items())
    done = conn.execute(update(jobs).where(jobs.c.job_id.in_(ids), *same).values(**values))
    if done.rowcount != len(ids):
        raise Overtaken(f"one of {len(ids)} RM jobs was recorded by somebody else meanwhile")


def _write_new(conn: Connection, new: Sequence[Change], now: datetime) -> None:
    rows = [{"job_id": change.job_id, **change.columns, "recorded_at": now} for change in new]
    conn.execute(insert(jobs), rows)
    events.add(
        conn,
        (
            events.event(
                change.job_id, "recorded", change.event or "", at=now, run_id=change.event_run_id
            )
            for change in new
        ),
    )
    added = [
        push_queue.first_values(c.job_id, c.desired_hash, now=now, waits_for=c.waits_for)
        for c in new
        if c.link is LinkNeed.ADD
    ]
    if added:
        conn.execute(insert(links), added)


def due(change: Change) -> list[int]:
    """Return the ids of the jobs that are due by a plain change."""
    return [change.job_id] if change.link is LinkNeed.ADD and not change.waits_for else []
