"""Table ``links`` under a lease: claim rows, renew the lease, write rows, end the work on them.

Every write names the lease, so a worker that lost it can no longer change anything. None of
them takes back a verification that somebody else required meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, literal, select, update

from cprqueue.domain.records import ClaimedLink
from cprqueue.domain.states import LinkState, VerificationKind
from cprqueue.store.push_queue import (
    NO_LEASE,
    REQUIRED,
    LinkValues,
    claimable,
    not_required,
    select_with_jobs,
)
from cprqueue.store.tables import links


def claim(
    conn: Connection,
    lease: str,
    *,
    now: datetime,
    limit: int,
    until: datetime,
    only: int | None = None,
    at_least: int = 1,
) -> list[ClaimedLink]:
    """Lease up to ``limit`` due rows (``only``: this job), or none if fewer than ``at_least``.

    Returns the rows joined with their jobs, by job id. Two callers never get one row.
    """
    ready = select(links.c.job_id).where(claimable(now))
    if only is not None:
        ready = ready.where(links.c.job_id == only)
    order = links.c.next_attempt_at, links.c.job_id
    ids = list(conn.execute(ready.order_by(*order).limit(limit)).scalars())
    if len(ids) < at_least or not ids:
        return []
    still = case((claimable(now), 1), else_=0) == 1  # so that no index of it is used, but the ids
    taken = update(links).where(links.c.job_id.in_(sorted(ids)), still)
    full = literal(VerificationKind.FULL, links.c.verification.type)
    kept = case((REQUIRED, full), else_=links.c.verification)
    conn.execute(taken.values(lease=lease, lease_until=until, verification=kept))
    return leased(conn, lease)


def leased(conn: Connection, lease: str) -> list[ClaimedLink]:
    """Return the rows under ``lease`` with their jobs."""
    return select_with_jobs(conn, links.c.lease == lease)


def renew(conn: Connection, lease: str, until: datetime) -> set[int]:
    """Prolong the lease; return the ids of the jobs that it still covers, now locked."""
    conn.execute(update(links).where(links.c.lease == lease).values(lease_until=until))
    return _covered(conn, lease)


def _covered(conn: Connection, lease: str) -> set[int]:
    return set(conn.execute(select(links.c.job_id).where(links.c.lease == lease)).scalars())


def write(conn: Connection, job_id: int, lease: str, values: LinkValues) -> bool:
    """Update a row under our lease; False where the lease was lost."""
    statement = update(links).where(links.c.job_id == job_id, links.c.lease == lease)
    return conn.execute(statement.values(**_under_lease(values))).rowcount == 1


def write_each(conn: Connection, lease: str, rows: Sequence[LinkValues]) -> None:
    """Update many rows under our lease, each with its own values: dicts of one shape, job_id
    among them. Rows whose lease was lost stay as they are; ``renew`` tells which.
    """
    if rows:
        names = [name for name in rows[0] if name != "job_id"]
        statement = update(links).where(
            links.c.job_id == bindparam("b_job_id"), links.c.lease == bindparam("b_lease")
        )
        bound = {name: bindparam(f"b_{name}", type_=links.c[name].type) for name in names}
        statement = statement.values(_under_lease(bound))
        conn.execute(statement, [_bound(row, lease) for row in rows])


def park(conn: Connection, job_id: int, lease: str, desired_hash: str, values: LinkValues) -> bool:
    """Do ``write`` unless the job changed meanwhile, or has to be verified again."""
    unchanged = and_(links.c.state == LinkState.DUE, links.c.desired_hash == desired_hash)
    statement = update(links).where(
        links.c.job_id == job_id, links.c.lease == lease, unchanged, not_required()
    )
    return conn.execute(statement.values(**_under_lease(values))).rowcount == 1


def finish_each(
    conn: Connection, lease: str, desired_hashes: dict[int, str], values: LinkValues
) -> set[int]:
    """End many jobs alike unless they changed meanwhile; return the ids of those ended.

    Those that changed stay due and are given back; those whose lease was lost are left alone.
    """
    ours = _covered(conn, lease) & set(desired_hashes)
    statement = update(links).where(
        links.c.job_id == bindparam("b_job_id"),
        links.c.lease == bindparam("b_lease"),
        links.c.state == LinkState.DUE,
        links.c.desired_hash == bindparam("b_desired_hash"),
        links.c.verification.is_(None),
    )
    statement = statement.values(pushed_hash=bindparam("b_desired_hash"), **values, lease=None)
    rows = [{"job_id": job_id, "desired_hash": h} for job_id, h in desired_hashes.items()]
    conn.execute(statement, [_bound(row, lease) for row in rows])
    changed = _covered(conn, lease) & ours
    if changed:
        given_back = update(links).where(links.c.lease == lease, links.c.job_id.in_(changed))
        conn.execute(given_back.values(**NO_LEASE))
    return ours - changed


def _under_lease(values: Mapping[str, object]) -> dict[str, object]:
    """Return what a holder writes: a verification that is required meanwhile stays."""
    if "verification" not in values:
        return dict(values)
    wished = values["verification"]
    if not isinstance(wished, ColumnElement):
        wished = literal(wished, links.c.verification.type)
    return {**values, "verification": case((REQUIRED, links.c.verification), else_=wished)}


def _bound(row: Mapping[str, object], lease: str) -> dict[str, object]:
    return {"b_lease": lease, **{f"b_{name}": value for name, value in row.items()}}
