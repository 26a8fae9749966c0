"""Record what was observed of a batch's jobs, and correct what other jobs have on record by it."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.models import Observed
from cprqueue.domain.push_item import Item
from cprqueue.domain.states import ErrorCode, VerificationKind
from cprqueue.services.push.batch import Batch
from cprqueue.store import leases, links
from cprqueue.store.database import clock
from cprqueue.store.push_queue import NO_INTENT, LinkValues


def record_observed_each(
    conn: Connection, batch: Batch, pairs: list[tuple[Item, Observed]]
) -> None:
    """Do ``record_observed`` for many items that have just moved, in few statements."""
    settled: LinkValues = {**NO_INTENT, "verification": None, "attempts": 0}
    rows: list[LinkValues] = [
        {"job_id": item.job_id, **links.observed_columns(observed), **settled}
        for item, observed in pairs
    ]
    before = [(item, item.observed) for item, _ in pairs]
    try:
        with conn.begin_nested():
            leases.write_each(conn, batch.lease, rows)
    except IntegrityError:
        before = [was for was, pair in zip(before, pairs, strict=True)
                  if _write(conn, batch, *pair, attempts=0)]  # fmt: skip
    else:
        for item, observed in pairs:
            item.attempts = 0  # it moves: what failed before counts no longer
            _settle(item, observed)
    # Last: what is observed for each of them was built before the others were corrected.
    for item, was in before:
        _detach_from_shared_location(conn, batch, item, was)


def record_observed(
    conn: Connection,
    batch: Batch,
    item: Item,
    observed: Observed,
    *,
    verification: VerificationKind | None = None,
    attempts: int | None = None,
) -> None:
    """Write what QuickBooks Time holds for the item; its intent is settled by that.

    Where another job is linked to the jobcode or location, the database refuses; the item
    then leaves the batch, and both are verified: one of the two records is out of date.
    """
    was = item.observed
    if _write(conn, batch, item, observed, verification=verification, attempts=attempts):
        _detach_from_shared_location(conn, batch, item, was)


def _write(
    conn: Connection,
    batch: Batch,
    item: Item,
    observed: Observed,
    *,
    verification: VerificationKind | None = None,
    attempts: int | None = None,
) -> bool:
    columns: LinkValues = {
        **links.observed_columns(observed),
        **NO_INTENT,
        "verification": verification,
    }
    if attempts is not None:
        columns["attempts"] = attempts
    try:
        with conn.begin_nested():
            leases.write(conn, item.job_id, batch.lease, columns)
    except IntegrityError:
        links.mark_unverified(conn, observed, but=item.job_id, now=clock(conn))
        reason = "another job is linked to the same jobcode"
        batch.postpone(conn, item, ErrorCode.CONFLICT, reason, VerificationKind.FULL)
        return False
    _settle(item, observed, verification)
    return True


def _settle(item: Item, observed: Observed, verification: VerificationKind | None = None) -> None:
    item.changed = item.changed or observed != item.observed
    item.observed, item.intent, item.intent_at = observed, None, None
    item.verification = verification


def _detach_from_shared_location(conn: Connection, batch: Batch, item: Item, was: Observed) -> None:
    """Take the item's jobcode out of what others will send back for a location it left.

    A location's links are replaced as a whole: a job that sends back a link which is gone
    would bring it to life again.
    """
    kept = {spare.location_id for spare in item.observed.spares}
    left = [spare for spare in was.spares if spare.location_id not in kept]
    for spare in left if was.jobcode_id is not None else ():
        for row in links.touching(conn, spare.others, []):
            theirs = row.observed.without_sharer(spare.location_id, was.jobcode_id)
            now = clock(conn)
            links.set_observed_of_other(conn, row, theirs, lease=batch.lease, now=now)
            if row.job_id in batch.items:
                batch.items[row.job_id].observed = theirs
