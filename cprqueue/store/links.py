"""Table ``links``: what was last observed in QuickBooks Time for each job.

States: due (to be pushed now or at ``next_attempt_at``), in_sync, parked, idle (inactive).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    select,
    update,
)

from cprqueue.domain.models import Jobcode, Observed, name_key
from cprqueue.domain.records import Link
from cprqueue.domain.states import LinkState, VerificationKind
from cprqueue.store import push_queue
from cprqueue.store.chunks import chunks
from cprqueue.store.row_locks import lock
from cprqueue.store.tables import jobs, links


def refresh_observed(
    conn: Connection, job_id: int, code: Jobcode, *, lease: str, now: datetime
) -> None:
    """Correct the record of a job whose jobcode was just read; due again where it differs."""
    row = get(conn, job_id, to_write=True)
    before = row.observed if row else Observed()
    after = replace(
        before, name=code.name, active=code.active, assigned_to_all=code.assigned_to_all
    )
    if row is None or after == before:
        return
    set_observed_of_other(conn, row, after, lease=lease, now=now)
    in_sync = and_(links.c.job_id == job_id, links.c.state == LinkState.IN_SYNC)
    conn.execute(update(links).where(in_sync).values(**push_queue.due_values(now)))


def set_observed_of_other(
    conn: Connection, row: Link, observed: Observed, *, lease: str, now: datetime
) -> None:
    """Correct the record of a job that we do not push ourselves under ``lease``.

    Whoever has it under another lease knows only the record of before, so it is verified again.
    """
    set_observed(conn, row.job_id, observed)
    if row.lease not in (None, lease):
        push_queue.require_verification(conn, [row.job_id], now=now)


def managed_ids(conn: Connection) -> list[int]:
    """Return the ids of all jobs that have a jobcode."""
    statement = select(links.c.job_id).where(links.c.jobcode_id.is_not(None))
    return list(conn.execute(statement.order_by(links.c.job_id)).scalars())


def note_active(
    conn: Connection,
    jobcode_id: int,
    *,
    active: bool,
    assigned_to_all: bool,
    verification: VerificationKind,
    lease: str,
    now: datetime,
    guard: timedelta,
) -> None:
    """Write down that a jobcode was archived or restored, on whichever job has it now.

    The record may be older than the request, so an active job is verified and pushed. Where
    another worker has the job under a lease all the same, that lease ends here, so that it
    cannot write down what it knew before, and nobody claims the job for ``guard``.
    """
    row = _one(conn, links.c.jobcode_id == jobcode_id, to_write=True)
    if row is None:
        return
    observed = replace(row.observed, active=active, assigned_to_all=assigned_to_all)
    values: push_queue.LinkValues = {**observed_columns(observed), "pushed_at": now}
    active_now = conn.execute(select(jobs.c.active).where(jobs.c.job_id == row.job_id)).scalar()
    values["verification"] = verification  # archiving may have taken the job's location away
    if active_now and row.state is not LinkState.HELD:
        values |= push_queue.due_values(now)
    if row.lease not in (None, lease):
        values |= push_queue.NO_LEASE
        if "next_attempt_at" in values:
            values["next_attempt_at"] = now + guard
    conn.execute(update(links).where(links.c.job_id == row.job_id).values(**values))


def observed_columns(observed: Observed) -> push_queue.LinkValues:
    """Return the columns that say what QuickBooks Time holds."""
    return {
        "jobcode_id": observed.jobcode_id,
        "location_id": observed.location_id,
        "observed": observed.to_json(),
        "observed_key": name_key(observed.name) if observed.jobcode_id is not None else "",
    }


def correct_observed(
    conn: Connection, job_id: int, observed: Observed, *, was: str | None, now: datetime
) -> bool:
    """Do ``set_observed`` for a job without a lease whose ``observed_text`` is still ``was``.

    False where it is not so. Raises IntegrityError where another job is linked to the same
    jobcode or location.
    """
    nobody = and_(links.c.job_id == job_id, push_queue.unleased(now), links.c.observed == was)
    return (
        conn.execute(update(links).where(nobody).values(**observed_columns(observed))).rowcount == 1
    )


def set_observed(conn: Connection, job_id: int, observed: Observed) -> None:
    """Replace what is on record as observed for a job, lease or not."""
    conn.execute(update(links).where(links.c.job_id == job_id).values(**observed_columns(observed)))


def mark_unverified(conn: Connection, observed: Observed, *, but: int, now: datetime) -> None:
    """Have the other jobs on record with this jobcode or location verified before they write.

    ``observed`` was just read, so their records are out of date. A location is taken off them
    at once, because a job that nobody pushes would keep it for ever.
    """
    for column in (links.c.jobcode_id, links.c.location_id):
        value = getattr(observed, column.name)
        if value is None:
            continue
        others = select(links.c.job_id).where(column == value, links.c.job_id != but)
        ids = list(conn.execute(others).scalars())
        if column is links.c.location_id:
            # Only where it still is: another one that was just made for them stays.
            own = update(links).where(links.c.job_id.in_(ids), column == value)
            conn.execute(own.values(location_id=None))
        push_queue.require_verification(conn, ids, now=now)


def assume_archived(conn: Connection, job_id: int) -> None:
    """Record that an idle job's jobcode is archived, because nobody observed it since.

    The next push then restores it, which changes nothing where it was never archived.
    """
    row = get(conn, job_id, to_write=True)
    if row is not None and row.jobcode_id is not None:
        set_observed(conn, job_id, replace(row.observed, active=False))


def get(conn: Connection, job_id: int, *, to_write: bool = False) -> Link | None:
    """Return the link, or None. ``to_write``: nobody else may change it before we have."""
    return _one(conn, links.c.job_id == job_id, to_write=to_write)


def existing(conn: Connection, job_id: int) -> Link:
    """Return the link of a job that has one."""
    row = conn.execute(select(links).where(links.c.job_id == job_id)).mappings().one()
    return Link.from_row(row)


def _one(conn: Connection, where: ColumnElement[bool], *, to_write: bool) -> Link | None:
    statement = select(links).where(where)
    if to_write:
        lock(conn, links.c.attempts, where)
    row = conn.execute(statement).mappings().first()
    return Link.from_row(row) if row else None


def unlink(conn: Connection, job_id: int) -> None:
    """Forget a job's jobcode, because another job takes it over; whoever pushes the job loses it.

    So a request of theirs that is still under way is known to be late when it ends.
    """
    set_observed(conn, job_id, Observed())
    own = update(links).where(links.c.job_id == job_id)
    ended: push_queue.LinkValues = {**push_queue.NO_INTENT, **push_queue.NO_LEASE}
    conn.execute(own.values(**ended, verification=None))


def with_jobcodes(conn: Connection, jobcode_ids: Sequence[int]) -> dict[int, int]:
    """Return which job each of these jobcodes is linked to; unmanaged ones are left out."""
    statement = select(links.c.jobcode_id, links.c.job_id)
    found: dict[int, int] = {}
    for part in chunks(jobcode_ids):
        rows = conn.execute(statement.where(links.c.jobcode_id.in_(part)))
        found.update((int(jobcode), int(job)) for jobcode, job in rows)
    return found


def touching(
    conn: Connection, jobcode_ids: Sequence[int], location_ids: Sequence[int]
) -> list[Link]:
    """Return the links on record with one of these jobcodes or locations, to write them."""
    found: dict[int, Link] = {}
    wanted = [links.c.jobcode_id.in_(part) for part in chunks(sorted(jobcode_ids))]
    wanted += [links.c.location_id.in_(part) for part in chunks(sorted(location_ids))]
    for where in wanted:
        lock(conn, links.c.attempts, where)
        rows = conn.execute(select(links).where(where)).mappings()
        found |= {row["job_id"]: Link.from_row(row) for row in rows}
    return [found[job_id] for job_id in sorted(found)]


def counts(conn: Connection) -> dict[str, int]:
    """Count active jobs by the state of their push, and the inactive ones."""
    statement = (
        select(jobs.c.active, links.c.state, func.count())
        .select_from(jobs.outerjoin(links, jobs.c.job_id == links.c.job_id))
        .group_by(jobs.c.active, links.c.state)
    )
    result = {"active": 0, "in_sync": 0, "due": 0, "parked": 0, "held": 0, "inactive": 0}
    for active, state, number in conn.execute(statement):
        if not active:
            result["inactive"] += number
            continue
        result["active"] += number
        if state in result:
            result[state] += number
    return result
