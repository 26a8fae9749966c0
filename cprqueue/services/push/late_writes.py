"""Late writes: requests that arrived after their lease had expired, so maybe after newer ones.

QuickBooks Time cannot tell them from others, so whoever learns of one marks every job that it
touched: the next claim verifies them in full and puts them right. A jobcode that a late create
made for a job which has another one by now is renamed and archived. What if the process dies
- before the answer: nobody knows of the write; the next snapshot finds what it changed.
- after the jobs are marked: they are verified; a jobcode too many is named by the next snapshot.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue.clients import listings
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain import naming
from cprqueue.domain.adoption import choose_created
from cprqueue.domain.models import BATCH, Jobcode, name_key
from cprqueue.domain.push_item import Item
from cprqueue.domain.push_plan import CreateJobcode, Write, touched_ids
from cprqueue.domain.records import LinkState
from cprqueue.errors import CprqueueError
from cprqueue.services.push import verify
from cprqueue.store import events, links, orphaned_creates, push_queue
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

Late = Sequence[tuple[Item, Write]]


def mark(conn: Connection, late: Late, *, settling: timedelta = timedelta(0)) -> None:
    """Have every job that these writes touched verified, in ``settling`` at the earliest."""
    if not late:
        return
    now = clock(conn)
    jobcode_ids, location_ids = set[int](), set[int]()
    for _, action in late:
        codes, places = touched_ids(action)
        jobcode_ids |= set(codes)
        location_ids |= set(places)
    ids = {item.job_id for item, _ in late}
    ids |= {row.job_id for row in links.touching(conn, sorted(jobcode_ids), sorted(location_ids))}
    push_queue.require_verification(conn, ids, now=now, at=now + settling)
    text = "a request arrived after its lease had expired: verifying"
    events.add(conn, [events.event(job_id, "late", text, at=now) for job_id in sorted(ids)])
    log.warning("late requests", extra={"jobs": len(ids)})


def clear_up(db: Database, qbt: QuickBooksTime, late: Late) -> None:
    """Rename and archive the jobcodes that late creates made for jobs which need them no more."""
    creates = [(item, action) for item, action in late if isinstance(action, CreateJobcode)]
    if not creates:
        return
    try:
        _clear_up(db, qbt, creates)
    except CprqueueError as error:
        ids = ", ".join(str(item.job_id) for item, _ in creates)
        log.warning("late creates not cleared up", extra={"jobs": ids, "reason": str(error)})


def _clear_up(db: Database, qbt: QuickBooksTime, creates: list[tuple[Item, CreateJobcode]]) -> None:
    since = min(item.intent_at for item, _ in creates if item.intent_at)
    free = verify.unmanaged(db, listings.changed_jobcodes(qbt, since))
    surplus = []
    for item, action in creates:
        code = choose_created(free, action.name)
        if code is not None and not _still_needed(db, item, action.name):
            surplus.append((item, code))
    for start in range(0, len(surplus), BATCH):
        _archive(db, qbt, surplus[start : start + BATCH])


def _still_needed(db: Database, item: Item, name: str) -> bool:
    """Tell whether the job's verification, or the sweep, will find the jobcode and link it."""
    with db.begin() as conn:
        link = links.get(conn, item.job_id, to_write=True)
        if link is None or link.jobcode_id is not None:
            return False
        if link.state is LinkState.IDLE and item.intent_at is not None:
            orphaned_creates.reopen(conn, item.job_id, name, item.intent_at)
            return True
        [row] = push_queue.with_jobs(conn, [item.job_id])
        return row.name_key == name_key(name)


def _archive(db: Database, qbt: QuickBooksTime, surplus: list[tuple[Item, Jobcode]]) -> None:
    qbt.change_jobcodes(
        [
            {"id": code.id, "name": naming.beside(code.name, item.job_id), "active": False}
            for item, code in surplus
        ]
    )
    with db.begin() as conn:
        now = clock(conn)
        adopted: Iterable[int] = links.with_jobcodes(conn, [c.id for _, c in surplus]).values()
        push_queue.require_verification(conn, adopted, now=now)
        for item, code in surplus:
            push_queue.requeue_name_conflicts(conn, name_key(code.name), now=now)
            text = f"jobcode {code.id} was created late, and archived: the job has another one"
            events.add(conn, [events.event(item.job_id, "late", text, at=now)])
