"""Orphaned creates: jobcodes that may have been made for jobs which closed before a verification.

A create without an answer leaves its intent on the link. If the job closes before the next try,
no push claims it any more, so the sweep finds out here what came of it. Nothing is written to
QuickBooks Time: a jobcode that was made is linked, and so the next prune archives it.

What if the process dies
- before or after the listing is read: nothing happened; the next sweep reads it again.
- between two links: each is settled by one UPDATE; the next sweep settles the others.
- after the last one: nothing is left to do.
Two sweeps at once, or a job that is reopened meanwhile: a link is settled only while it is as it
was read. Whoever comes second changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.exc import IntegrityError

from cprqueue.clients import listings
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.adoption import choose_created
from cprqueue.domain.models import Address, Jobcode, Observed, name_key
from cprqueue.domain.push_plan import observe
from cprqueue.domain.records import Link
from cprqueue.errors import CprqueueError
from cprqueue.services.push import late_writes, verify
from cprqueue.store import events, orphaned_creates, push_queue
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)


def settle(db: Database, qbt: QuickBooksTime, *, quiet: timedelta) -> int:
    """Settle the open creates of closed jobs, and the late ones; return how many were linked.

    ``quiet``: a request that left less than this ago may still be under way. Costs no call where
    nothing is open. Where the listing cannot be read, the next sweep tries again.
    """
    late_writes.clear_up(db, qbt)
    with db.read() as conn:
        now = clock(conn)
        rows = orphaned_creates.unsettled(conn, now=now, quiet=quiet)
    if not rows:
        return 0
    try:
        since = min(r.intent_at for r in rows if r.intent_at)
        changed = listings.changed_jobcodes(qbt, since, now=now)
    except CprqueueError as error:
        log.info("orphaned creates not verified yet", extra={"reason": str(error)})
        return 0
    sent = {name_key(row.observed.name) for row in rows}
    free = verify.unmanaged(db, [code for code in changed if name_key(code.name) in sent])
    found = [row.job_id for row in rows if _settle(db, row, free)]
    if found:
        log.info("orphaned creates linked", extra={"jobs": len(found)})
    return len(found)


def _settle(db: Database, row: Link, free: Sequence[Jobcode]) -> bool:
    """Link what was made for the job, if anything; True if a jobcode was linked."""
    sent = row.observed.name
    code = choose_created(free, sent)
    observed = observe(code, [], ours=None, address=Address()) if code else Observed()
    try:
        with db.begin() as conn:
            now = clock(conn)
            settled = orphaned_creates.settle(conn, row, observed, now=now)
            if settled and code is not None:
                text = f"jobcode {code.id} had been created before the job closed"
                events.add(conn, [events.event(row.job_id, "found", text, at=now)])
                push_queue.requeue_name_conflicts(
                    conn, name_key(sent), now=now
                )  # now they may move it aside
    except IntegrityError:  # another job was linked to it just now
        return False
    return settled and code is not None
