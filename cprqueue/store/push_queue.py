"""The push's queue, in table ``links``: which jobs are due, parked or idle.

``leases`` claims the due ones; whatever is changed here holds for the holder of a lease too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from cprqueue.domain.records import ClaimedLink
from cprqueue.domain.states import REFUSED, ErrorCode, Intent, LinkState, VerificationKind
from cprqueue.store.chunks import chunks
from cprqueue.store.patterns import begins_with
from cprqueue.store.tables import jobs, links


class LinkValues(TypedDict, total=False):
    """Columns to write; ``Link`` says what they are."""

    job_id: int
    state: LinkState
    jobcode_id: int | None
    location_id: int | None
    observed: str
    observed_key: str
    desired_hash: str
    pushed_at: datetime | None
    attempts: int
    due_since: datetime
    next_attempt_at: datetime | None
    lease: str | None
    lease_until: datetime | None
    intent: Intent | None
    intent_at: datetime | None
    verification: VerificationKind | None
    error_code: str | None
    error_reason: str | None
    due_run_id: int | None


FRESH: LinkValues = {"attempts": 0, "error_code": None, "error_reason": None}
NOT_DUE: LinkValues = {"next_attempt_at": None, "due_run_id": None}
NO_LEASE: LinkValues = {"lease": None, "lease_until": None}
NO_INTENT: LinkValues = {"intent": None, "intent_at": None}


def add(
    conn: Connection, job_id: int, desired_hash: str, *, now: datetime, waits_for: int | None = None
) -> None:
    """Give a job its link row, due now; ``waits_for``: see ``set_due``."""
    conn.execute(insert(links), first_values(job_id, desired_hash, now=now, waits_for=waits_for))


def first_values(
    job_id: int, desired_hash: str, *, now: datetime, waits_for: int | None
) -> LinkValues:
    """Return the link row that ``add`` gives a job."""
    first: LinkValues = {"job_id": job_id, "desired_hash": desired_hash, "due_run_id": waits_for}
    return first | due_values(now)


def set_due(
    conn: Connection,
    job_id: int,
    desired_hash: str,
    *,
    now: datetime,
    verification: VerificationKind | None = None,
    waits_for: int | None = None,
) -> None:
    """Make the job due now; a lease that stands is kept, so that its holder can end.

    ``verification``: what to read back before anything is written; None leaves that as it is.
    ``waits_for``: the fetch that has to close first, so that the brake decides on all of it.
    """
    due = due_values(now)
    if waits_for is not None:
        del due["error_code"], due["error_reason"]  # that it was held stays known
    values = {
        "desired_hash": desired_hash,
        **due,
        "due_run_id": waits_for,
        **({"verification": verification} if verification else {}),
    }
    conn.execute(update(links).where(links.c.job_id == bindparam("id")), {"id": job_id, **values})


def make_due(
    conn: Connection, job_id: int, *, now: datetime, verification: VerificationKind | None = None
) -> None:
    """Make the job due now; what is desired stays as it is on record, and a held job held."""
    own = update(links).where(links.c.job_id == job_id, links.c.state != LinkState.HELD)
    conn.execute(
        own.values(**due_values(now), **({"verification": verification} if verification else {}))
    )


def due_values(now: datetime) -> LinkValues:
    return {"state": LinkState.DUE, "due_since": now, "next_attempt_at": now, **FRESH}


def set_idle(conn: Connection, job_ids: Iterable[int]) -> None:
    """Take inactive jobs out of the push; their link stays."""
    values: LinkValues = {"state": LinkState.IDLE, **NOT_DUE, **FRESH}
    for part in chunks(job_ids):
        conn.execute(update(links).where(links.c.job_id.in_(part)).values(**values))


NOT_DISMISSED = or_(links.c.error_code.is_(None), links.c.error_code != ErrorCode.DISMISSED)


def requeue(conn: Connection, *, now: datetime, job_ids: Sequence[int] | None = None) -> list[int]:
    """Make parked jobs due, and waiting ones due now; all of them where no ids are given.

    What a brake holds, or has yet to decide on, stays as it is; and so does what a person
    dismissed, unless it is named.
    """
    states = links.c.state.in_((LinkState.PARKED, LinkState.DUE))
    waits = and_(states, links.c.due_run_id.is_(None))
    if job_ids is None:
        return _make_due_where(conn, and_(waits, NOT_DISMISSED), now=now)
    parts = [and_(waits, links.c.job_id.in_(part)) for part in chunks(job_ids)]
    return [job_id for where in parts for job_id in _make_due_where(conn, where, now=now)]


def _make_due_where(conn: Connection, where: ColumnElement[bool], *, now: datetime) -> list[int]:
    ids = list(conn.execute(select(links.c.job_id).where(where)).scalars())
    if ids:
        conn.execute(update(links).where(where).values(**due_values(now)))
    return ids


def requeue_name_conflicts(conn: Connection, key: str, *, now: datetime) -> list[int]:
    """Make due whoever was parked because something else had the number ``key``."""
    same = select(jobs.c.job_id).where(jobs.c.name_key == key, jobs.c.active)
    doubled = links.c.error_code == ErrorCode.DOUBLED_NUMBER
    parked = and_(
        links.c.state == LinkState.PARKED, or_(doubled, begins_with(links.c.error_code, REFUSED))
    )
    # Not as a subquery: some would read whatever is parked, instead of these few.
    parts = [links.c.job_id.in_(part) for part in chunks(conn.execute(same).scalars())]
    return [n for part in parts for n in _make_due_where(conn, and_(part, parked), now=now)]


def unpark_if_deadlocked(conn: Connection, key: str, *, but: int, now: datetime) -> None:
    """Make due the others with the number ``key`` where each of them was parked for another.

    Who came first may change when a verification corrects the record; then all would wait for ever.
    """
    doubled = links.c.error_code == ErrorCode.DOUBLED_NUMBER
    waits = and_(links.c.state == LinkState.PARKED, doubled)
    same = select(links.c.job_id).select_from(links.join(jobs, jobs.c.job_id == links.c.job_id))
    same = same.where(jobs.c.name_key == key, jobs.c.active, links.c.job_id != but)
    if conn.execute(same.where(not_(waits)).limit(1)).first() is None:
        for part in chunks(conn.execute(same).scalars()):
            own = update(links).where(links.c.job_id.in_(part), waits)
            conn.execute(own.values(**due_values(now)))


def unleased(now: datetime) -> ColumnElement[bool]:
    """Nobody works on the job: it has no lease, or one that has expired."""
    return or_(links.c.lease_until.is_(None), links.c.lease_until < now)


def claimable(now: datetime) -> ColumnElement[bool]:
    free = links.c.due_run_id.is_(None)
    return and_(links.c.state == LinkState.DUE, links.c.next_attempt_at <= now, free, unleased(now))


def due_now(conn: Connection, *, now: datetime, at_most: int = 51) -> tuple[int, datetime | None]:
    """Count claimable rows (up to ``at_most``) and tell since when the oldest is due."""
    part = select(links.c.due_since).where(claimable(now)).limit(at_most).subquery()
    number, oldest = conn.execute(select(func.count(), func.min(part.c.due_since))).one()
    return int(number), oldest


REQUIRED = links.c.verification == VerificationKind.REQUIRED


def not_required() -> ColumnElement[bool]:
    return or_(links.c.verification.is_(None), not_(REQUIRED))


def require_verification(
    conn: Connection, job_ids: Iterable[int], *, now: datetime, at: datetime | None = None
) -> None:
    """Have these jobs verified ``at`` a moment, or now, whoever holds them; inactive ones later.

    Those that the brake holds or a person dismissed are later, too: only they decide on them.
    The present holder cannot clear it, nor end the job: it may have read before this.
    """
    due = {"state": LinkState.DUE, "due_since": now, "next_attempt_at": at or now}
    waiting = and_(links.c.state.not_in((LinkState.IDLE, LinkState.HELD)), NOT_DISMISSED)
    for part in chunks(sorted(job_ids)):
        own = update(links).where(links.c.job_id.in_(part))
        conn.execute(own.values(verification=VerificationKind.REQUIRED))
        conn.execute(own.where(waiting).values(**due))


WITH_JOB = select(
    links,
    *(jobs.c[name] for name in ("job_number", "name_key", "active", "first_run_id")),
    *(jobs.c[name] for name in ("addr1", "addr2", "city", "zip")),
    jobs.c.state.label("address_state"),
).select_from(links.join(jobs, jobs.c.job_id == links.c.job_id))


def with_jobs(conn: Connection, job_ids: Sequence[int]) -> list[ClaimedLink]:
    """Return these rows with their jobs, by job id."""
    parts = chunks(sorted(job_ids))
    return [row for p in parts for row in select_with_jobs(conn, links.c.job_id.in_(p))]


def select_with_jobs(
    conn: Connection, where: ColumnElement[bool], *order: ColumnElement[str]
) -> list[ClaimedLink]:
    found = conn.execute(WITH_JOB.where(where).order_by(*order, links.c.job_id)).mappings()
    return [ClaimedLink.from_row(row) for row in found]


def lease_jobcodes(
    conn: Connection, lease: str, jobcode_ids: Sequence[int], *, now: datetime, until: datetime
) -> set[int]:
    """Take the jobs of these jobcodes under ``lease``, whatever their state.

    Returns the jobcodes that nobody else pushes now; those without a job are among them.
    """
    free = set(jobcode_ids)
    ours = or_(links.c.lease == lease, unleased(now))
    for part in chunks(sorted(free)):
        ids = links.c.jobcode_id.in_(part)
        conn.execute(update(links).where(ids, ours).values(lease=lease, lease_until=until))
        others = select(links.c.jobcode_id).where(ids, links.c.lease != lease)
        free -= set(conn.execute(others).scalars())
    return free


def release(conn: Connection, lease: str) -> None:
    """Give back whatever is still under the lease; the rows stay as they are."""
    statement = update(links).where(links.c.lease == lease)
    conn.execute(statement.values(**NO_LEASE))


def one_of_each_batch(conn: Connection, *, now: datetime, every: int) -> list[int]:
    """Return one due job of each ``every``: as many wake-ups as there are batches."""
    order = links.c.next_attempt_at, links.c.job_id
    place = func.row_number().over(order_by=order).label("place")
    rows = select(links.c.job_id, place).where(claimable(now)).subquery()
    first = (rows.c.place % every) == 1 % every
    return list(conn.execute(select(rows.c.job_id).where(first).order_by(rows.c.place)).scalars())


def next_due_in(conn: Connection, *, now: datetime) -> timedelta | None:
    """Return how long until the next row that nobody holds is due; None if there is none."""
    due = links.c.next_attempt_at
    first = select(due).where(  # the first by the index; for a minimum all of them would be read
        links.c.state == LinkState.DUE,
        links.c.due_run_id.is_(None),
        due.is_not(None),
        unleased(now),
    )
    moment = conn.execute(first.order_by(due).limit(1)).scalar()
    return max(moment - now, timedelta(0)) if moment else None


def failing(conn: Connection) -> list[ClaimedLink]:
    """Return parked and held jobs, and due ones that have failed at least once."""
    tried = and_(links.c.state == LinkState.DUE, links.c.error_code.is_not(None))
    where = and_(jobs.c.active, or_(links.c.state.in_((LinkState.PARKED, LinkState.HELD)), tried))
    return select_with_jobs(conn, where, links.c.state.desc(), jobs.c.job_number)
